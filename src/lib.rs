//! The embedded event store: link one crate, open a directory, and you have an append-only log of
//! events with streams, versions and a dense global order. No server, no external database.
//!
//! # The words
//!
//! An *event* belongs to a *stream*, named `Category-id`, and has a *version* in it: 1, 2, 3 and so
//! on. It also has a *position* in the log of all events, dense and in the order of commits. An
//! *append* writes events to one stream, atomically; a *batch* writes to several.
//!
//! # Appending
//!
//! [`Store::append`] takes an [`ExpectedVersion`], checked in the same step that assigns versions:
//! of two writers with the same expectation exactly one wins, and the other gets
//! [`Error::Conflict`], which says what is there. Events may carry an [`EventId`] of the caller:
//! then the same append can be made again at any time, and answers with the original result.
//! [`Store::batch`] makes one atomic write to several streams.
//!
//! `Ok` means that the events survive a power cut, unless a weaker [`Durability`] was chosen.
//! Appends of many threads share writes and syncs, so more threads mean more events per second.
//!
//! # Reading
//!
//! [`Store::read_stream`] and [`Store::read_all`] are builders that a `for` loop takes. They see
//! what was visible when the loop began, never wait for appends, and verify the checksum of each
//! event. An [`Event`] is owned and cheap to clone: it is a counted range of the segment's memory
//! map. [`Store::event`], [`Store::event_by_id`] and [`Store::stream`] look one thing up.
//!
//! A read can be narrowed by stream, prefix, category, type, tag, correlation, causation and time;
//! a [`Query`] says the same as a value. Both are answered from the index, which is never behind
//! the log. [`Store::streams`], [`Store::categories`] and [`Store::event_types`] say what there is.
//!
//! # Following
//!
//! [`Store::subscribe`] gives what a query matches, history first and then as it is appended,
//! without a gap and without a queue. With a cursor it goes on where it was saved.
//!
//! # Deciding
//!
//! A decision about one stream is an append with its version. One about events of many streams is
//! a batch with conditions: [`Batch::unless`] and [`Batch::require`] hold queries against the log
//! in the commit. [`Store::transact`] decides inside the write, where races would be lost too
//! often.
//!
//! # When something is wrong
//!
//! There is one [`Error`]. After a failed write or sync the store takes no more appends until it is
//! opened again; reads go on. Damage is reported and never returned as an event, and a store whose
//! durable part is damaged is not opened for writing. [`Store::recovery`] says what opening found.
//!
//! # Features
//!
//! | feature | gives |
//! |---|---|
//! | `json` (default) | `NewEvent::json`, `Event::json` |
//! | `async` | for tasks: `Store::append_async`, `Subscribe::start_stream` |
//! | `derive` | the derives of `annals::kit::TypedEvent` and `EventSet` |
//! | `bincode` | typed events as bincode 2 |
//! | `transfer` | `annals::transfer`: JSON lines in and out |
//! | `testkit` | `annals::testkit`: a simulated disk, to test your own code against crashes |
//! | `cli` | the command line `annals` |

mod batch;
mod bytes;
mod catalog;
mod cursor;
mod error;
mod event;
mod format;
mod index;
pub mod kit;
mod log;
pub mod maintain;
mod names;
mod new_event;
mod open;
mod options;
mod place;
mod position;
#[cfg(feature = "async")]
mod promise;
mod query;
mod reader;
mod search;
mod snapshot;
mod state;
mod storage;
mod store;
mod subscription;
mod sync;
mod upkeep;
mod view;
mod watermark;
#[cfg(feature = "async")]
mod worker;
mod writer;

pub use batch::Batch;
pub use cursor::{CursorInfo, CursorsFound, OwnedCursor};
pub use error::{
    ChainFault, Conflict, CursorError, Error, FailedCondition, IdConflict, Result, SchemaError,
    StoredAs, ViewError,
};
pub use event::{Appended, Event};
pub use names::{
    EventId, MAX_EVENT_TYPE, MAX_LABEL, MAX_STREAM_NAME, MAX_TAGS, StreamName, category_of,
};
pub use new_event::NewEvent;
pub use open::{IndexCheckpoint, RecoveryReport};
pub use options::{Durability, Limits, Preallocate, ReadMode};
pub use position::{ExpectedVersion, Position, Timestamp, Version};
pub use query::Query;
pub use reader::{
    AllEvents, ListedStream, NameInfo, ReadAll, ReadStream, SchemaInfo, StreamEvents, StreamList,
    Streams,
};
pub use search::Explanation;
pub use snapshot::{NewSnapshot, Snapshot, SnapshotInfo};
#[cfg(feature = "async")]
pub use store::{AppendFuture, CommitFuture};
pub use store::{Info, Store, StoreOptions, StreamInfo, View};
#[cfg(feature = "async")]
pub use subscription::{EventStream, SaveFuture};
pub use subscription::{Signal, StopHandle, Subscribe, Subscription};
pub use view::{
    MAX_VIEW_KEY, ParkedInView, StoredView, ViewEntries, ViewInfo, ViewScan, ViewUpdate,
};

#[cfg(feature = "testkit")]
pub mod testkit;
#[cfg(feature = "transfer")]
pub mod transfer;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(test)]
mod tests;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

#[cfg(all(doctest, feature = "derive", feature = "json"))]
#[doc = include_str!("../docs/patterns.md")]
struct PatternExamples;
