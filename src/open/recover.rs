//! Finding the end of the log: what the unsealed segment holds, and what to make of it.

use super::report::IndexCheckpoint;
use crate::error::{Error, Result};
use crate::format::files::LogFile;
use crate::format::frame::{BEGIN_BYTES, Frame, SEAL_BYTES, WATERMARK_BYTES};
use crate::format::sealed::SealedFooter;
use crate::format::segment::{HEADER_BYTES, Seed};
use crate::index::SealedIndex;
use crate::log::recovery::{Behind, Damage, Decision, Found, decide};
use crate::log::scan::{Progress, Scanner, Stop};
use crate::log::survey::Last;
use crate::options::ReadMode;
use crate::storage::{Dir, NamedFile};

/// The unsealed segment, examined.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) progress: Progress,
    pub(crate) decision: Decision,
    /// Whatever stands behind the end is not nothing.
    pub(crate) bytes_behind: u64,
    /// The index checkpoint, if it describes this segment.
    pub(crate) checkpoint: Option<SealedIndex>,
    pub(crate) checkpoint_state: IndexCheckpoint,
}

/// Examines the unsealed segment, without changing anything.
///
/// `live_writer`: another process is writing, so whatever stands behind the last frame that is
/// known to be durable is not there yet, and nothing is decided.
pub(crate) fn examine(
    dir: &Dir,
    store: [u8; 16],
    mode: ReadMode,
    last: &Last,
    live_writer: bool,
) -> Result<Examined> {
    let (checkpoint, checkpoint_state) = match usable_checkpoint(dir, store, mode, last)? {
        Checkpoint::Usable(index, state) => (Some(*index), state),
        Checkpoint::None(state) => (None, state),
        Checkpoint::Contradicts(damage, good_until) => {
            return contradicted(last, damage, good_until);
        }
    };
    let mut resumed = Progress::start(&last.header);
    if let Some(index) = &checkpoint {
        resumed = resume(index);
    }
    let seed = Seed::of(&last.header.salt);
    let len = last.header.len;
    let mut scanner = Scanner::new(&last.file, seed, len);
    let mut progress = resumed;
    let claims_clean = checkpoint.as_ref().is_some_and(SealedIndex::is_clean);
    let mut stop = scanner.walk(&mut progress, len, |_, _, _| Ok(()))?;
    let clean = claims_clean && progress == resumed;
    if live_writer {
        let progress = durable_prefix(&last.file, seed, len, resumed, progress.durable_end)?;
        let decision = Decision::Continue;
        return Ok(Examined { progress, decision, bytes_behind: 0, checkpoint, checkpoint_state });
    }
    let mut later = None;
    let mut bytes_behind = 0;
    if !clean {
        // What the cache shows as zeros nobody has tried to write: it need not be read again.
        let used = scanner.used_end(progress.end)?;
        last.file.sync()?;
        last.file.drop_cache(u64::from(used))?;
        (progress, stop) = on_the_medium(&last.file, seed, len, resumed, (progress, stop))?;
        let mut behind = Scanner::new(&last.file, seed, len).looking_to(used);
        bytes_behind = u64::from(behind.used_end(progress.end)? - progress.end);
        if bytes_behind > 0 {
            later = best_later(&mut behind, progress.end)?;
        }
    }
    let found = Found {
        end: progress.end,
        durable_end: progress.durable_end.max(resumed.durable_end).max(last.known_end),
        clean,
        sealed: progress.sealed,
        behind: match stop {
            Stop::Invalid(invalid) if bytes_behind > 0 => Behind::Bytes(invalid),
            _ => Behind::Nothing,
        },
        later,
        empty: progress.events == 0,
    };
    Ok(Examined { decision: decide(&found), progress, bytes_behind, checkpoint, checkpoint_state })
}

/// The log is not what a checkpoint that verifies proves to have been there. What there is before
/// `good_until` can be shown.
fn contradicted(last: &Last, damage: Damage, good_until: u32) -> Result<Examined> {
    let mut progress = Progress::start(&last.header);
    let seed = Seed::of(&last.header.salt);
    let mut scanner = Scanner::new(&last.file, seed, last.header.len);
    scanner.walk(&mut progress, good_until, |_, _, _| Ok(()))?;
    let why = "the log is not the one that it was made of".to_owned();
    Ok(Examined {
        progress,
        decision: Decision::Refuse(damage),
        bytes_behind: 0,
        checkpoint: None,
        checkpoint_state: IndexCheckpoint::Ignored { why },
    })
}

/// Reads what was not known to be durable again, past the cache, which was dropped: after a failed
/// sync it may show bytes that the medium never got.
fn on_the_medium(
    file: &NamedFile,
    seed: Seed,
    len: u32,
    resumed: Progress,
    cached: (Progress, Stop),
) -> Result<(Progress, Stop)> {
    let durable = cached.0.durable_end.max(resumed.durable_end);
    if durable >= cached.0.end {
        return Ok(cached);
    }
    let mut before = resumed;
    Scanner::new(file, seed, len).walk(&mut before, durable, |_, _, _| Ok(()))?;
    let Some(mut direct) = Scanner::direct(file, seed, len)? else {
        if crate::log::source::is_mapped(seed) {
            return Err(Error::StillMapped { path: file.path().into() });
        }
        let mut progress = before;
        let stop = Scanner::new(file, seed, len).walk(&mut progress, len, |_, _, _| Ok(()))?;
        return Ok((progress, stop));
    };
    let mut progress = before;
    let stop = direct.walk(&mut progress, len, |_, _, _| Ok(()))?;
    Ok((progress, stop))
}

