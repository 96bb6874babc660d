//! Layer 4: pin the watermark, ask the index, read the frame, decode the event.

mod all;
mod stream;

pub use all::{AllEvents, ReadAll};
pub use stream::{ReadStream, StreamEvents};
