//! Reactions: events cause commands, each once.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use crate::cursor::OwnedCursor;
use crate::error::{Error, Result};
use crate::position::Position;
use crate::query::{Query, filters};
use crate::store::Store;
use crate::subscription::StopHandle;

use super::repository::Request;
use super::upcast::{Lifted, LiftedSubscription, Upcasts};

/// A named reaction that is being described: a builder. Made by [`Reaction::builder`].
#[derive(Clone, Debug)]
#[must_use = "a reaction does nothing until it is started"]
pub struct ReactionBuilder {
    store: Store,
    name: String,
    query: Query,
    upcasts: Upcasts,
    after: Position,
    save_every: u64,
}

/// A named reaction, also called a process manager: to each event of a query, its commands.
///
/// It follows the log, history first, and hands each event to a function, which gives commands to
/// [repositories](super::Repository). The [ids](Cause::request) of those commands follow from the
/// event, so a command is executed once, although an event may come again: after a crash, or when
/// the function failed.
///
/// How far it has come is the cursor of its name, which it owns. An event on which the function
/// fails is not passed: it comes again in the next call.
///
/// There is no thread: whoever calls does what there is to do.
///
/// ```
/// # #[cfg(all(feature = "derive", feature = "json"))] {
/// use annals::kit::{Decider, EventSet, Reaction, Repository};
/// use annals::{ExpectedVersion, NewEvent, Store};
/// # #[derive(EventSet)]
/// # enum Parcel {
/// #     #[event(name = "ParcelPacked")]
/// #     Packed,
/// # }
/// # struct Pack;
/// # struct Parcels;
/// # impl Decider for Parcels {
/// #     type State = u32;
/// #     type Command = Pack;
/// #     type Event = Parcel;
/// #     type Error = std::convert::Infallible;
/// #     fn initial(&self) -> u32 {
/// #         0
/// #     }
/// #     fn decide(&self, _: &u32, _: &Pack) -> Result<Vec<Parcel>, Self::Error> {
/// #         Ok(vec![Parcel::Packed])
/// #     }
/// #     fn evolve(&self, packed: u32, _: &Parcel) -> u32 {
/// #         packed + 1
/// #     }
/// # }
/// let store = Store::in_memory()?;
/// let parcels = Repository::new(&store, Parcels);
/// let paid = NewEvent::new("OrderPaid", "").correlation("checkout-1");
/// store.append("Order-1", ExpectedVersion::Any, [paid])?;
///
/// let mut packing = Reaction::builder(&store, "packing").event_type("OrderPaid").start()?;
/// let handled = packing.catch_up(|cause| {
///     parcels.execute("Parcel-1", cause.request("pack", Pack)).map(drop)
/// });
/// assert_eq!(handled.unwrap(), 1);
/// let packed = store.read_stream("Parcel-1").into_iter().next().unwrap()?;
/// assert_eq!(packed.correlation_id(), Some("checkout-1"));
/// # }
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
pub struct Reaction {
    name: String,
    events: LiftedSubscription,
    cursor: OwnedCursor,
    /// The event that has to be handled first: it was handed out, and the function failed.
    again: Option<Lifted>,
    /// Everything up to here is handled or passed.
    done: Position,
    saved: Position,
    save_every: u64,
    handled_since: u64,
}

/// The event that is reacted to, and what commands get from it.
#[derive(Debug)]
pub struct Cause<'a> {
    event: &'a Lifted,
    reaction: &'a str,
}

/// Why a reaction did not go on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReactionError<E> {
    /// The function failed on the event at a position, which comes again in the next call.
    Failed {
        /// Where the event is.
        position: Position,
        /// What the function says.
        why: E,
    },
    /// The store, or a stored event, did not do.
    Store(Error),
}

impl Reaction {
    /// Describes a reaction of a name, which is also that of its cursor. Command ids follow from
    /// it, so it stays the same for ever.
    pub fn builder(store: &Store, name: impl Into<String>) -> ReactionBuilder {
        ReactionBuilder {
            store: store.clone(),
            name: name.into(),
            query: Query::new(),
            upcasts: Upcasts::default(),
            after: Position::START,
            save_every: 1,
        }
    }

