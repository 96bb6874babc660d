//! The state writes that frames carry, as bytes: what they mean is not the log's to know.

use super::Log;
use super::source::Fetch;
use crate::error::Result;
use crate::event::Event;
use crate::format::segment::HEADER_BYTES;

/// The state writes of one frame, and its last event.
pub(crate) type FrameState = (Event, Vec<u8>);

impl Log {
    /// The state writes of a segment's frames from an offset on, in order. Reads all of these
    /// frames.
    pub(crate) fn state_writes(&self, ordinal: u32, from: u32) -> Result<Vec<FrameState>> {
        let segment = self.segment(ordinal)?;
        let (end, mut found) = (segment.written(), Vec::new());
        let from = from.max(HEADER_BYTES);
        if from >= end {
            return Ok(found);
        }
        let mut at = segment.frame(from, Fetch::Ahead)?;
        loop {
            let state = at.frame.state_writes(at.bytes());
            let state = state
                .map_err(|invalid| segment.corrupt(at.offset, &invalid.expected, &invalid.found))?;
            if !state.is_empty() {
                let last = segment.event(&at, at.frame.events.saturating_sub(1))?;
                found.push((last, state.to_vec()));
            }
            if at.offset.saturating_add(at.frame.len) >= end {
                return Ok(found);
            }
            segment.next_frame(&mut at)?;
        }
    }
}
