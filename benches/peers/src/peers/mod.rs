//! The stores, a module each.

mod annals;
#[cfg(feature = "eventsdb")]
mod eventsdb;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(any(feature = "fjall", feature = "rocksdb"))]
mod group_sync;
#[cfg(feature = "heed")]
mod heed;
#[cfg(any(feature = "redb", feature = "heed", feature = "fjall", feature = "rocksdb"))]
mod kv;
#[cfg(feature = "okaywal")]
mod okaywal;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "raft-engine")]
mod raft_engine;
mod raw;
mod raw_group;
mod record;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sierradb")]
mod sierradb;
#[cfg(feature = "rusqlite")]
mod sqlite;
#[cfg(feature = "tephra")]
mod tephra;
#[cfg(feature = "umadb")]
mod umadb;

use std::path::Path;

use crate::store::Peer;

/// All that this build and this machine have, the limit first.
pub fn all() -> Vec<&'static Peer> {
    let all = [
        &raw::PLAIN,
        &raw::GATHERING,
        &raw::DIRECT,
        &annals::PEER,
        #[cfg(feature = "tephra")]
        &tephra::PEER,
        #[cfg(feature = "sierradb")]
        &sierradb::PEER,
        #[cfg(feature = "sierradb")]
        &sierradb::EAGER,
        #[cfg(feature = "umadb")]
        &umadb::PEER,
        #[cfg(feature = "eventsdb")]
        &eventsdb::PEER,
        #[cfg(feature = "rusqlite")]
        &sqlite::PEER,
        #[cfg(feature = "redb")]
        &redb::PEER,
        #[cfg(feature = "fjall")]
        &fjall::PEER,
        #[cfg(feature = "rocksdb")]
        &rocksdb::PEER,
        #[cfg(feature = "heed")]
        &heed::PEER,
        #[cfg(feature = "okaywal")]
        &okaywal::PEER,
        #[cfg(feature = "raft-engine")]
        &raft_engine::PEER,
        #[cfg(feature = "postgres")]
        &postgres::PEER,
    ];
    all.into_iter().filter(|peer| is_here(peer)).collect()
}

/// Whether what a store needs is installed.
#[cfg(feature = "postgres")]
fn is_here(peer: &Peer) -> bool {
    peer.name != postgres::PEER.name || postgres::is_installed()
}

#[cfg(not(feature = "postgres"))]
fn is_here(_peer: &Peer) -> bool {
    true
}

/// Stores that this build or this machine does not have, and why.
pub fn absent() -> Vec<(&'static str, &'static str)> {
    let mut absent = Vec::new();
    let features = [
        ("tephra", cfg!(feature = "tephra")),
        ("sierradb", cfg!(feature = "sierradb")),
        ("umadb-core", cfg!(feature = "umadb")),
        ("eventsdb", cfg!(feature = "eventsdb")),
        ("rusqlite", cfg!(feature = "rusqlite")),
        ("redb", cfg!(feature = "redb")),
        ("fjall", cfg!(feature = "fjall")),
        ("rocksdb", cfg!(feature = "rocksdb")),
        ("heed", cfg!(feature = "heed")),
        ("okaywal", cfg!(feature = "okaywal")),
        ("raft-engine", cfg!(feature = "raft-engine")),
        ("postgres", cfg!(feature = "postgres")),
    ];
    for (name, is_built) in features {
        if !is_built {
            absent.push((name, "its feature was not built"));
        }
    }
    #[cfg(feature = "postgres")]
    if !postgres::is_installed() {
        absent.push((postgres::PEER.name, "PostgreSQL is not installed"));
    }
    absent
}

/// For stores whose processes leave nothing running.
fn none_running(_dir: &Path) {}
