//! What is different in two views.

use std::cmp::Ordering;

use crate::error::Result;
use crate::view::StoredView;

/// In what two views differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ViewDifference {
    /// Keys with the same value in both.
    pub same: u64,
    /// Keys with another value.
    pub changed: u64,
    /// Keys that only the first has.
    pub only_first: u64,
    /// Keys that only the second has.
    pub only_second: u64,
}

impl ViewDifference {
    /// Whether both hold the same.
    pub const fn is_none(&self) -> bool {
        self.changed == 0 && self.only_first == 0 && self.only_second == 0
    }
}

/// Compares two views, key by key, as they are now: one that was built beside with the one that it
/// is to replace. Values are the same where a closure says so, which is given the key too; take
/// `|_, one, other| one == other` to compare bytes. Takes O(entries) reads.
///
/// ```
/// use annals::kit::compare_views;
/// use annals::{Position, Store};
/// let store = Store::in_memory()?;
/// let [old, new] = ["totals", "totals@2"].map(|name| store.create_view(name, 1));
/// let (old, new) = (old?, new?);
/// old.commit(old.update(Position::START).put("a", "1").put("b", "2"), Position::START)?;
/// new.commit(new.update(Position::START).put("a", "1").put("c", "3"), Position::START)?;
/// let difference = compare_views(&old, &new, |_, one, other| one == other)?;
/// assert_eq!((difference.same, difference.only_first, difference.only_second), (1, 1, 1));
/// # Ok::<(), annals::Error>(())
/// ```
///
/// # Errors
///
/// As [`ViewScan::read`](crate::ViewScan::read).
pub fn compare_views(
    first: &StoredView,
    second: &StoredView,
    mut is_same: impl FnMut(&[u8], &[u8], &[u8]) -> bool,
) -> Result<ViewDifference> {
    let (mut ones, mut others) = (first.scan().read()?, second.scan().read()?);
    let (mut one, mut other) = (ones.next().transpose()?, others.next().transpose()?);
    let mut difference = ViewDifference::default();
    loop {
        let order = match (&one, &other) {
            (None, None) => return Ok(difference),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((key, value)), Some((other_key, other_value))) => {
                let order = key.cmp(other_key);
                if order == Ordering::Equal {
                    if is_same(key, value, other_value) {
                        difference.same += 1;
                    } else {
                        difference.changed += 1;
                    }
                }
                order
            }
        };
        difference.only_first += u64::from(order == Ordering::Less);
        difference.only_second += u64::from(order == Ordering::Greater);
        if order != Ordering::Greater {
            one = ones.next().transpose()?;
        }
        if order != Ordering::Less {
            other = others.next().transpose()?;
        }
    }
}
