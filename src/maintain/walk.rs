//! Walking the frames of a segment, over gaps: frames verify by themselves, with the segment's salt
//! and their own offset, so what stands behind damage is found again.

use super::plan::Planned;
use crate::error::Result;
use crate::format::Invalid;
use crate::format::frame::Frame;
use crate::format::segment::{HEADER_BYTES, Seed};
use crate::log::Segment;
use crate::log::scan::{Progress, Scanner, Stop};
use crate::log::segment::FrameAt;
use crate::options::ReadMode;
use crate::storage::{Access, Dir};

/// Whoever looks at what a walk finds, in the order of the log.
pub(super) trait Visit {
    /// A frame whose head verifies. `damage` says what is wrong with the rest of it.
    fn frame(&mut self, segment: &Segment, at: &FrameAt, damage: Option<&Invalid>) -> Result<()>;

    /// A place without a valid next frame.
    fn gap(&mut self, segment: &Segment, gap: &Gap) -> Result<()>;
}

/// Bytes that hold no frame though frames go on behind them, or should.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    pub(super) offset: u32,
    pub(super) invalid: Invalid,
    /// The first event that is gone, and the first that is there again: ordinals in the segment,
    /// the same where no event is gone. `None` where nothing says how many there were.
    pub(super) lost: (u32, Option<u32>),
    /// It is part of a fault that is known already.
    pub(super) is_known: bool,
}

/// Walks a segment. Returns what its frames add up to, and whether there was no gap.
pub(super) fn walk(
    dir: &Dir,
    planned: &Planned,
    visit: &mut dyn Visit,
) -> Result<(Progress, bool)> {
    let header = planned.header;
    let file = dir.open(&planned.file().path(), Access::Read)?;
    let end = planned.end.min(header.len);
    let segment = Segment::new(dir.clone(), ReadMode::Positional, header, planned.base, end);
    let mut scanner = Scanner::new(&file, Seed::of(&header.salt), end);
    let mut progress = Progress::start(&header);
    let mut is_whole = !planned.is_damaged;
    loop {
        let stop = scanner.walk(&mut progress, end, |offset, frame, bytes| {
            visit.frame(&segment, &at(&segment, offset, frame, bytes), None)
        })?;
        let Stop::Invalid(invalid) = stop else { break };
        let offset = progress.end;
        if invalid.unsupported {
            // It is whole, and of a newer version.
            return Err(invalid.at(file.path(), offset.into()));
        }
        let next = next_frame(&mut scanner, &progress, end)?;
        let is_end = next.is_none() && !planned.end_is_known;
        let is_known = is_end || (planned.is_damaged && offset == HEADER_BYTES);
        let first = progress.events;
        let until = match &next {
            Some((_, frame)) => Some(frame.first),
            None if planned.end_is_known => planned.events.map(|events| events.max(first)),
            // How far the log went is not known, unless nothing says that it went on.
            None => {
                let was_durable = progress.durable_end.max(planned.known_end);
                let went_on = offset < was_durable || scanner.used_end(offset)? > offset;
                (!went_on).then_some(first)
            }
        };
        let is_body = next.as_ref().is_some_and(|(next, frame)| {
            *next == offset && (frame.previous, frame.first) == (progress.last_crc, first)
        });
        if !is_body {
            is_whole = false;
            let gap = Gap { offset, invalid: invalid.clone(), lost: (first, until), is_known };
            visit.gap(&segment, &gap)?;
        }
        let Some((next, frame)) = next else { break };
        progress.skip_to(next, &frame);
        let bytes = scanner.bytes(next, frame.len)?;
        if let Err(invalid) = frame.verify_body(bytes) {
            is_whole = false;
            visit.frame(&segment, &at(&segment, next, &frame, bytes), Some(&invalid))?;
            progress.advance(frame.crc, frame.len, frame.kind, frame.events.into(), frame.time);
        }
    }
    // A seal ends the walk; whatever is missing behind it is missing.
    if planned.end_is_known && progress.end < end {
        is_whole = false;
        let invalid = Invalid::new(format!("frames up to byte {end}"), "a seal before that");
        let lost = (progress.events, planned.events.map(|events| events.max(progress.events)));
        visit.gap(&segment, &Gap { offset: progress.end, invalid, lost, is_known: false })?;
    }
    Ok((progress, is_whole))
}

/// The next frame that verifies and can stand here, from the current end on.
fn next_frame(
    scanner: &mut Scanner<'_>,
    progress: &Progress,
    end: u32,
) -> Result<Option<(u32, Frame)>> {
    let mut from = progress.end;
    while let Some((offset, _)) = scanner.search(from)? {
        if offset >= end {
            break;
        }
        if let Ok(frame) = scanner.frame(offset)?
            && frame.first >= progress.events
            && frame.first.checked_add(u32::from(frame.events)).is_some()
        {
            return Ok(Some((offset, frame)));
        }
        from = offset + 4;
    }
    Ok(None)
}

fn at(segment: &Segment, offset: u32, frame: &Frame, bytes: &[u8]) -> FrameAt {
    let own = bytes.get(..frame.len as usize).unwrap_or(bytes);
    segment.frame_of(offset, *frame, own.to_vec())
}
