//! The store as a whole on the simulated disk, held against one plain [model](oracle): through
//! crashes, faults, damage, random histories and collisions of hashes.
//!
//! Everything follows from a seed, which a failure prints. `ANNALS_SEED=n` takes another one, and
//! `ANNALS_LONG=1` makes every sweep many times larger.

mod clock;
mod collisions;
mod covered;
mod crash;
mod cursors;
mod damage;
mod edges;
mod explore;
mod faults;
mod follow;
mod found;
mod fuzz;
mod groups;
mod history;
mod images;
mod late;
mod lies;
mod model;
mod oracle;
mod order;
mod panics;
mod rebuilt;
mod schedules;
mod snapshots;
mod subscriptions;
mod sweep;
#[cfg(feature = "async")]
mod tasks;
mod views;

use std::env;

use crate::storage::Dir;
use crate::storage::memory::MemoryDisk;
use crate::sync::Arc;
use crate::{Durability, Result, Store, StoreOptions};

/// The seed of all tests, unless the environment has another one.
const SEED: u64 = 20_260_821;

fn seed() -> u64 {
    env::var("ANNALS_SEED").ok().map_or(SEED, |seed| seed.parse().expect("a number as the seed"))
}

/// How much of a sweep is made.
fn scaled(short: usize, long: usize) -> usize {
    if env::var_os("ANNALS_LONG").is_some_and(|long| long != "0") { long } else { short }
}

/// Options under which little makes segments roll, index checkpoints, and everything happen in
/// the calls that need it.
fn small() -> StoreOptions {
    // One head of each part, so that both ways of finding one are gone.
    let options = Store::options().segment_bytes(64 << 10).checkpoint_bytes(8 << 10);
    options.heads_kept(1).upkeep_thread(false)
}

fn open(disk: &MemoryDisk, options: &StoreOptions) -> Result<Store> {
    options.clone().open_in(Dir::new(Arc::new(disk.clone())))
}

fn open_read_only(disk: &MemoryDisk, options: &StoreOptions) -> Result<Store> {
    options.clone().open_read_only_in(&Dir::new(Arc::new(disk.clone())))
}

/// Splitmix64, as the disk's own: small, seeded, the same everywhere.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// Where a test is; printed when it panics there.
struct Scene<F: Fn() -> String>(F);

impl<F: Fn() -> String> Drop for Scene<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("  at: {}", (self.0)());
        }
    }
}

/// The modes, by name.
const MODES: [(&str, Durability); 3] = [
    ("sync", Durability::Sync),
    ("os", Durability::Os),
    ("interval", Durability::Interval(std::time::Duration::from_secs(3600))),
];
