//! Filling a store, and asking it in every way for what it holds.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::event::Event;
use crate::names::EventId;
use crate::new_event::NewEvent;
use crate::position::{ExpectedVersion, Position, Version};
use crate::store::Store;

/// Stream and data of each event, by position.
pub(super) type Written = Vec<(String, Vec<u8>)>;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In order of position, up to the first that could not be read.
    pub(super) events: Written,
    pub(super) errors: usize,
}

fn id(n: usize) -> EventId {
    uuid::Uuid::from_u64_pair(n as u64, 99).into()
}

/// Appends four events to three streams and returns them; `n` is how many there were.
pub(super) fn fill(store: &Store, n: usize, bytes: usize) -> Written {
    let data = |more: usize| [(n + more).to_string().into_bytes(), vec![b'x'; bytes]].concat();
    let stream = |more: usize| format!("Stream-{}", (n + more) % 7);
    let event = |more: usize| NewEvent::new("Made", data(more));
    store.append(stream(0), ExpectedVersion::Any, [event(0).id(id(n))]).unwrap();
    let batch = store.batch().append(stream(1), ExpectedVersion::Any, [event(1).id(id(n + 1))]);
    let batch = batch.append(stream(2), ExpectedVersion::Any, [event(2), event(3)]);
    batch.commit().unwrap();
    [(0, 0), (1, 1), (2, 2), (2, 3)].map(|(of, more)| (stream(of), data(more))).into()
}

/// Reads everything there is, by every way there is. Errors are of the kinds for damage.
pub(super) fn read_everything(store: &Store) -> Found {
    let mut found = Found::default();
    let mut events: Vec<Event> = Vec::new();
    let head = usize::try_from(store.head().0).unwrap_or(usize::MAX);
    // A head that somebody made up may be far away.
    let most = head.min(2000);
    for event in store.read_all().limit(most) {
        match event {
            Ok(event) => events.push(event),
            Err(e) => {
                found.note(&e);
                break;
            }
        }
    }
    found.count(store.read_all().backwards().limit(most));
    let streams: BTreeSet<&str> = events.iter().map(Event::stream).collect();
    for stream in streams.into_iter().chain(["Absent-1"]) {
        found.count(store.read_stream(stream).limit(most));
        found.count(store.read_stream(stream).backwards().limit(most));
        found.count(store.read_stream(stream).after(Version(1)).limit(2));
        found.count([store.stream(stream).map(drop)]);
    }
    for event in events.iter().take(40) {
        found.count([store.event_by_id(event.id()).map(drop)]);
        found.count([store.event(event.position()).map(drop)]);
    }
    for absent in [Position(0), Position(head as u64), Position(u64::MAX)] {
        found.count([store.event(absent).map(drop)]);
    }
    found.count([store.event_by_id(id(usize::MAX)).map(drop), store.info().map(drop)]);
    found.count([store.event_types().map(drop), store.categories().map(drop)]);
    found.count([store.schemas().map(drop)]);
    let pair = |event: &Event| (event.stream().to_owned(), event.data().to_vec());
    found.events = events.iter().map(pair).collect();
    found
}

impl Found {
    fn note(&mut self, e: &Error) {
        // A made-up name of a stream is no name that can be asked for.
        let is_refusal = matches!(e, Error::UnsupportedFormat { .. } | Error::InvalidName { .. });
        let is_typed = e.is_corruption() || is_refusal;
        assert!(is_typed, "{e:?}");
        self.errors += 1;
    }

    fn count<T>(&mut self, reads: impl IntoIterator<Item = Result<T>>) {
        for read in reads {
            if let Err(e) = read {
                self.note(&e);
                break;
            }
        }
    }
}

/// Appends to streams that are there and to one that is not, with and without ids.
pub(super) fn append(store: &Store) {
    for (stream, n) in [("Stream-1", 0), ("Stream-2", 9), ("New-1", 1 << 40)] {
        let event = NewEvent::new("Made", "behind");
        for event in [event.clone(), event.id(id(n))] {
            if let Err(e) = store.append(stream, ExpectedVersion::Any, [event]) {
                let is_typed = matches!(
                    e,
                    Error::NotWritten { .. }
                        | Error::Unknown { .. }
                        | Error::Poisoned { .. }
                        | Error::IdConflict(_)
                );
                assert!(is_typed, "{e:?}");
            }
        }
    }
}
