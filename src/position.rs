//! Places and conditions: where an event stands in the log and in its stream.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A place in the log: 1 for the first event of the store, dense, in commit order.
///
/// [`Position::START`] (0) stands before every event, so it is what a reader that has seen
/// nothing yet passes to `after`.
///
/// ```
/// use annals::Position;
/// assert!(Position::START < Position(1));
/// assert_eq!(Position(41).next(), Some(Position(42)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before everything: no event has this position.
    pub const START: Self = Self(0);

    /// The highest position a store gives: positions fit the 60 bits that a store-assigned
    /// [`EventId`](crate::EventId) has room for.
    pub const MAX: Self = Self((1 << 60) - 1);

    /// The position behind this one, or `None` behind [`Position::MAX`].
    pub const fn next(self) -> Option<Self> {
        if self.0 < Self::MAX.0 { Some(Self(self.0 + 1)) } else { None }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a stream: 1 for its first event, dense; 0 means that nothing is there yet.
///
/// ```
/// use annals::{ExpectedVersion, Version};
/// assert_eq!(ExpectedVersion::from(Version(7)), ExpectedVersion::Exact(Version(7)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The version of a stream without events.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an append expects of its stream; checked in the same step that assigns versions.
///
/// ```
/// use annals::{ExpectedVersion, Store, NewEvent};
/// let store = Store::in_memory()?;
/// store.append("Order-1", ExpectedVersion::NoStream, [NewEvent::new("OrderPlaced", "{}")])?;
/// let refused = store
///     .append("Order-1", ExpectedVersion::NoStream, [NewEvent::new("OrderPlaced", "{}")]);
/// assert!(refused.unwrap_err().is_conflict());
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpectedVersion {
    /// No expectation: append behind whatever is there.
    Any,
    /// The stream has no event. The same as `Exact(Version(0))`.
    NoStream,
    /// The stream has at least one event.
    Exists,
    /// The stream's last event has this version.
    Exact(Version),
}

impl ExpectedVersion {
    /// Whether a stream whose last version is `actual` meets the expectation.
    pub const fn accepts(self, actual: Version) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => actual.0 == 0,
            Self::Exists => actual.0 > 0,
            Self::Exact(version) => actual.0 == version.0,
        }
    }
}

impl From<Version> for ExpectedVersion {
    fn from(version: Version) -> Self {
        Self::Exact(version)
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::NoStream => f.write_str("no stream"),
            Self::Exists => f.write_str("an existing stream"),
            Self::Exact(version) => write!(f, "version {version}"),
        }
    }
}

/// A point in time: microseconds since 1970-01-01T00:00:00Z, before it negative.
///
/// Times are data: nothing in the store is ordered by them.
///
/// ```
/// use annals::Timestamp;
/// use std::time::SystemTime;
/// let epoch = Timestamp::from_micros(0);
/// assert_eq!(SystemTime::from(epoch), SystemTime::UNIX_EPOCH);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time this many microseconds after the start of 1970, UTC.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds after the start of 1970, UTC.
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

impl From<SystemTime> for Timestamp {
    /// Saturates at the ends of the range (about 292,000 years around 1970).
    fn from(time: SystemTime) -> Self {
        let micros = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(micros(after)),
            Err(before) => Self(-micros(before.duration())),
        }
    }
}

impl From<Timestamp> for SystemTime {
    /// Saturates to 1970 where the system's clock cannot express the time.
    fn from(time: Timestamp) -> Self {
        let distance = Duration::from_micros(time.0.unsigned_abs());
        let there = if time.0 < 0 {
            UNIX_EPOCH.checked_sub(distance)
        } else {
            UNIX_EPOCH.checked_add(distance)
        };
        there.unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_accept_what_they_say() {
        let (none, one, two) = (Version(0), Version(1), Version(2));
        for (expected, on_none, on_one, on_two) in [
            (ExpectedVersion::Any, true, true, true),
            (ExpectedVersion::NoStream, true, false, false),
            (ExpectedVersion::Exact(none), true, false, false),
            (ExpectedVersion::Exists, false, true, true),
            (ExpectedVersion::Exact(one), false, true, false),
        ] {
            assert_eq!(expected.accepts(none), on_none, "{expected}");
            assert_eq!(expected.accepts(one), on_one, "{expected}");
            assert_eq!(expected.accepts(two), on_two, "{expected}");
        }
    }

    #[test]
    fn times_survive_the_way_through_the_system_clock() {
        for micros in [0, 1, -1, 1_700_000_000_123_456, -62_135_596_800_000_000] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(Timestamp::from(SystemTime::from(time)), time);
        }
    }

    #[test]
    fn positions_end_instead_of_wrapping() {
        assert_eq!(Position::MAX.next(), None);
        assert_eq!(Position::START.next(), Some(Position(1)));
    }
}