    /// Handles every event that is visible now, and saves how far it has come. Returns how many
    /// events were handled.
    ///
    /// # Errors
    ///
    /// [`ReactionError::Failed`] where the function fails; it was saved up to there.
    /// [`ReactionError::Store`] as [`Subscription::try_next`](crate::Subscription::try_next) and
    /// [`OwnedCursor::save`]; [`Error::Schema`] where an event cannot be lifted, which ends it.
    pub fn catch_up<E>(
        &mut self,
        mut react: impl FnMut(&Cause<'_>) -> Result<(), E>,
    ) -> Result<u64, ReactionError<E>> {
        let mut handled = 0;
        while self.handle_next(Some(Duration::ZERO), &mut react)? {
            handled += 1;
        }
        self.save()?;
        Ok(handled)
    }

    /// Handles events as they come, for some time or, without one, until it is
    /// [stopped](Self::stop_handle). Returns how many were handled. It saves how far it has come
    /// when nothing comes any more.
    ///
    /// # Errors
    ///
    /// As [`catch_up`](Self::catch_up).
    pub fn run_for<E>(
        &mut self,
        time: Option<Duration>,
        mut react: impl FnMut(&Cause<'_>) -> Result<(), E>,
    ) -> Result<u64, ReactionError<E>> {
        let until = time.and_then(|time| std::time::Instant::now().checked_add(time));
        let mut handled = self.catch_up(&mut react)?;
        loop {
            let left = until.map(|u| u.saturating_duration_since(std::time::Instant::now()));
            if !self.handle_next(left, &mut react)? {
                self.save()?;
                return Ok(handled);
            }
            handled += 1 + self.catch_up(&mut react)?;
        }
    }

    /// Saves how far it has come. Durable when this returns.
    ///
    /// # Errors
    ///
    /// As [`OwnedCursor::save`].
    pub fn save(&mut self) -> Result<()> {
        if self.done > self.saved {
            self.cursor.save(self.done)?;
            self.saved = self.done;
        }
        self.handled_since = 0;
        Ok(())
    }

    /// The position up to which every event is handled, or does not match.
    pub const fn position(&self) -> Position {
        self.done
    }

    /// How many positions are visible that it has not seen.
    pub fn lag(&self) -> u64 {
        self.events.lag()
    }

    /// What stops it from another thread, while it waits.
    pub fn stop_handle(&self) -> StopHandle {
        self.events.stop_handle()
    }

    /// `false` where there is none. Waits for ever where no time is given.
    fn handle_next<E>(
        &mut self,
        wait: Option<Duration>,
        react: &mut impl FnMut(&Cause<'_>) -> Result<(), E>,
    ) -> Result<bool, ReactionError<E>> {
        let next = match (self.again.take(), wait) {
            (Some(event), _) => Some(event),
            (None, Some(wait)) => self.events.next_timeout(wait)?,
            (None, None) => self.events.next().transpose()?,
        };
        let Some(event) = next else {
            self.done = self.done.max(LiftedSubscription::position(&self.events));
            return Ok(false);
        };
        if let Err(why) = react(&Cause { event: &event, reaction: &self.name }) {
            let position = event.position();
            self.again = Some(event);
            // What failed is what is to be told; what is not saved comes again.
            let _ = self.save();
            return Err(ReactionError::Failed { position, why });
        }
        self.done = LiftedSubscription::position(&self.events);
        self.handled_since += 1;
        if self.handled_since >= self.save_every {
            self.save()?;
        }
        Ok(true)
    }
}

impl ReactionBuilder {
    filters!();

    /// Only events that match a query, in the place of all filters so far. Types are types of
    /// today.
    pub fn matching(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// Reads events as they are today. None are lifted unless this is said.
    pub fn upcasts(mut self, upcasts: Upcasts) -> Self {
        self.upcasts = upcasts;
        self
    }

    /// Only events behind a position, where its cursor was never saved: a new reaction to old
    /// events would else act on all of history.
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }

    /// Saves its cursor after so many handled events, and whenever there is nothing to do: after
    /// each, unless said otherwise. What is not saved comes again after a crash.
    pub fn save_every(mut self, events: u64) -> Self {
        self.save_every = events.max(1);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// As [`Store::own_cursor`] and [`Subscribe::start`](crate::Subscribe::start).
    pub fn start(self) -> Result<Reaction> {
        let cursor = self.store.own_cursor(&self.name)?;
        let saved = cursor.position()?;
        let done = saved.unwrap_or(self.after);
        let events = self.upcasts.subscribe(&self.store, self.query).after(done).start()?;
        Ok(Reaction {
            name: self.name,
            events,
            cursor,
            again: None,
            done,
            saved: saved.unwrap_or(Position::START),
            save_every: self.save_every,
            handled_since: 0,
        })
    }
}

impl Cause<'_> {
    /// The event.
    pub const fn event(&self) -> &Lifted {
        self.event
    }

    /// A command that the event causes: see [`Request::caused_by`]. Its id follows from the event,
    /// the reaction's name, and a label, which tells the commands of one event apart.
    pub fn request<C>(&self, label: &str, command: C) -> Request<C> {
        let Self { event, reaction } = self;
        let name = format!("{reaction}\n{}\n{label}", event.part());
        Request::new(command).caused_by(event.stored(), &name)
    }
}

impl<E> From<Error> for ReactionError<E> {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<ReactionError<Infallible>> for Error {
    fn from(error: ReactionError<Infallible>) -> Self {
        match error {
            ReactionError::Failed { why, .. } => match why {},
            ReactionError::Store(error) => error,
        }
    }
}

impl<E: fmt::Display> fmt::Display for ReactionError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { position, why } => {
                write!(f, "the reaction to the event at position {position} failed: {why}")
            }
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for ReactionError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed { .. } => None,
            Self::Store(error) => Some(error),
        }
    }
}
