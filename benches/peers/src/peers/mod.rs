//! The stores, a module each.

mod annals;
#[cfg(any(feature = "redb", feature = "heed", feature = "fjall", feature = "rocksdb"))]
mod kv;
mod raw;
mod raw_group;
mod record;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rusqlite")]
mod sqlite;

use std::path::Path;

use crate::store::Peer;

/// All that this build has, the limit first.
pub fn all() -> Vec<&'static Peer> {
    vec![
        &raw::PLAIN,
        &raw::GATHERING,
        &raw::DIRECT,
        &annals::PEER,
        #[cfg(feature = "rusqlite")]
        &sqlite::PEER,
        #[cfg(feature = "redb")]
        &redb::PEER,
    ]
}

/// For stores whose processes leave nothing running.
fn none_running(_dir: &Path) {}
