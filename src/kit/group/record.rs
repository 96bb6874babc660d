//! What a group keeps in its own stream: which events are parked, and what became of them.
//!
//! A record is an event like any other. Its type says what happened, its causation id is the id of
//! the event that it speaks of, its data is the reason as text, and tags give position and
//! attempts.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::event::Event;
use crate::names::EventId;
use crate::new_event::NewEvent;
use crate::options::Durability;
use crate::position::{ExpectedVersion, Position};
use crate::store::Store;

/// Longest reason that is kept, in bytes.
pub(super) const MAX_REASON: usize = 1024;

/// What happened to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Parked, for somebody to decide.
    Parked,
    /// Parked without having been handed out, because it stands behind one that is parked.
    ParkedBehind,
    /// To be handed out again.
    Replayed,
    /// Acknowledged after a replay.
    Processed,
    /// Not to be handed out again.
    Discarded,
}

impl Kind {
    const ALL: [Self; 5] =
        [Self::Parked, Self::ParkedBehind, Self::Replayed, Self::Processed, Self::Discarded];

    const fn event_type(self) -> &'static str {
        match self {
            Self::Parked => "Parked",
            Self::ParkedBehind => "ParkedBehind",
            Self::Replayed => "ParkedReplayed",
            Self::Processed => "ParkedProcessed",
            Self::Discarded => "ParkedDiscarded",
        }
    }
}

/// A record of a group's own stream.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) id: EventId,
    pub(super) position: Position,
    pub(super) attempts: u32,
    pub(super) reason: String,
}

impl Record {
    fn to_event(&self) -> NewEvent {
        NewEvent::new(self.kind.event_type(), self.reason.as_bytes())
            .content_type("text/plain")
            .causation(self.id.to_string())
            .tag(format!("position:{}", self.position))
            .tag(format!("attempts:{}", self.attempts))
    }

    /// `None` for an event that no group has written: anybody may append to the stream.
    fn from_event(event: &Event) -> Option<Self> {
        let number = |name: &str| -> Option<u64> {
            event.tags().find_map(|tag| tag.strip_prefix(name)?.strip_prefix(':')?.parse().ok())
        };
        Some(Self {
            kind: Kind::ALL.into_iter().find(|kind| kind.event_type() == event.event_type())?,
            id: event.causation_id()?.parse().ok()?,
            position: Position(number("position")?),
            attempts: number("attempts")?.try_into().ok()?,
            reason: String::from_utf8_lossy(event.data()).into_owned(),
        })
    }
}

/// The stream of a group's own.
pub(super) fn stream_of(group: &str) -> String {
    format!("ParkedBy-{group}")
}

/// Writes records, all or none. Durable when it returns, in every mode: the cursor may then move
/// past events whose only trace they are, and it stands before them in the log.
pub(super) fn write(store: &Store, stream: &str, records: &[Record]) -> Result<()> {
    let events = records.iter().map(Record::to_event);
    store
        .batch()
        .append(stream, ExpectedVersion::Any, events)
        .durability(Durability::Sync)
        .commit()?;
    Ok(())
}

/// What the stream of a group says.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The last record of each event that is still parked.
    pub(super) parked: HashMap<EventId, Record>,
    /// Events that were parked and are not any more, behind the cursor: it was not saved since, so
    /// they will be fetched once more.
    pub(super) settled: HashSet<EventId>,
}

pub(super) fn load(store: &Store, stream: &str, cursor: Position) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    for event in store.read_stream(stream) {
        let Some(record) = Record::from_event(&event?) else { continue };
        match record.kind {
            Kind::Parked | Kind::ParkedBehind => {
                loaded.settled.remove(&record.id);
                loaded.parked.insert(record.id, record);
            }
            Kind::Replayed => {
                if let Some(parked) = loaded.parked.get_mut(&record.id) {
                    parked.kind = Kind::Replayed;
                }
            }
            Kind::Processed | Kind::Discarded => {
                loaded.parked.remove(&record.id);
                if record.position > cursor {
                    loaded.settled.insert(record.id);
                }
            }
        }
    }
    Ok(loaded)
}

/// A reason as it is kept: cut to a length, at the edge of a character.
pub(super) fn shortened(mut reason: String) -> String {
    let cut = (0..=MAX_REASON).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
    reason.truncate(cut);
    reason
}
