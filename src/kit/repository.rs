//! Running a decider against a store.

mod done;
mod execute;
mod fold;
mod keeper;
mod outcome;
mod request;
mod shared;
mod snapshots;
mod turns;

use std::fmt;

use crate::error::Result;
use crate::query::Query;
use crate::store::Store;
use crate::sync::Arc;

use super::decider::Decider;
use super::snapshot::AsOf;
use super::upcast::Upcasts;
pub use keeper::{Kept, StateKeeper};
pub use outcome::{CommandError, CommandResult, Executed, Loaded};
pub use request::Request;
use shared::{Scope, Shared};

/// Runs a decider against a store: reads events, decides, and appends what was decided, provided
/// that nothing was appended meanwhile on which the decision rests.
///
/// Where something was, only that is read, and the command is decided again, up to so many
/// [attempts](Self::attempts). From its second attempt on a command takes its turn with others of
/// the same stream that lost, so that each gets through; with commands of other processes or other
/// repositories it only races.
///
/// A command with an [id](Request::id) is executed once, for ever: given again, it has the original
/// outcome, and nothing is decided. That rests on the ids of its events, which follow from its own;
/// a command that led to no events leaves no trace, and is decided again.
///
/// Clones share everything.
///
/// ```
/// # #[cfg(all(feature = "derive", feature = "json"))] {
/// use annals::kit::{Decider, EventSet, Repository, Request};
/// use annals::{EventId, Store};
/// # #[derive(EventSet, Debug)]
/// # enum Counter {
/// #     #[event(name = "Counted")]
/// #     Counted { by: u64 },
/// # }
/// # struct Counters;
/// # impl Decider for Counters {
/// #     type State = u64;
/// #     type Command = u64;
/// #     type Event = Counter;
/// #     type Error = &'static str;
/// #     fn initial(&self) -> u64 {
/// #         0
/// #     }
/// #     fn decide(&self, _: &u64, by: &u64) -> Result<Vec<Counter>, &'static str> {
/// #         if *by == 0 { Err("by nothing") } else { Ok(vec![Counter::Counted { by: *by }]) }
/// #     }
/// #     fn evolve(&self, sum: u64, event: &Counter) -> u64 {
/// #         let Counter::Counted { by } = event;
/// #         sum + by
/// #     }
/// # }
/// // `Counters` decides about numbers: each is added to a sum.
/// let counters = Repository::new(&Store::in_memory()?, Counters);
/// let id = EventId::from_bytes([7; 16]);
/// let done = counters.execute("Counter-a", Request::new(3).id(id)).unwrap();
/// assert_eq!((done.state, done.version.0, done.is_repeated), (3, 1, false));
/// let again = counters.execute("Counter-a", Request::new(3).id(id)).unwrap();
/// assert_eq!((again.state, again.version.0, again.is_repeated), (3, 1, true));
/// assert_eq!(counters.load("Counter-a")?.state, 3);
/// # }
/// # Ok::<(), annals::Error>(())
/// ```
pub struct Repository<D: Decider> {
    shared: Arc<Shared<D>>,
}

/// So often a command is decided at most, unless said otherwise.
const ATTEMPTS: u32 = 64;

impl<D: Decider> Repository<D> {
    /// A repository of a decider.
    pub fn new(store: &Store, decider: D) -> Self {
        Self {
            shared: Arc::new(Shared {
                store: store.clone(),
                decider: Arc::new(decider),
                upcasts: Upcasts::default(),
                keeper: None,
                attempts: ATTEMPTS,
                turns: Arc::default(),
            }),
        }
    }

    /// Reads events as they are today. None are lifted unless this is said.
    pub fn upcasts(self, upcasts: Upcasts) -> Self {
        self.with(|shared| shared.upcasts = upcasts)
    }

    /// Takes states of streams from here instead of folding them from the first event, and offers
    /// them here: mostly [`Snapshots`](super::Snapshots).
    pub fn keeper(self, keeper: impl StateKeeper<D::State> + 'static) -> Self {
        self.with(|shared| shared.keeper = Some(Arc::new(keeper)))
    }

    /// How often a command is decided at most, where others are faster: 64 unless said otherwise;
    /// at least once.
    pub fn attempts(self, attempts: u32) -> Self {
        self.with(|shared| shared.attempts = attempts.max(1))
    }

    fn with(self, change: impl FnOnce(&mut Shared<D>)) -> Self {
        let old = &*self.shared;
        let mut shared = Shared {
            store: old.store.clone(),
            decider: Arc::clone(&old.decider),
            upcasts: old.upcasts.clone(),
            keeper: old.keeper.clone(),
            attempts: old.attempts,
            turns: Arc::clone(&old.turns),
        };
        change(&mut shared);
        Self { shared: Arc::new(shared) }
    }

    /// The store that it runs against.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The state of a stream as it is now: the initial one at version 0 where there is none. Reads
    /// the stream's events, or those behind what is [kept](Self::keeper).
    ///
    /// # Errors
    ///
    /// As reading; [`Error::Schema`](crate::Error::Schema) for an event that is none of the
    /// decider's, or that cannot be lifted or decoded.
    pub fn load(&self, stream: impl AsRef<str>) -> Result<Loaded<D::State>> {
        let kept = self.shared.begin(stream.as_ref(), None);
        let folded = self.shared.fold_stream(kept, stream.as_ref(), None)?;
        self.shared.offer(stream.as_ref(), &folded);
        Ok(folded.into())
    }

