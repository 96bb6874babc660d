//! [`mnesis_store`] on [`annals`]: [`AnnalsStore`] is a `RawEventStore` and a `WakeSource`, an
//! `AtomicAppend` and a `SnapshotStore`. It passes the conformance kit that the framework publishes
//! for adapters, `mnesis-store-testing`.
//!
//! ```
//! use annals_mnesis::AnnalsStore;
//! use mnesis::Version;
//! use mnesis_store::envelope::pending_envelope;
//! use mnesis_store::{PendingBatch, RawEventStore, StreamKey};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let store = annals::Store::in_memory().unwrap();
//! let events = AnnalsStore::new(&store);
//! let placed = pending_envelope(Version::INITIAL).event_type("Placed").payload("{}");
//! let placed = placed.build().unwrap();
//! let order = StreamKey::from_slice(b"Order-1");
//! let at = events.append(&order, None, PendingBatch::of(&placed)).await.unwrap();
//! assert_eq!(at.position(), annals::Position(1));
//! assert_eq!(store.stream("Order-1").unwrap().unwrap().version.0, 1);
//! # }
//! ```

mod atomic;
mod envelope;
mod error;
mod names;
mod snapshots;
mod store;

pub use error::Error;
pub use snapshots::SnapshotPosition;
pub use store::{AnnalsPosition, AnnalsStore};