/// What a running writer has made durable for certain: the frames up to the largest durable end.
fn durable_prefix(
    file: &NamedFile,
    seed: Seed,
    len: u32,
    resumed: Progress,
    durable_end: u32,
) -> Result<Progress> {
    let mut progress = resumed;
    let until = durable_end.max(resumed.end);
    Scanner::new(file, seed, len).walk(&mut progress, until, |_, _, _| Ok(()))?;
    Ok(progress)
}

/// Of the frames that verify behind the end, the one that proves most.
fn best_later(scanner: &mut Scanner<'_>, end: u32) -> Result<Option<(u32, u32)>> {
    let mut best: Option<(u32, u32)> = None;
    let mut from = end;
    while let Some((offset, durable_end)) = scanner.search(from)? {
        if best.is_none_or(|(_, known)| durable_end > known) {
            best = Some((offset, durable_end));
        }
        if durable_end > end {
            break;
        }
        from = offset + 4;
    }
    Ok(best)
}

/// What is to be made of the index checkpoint of a segment.
enum Checkpoint {
    Usable(Box<SealedIndex>, IndexCheckpoint),
    None(IndexCheckpoint),
    /// It verifies, and the log is not what it was made of: what proves that, and up to where the
    /// log may be looked at all the same.
    Contradicts(Damage, u32),
}

/// The index checkpoint of a segment, if it is one and agrees with the log. It is derived: no fault
/// of it keeps a store from opening.
fn usable_checkpoint(
    dir: &Dir,
    store: [u8; 16],
    mode: ReadMode,
    last: &Last,
) -> Result<Checkpoint> {
    let header = &last.header;
    let name = LogFile::IndexCheckpoint { ordinal: header.ordinal, generation: header.generation };
    let index = match SealedIndex::open(dir, name, mode) {
        Ok(Some(index)) => index,
        Ok(None) => return Ok(Checkpoint::None(IndexCheckpoint::Missing)),
        Err(e) => {
            return Ok(Checkpoint::None(IndexCheckpoint::Ignored { why: e.to_string() }));
        }
    };
    let footer = &index.footer;
    let ignored = |why: &str| Ok(Checkpoint::None(IndexCheckpoint::Ignored { why: why.into() }));
    if footer.store == store && footer.salt != header.salt && footer.events > 0 {
        // Only a segment without events is ever replaced, so this one stands in the place of
        // another that had some.
        let expected = format!("the segment that {name} was made of");
        return Ok(Checkpoint::Contradicts(damage(0, expected, "another one"), HEADER_BYTES));
    }
    if (footer.store, footer.salt, footer.base) != (store, header.salt, last.begin.base) {
        return ignored("it describes another segment");
    }
    if footer.end < HEADER_BYTES || footer.end > header.len {
        return ignored("it ends outside the segment");
    }
    let last_event = match footer.events.checked_sub(1).map(|last| index.offset(last)) {
        Some(Err(e)) => return ignored(&e.to_string()),
        Some(Ok(offset)) => Some(offset),
        None => None,
    };
    // A checkpoint that verifies is evidence of what was durable, also where the log disagrees:
    // then it is the log that is damaged, and the scan from its end tells.
    if !ends_with(&last.file, Seed::of(&header.salt), footer, last_event)? {
        let expected = format!("a frame with the checksum {:08x}", footer.last_crc);
        return Ok(Checkpoint::Contradicts(damage(footer.end, expected, "none"), footer.end));
    }
    let events = u64::from(footer.events);
    Ok(Checkpoint::Usable(Box::new(index), IndexCheckpoint::Used { events }))
}

fn damage(offset: u32, expected: String, found: &str) -> Damage {
    Damage { offset, expected, found: found.into(), unsupported: false }
}

/// Whether the last frame that an index covers stands in the segment, whole. Its last event is in
/// the frame at `last_event`; control frames may follow.
fn ends_with(
    file: &NamedFile,
    seed: Seed,
    footer: &SealedFooter,
    last_event: Option<u32>,
) -> Result<bool> {
    // Mostly it is one of a known size, so the frames before it need not be read.
    for len in [WATERMARK_BYTES, BEGIN_BYTES, SEAL_BYTES] {
        let Some(start) = footer.end.checked_sub(len).filter(|start| *start >= HEADER_BYTES) else {
            continue;
        };
        let bytes = file.read_range(u64::from(start), len as usize)?.unwrap_or_default();
        if let Ok(frame) = Frame::parse(&bytes, seed, start, len)
            && (frame.crc, frame.len) == (footer.last_crc, len)
            && frame.verify_body(&bytes).is_ok()
        {
            return Ok(true);
        }
    }
    let mut offset = last_event.unwrap_or(HEADER_BYTES);
    let mut scanner = Scanner::new(file, seed, footer.end);
    while offset >= HEADER_BYTES && offset < footer.end {
        let Ok(frame) = scanner.frame(offset)? else { break };
        if frame.verify_body(scanner.bytes(offset, frame.len)?).is_err() {
            break;
        }
        offset += frame.len;
        if offset == footer.end {
            return Ok(frame.crc == footer.last_crc);
        }
    }
    Ok(false)
}

/// Where the scan goes on behind what an index covers, all of which was durable.
fn resume(index: &SealedIndex) -> Progress {
    let footer = &index.footer;
    Progress {
        end: footer.end,
        last_crc: footer.last_crc,
        chain: footer.chain,
        frames: footer.frames,
        events: footer.events,
        first_time: footer.first_time,
        last_time: footer.last_time,
        durable_end: footer.end,
        sealed: false,
    }
}
