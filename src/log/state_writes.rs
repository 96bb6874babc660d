//! The state writes that frames carry, as bytes: what they mean is not the log's to know.

use super::Log;
use super::segment::READ_AHEAD;
use crate::error::Result;
use crate::format::segment::HEADER_BYTES;
use crate::position::Position;

/// The state writes of one frame, and the position of its last event.
pub(crate) type FrameState = (Position, Vec<u8>);

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
        let mut at = segment.frame(from, READ_AHEAD)?;
        loop {
            let state = at.frame.state_writes(at.bytes());
            let state = state
                .map_err(|invalid| segment.corrupt(at.offset, &invalid.expected, &invalid.found))?;
            if !state.is_empty() {
                let behind = segment.base() + u64::from(at.frame.first);
                let last = behind + u64::from(at.frame.events) - 1;
                found.push((Position(last), state.to_vec()));
            }
            if at.offset.saturating_add(at.frame.len) >= end {
                return Ok(found);
            }
            segment.next_frame(&mut at)?;
        }
    }
}
