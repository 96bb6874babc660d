//! A store of which one file is not what was written, and what may become of it.

use std::collections::BTreeMap;

use super::input::Input;
use super::read::{Written, append, read_everything};
use crate::error::{Error, Result};
use crate::format::blocks::{BLOCK_BYTES, TRAILER_BYTES, table_bytes};
use crate::format::codec::{Put, crc32, patch_u32, u32_at, u64_at};
use crate::format::files::{LogFile, parse_directory};
use crate::format::frame::Frame;
use crate::format::segment::{HEADER_BYTES, Seed, SegmentHeader, USED_LEN};
use crate::format::store::STORE_BYTES;
use crate::options::ReadMode;
use crate::storage::Dir;
use crate::storage::memory::MemoryDisk;
use crate::store::{Store, StoreOptions};
use crate::sync::Arc;

type Files = BTreeMap<String, Vec<u8>>;

/// Which file is damaged.
#[derive(Debug)]
pub(super) enum Victim {
    StoreFile,
    Segment,
    SealedIndex,
    IndexCheckpoint,
    Directory,
    IdRun,
}

/// A store that was written once, to be damaged again and again.
#[derive(Debug)]
struct Base {
    files: Files,
    written: Written,
}

impl Victim {
    fn base(&self) -> &'static Base {
        use std::sync::OnceLock;
        static KILLED: OnceLock<Base> = OnceLock::new();
        static CLOSED: OnceLock<Base> = OnceLock::new();
        static FOLDED: OnceLock<Base> = OnceLock::new();
        match self {
            // Without its index checkpoint, recovery reads all of the segment.
            Self::Segment => KILLED.get_or_init(|| base(2, false)),
            Self::StoreFile | Self::SealedIndex | Self::IndexCheckpoint => {
                CLOSED.get_or_init(|| base(3, true))
            }
            Self::Directory | Self::IdRun => FOLDED.get_or_init(|| base(10, true)),
        }
    }

    /// Whether it may be this file; the last one is it.
    fn is(&self, name: &str, bytes: &[u8]) -> bool {
        let file = name.strip_prefix("log/").and_then(LogFile::parse);
        match self {
            Self::StoreFile => name == "STORE",
            // The unsealed one: behind it there may be one without frames.
            Self::Segment => {
                matches!(file, Some(LogFile::Segment { .. })) && used(bytes) > HEADER_BYTES as usize
            }
            Self::SealedIndex => matches!(file, Some(LogFile::SealedIndex { .. })),
            Self::IndexCheckpoint => matches!(file, Some(LogFile::IndexCheckpoint { .. })),
            Self::Directory => parse_directory(name).is_some(),
            Self::IdRun => matches!(file, Some(LogFile::IdRun { .. })),
        }
    }
}

fn options() -> StoreOptions {
    Store::options().segment_bytes(64 << 10).checkpoint_bytes(8 << 10).upkeep_thread(false)
}

fn open(disk: &MemoryDisk, options: StoreOptions) -> Result<Store> {
    options.open_in(Dir::new(Arc::new(disk.clone())))
}

fn base(segments: u64, is_closed: bool) -> Base {
    let disk = MemoryDisk::simulated(1);
    let store = open(&disk, options()).unwrap();
    let mut written = Vec::new();
    while store.info().unwrap().segments < segments {
        written.extend(super::read::fill(&store, written.len(), 20_000));
    }
    written.extend(super::read::fill(&store, written.len(), 300));
    if is_closed {
        store.close().unwrap();
        return Base { files: disk.files(), written };
    }
    let mut files = disk.crash_keeping_nothing().files();
    files.retain(|name, _| !Victim::IndexCheckpoint.is(name, &[]));
    Base { files, written }
}

/// Damages the file as the input says, opens the store, reads and appends.
pub(super) fn damaged(victim: &Victim, mut input: Input<'_>) {
    let base = victim.base();
    let how = input.u8();
    let is_mended = how & 1 == 1;
    let mut files = base.files.clone();
    let (name, bytes) = files.iter_mut().rfind(|(name, bytes)| victim.is(name, bytes)).unwrap();
    for _ in 0..8 {
        if input.is_empty() {
            break;
        }
        edit(bytes, &mut input);
    }
    if is_mended {
        mend(victim, bytes);
    }
    let name = name.clone();
    let disk = MemoryDisk::simulated(2);
    for (name, bytes) in &files {
        disk.put(name, bytes);
    }
    let mode = if how & 2 == 2 { ReadMode::Positional } else { ReadMode::Mmap };
    let options = options().read_mode(mode);
    if how & 4 == 4 {
        let dir = Dir::new(Arc::new(disk.clone()));
        match options.clone().open_read_only_in(&dir) {
            Ok(store) => check(victim, &store, &base.written, is_mended),
            Err(e) => assert_refusal(&e),
        }
        assert!(disk.files() == files, "reading changed a file");
    }
    match open(&disk, options) {
        Ok(store) => {
            check(victim, &store, &base.written, is_mended);
            append(&store);
            let _ = store.close();
        }
        Err(e) => {
            assert_refusal(&e);
            // Made-up frames with right checksums may be met only when the index is saved.
            let after = disk.files();
            let changed = after.iter().find(|(name, bytes)| files.get(*name) != Some(*bytes));
            let is_gone = files.keys().any(|name| !after.contains_key(name));
            let is_as_it_was = changed.is_none() && !is_gone;
            assert!(is_as_it_was || is_mended, "a refused opening changed {changed:?}: {e}");
            let is_log = matches!(victim, Victim::Segment | Victim::StoreFile);
            assert!(is_log || is_mended, "{name} is derived: {e}");
        }
    }
}

