//! Layer 5: views: key-value read models that the store keeps, each with the position up to which
//! it is complete.
//!
//! A view is a file of `state/`. Its changes and its position are one group of that file, or stand
//! in the frame of the events that they come from: never one without the other. Whoever changes a
//! view says from where, and is refused if it has moved. The list of views is in the file of the
//! cursors, so that one view takes the place of another in one write.

mod info;
mod scan;
mod stored;
mod update;
mod views;

pub use info::ViewInfo;
pub use scan::{ViewEntries, ViewScan};
pub use stored::{ParkedInView, StoredView};
pub use update::{MAX_VIEW_KEY, ViewUpdate};
pub(crate) use views::Views;
