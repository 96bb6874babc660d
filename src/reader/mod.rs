//! Layer 4: pin the watermark, ask the index, read the frame, decode the event.

mod all;
mod listing;
mod stream;

pub use all::{AllEvents, ReadAll};
pub use listing::{ListedStream, NameInfo, SchemaInfo, StreamList, Streams};
pub(crate) use listing::{names, position_at, schemas};
pub use stream::{ReadStream, StreamEvents};
