//! A command, with what goes along with it.

use crate::event::Event;
use crate::names::EventId;

/// A command, and what goes along with it to the events that it leads to.
///
/// | | on the events |
/// |---|---|
/// | correlation id | what was said; else the command's id, if it has one |
/// | causation id | what was said (mostly the event that is the cause); else the command's id |
/// | metadata | what was said |
///
/// ```
/// use annals::EventId;
/// use annals::kit::Request;
/// let id = EventId::from_bytes([7; 16]);
/// let request = Request::new("place the order").id(id).correlation("checkout-1");
/// assert_eq!(request.command_id(), Some(id));
/// ```
#[derive(Clone, Debug)]
pub struct Request<C> {
    pub(super) command: C,
    pub(super) id: Option<EventId>,
    pub(super) correlation: Option<String>,
    pub(super) causation: Option<String>,
    pub(super) metadata: Vec<u8>,
}

impl<C> Request<C> {
    /// A command alone. It has no id, so given again it is decided again.
    pub const fn new(command: C) -> Self {
        Self { command, id: None, correlation: None, causation: None, metadata: Vec::new() }
    }

    /// Its id, unique for ever: what makes it safe to give again.
    pub fn id(mut self, id: impl Into<EventId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The correlation id of its events.
    pub fn correlation(mut self, id: impl Into<String>) -> Self {
        self.correlation = Some(id.into());
        self
    }

    /// The causation id of its events.
    pub fn causation(mut self, id: impl Into<String>) -> Self {
        self.causation = Some(id.into());
        self
    }

    /// The metadata of its events.
    pub fn metadata(mut self, metadata: impl Into<Vec<u8>>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// Makes it a command that an event causes: with that event's correlation id (its own id, where
    /// it has none), the event as the cause, and an id that follows from the event's and a name.
    /// The same event causes the command of a name once, however often it comes.
    ///
    /// ```
    /// use annals::kit::Request;
    /// use annals::{ExpectedVersion, NewEvent, Position, Store};
    /// let store = Store::in_memory()?;
    /// let paid = NewEvent::new("OrderPaid", "").correlation("checkout-1");
    /// store.append("Order-1", ExpectedVersion::Any, [paid])?;
    /// let paid = store.event(Position(1))?.unwrap();
    /// let request = Request::new("ship it").caused_by(&paid, "ship");
    /// assert_eq!(request.command_id(), Some(paid.id().derive("ship")));
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn caused_by(self, event: &Event, name: &str) -> Self {
        let id = event.id();
        let correlation = event.correlation_id().map_or_else(|| id.to_string(), ToOwned::to_owned);
        self.id(id.derive(name)).correlation(correlation).causation(id.to_string())
    }

    /// The command.
    pub const fn command(&self) -> &C {
        &self.command
    }

    /// The id that it was given.
    pub const fn command_id(&self) -> Option<EventId> {
        self.id
    }
}

impl<C> From<C> for Request<C> {
    fn from(command: C) -> Self {
        Self::new(command)
    }
}
