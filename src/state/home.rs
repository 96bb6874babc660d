//! What all parts of a store's state share.

use crate::options::Preallocate;
use crate::storage::Dir;
use crate::sync::{Arc, AtomicU64};

#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) dir: Dir,
    pub(crate) store: [u8; 16],
    pub(crate) writable: bool,
    pub(crate) preallocate: Preallocate,
    /// The last position of the log: when the store was opened, or as far as a follower knows.
    pub(crate) log_end: Arc<AtomicU64>,
}
