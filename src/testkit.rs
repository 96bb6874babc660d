//! A simulated disk, to test your own projections and handlers against crashes (feature `testkit`).
//!
//! [`SimulatedDisk`] holds a store in memory and knows what of it is durable. A power cut keeps or
//! loses each 512-byte sector of each unsynced write, each length and each directory entry,
//! independent of the others, and may tear a sector: more than any real disk does. Calls of the
//! disk have numbers, so that any of them can fail or be the one at which the power goes. All of it
//! follows from the seed: what fails once fails again.
//!
//! The pattern: do your work with the power going before call 0, 1, 2 and so on, and look at what
//! each crash leaves.
//!
//! ```
//! use annals::testkit::SimulatedDisk;
//! use annals::{ExpectedVersion, NewEvent, Store};
//!
//! // What is tested: appends one event, and says whether that was acknowledged.
//! let work = |disk: &SimulatedDisk| -> annals::Result<()> {
//!     let store = disk.open(Store::options())?;
//!     store.append("Order-1", ExpectedVersion::Any, [NewEvent::new("Placed", "1")])?;
//!     Ok(())
//! };
//!
//! for call in 0.. {
//!     let disk = SimulatedDisk::new(42);
//!     disk.cut_power_at(call);
//!     let acknowledged = work(&disk).is_ok();
//!     for left in disk.power_cuts(8) {
//!         let store = left.open(Store::options())?;
//!         assert!(!acknowledged || store.head().0 == 1, "acknowledged and lost");
//!     }
//!     if disk.calls() <= call {
//!         break; // The power stayed: there are no more calls.
//!     }
//! }
//! # Ok::<(), annals::Error>(())
//! ```

use std::io::ErrorKind;

use crate::error::Result;
use crate::position::Timestamp;
use crate::storage::Dir;
use crate::storage::memory;
use crate::storage::memory::{Keep, MemoryDisk};
use crate::store::{Store, StoreOptions};
use crate::sync::Arc;

/// A disk in memory that can crash and fail. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    disk: MemoryDisk,
}

/// What goes wrong with a call of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// EIO. A sync that fails so loses for good what it should have made durable, while reads still
    /// show it, and later syncs succeed.
    DiskError,
    /// ENOSPC.
    DiskFull,
    /// EINTR.
    Interrupted,
    /// EMFILE.
    TooManyFiles,
    /// EACCES.
    PermissionDenied,
    /// A read or a write moves half of the bytes, which is no error.
    ShortCount,
    /// A write is acknowledged, and never reaches the medium. No store survives that unharmed; a
    /// good one says so when it can know.
    LostWrite,
}

impl SimulatedDisk {
    /// An empty disk. What it does depends on the seed and on its calls alone.
    pub fn new(seed: u64) -> Self {
        Self { disk: MemoryDisk::simulated(seed) }
    }

    /// Opens the store on this disk, creating it if there is none. There is no upkeep thread: calls
    /// come in the same order each time.
    ///
    /// # Errors
    ///
    /// As [`StoreOptions::open`].
    pub fn open(&self, options: StoreOptions) -> Result<Store> {
        options.upkeep_thread(false).open_in(self.dir())
    }

    /// Opens the store on this disk for reading.
    ///
    /// # Errors
    ///
    /// As [`StoreOptions::open_read_only`].
    pub fn open_read_only(&self, options: StoreOptions) -> Result<Store> {
        options.open_read_only_in(&self.dir())
    }

    /// How many calls the disk has had, which is also the number of the next one.
    pub fn calls(&self) -> u64 {
        self.disk.calls()
    }

    /// Lets the call with this number fail, and no other.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.disk.fail_at(call, fault.into());
    }

    /// Lets the call with this number fail and all later ones.
    pub fn fail_from(&self, call: u64, fault: Fault) {
        self.disk.fail_from(call, fault.into());
    }

    /// Ends all faults to come.
    pub fn heal(&self) {
        self.disk.heal();
    }

    /// Lets the power go before the call with this number: that one fails and all later ones do,
    /// and nothing changes any more. What is left is then on [`SimulatedDisk::power_cuts`].
    pub fn cut_power_at(&self, call: u64) {
        self.disk.crash_at(call);
    }

    /// Sets the clock of the store, forwards or backwards. It moves on by a microsecond whenever
    /// someone looks.
    pub fn set_time(&self, time: Timestamp) {
        self.disk.set_time(time);
    }

    /// The disk as `kill -9` leaves it now: nothing that was written is lost.
    pub fn after_kill(&self) -> Self {
        Self { disk: self.disk.crash_keeping_everything() }
    }

    /// The disk as a power cut may leave it now, for each seed in another way.
    pub fn after_power_cut(&self, seed: u64) -> Self {
        Self { disk: self.disk.crash_seeded(seed) }
    }

    /// Disks as a power cut may leave them now: without all that was not synced, with all of it,
    /// and so many in between.
    pub fn power_cuts(&self, in_between: u64) -> impl Iterator<Item = Self> {
        let nothing = Self { disk: self.disk.crash_keeping_nothing() };
        let all = Self { disk: self.disk.crash(&mut |_| Keep::New) };
        let rest = (0..in_between).map(|seed| self.after_power_cut(seed));
        [nothing, all].into_iter().chain(rest)
    }

    fn dir(&self) -> Dir {
        Dir::new(Arc::new(self.disk.clone()))
    }
}

impl From<Fault> for memory::Fault {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::DiskError => Self::Errno(5),
            Fault::DiskFull => Self::Error(ErrorKind::StorageFull),
            Fault::Interrupted => Self::Error(ErrorKind::Interrupted),
            Fault::TooManyFiles => Self::Errno(24),
            Fault::PermissionDenied => Self::Error(ErrorKind::PermissionDenied),
            Fault::ShortCount => Self::ShortCount,
            Fault::LostWrite => Self::LostWrite,
        }
    }
}
