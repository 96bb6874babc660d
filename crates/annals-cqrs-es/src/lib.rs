//! [`cqrs_es`] on [`annals`]: the events, snapshots and views of the framework, kept in a store
//! that is a directory, with no server.
//!
//! - [`AnnalsRepository`] is the framework's `PersistedEventRepository`.
//! - [`AnnalsEventStore`] is its `EventStore`, for whoever wants snapshots (the README says why).
//! - [`AnnalsViews`] is its `ViewRepository`.
//!
//! ```
//! use annals::Store;
//! use annals_cqrs_es::AnnalsEventStore;
//! use cqrs_es::CqrsFramework;
//! use cqrs_es::doc::{Customer, CustomerCommand, CustomerService};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let store = Store::in_memory().unwrap();
//! let events = AnnalsEventStore::<Customer>::new(&store).snapshot_every(100);
//! let cqrs = CqrsFramework::new(events, vec![], CustomerService);
//! let command = CustomerCommand::AddCustomerName { name: "Ann".into() };
//! cqrs.execute("c-1", command).await.unwrap();
//! assert_eq!(store.stream("Customer-c-1").unwrap().unwrap().version.0, 1);
//! # }
//! ```

mod envelope;
mod error;
mod event_store;
mod repository;
mod views;

pub use event_store::AnnalsEventStore;
pub use repository::AnnalsRepository;
pub use views::AnnalsViews;
