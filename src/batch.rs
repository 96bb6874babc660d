//! Atomic writes to several streams.

use crate::error::Result;
use crate::event::Appended;
use crate::new_event::NewEvent;
use crate::options::Durability;
use crate::position::ExpectedVersion;
use crate::store::Store;
use crate::writer::Part;

/// One atomic write to any number of streams: all of it or nothing. Made by
/// [`Store::batch`](Store::batch).
#[derive(Debug)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    store: Store,
    parts: Vec<Part>,
    durability: Option<Durability>,
}

impl Batch {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, parts: Vec::new(), durability: None }
    }

    /// Adds events of a stream. A stream may come more than once; later expectations see what
    /// earlier parts of the batch append.
    pub fn append(
        mut self,
        stream: impl AsRef<str>,
        expected: impl Into<ExpectedVersion>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Self {
        self.parts.push(Part {
            stream: stream.as_ref().into(),
            expected: expected.into(),
            events: events.into_iter().collect(),
        });
        self
    }

    /// Adds an expectation of a stream that is only checked.
    pub fn expect(self, stream: impl AsRef<str>, expected: impl Into<ExpectedVersion>) -> Self {
        self.append(stream, expected, [])
    }

    /// Asks for more than the store's own durability. Less than that is not possible, and asking
    /// for it changes nothing.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Commits the batch, and says for each part with events where its last one stands.
    ///
    /// # Errors
    ///
    /// As [`Store::append`](Store::append); [`Error::EmptyAppend`](crate::Error::EmptyAppend)
    /// where no part has events.
    pub fn commit(self) -> Result<Vec<Appended>> {
        self.store.commit(self.parts, self.durability)
    }
}
