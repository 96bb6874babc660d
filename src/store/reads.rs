//! The calls of a store that read.

use super::{Store, StreamInfo};
use crate::catalog::Catalog;
use crate::error::Result;
use crate::event::Event;
use crate::index::Naming;
use crate::names::{EventId, check_stream_name};
use crate::position::{Position, Timestamp};
use crate::query::Query;
use crate::reader::{self, NameInfo, ReadAll, ReadStream, SchemaInfo, Streams};
use crate::subscription::Subscribe;
use crate::sync::Arc;

impl Store {
    /// Reads a stream. See [`ReadStream`].
    pub fn read_stream(&self, stream: impl AsRef<str>) -> ReadStream {
        ReadStream::new(self.readable(), stream.as_ref())
    }

    /// Reads all events in global order. See [`ReadAll`].
    pub fn read_all(&self) -> ReadAll {
        self.read(Query::new())
    }

    /// Reads the events that match a query, in global order. See [`ReadAll`].
    pub fn read(&self, query: Query) -> ReadAll {
        ReadAll::new(self.readable(), query)
    }

    /// The event at a position; `None` where nothing is visible there.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Io`], [`Error::Closed`].
    ///
    /// [`Error::Closed`]: crate::Error::Closed
    /// [`Error::Corrupt`]: crate::Error::Corrupt
    /// [`Error::Io`]: crate::Error::Io
    pub fn event(&self, position: Position) -> Result<Option<Event>> {
        let catalog = self.readable()?;
        if position == Position::START || position > catalog.pin()? {
            return catalog.nothing();
        }
        catalog.event(position).map(Some)
    }

    /// The event with an id, given or assigned; `None` where no visible event has it.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Io`], [`Error::Closed`].
    ///
    /// [`Error::Closed`]: crate::Error::Closed
    /// [`Error::Corrupt`]: crate::Error::Corrupt
    /// [`Error::Io`]: crate::Error::Io
    pub fn event_by_id(&self, id: impl Into<EventId>) -> Result<Option<Event>> {
        let catalog = self.readable()?;
        let upto = catalog.pin()?;
        match catalog.event_by_id(id.into(), Position::START, upto, &mut None)? {
            Some(event) => Ok(Some(event)),
            None => catalog.nothing(),
        }
    }

    /// A stream as it is now; `None` where it has no event.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`], [`Error::Corrupt`], [`Error::Io`], [`Error::Closed`].
    ///
    /// [`Error::Closed`]: crate::Error::Closed
    /// [`Error::Corrupt`]: crate::Error::Corrupt
    /// [`Error::InvalidName`]: crate::Error::InvalidName
    /// [`Error::Io`]: crate::Error::Io
    pub fn stream(&self, stream: impl AsRef<str>) -> Result<Option<StreamInfo>> {
        let name = stream.as_ref();
        check_stream_name(name)?;
        let newest = self.read_stream(name).backwards().limit(1).into_iter().next().transpose()?;
        Ok(newest.map(|event| StreamInfo {
            name: name.into(),
            version: event.version(),
            last_position: event.position(),
        }))
    }

    /// Begins a subscription: history, then live. See [`Subscription`](crate::Subscription).
    pub fn subscribe(&self) -> Subscribe {
        let subscribe = Subscribe::new(self.readable(), Arc::clone(&self.inner.cursors));
        #[cfg(feature = "async")]
        let subscribe = subscribe.reading_in(&self.inner.history);
        subscribe
    }

    /// Lists the streams. See [`Streams`].
    pub fn streams(&self) -> Streams {
        Streams::new(self.readable())
    }

    /// The categories, in order of their names, with how many events each has and which are the
    /// first and the last. Costs a look at each segment's names.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Io`], [`Error::Closed`].
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// for stream in ["Order-1", "Customer-1", "Order-2"] {
    ///     store.append(stream, ExpectedVersion::Any, [NewEvent::new("Touched", "")])?;
    /// }
    /// let orders = &store.categories()?[1];
    /// assert_eq!((orders.name.as_str(), orders.events, orders.last_position.0), ("Order", 2, 3));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// [`Error::Closed`]: crate::Error::Closed
    /// [`Error::Corrupt`]: crate::Error::Corrupt
    /// [`Error::Io`]: crate::Error::Io
    pub fn categories(&self) -> Result<Vec<NameInfo>> {
        reader::names(&*self.readable()?, Naming::Categories)
    }

    /// The event types, as [`Store::categories`] does the categories.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Io`], [`Error::Closed`].
    ///
    /// [`Error::Closed`]: crate::Error::Closed
    /// [`Error::Corrupt`]: crate::Error::Corrupt
    /// [`Error::Io`]: crate::Error::Io
    pub fn event_types(&self) -> Result<Vec<NameInfo>> {
        reader::names(&*self.readable()?, Naming::Types)
    }

    /// The event types with the schema versions that the store has ever held, in order of both:
    /// what has to be readable for ever. Costs a look at each segment's names, and no reading of
    /// events. [`kit::SchemaCheck`](crate::kit::SchemaCheck) says whether all of them still read.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Io`], [`Error::Closed`].
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::in_memory()?;
    /// for version in [1, 2, 2] {
    ///     let placed = NewEvent::new("OrderPlaced", "{}").schema_version(version);
    ///     store.append("Order-1", ExpectedVersion::Any, [placed])?;
    /// }
    /// let schemas = store.schemas()?;
    /// assert_eq!((schemas[1].event_type.as_str(), schemas[1].schema_version), ("OrderPlaced", 2));
    /// assert_eq!((schemas[1].events, schemas[1].first_position.0), (2, 2));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// [`Error::Closed`]: crate::Error::Closed
    /// [`Error::Corrupt`]: crate::Error::Corrupt
    /// [`Error::Io`]: crate::Error::Io
    pub fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        reader::schemas(&*self.readable()?)
    }

    /// The position before the first event that was [created](Event::created_at) after a time, so
    /// that [`after`](ReadAll::after) it reads on from there; the head where there is none. Where
    /// given times step back, later events may be older.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Io`], [`Error::Closed`].
    ///
    /// ```
    /// use annals::{ExpectedVersion, NewEvent, Position, Store, Timestamp};
    /// let store = Store::in_memory()?;
    /// for second in 1..=9 {
    ///     let time = Timestamp::from_micros(second * 1_000_000);
    ///     let event = NewEvent::new("Ticked", "").created_at(time);
    ///     store.append("Clock", ExpectedVersion::Any, [event])?;
    /// }
    /// assert_eq!(store.position_at(Timestamp::from_micros(4_000_000))?, Position(4));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// [`Error::Closed`]: crate::Error::Closed
    /// [`Error::Corrupt`]: crate::Error::Corrupt
    /// [`Error::Io`]: crate::Error::Io
    pub fn position_at(&self, time: impl Into<Timestamp>) -> Result<Position> {
        reader::position_at(&*self.readable()?, time.into())
    }

    /// Log, index and state, for whoever looks after them.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }
}