/// What is there is what was written, unless somebody computed checksums for something else.
fn check(victim: &Victim, store: &Store, written: &Written, is_mended: bool) {
    let found = read_everything(store);
    if is_mended {
        return;
    }
    for (event, written) in found.events.iter().zip(written) {
        assert_eq!(*event, *written);
    }
    assert!(found.events.len() <= written.len(), "more than was written");
    // Of a store that was killed, any part of the end may look like a torn write.
    if !matches!(victim, Victim::Segment) {
        let all = found.events.len() == written.len();
        assert!(all || found.errors > 0, "an event is gone without an error");
    }
}

fn assert_refusal(e: &Error) {
    let is_typed = matches!(
        e,
        Error::Corrupt { .. } | Error::NotAStore { .. } | Error::UnsupportedFormat { .. }
    );
    assert!(is_typed, "{e:?}");
}

/// The end of what is used of a file.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// One change of a file.
pub(super) fn edit(bytes: &mut Vec<u8>, input: &mut Input<'_>) {
    let how = input.u8();
    let len = bytes.len();
    let used = used(bytes);
    // From the beginning, or from the end, where derived files say what they are.
    let at = match how & 0xc0 {
        0x40 => len.saturating_sub(1 + input.below(256)),
        0x80 => used.saturating_sub(1 + input.below(1024)),
        0xc0 => (HEADER_BYTES as usize + input.below(256)).min(len.saturating_sub(1)),
        _ => input.below(used),
    };
    match how & 7 {
        0 => {
            let xor = input.u8();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= xor;
            }
        }
        1 => {
            let count = usize::from(input.u8());
            put(bytes, at, input.take(count));
        }
        2 | 3 => {
            let width = 1 << (input.u8() % 4);
            let number = bytes_of(input.extreme());
            put(bytes, at / 4 * 4, number.get(..width).unwrap_or_default());
        }
        4 => {
            put(bytes, at / 8 * 8, &bytes_of(input.extreme()));
        }
        5 => bytes.truncate(at),
        6 => {
            let filler = input.u8();
            bytes.resize(len + input.below(9000), filler);
        }
        _ => {
            let from = input.below(used);
            let count = input.below(2000);
            let piece = bytes.get(from..(from + count).min(len)).unwrap_or_default().to_vec();
            put(bytes, at, &piece);
        }
    }
}

fn bytes_of(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u64(number);
    bytes
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(new) {
        *place = *byte;
    }
}

fn mend(victim: &Victim, bytes: &mut [u8]) {
    match victim {
        Victim::StoreFile => mend_last_word(bytes, STORE_BYTES),
        Victim::Segment => mend_segment(bytes),
        _ => mend_derived(bytes),
    }
}

/// The last four of the first bytes are a checksum of those before them.
fn mend_last_word(bytes: &mut [u8], len: usize) {
    if let Some(covered) = bytes.get(..len - 4) {
        let crc = crc32(covered);
        patch_u32(bytes, len - 4, crc);
    }
}

fn mend_segment(bytes: &mut [u8]) {
    mend_last_word(bytes, USED_LEN as usize);
    let Ok(header) = SegmentHeader::decode(bytes) else { return };
    let seed = Seed::of(&header.salt);
    let (mut offset, mut previous) = (HEADER_BYTES, header.crc());
    while let Some(frame) = bytes.get_mut(offset as usize..) {
        let Some((crc, len)) = Frame::mend(frame, seed, offset, previous) else { break };
        (previous, offset) = (crc, offset.saturating_add(len));
    }
}

fn mend_derived(bytes: &mut [u8]) {
    let Some(trailer) = bytes.len().checked_sub(TRAILER_BYTES) else { return };
    let body = u64_at(bytes, trailer + 24).unwrap_or(0);
    let table_at = usize::try_from(body).unwrap_or(usize::MAX);
    if body.checked_add(table_bytes(body)) == Some(trailer as u64) {
        for block in 0..table_at.div_ceil(BLOCK_BYTES) {
            let start = block * BLOCK_BYTES;
            let content = bytes.get(start..(start + BLOCK_BYTES).min(table_at)).unwrap_or_default();
            let crc = crc32(content);
            patch_u32(bytes, table_at + block * 4, crc);
        }
        let table = crc32(bytes.get(table_at..trailer).unwrap_or_default());
        patch_u32(bytes, trailer + 40, table);
    }
    if let Some(rest) = bytes.get_mut(trailer..) {
        mend_last_word(rest, TRAILER_BYTES);
        debug_assert!(u32_at(rest, TRAILER_BYTES - 4).is_some());
    }
}