    /// The state of a stream as it was: behind an event with a version, or when everything up to a
    /// position was there, or everything that had been created by a time. For the last two it reads
    /// the events of the stream that are newer, from the end.
    ///
    /// ```
    /// # #[cfg(all(feature = "derive", feature = "json"))] {
    /// use annals::kit::{AsOf, Decider, EventSet, Repository};
    /// use annals::{Position, Store, Version};
    /// # #[derive(EventSet, Debug)]
    /// # enum Counter {
    /// #     #[event(name = "Counted")]
    /// #     Counted,
    /// # }
    /// # struct Counters;
    /// # impl Decider for Counters {
    /// #     type State = u64;
    /// #     type Command = ();
    /// #     type Event = Counter;
    /// #     type Error = std::convert::Infallible;
    /// #     fn initial(&self) -> u64 {
    /// #         0
    /// #     }
    /// #     fn decide(&self, _: &u64, (): &()) -> Result<Vec<Counter>, Self::Error> {
    /// #         Ok(vec![Counter::Counted])
    /// #     }
    /// #     fn evolve(&self, sum: u64, _: &Counter) -> u64 {
    /// #         sum + 1
    /// #     }
    /// # }
    /// let counters = Repository::new(&Store::in_memory()?, Counters);
    /// for stream in ["Counter-a", "Counter-b", "Counter-a"] {
    ///     counters.execute(stream, ()).unwrap();
    /// }
    /// let then = counters.load_as_of("Counter-a", AsOf::Version(Version(1)))?;
    /// assert_eq!(then.state, 1);
    /// let then = counters.load_as_of("Counter-a", AsOf::Position(Position(2)))?;
    /// assert_eq!((then.state, then.version), (1, Version(1)));
    /// # }
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_as_of(&self, stream: impl AsRef<str>, as_of: AsOf) -> Result<Loaded<D::State>> {
        let stream = stream.as_ref();
        let version = match as_of {
            AsOf::Now => return self.load(stream),
            AsOf::Version(version) => version,
            AsOf::Position(position) => self.shared.version_at(stream, position)?,
            AsOf::Time(time) => {
                let position = self.shared.store.position_at(time)?;
                self.shared.version_at(stream, position)?
            }
        };
        let kept = self.shared.begin(stream, Some(version));
        Ok(self.shared.fold_stream(kept, stream, Some(version))?.into())
    }

    /// The state that the events of a query make. Their types are types of today; each has to be
    /// one of the decider's. The [position](Loaded::position) is that up to which the store was
    /// looked at, the version 0.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_over(&self, query: &Query) -> Result<Loaded<D::State>> {
        Ok(self.shared.fold_query(self.shared.initial(), query, None)?.into())
    }

    /// Executes a command on a stream: what is decided is appended to it, provided that its version
    /// is still the one that the decision rests on.
    ///
    /// Durable when this returns, as [`Store::append`] is.
    ///
    /// # Errors
    ///
    /// [`CommandError::Refused`] with what the decider says; [`CommandError::OtherStream`] where
    /// the command's id was used for another stream; [`CommandError::Exhausted`] where others were
    /// faster each time; else [`CommandError::Store`], as [`load`](Self::load) and
    /// [`Store::append`].
    pub fn execute(
        &self,
        stream: impl AsRef<str>,
        request: impl Into<Request<D::Command>>,
    ) -> CommandResult<D> {
        self.shared.execute(Scope::Stream, stream.as_ref(), &request.into())
    }

    /// Executes a command on what a query finds, whatever the stream (a decision model of the
    /// Dynamic Consistency Boundary): what is decided is appended to a stream, at any version of
    /// it, provided that nothing was appended meanwhile that matches the query.
    ///
    /// The events of the decision are found by later queries through their tags.
    ///
    /// ```
    /// # #[cfg(all(feature = "derive", feature = "json"))] {
    /// use annals::kit::{Decider, EventSet, Repository};
    /// use annals::{Query, Store};
    /// #[derive(EventSet)]
    /// enum Seat {
    ///     #[event(name = "SeatTaken")]
    ///     Taken {
    ///         #[event(tag = "course")]
    ///         course: u32,
    ///     },
    /// }
    /// struct Take(u32);
    /// struct Seats;
    /// impl Decider for Seats {
    ///     type State = u32;
    ///     type Command = Take;
    ///     type Event = Seat;
    ///     type Error = &'static str;
    ///     fn initial(&self) -> u32 {
    ///         0
    ///     }
    ///     fn decide(&self, taken: &u32, command: &Take) -> Result<Vec<Seat>, &'static str> {
    ///         if *taken < 2 { Ok(vec![Seat::Taken { course: command.0 }]) } else { Err("full") }
    ///     }
    ///     fn evolve(&self, taken: u32, _: &Seat) -> u32 {
    ///         taken + 1
    ///     }
    /// }
    /// let seats = Repository::new(&Store::in_memory()?, Seats);
    /// let of_course = Query::new().event_type("SeatTaken").tag("course:1");
    /// for student in ["Student-1", "Student-2"] {
    ///     seats.execute_over(&of_course, student, Take(1)).unwrap();
    /// }
    /// assert!(seats.execute_over(&of_course, "Student-3", Take(1)).is_err());
    /// # }
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    pub fn execute_over(
        &self,
        query: &Query,
        stream: impl AsRef<str>,
        request: impl Into<Request<D::Command>>,
    ) -> CommandResult<D> {
        self.shared.execute(Scope::Query(query), stream.as_ref(), &request.into())
    }
}

impl<D: Decider> Clone for Repository<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<D: Decider> fmt::Debug for Repository<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("upcasts", &self.shared.upcasts)
            .field("attempts", &self.shared.attempts)
            .finish_non_exhaustive()
    }
}
