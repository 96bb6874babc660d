//! Ranges of keys.

use std::collections::BTreeMap;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

use crate::sync::Arc;

/// Keys from one on, up to another.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    from: Bound<Vec<u8>>,
    upto: Bound<Vec<u8>>,
}

impl Range {
    /// The keys that begin with a prefix.
    pub(crate) fn prefix(prefix: &[u8]) -> Self {
        Self { from: Included(prefix.to_vec()), upto: behind(prefix) }
    }

    /// Only the keys behind one.
    pub(crate) fn after(mut self, key: &[u8]) -> Self {
        let is_later = match &self.from {
            Included(from) => key >= from.as_slice(),
            Excluded(from) => key > from.as_slice(),
            Unbounded => true,
        };
        if is_later {
            self.from = Excluded(key.to_vec());
        }
        self
    }

    /// Only the keys in front of one.
    pub(crate) fn before(mut self, key: &[u8]) -> Self {
        let is_earlier = match &self.upto {
            Included(upto) | Excluded(upto) => key <= upto.as_slice(),
            Unbounded => true,
        };
        if is_earlier {
            self.upto = Excluded(key.to_vec());
        }
        self
    }

    /// Its entries of a map, in order or from the end.
    pub(super) fn of<'a, T>(
        &self,
        map: &'a BTreeMap<Arc<[u8]>, T>,
        backwards: bool,
    ) -> impl Iterator<Item = (&'a Arc<[u8]>, &'a T)> + use<'a, T> {
        let (from, upto) = (self.from.as_ref().map(Vec::as_slice), self.upto.as_ref());
        let upto = upto.map(Vec::as_slice);
        let is_empty = match (from, upto) {
            (Included(from) | Excluded(from), Excluded(upto))
            | (Excluded(from), Included(upto)) => from >= upto,
            (Included(from), Included(upto)) => from > upto,
            _ => false,
        };
        let range = (!is_empty).then(|| map.range::<[u8], _>((from, upto)));
        let (forth, back) = if backwards { (None, range) } else { (range, None) };
        forth.into_iter().flatten().chain(back.into_iter().flat_map(Iterator::rev))
    }
}

/// Where the keys with a prefix end.
fn behind(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut next = prefix.to_vec();
    while let Some(last) = next.pop() {
        if last < u8::MAX {
            next.push(last + 1);
            return Excluded(next);
        }
    }
    Unbounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_find_what_a_filter_does() {
        let keys: Vec<Vec<u8>> = vec![
            vec![],
            vec![0],
            vec![1],
            vec![1, 0],
            vec![1, 255],
            vec![1, 255, 255],
            vec![1, 255, 255, 7],
            vec![2],
            vec![255],
            vec![255, 255],
            vec![255, 255, 1],
        ];
        let map: BTreeMap<Arc<[u8]>, u8> =
            keys.iter().map(|key| (Arc::from(key.as_slice()), 0)).collect();
        for prefix in &keys {
            for after in keys.iter().map(Some).chain([None]) {
                for before in keys.iter().map(Some).chain([None]) {
                    let mut range = Range::prefix(prefix);
                    range = after.into_iter().fold(range, |range, key| range.after(key));
                    range = before.into_iter().fold(range, |range, key| range.before(key));
                    let mut expected: Vec<&Vec<u8>> = keys
                        .iter()
                        .filter(|key| key.starts_with(prefix))
                        .filter(|key| after.is_none_or(|after| *key > after))
                        .filter(|key| before.is_none_or(|before| *key < before))
                        .collect();
                    for backwards in [false, true] {
                        let found: Vec<Vec<u8>> =
                            range.of(&map, backwards).map(|(key, _)| key.to_vec()).collect();
                        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{range:?}");
                        expected.reverse();
                    }
                }
            }
        }
    }
}
