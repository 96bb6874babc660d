//! A frame that was found in a segment, with the bytes to read its events from.

use super::source::Fetch;
use crate::bytes::Bytes;
use crate::event::Span;
use crate::format::frame::Frame;

/// A whole frame of a segment, its head verified, in bytes that may reach beyond it.
#[derive(Clone, Debug)]
pub(crate) struct FrameAt {
    pub(crate) offset: u32,
    pub(crate) frame: Frame,
    pub(super) window: Bytes,
    /// Where in the window the frame begins.
    pub(super) start: usize,
    /// Its streams, where there are many.
    pub(super) streams: Vec<(u64, Span)>,
    /// How it was come by.
    pub(super) fetch: Fetch,
}

/// A frame of more streams than these has a list of them.
const FEW_STREAMS: u16 = 4;

impl FrameAt {
    /// A frame at the start of a window.
    pub(super) fn new(offset: u32, frame: Frame, window: Bytes, fetch: Fetch) -> Self {
        Self { offset, frame, window, start: 0, streams: Vec::new(), fetch }
    }

    /// The bytes from the frame's start on.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.window.as_slice().get(self.start..).unwrap_or_default()
    }

    /// Lists the streams, where each look at one would walk over many. For whoever reads several
    /// events of the frame.
    #[inline]
    pub(crate) fn list_streams(&mut self) {
        if self.frame.streams() > FEW_STREAMS && self.streams.is_empty() {
            let bytes = self.window.as_slice().get(self.start..).unwrap_or_default();
            self.frame.list_streams(bytes, &mut self.streams);
        }
    }

    /// The version of the first event that the frame has of a stream, and the place of its name;
    /// `bytes` are [its own](Self::bytes).
    #[inline]
    pub(crate) fn stream(&self, bytes: &[u8], index: u16) -> Option<(u64, Span)> {
        match self.streams.get(usize::from(index)) {
            Some(listed) => Some(*listed),
            None => self.frame.stream(bytes, index),
        }
    }

    /// The frame's own bytes, counted.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "else the parts are written, and waited for")]
    pub(super) fn owned(&self) -> Option<Bytes> {
        self.window.slice(self.start..self.start.checked_add(self.frame.len as usize)?)
    }
}
