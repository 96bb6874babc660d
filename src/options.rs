//! What a store can be told when it is opened.

use std::time::Duration;

use crate::error::{Error, Result};

/// When an append answers, named by what it keeps.
///
/// Weaker modes lose only a suffix of the log, whole appends, and keep order. What was visible may
/// be lost with it, and its positions are then given again to other events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// `Ok` means that the events survive a power cut: written and synced. The default.
    #[default]
    Sync,
    /// Handed to the operating system: survives the end of the process, not a power cut. A
    /// background sync runs at least every 16 MiB or every second.
    Os,
    /// Buffered, written and synced at least every given time (above zero): may lose the last
    /// moments even when only the process dies. A later failure of the write is returned by the
    /// next append, by `sync` and by `close`.
    Interval(Duration),
}

/// How the log's bytes reach a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadMode {
    /// Through read-only memory maps, without copying. The default.
    ///
    /// The directory belongs to the store: while it is open nobody else may change or shorten its
    /// files (the store itself never shortens a file). A medium that fails under a map, or a file
    /// shortened by someone else, ends the process with SIGBUS.
    #[default]
    Mmap,
    /// By positional reads into owned memory: for directories that are not trusted, network disks,
    /// and processes that must not die of a failing medium. Slower by about four for small reads.
    Positional,
}

/// Whether segments are filled ahead of their use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preallocate {
    /// Written with zeros ahead of use, so that a sync writes data only. The default.
    #[default]
    Zero,
    /// The length is set, nothing is filled: for copy-on-write file systems.
    None,
}

/// Limits of what one append may hold; enforced at append with [`Error::LimitExceeded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one encoded event: data, metadata, names and labels. At most 1 GiB.
    pub event_bytes: u64,
    /// Bytes of one encoded append or batch. At most 2 GiB.
    pub append_bytes: u64,
    /// Events of one append or batch. At most 65,535.
    pub append_events: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { event_bytes: 16 << 20, append_bytes: 64 << 20, append_events: 65_535 }
    }
}

impl Limits {
    /// The most that [`Limits::event_bytes`] can be.
    pub const HARD_EVENT_BYTES: u64 = 1 << 30;
    /// The most that [`Limits::append_bytes`] can be.
    pub const HARD_APPEND_BYTES: u64 = (2 << 30) - 4096;
    /// The most that [`Limits::append_events`] can be.
    pub const HARD_APPEND_EVENTS: u64 = 65_535;
}

/// Length of a store's first segment, and of the first behind an unclean end, in bytes.
pub(crate) const FIRST_SEGMENT_BYTES: u64 = 1 << 20;

/// How many heads of streams each part of those in memory keeps, and as many from before: the most
/// that a table of 8,192 places of 64 bytes takes.
pub(crate) const HEADS_KEPT: usize = 7168;

/// The shortest and longest length a segment can be told to grow to, in bytes.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = SHORTEST..=((4 << 30) - (1 << 20));
/// The exploration of crashes goes further with smaller ones, of which it looks at millions.
const SHORTEST: u64 = if cfg!(test) { 8 << 10 } else { 64 << 10 };

/// The settings of a store, each with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) durability: Durability,
    pub(crate) read_mode: ReadMode,
    pub(crate) preallocate: Preallocate,
    pub(crate) limits: Limits,
    /// What segments grow to, in bytes; the first is at most 1 MiB.
    pub(crate) segment_bytes: u64,
    /// An index checkpoint is written each time this many bytes of log were added.
    pub(crate) checkpoint_bytes: u64,
    pub(crate) create: bool,
    /// Whether a thread does the upkeep. Without it, upkeep happens in the calls that need it.
    pub(crate) upkeep_thread: bool,
    /// How many bits of a stream's hash are kept: 64, or fewer in tests that force collisions.
    pub(crate) hash_bits: u32,
    /// How many heads of streams are kept in memory, of each part of them; fewer in tests.
    pub(crate) heads_kept: usize,
    /// So many bytes of appends of tasks are taken before they are committed.
    #[cfg(feature = "async")]
    pub(crate) pending_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            durability: Durability::Sync,
            read_mode: ReadMode::Mmap,
            preallocate: Preallocate::Zero,
            limits: Limits::default(),
            segment_bytes: 64 << 20,
            checkpoint_bytes: 8 << 20,
            create: true,
            upkeep_thread: true,
            hash_bits: 64,
            heads_kept: HEADS_KEPT,
            #[cfg(feature = "async")]
            pending_bytes: 8 << 20,
        }
    }
}

impl Settings {
    /// Checks the combination.
    pub(crate) fn check(&self) -> Result<()> {
        if self.durability == Durability::Interval(Duration::ZERO) {
            return Err(invalid("the interval between syncs is zero; give a time above zero"));
        }
        if !SEGMENT_BYTES.contains(&self.segment_bytes) {
            return Err(invalid(format!(
                "segments of {} bytes; from {} to {} are possible",
                self.segment_bytes,
                SEGMENT_BYTES.start(),
                SEGMENT_BYTES.end()
            )));
        }
        let limits = &self.limits;
        for (what, value, hard) in [
            ("bytes of an event", limits.event_bytes, Limits::HARD_EVENT_BYTES),
            ("bytes of an append", limits.append_bytes, Limits::HARD_APPEND_BYTES),
            ("events of an append", limits.append_events, Limits::HARD_APPEND_EVENTS),
        ] {
            if value == 0 || value > hard {
                return Err(invalid(format!(
                    "the limit for {what} is {value}; from 1 to {hard} are possible"
                )));
            }
        }
        if limits.event_bytes > limits.append_bytes {
            return Err(invalid(format!(
                "the limit for an event ({} bytes) is above the limit for an append ({} bytes)",
                limits.event_bytes, limits.append_bytes
            )));
        }
        Ok(())
    }
}

fn invalid(why: impl Into<String>) -> Error {
    Error::InvalidOptions { why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_that_cannot_work_are_refused() {
        let with = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check()
        };
        assert!(with(|_| ()).is_ok());
        let bad: [fn(&mut Settings); 6] = [
            |s| s.durability = Durability::Interval(Duration::ZERO),
            |s| s.segment_bytes = 1,
            |s| s.segment_bytes = 4 << 30,
            |s| s.limits.append_events = 65_536,
            |s| s.limits.event_bytes = 0,
            |s| s.limits.event_bytes = 65 << 20,
        ];
        for change in bad {
            assert!(matches!(with(change), Err(Error::InvalidOptions { .. })));
        }
    }
}
