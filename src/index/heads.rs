//! The heads of the streams that were appended to last, in memory.
//!
//! What is found here is exact: commits alone put heads in, each before its events are visible, so
//! a stream that is here has no newer event. What is not here is looked up in the tiers.

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::position::Version;
use crate::sync::Mutex;

/// So many parts have locks of their own.
const SHARDS: usize = 16;
/// Longer names are not kept, so that what is kept is bounded.
const MOST_NAME: usize = 128;

/// The last event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) version: Version,
    /// The newest segment that holds the stream.
    pub(crate) segment: u32,
}

pub(super) struct Heads {
    /// So many streams of a part are kept since it was last full, and as many from before.
    kept: usize,
    shards: [Mutex<Shard>; SHARDS],
}

/// Two generations: a stream that is not appended to while one fills is forgotten.
#[derive(Default)]
struct Shard {
    newer: HashTable<Known>,
    older: HashTable<Known>,
}

// It fills a line of the cache, and is found in one.
#[repr(align(64))]
struct Known {
    hash: u64,
    head: Head,
    name: SmallVec<[u8; 32]>,
}

impl Heads {
    pub(super) fn new(kept: usize) -> Self {
        Self { kept, shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// The head of a stream, where it was put in and is not forgotten.
    pub(super) fn get(&self, name: &str, hash: u64) -> Option<Head> {
        let shard = self.shard(hash)?.lock();
        let is = |known: &Known| known.is(name, hash);
        // A stream that is in both has its newest head in the newer one.
        let known = shard.newer.find(hash, is).or_else(|| shard.older.find(hash, is))?;
        Some(known.head)
    }

    /// Takes note of a stream's head.
    pub(super) fn put(&self, name: &str, hash: u64, head: Head) {
        let Some(shard) = self.shard(hash) else { return };
        if name.len() > MOST_NAME || self.kept == 0 {
            return;
        }
        let mut shard = shard.lock();
        if let Some(known) = shard.newer.find_mut(hash, |known| known.is(name, hash)) {
            known.head = head;
            return;
        }
        if shard.newer.len() >= self.kept {
            let Shard { newer, older } = &mut *shard;
            std::mem::swap(newer, older);
            newer.clear();
        }
        let known = Known { hash, head, name: SmallVec::from_slice(name.as_bytes()) };
        shard.newer.insert_unique(hash, known, |known| known.hash);
    }

    /// By bits that a table does not go by, which takes the lowest and the seven highest.
    fn shard(&self, hash: u64) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::try_from(hash >> 40).ok()? % SHARDS)
    }
}

impl Known {
    fn is(&self, name: &str, hash: u64) -> bool {
        self.hash == hash && self.name.as_slice() == name.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::options::HEADS_KEPT;

    fn head(version: u64) -> Head {
        Head { version: Version(version), segment: 7 }
    }

    #[test]
    fn a_stream_is_found_by_its_name_and_as_it_was_put_last() {
        let heads = Heads::new(HEADS_KEPT);
        assert_eq!(heads.get("A-1", 5), None);
        heads.put("A-1", 5, head(1));
        heads.put("B-1", 5, head(2));
        heads.put("A-1", 5, head(3));
        assert_eq!((heads.get("A-1", 5), heads.get("B-1", 5)), (Some(head(3)), Some(head(2))));
        assert_eq!((heads.get("C-1", 5), heads.get("A-1", u64::MAX)), (None, None));
        let long = "L".repeat(MOST_NAME + 1);
        heads.put(&long, 5, head(4));
        heads.put(&long[2..], 5, head(5));
        let found = [&long[..], &long[1..], &long[2..]].map(|name| heads.get(name, 5));
        assert_eq!(found, [None, None, Some(head(5))], "only one was put in that is not too long");
    }

    /// However many streams there are: what is found is the newest, what was put in last is found,
    /// and no more are kept than there is room for.
    #[test]
    fn what_is_used_stays_and_what_is_not_is_forgotten() {
        let heads = Heads::new(HEADS_KEPT);
        let mut model = HashMap::new();
        let mut random = 1_u64;
        let streams = HEADS_KEPT as u64 * 4;
        // All in the first part.
        let hash_of = |stream: u64| stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) & !(0xf << 40);
        for turn in 0..HEADS_KEPT as u64 * 12 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // One of two is of the few that are used all the time.
            let stream = if turn % 2 == 0 { turn / 2 % 100 } else { (random >> 33) % streams };
            let (name, hash) = (format!("S-{stream}"), hash_of(stream));
            heads.put(&name, hash, head(turn));
            model.insert(stream, turn);
            if turn >= 200 {
                let often = (random >> 40) % 100;
                let found = heads.get(&format!("S-{often}"), hash_of(often));
                assert_eq!(found, Some(head(model[&often])), "S-{often} was used just now");
            }
        }
        let mut found = 0;
        for (stream, version) in &model {
            if let Some(known) = heads.get(&format!("S-{stream}"), hash_of(*stream)) {
                assert_eq!(known, head(*version), "S-{stream}");
                found += 1;
            }
        }
        assert!(found < model.len() && found > HEADS_KEPT, "{found} of {}", model.len());
        let shard = heads.shard(0).unwrap().lock();
        assert!(shard.newer.len() <= HEADS_KEPT && shard.older.len() <= HEADS_KEPT);
        assert!(shard.newer.capacity() == HEADS_KEPT && size_of::<Known>() <= 64);
    }
}
