//! [`disintegrate`] on [`annals`]: [`AnnalsEventStore`] is the framework's `EventStore`. Domain
//! identifiers are tags, stream queries are queries, and a decision is validated by a condition of
//! the batch that stores its events, in the commit.
//!
//! ```
//! use annals::Store;
//! use annals_disintegrate::AnnalsEventStore;
//! use disintegrate::serde::json::Json;
//! use disintegrate::{Event, EventStore};
//!
//! #[derive(Debug, Clone, Event, serde::Serialize, serde::Deserialize)]
//! enum Shop {
//!     Added {
//!         #[id]
//!         cart: String,
//!     },
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let store = Store::in_memory().unwrap();
//! let events = AnnalsEventStore::new(&store, Json::<Shop>::default());
//! let query = disintegrate::query!(Shop; cart == "c-1");
//! let added = Shop::Added { cart: "c-1".into() };
//! events.append(vec![added.clone()], query.clone(), 0).await.unwrap();
//! assert!(events.append(vec![added], query, 0).await.is_err(), "decided on what is stale");
//! # }
//! ```

mod error;
mod event_store;
mod query;

pub use error::Error;
pub use event_store::{AnnalsEventId, AnnalsEventStore, decision_maker};
