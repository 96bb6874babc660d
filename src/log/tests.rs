//! The log alone, on the simulated disk: writing a segment, walking it, finding it again.

use super::head::{HeadReader, HeadWriter};
use super::prepare::{Prepared, prepare};
use super::scan::{Progress, Scanner, Stop, WINDOW};
use super::segment::Segment;
use super::source::tests::mapped;
use super::source::{Fetch, is_mapped};
use super::survey::{Listing, Survey, list, survey};
use super::tail::{Tail, link_to, link_to_nothing};
use super::{Log, logged};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::format::codec::crc32;
use crate::format::directory::SegmentRow;
use crate::format::files::{LOG, LogFile};
use crate::format::frame::{BEGIN_BYTES, Frame, HEAD_LEN, Kind, SEAL_BYTES, WATERMARK_BYTES};
use crate::format::frame_writer::{FrameEvent, FrameStream};
use crate::format::segment::{HEADER_BYTES, Seed, SegmentHeader, USED_LEN};
use crate::options::{Preallocate, ReadMode};
use crate::place::{Frames, Place};
use crate::position::{Position, Timestamp, Version};
use crate::storage::memory::{CallKind, MemoryDisk};
use crate::storage::{Access, Dir, NamedFile};
use crate::sync::Arc;

const STORE: [u8; 16] = [1; 16];
const LEN: u32 = 64 << 10;
const BOTH: [ReadMode; 2] = [ReadMode::Mmap, ReadMode::Positional];

fn disk() -> (MemoryDisk, Dir) {
    let disk = MemoryDisk::simulated(7);
    let dir = Dir::new(Arc::new(disk.clone()));
    dir.create_dir("").unwrap();
    dir.create_dir(LOG).unwrap();
    (disk, dir)
}

fn prepared(dir: &Dir, ordinal: u32, len: u32) -> Prepared {
    prepare(dir, STORE, ordinal, len, Preallocate::Zero).unwrap()
}

const fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn begin(dir: &Dir, mode: ReadMode, len: u32) -> Tail {
    Tail::begin(dir, mode, prepared(dir, 1, len), &link_to_nothing(), at(5)).unwrap()
}

/// An entry of the type `A`.
fn entry(data: &[u8]) -> Vec<u8> {
    [b"\x00\x00\x01A", data].concat()
}

/// Stages a frame of events of some streams: name, first version, and the data of each event.
fn stage(tail: &mut Tail, time: i64, streams: &[(&str, u64, &[&[u8]])], state: &[u8]) -> u32 {
    let (mut events, mut entries) = (Vec::new(), Vec::new());
    for (index, (_, _, data)) in streams.iter().enumerate() {
        for (offset, data) in data.iter().enumerate() {
            let entry = entry(data);
            entries.extend_from_slice(&entry);
            events.push(FrameEvent {
                crc: crc32(&entry),
                end: u32::try_from(entries.len()).unwrap(),
                stream: u16::try_from(index).unwrap(),
                version_offset: u16::try_from(offset).unwrap(),
            });
        }
    }
    let names = streams
        .iter()
        .map(|(name, first_version, _)| FrameStream { name, first_version: *first_version });
    tail.stage(at(time), names, events, &entries, state)
}

fn out(tail: &mut Tail) {
    tail.write().unwrap();
    tail.sync().unwrap();
}

fn file(dir: &Dir, ordinal: u32) -> NamedFile {
    let name = LogFile::Segment { ordinal, generation: 0 }.path();
    dir.open(&name, Access::ReadWrite).unwrap()
}

/// Walks a segment from its beginning: where each frame stands, what they add up to, why it ended.
fn walked(tail: &Tail, dir: &Dir, until: u32) -> (Vec<(u32, Kind)>, Progress, Stop) {
    let header = *tail.segment().header();
    let file = file(dir, header.ordinal);
    let mut progress = Progress::start(&header);
    let mut frames = Vec::new();
    let mut scanner = Scanner::new(&file, tail.segment().seed(), header.len);
    let stop = scanner
        .walk(&mut progress, until, |offset, frame, bytes| {
            assert!(bytes.len() >= frame.len as usize);
            frames.push((offset, frame.kind));
            Ok(())
        })
        .unwrap();
    (frames, progress, stop)
}

#[test]
fn a_walk_adds_up_to_what_was_staged() {
    let (_, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Mmap, LEN);
    let mut frames = vec![(HEADER_BYTES, Kind::Begin)];
    frames.push((stage(&mut tail, 9, &[("a-1", 1, &[b"one"])], &[]), Kind::Event));
    out(&mut tail);
    let synced = tail.progress().end;
    assert_eq!((tail.durable_end(), tail.segment().written()), (synced, synced));
    // A clock that goes back.
    frames.push((stage(&mut tail, 7, &[("a-1", 2, &[b"two", b"3"])], &[]), Kind::Batch));
    frames.push((tail.progress().end, Kind::Watermark));
    tail.stage_watermark(at(8));
    frames.push((tail.progress().end, Kind::Seal));
    tail.stage_seal(at(8));
    out(&mut tail);

    let (found, progress, stop) = walked(&tail, &dir, LEN);
    assert_eq!((found, stop), (frames.clone(), Stop::End));
    assert_eq!(progress, Progress { durable_end: synced, ..*tail.progress() });
    assert_eq!((progress.frames, progress.events, progress.sealed), (5, 3, true));
    assert_eq!((progress.first_time, progress.last_time), (at(5), at(9)));

    // A walk goes as far as it is told to, and on from there.
    for (index, (offset, _)) in frames.iter().enumerate() {
        let (found, progress, stop) = walked(&tail, &dir, *offset);
        assert_eq!((found.len(), progress.end, stop), (index, *offset, Stop::End));
    }
}

#[test]
fn a_seal_says_what_stands_in_front_of_it() {
    let (_, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Mmap, LEN);
    stage(&mut tail, 9, &[("a-1", 1, &[b"one", b"two"])], &[]);
    let before = *tail.progress();
    tail.stage_seal(at(11));
    out(&mut tail);
    let frame = tail.segment().frame(before.end, Fetch::One).unwrap();
    let seal = frame.frame.seal(frame.bytes()).unwrap();
    assert_eq!((seal.frames, seal.events, seal.chain), (2, 2, before.chain));
    assert_eq!((seal.first_time, seal.last_time), (at(5), at(9)));
    let row = tail.row();
    assert_eq!((row.events, row.base, row.len, row.ordinal), (2, 1, LEN, 1));
    assert_eq!((row.end, row.last_crc), (before.end + SEAL_BYTES, tail.progress().last_crc));
    let link = link_to(&row, true);
    assert_eq!((link.base, link.predecessor, link.predecessor_end), (3, 1, row.end));
    assert!(link.cut && !link_to(&row, false).cut);
}

#[test]
fn a_walk_ends_at_the_first_frame_that_cannot_follow() {
    let (disk, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, LEN);
    let first = stage(&mut tail, 9, &[("a-1", 1, &[b"one"])], &[]);
    let second = stage(&mut tail, 9, &[("a-1", 2, &[b"two"])], &[]);
    out(&mut tail);
    let end = tail.progress().end;
    let (frames, progress, stop) = walked(&tail, &dir, LEN);
    assert_eq!((frames.len(), progress.end), (3, end));
    assert!(matches!(stop, Stop::Invalid(invalid) if !invalid.unsupported), "zeros are no frame");

    // The last byte of the entry, which the head's checksum does not cover.
    let name = LogFile::Segment { ordinal: 1, generation: 0 }.path();
    disk.corrupt(&name, second as usize - 1, 1);
    let (frames, progress, stop) = walked(&tail, &dir, LEN);
    assert_eq!((frames.len(), progress.end), (1, first));
    assert!(matches!(stop, Stop::Invalid(_)));
}

#[test]
fn events_are_counted_within_32_bits() {
    let (_, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, LEN);
    out(&mut tail);
    let offset = tail.progress().end;
    let link = *tail.link();
    for (events, accepted) in [(u32::MAX - 1, 1), (u32::MAX, 0)] {
        let progress = Progress { events, ..*tail.progress() };
        let segment = Arc::clone(tail.segment());
        let file = file(&dir, 1);
        let mut last = Tail::resume(segment, file.clone(), link, progress);
        stage(&mut last, 9, &[("a-1", 1, &[b"one"])], &[]);
        last.write().unwrap();
        let mut walked = progress;
        let mut scanner = Scanner::new(&file, tail.segment().seed(), LEN);
        scanner.walk(&mut walked, LEN, |_, _, _| Ok(())).unwrap();
        assert_eq!(walked.frames - progress.frames, accepted, "{events} events before it");
        assert_eq!(walked.end > offset, accepted > 0);
    }
}

#[test]
fn frames_larger_than_the_window_are_walked_and_found() {
    let (_, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, 4 << 20);
    let data = vec![7; 1_100_000];
    let mut frames = vec![(HEADER_BYTES, Kind::Begin)];
    for version in 1..=2 {
        let offset = stage(&mut tail, 9, &[("a-1", version, &[&data[..]])], &[]);
        frames.push((offset, Kind::Event));
        let offset = stage(&mut tail, 9, &[("b-1", version, &[b"small"])], &[]);
        frames.push((offset, Kind::Event));
    }
    // Its head reaches beyond any window: the name of a type and 60,000 rows of events.
    let rows: Vec<&[u8]> = vec![b"x"; 60_000];
    frames.push((stage(&mut tail, 9, &[("c-1", 1, &rows[..])], &[]), Kind::Batch));
    out(&mut tail);
    let (found, progress, _) = walked(&tail, &dir, 4 << 20);
    assert_eq!(found, frames);
    assert_eq!(progress.end, tail.progress().end);

    let file = file(&dir, 1);
    let mut scanner = Scanner::new(&file, tail.segment().seed(), 4 << 20);
    for pair in frames.windows(2) {
        let ((before, _), (next, _)) = (pair[0], pair[1]);
        assert_eq!(scanner.search(before + 1).unwrap().map(|(at, _)| at), Some(next));
        assert_eq!(scanner.search(next).unwrap().map(|(at, _)| at), Some(next));
        let frame = scanner.frame(next).unwrap().unwrap();
        assert!(scanner.bytes(next, frame.len).unwrap().len() >= frame.len as usize);
    }
    assert_eq!(scanner.search(progress.end).unwrap(), None);
}

/// A scanner's file of so many bytes, all zeros but these.
fn sparse(len: usize, used: &[(usize, u8)]) -> NamedFile {
    let mut bytes = vec![0; len];
    for (at, byte) in used {
        bytes[*at] = *byte;
    }
    let disk = MemoryDisk::new();
    disk.put("segment", &bytes);
    Dir::new(Arc::new(disk)).open("segment", Access::Read).unwrap()
}

#[test]
fn zeros_are_told_from_what_was_used_in_every_window() {
    let len = WINDOW + 300;
    let seed = Seed::of(&[2; 16]);
    for used in [0, 5000, WINDOW - 1, WINDOW, len - 1] {
        let file = sparse(len, &[(used, 1)]);
        let number = |at: usize| u32::try_from(at).unwrap();
        for from in [0, used.saturating_sub(1), used, used + 1] {
            let mut scanner = Scanner::new(&file, seed, number(len));
            let zero = scanner.is_zero_from(number(from)).unwrap();
            assert_eq!(zero, from > used, "byte {used}, from {from}");
            let end = scanner.used_end(number(from)).unwrap();
            assert_eq!(end, number((used + 1).max(from)), "byte {used}, from {from}");
        }
        // What stands behind the part that is looked at counts for nothing.
        let mut scanner = Scanner::new(&file, seed, number(used));
        assert!(scanner.is_zero_from(0).unwrap());
        assert_eq!(scanner.used_end(0).unwrap(), 0);
    }
    // Nor what stands behind where it looks, in another window.
    let file = sparse(len, &[(9, 1), (WINDOW + 200, 1)]);
    let mut scanner = Scanner::new(&file, seed, u32::try_from(len).unwrap());
    assert_eq!(scanner.used_end(0).unwrap(), u32::try_from(WINDOW + 201).unwrap());
    let mut scanner = scanner.looking_to(u32::try_from(WINDOW).unwrap());
    assert_eq!(scanner.used_end(0).unwrap(), 10);
    assert!(scanner.is_zero_from(10).unwrap() && !scanner.is_zero_from(9).unwrap());
    // Behind the end of a file there are zeros.
    let file = sparse(100, &[(99, 1)]);
    let mut scanner = Scanner::new(&file, seed, 5000);
    assert!(!scanner.is_zero_from(0).unwrap() && scanner.is_zero_from(100).unwrap());
    assert_eq!(scanner.used_end(0).unwrap(), 100);
}

#[test]
fn a_frame_is_found_wherever_it_stands() {
    let (disk, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, LEN);
    tail.stage_watermark(at(6));
    let mark = tail.progress().end - WATERMARK_BYTES;
    out(&mut tail);
    let seed = tail.segment().seed();
    let name = LogFile::Segment { ordinal: 1, generation: 0 }.path();
    let whole = disk.files()[&name].clone();
    let find = |bytes: &[u8], from: u32, len: u32| {
        let disk = MemoryDisk::new();
        disk.put("segment", bytes);
        let file = Dir::new(Arc::new(disk)).open("segment", Access::Read).unwrap();
        Scanner::new(&file, seed, len).search(from).unwrap()
    };
    let found = Some((mark, HEADER_BYTES));
    for from in [mark - 8, mark - 3, mark - 1, mark] {
        assert_eq!(find(&whole, from, LEN), found, "from {from}");
    }
    let file = file(&dir, 1);
    let looking_to = |end| Scanner::new(&file, seed, LEN).looking_to(end).search(mark).unwrap();
    assert_eq!((looking_to(mark), looking_to(mark + 1)), (None, found), "from no further on");
    for from in [mark + 1, mark + 4, LEN - HEAD_LEN, LEN - 1, LEN] {
        assert_eq!(find(&whole, from, LEN), None, "from {from}");
    }
    // It may end where the segment does, and not behind it.
    assert_eq!(find(&whole, mark, mark + WATERMARK_BYTES), found);
    assert_eq!(find(&whole, mark, mark + WATERMARK_BYTES - 4), None);
    // Bytes in front of it that look like heads, and zeros.
    for (distance, byte) in [(4, 0xff), (8, 0x80), (12, 0x81), (400, 0xff)] {
        let mut noisy = whole.clone();
        let from = mark - distance;
        noisy[from as usize..mark as usize].fill(byte);
        assert_eq!(find(&noisy, from, LEN), found, "{distance} bytes {byte:#x}");
    }
    // Far behind zeros, at the end of a window and behind it.
    let bytes = &whole[mark as usize..(mark + WATERMARK_BYTES) as usize];
    let window = u32::try_from(WINDOW).unwrap();
    let far = window + 4096;
    for at in [0, window - 40, window - 28, window - 24, window, far - 28] {
        // It verifies at its own offset only, so it is made for that one.
        let mut moved = Vec::new();
        let place = crate::format::frame_writer::FramePlace {
            seed,
            offset: at,
            durable_end: at,
            previous: 1,
            first: 0,
            time: Timestamp::from_micros(6),
        };
        crate::format::frame_writer::put_watermark(&mut moved, &place);
        assert_eq!(moved.len(), bytes.len());
        let mut file = vec![0; far as usize];
        file[at as usize..][..moved.len()].copy_from_slice(&moved);
        assert_eq!(find(&file, 0, far), Some((at, at)), "at {at}");
        // With a byte before it that is not zero.
        if at > 0 {
            file[at as usize - 1] = 0xff;
            assert_eq!(find(&file, 0, far), Some((at, at)), "at {at}, behind another byte");
        }
    }
}

#[test]
fn a_frame_is_found_only_where_all_of_it_is() {
    let (_, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, LEN);
    // The head of the frame reaches less far than its entry.
    let one = stage(&mut tail, 9, &[("a-1", 1, &[&[7; 100]])], &[]);
    out(&mut tail);
    let (file, end) = (file(&dir, 1), tail.progress().end);
    let found = |len| Scanner::new(&file, tail.segment().seed(), len).search(one).unwrap();
    assert_eq!(found(end).map(|(offset, _)| offset), Some(one));
    assert_eq!(found(end - 4), None);
}

/// A frame of so many bytes, of a kind that is not known: its checksum covers all of it.
fn of_a_newer_kind(seed: Seed, offset: u32, len: u8) -> Vec<u8> {
    let mut head = vec![0; usize::from(len)];
    head[4] = len;
    head[15] = 0x85;
    let crc = seed.head_crc(offset, &head[4..]);
    head[..4].copy_from_slice(&crc.to_le_bytes());
    head
}

#[test]
fn a_frame_of_a_newer_kind_proves_what_cannot_be_known() {
    let (_, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, LEN);
    out(&mut tail);
    let (seed, mark) = (tail.segment().seed(), tail.progress().end);
    let file = file(&dir, 1);
    file.write_all_at(&of_a_newer_kind(seed, mark, 28), u64::from(mark)).unwrap();
    let mut scanner = Scanner::new(&file, seed, LEN);
    assert_eq!(scanner.search(HEADER_BYTES + 4).unwrap(), Some((mark, u32::MAX)));
    assert!(scanner.frame(mark).unwrap().unwrap_err().unsupported);
}

#[test]
fn a_direct_scan_sees_the_medium() {
    let (_, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, LEN);
    out(&mut tail);
    let synced = tail.progress().end;
    stage(&mut tail, 9, &[("a-1", 1, &[b"one"])], &[]);
    tail.write().unwrap();
    let (file, seed) = (file(&dir, 1), tail.segment().seed());
    let end = |scanner: &mut Scanner<'_>| {
        let mut progress = Progress::start(tail.segment().header());
        scanner.walk(&mut progress, LEN, |_, _, _| Ok(())).unwrap();
        progress.end
    };
    let mut direct = Scanner::direct(&file, seed, LEN).unwrap().unwrap();
    assert_eq!(end(&mut direct), synced);
    assert_eq!(end(&mut Scanner::new(&file, seed, LEN)), tail.progress().end);
    assert_eq!(tail.durable_end(), synced);
    tail.note_durable(synced - 1);
    assert_eq!(tail.durable_end(), synced, "it does not go back");
    tail.note_durable(tail.progress().end);
    assert_eq!(tail.durable_end(), tail.progress().end);
}

#[test]
fn a_group_fits_as_long_as_a_watermark_and_a_seal_do() {
    let (_, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, LEN);
    let left = LEN - HEADER_BYTES - BEGIN_BYTES;
    let most = (left - WATERMARK_BYTES - SEAL_BYTES) as usize;
    assert_eq!(Tail::overhead(), LEN - u32::try_from(most).unwrap());
    assert!(tail.fits(most) && !tail.fits(most + 1) && !tail.fits(usize::MAX));
    assert!(!tail.fits(u32::MAX as usize));
    // A lone event takes 28 bytes of head, 1 + 1 + 3 of its stream, 4 of its checksum, and 4.
    let data = vec![7; most - 41];
    stage(&mut tail, 9, &[("a-1", 1, &[&data[..]])], &[]);
    assert!(tail.has_room_for_watermark() && !tail.fits(1));
    tail.stage_watermark(at(9));
    assert!(!tail.has_room_for_watermark());
    tail.stage_seal(at(9));
    out(&mut tail);
    assert_eq!(tail.progress().end, LEN);
    assert_eq!(walked(&tail, &dir, LEN).1.end, LEN);
}

/// All events of a segment, frame by frame: position, stream, version, data.
fn events(segment: &Segment, mut at: u32) -> Vec<(u64, String, u64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut frame = segment.frame(at, Fetch::Ahead).unwrap();
    loop {
        assert_eq!(frame.offset, at);
        for index in 0..frame.frame.events {
            let event = segment.event(&frame, index).unwrap();
            let (stream, data) = (event.stream().to_owned(), event.data().to_vec());
            found.push((event.position.0, stream, event.version.0, data));
        }
        at += frame.frame.len;
        if segment.next_frame(&mut frame).is_err() {
            return found;
        }
    }
}

/// A frame is read in the place of the one before it: where it is damaged, that one stays whole.
#[test]
fn a_frame_stays_where_the_next_one_is_damaged() {
    for mode in BOTH {
        let (_, dir) = disk();
        let mut tail = begin(&dir, mode, LEN);
        let first = stage(&mut tail, 9, &[("a-1", 1, &[b"one"])], &[]);
        let second = stage(&mut tail, 9, &[("b-22", 7, &[b"two", b"three"])], &[]);
        out(&mut tail);
        file(&dir, 1).write_all_at(&[0xff], u64::from(second) + 40).unwrap();
        let segment = tail.segment();
        let mut at = segment.frame(first, Fetch::Ahead).unwrap();
        let before = (at.offset, at.frame);
        assert!(segment.next_frame(&mut at).is_err());
        assert_eq!((at.offset, at.frame), before);
        let event = segment.event(&at, 0).unwrap();
        assert_eq!((event.stream(), event.data(), event.version.0), ("a-1", &b"one"[..], 1));
    }
}

#[test]
fn groups_that_are_held_are_read_like_written_ones() {
    for mode in BOTH {
        let (_, dir) = disk();
        let mut tail = begin(&dir, mode, LEN);
        out(&mut tail);
        let (written, segment) = (tail.progress().end, Arc::clone(tail.segment()));
        // Its head is longer than what is fetched for one event.
        let names: Vec<String> = (0..300).map(|n| format!("a-long-name-{n:08}")).collect();
        let data: &[&[u8]] = &[b"one"];
        let rows: Vec<(&str, u64, &[&[u8]])> =
            names.iter().map(|name| (name.as_str(), 1, data)).collect();
        stage(&mut tail, 9, &rows, &[]);
        tail.hold();
        stage(&mut tail, 9, &[("a-1", 2, &[b"two"]), ("b-1", 1, &[b"three"])], &[]);
        tail.hold();
        let end = tail.progress().end;
        assert_eq!((tail.held_bytes(), segment.written()), (end - written, written));
        let expected: Vec<(u64, String, u64, Vec<u8>)> = (1..)
            .zip(&names)
            .map(|(position, name)| (position, name.clone(), 1, b"one".to_vec()))
            .chain([
                (301, "a-1".into(), 2, b"two".to_vec()),
                (302, "b-1".into(), 1, b"three".to_vec()),
            ])
            .collect();
        assert_eq!(events(&segment, written), expected);
        assert_eq!(segment.frame(written, Fetch::One).unwrap().frame.events, 300);
        tail.flush().unwrap();
        assert_eq!((tail.held_bytes(), segment.written()), (0, end));
        assert_eq!(events(&segment, written), expected);
        assert_eq!(segment.frame(written, Fetch::One).unwrap().frame.events, 300);
        tail.flush().unwrap();
        assert_eq!(segment.written(), end, "nothing is held any more");
        assert!(segment.frame(end, Fetch::One).is_err());
        tail.sync().unwrap();
        assert_eq!(tail.durable_end(), end);
        // Held again, behind what was written.
        stage(&mut tail, 9, &[("a-1", 3, &[b"four"])], &[]);
        tail.hold();
        assert_eq!(events(&segment, end), [(303, "a-1".into(), 3, b"four".to_vec())]);
    }
}

#[test]
fn a_segment_finds_what_the_index_names_and_nothing_else() {
    for mode in BOTH {
        let (_, dir) = disk();
        let mut tail = begin(&dir, mode, LEN);
        stage(&mut tail, 9, &[("a-1", 1, &[b"one"])], &[]);
        let two = stage(
            &mut tail,
            9,
            &[("a-1", 2, &[b"two", b"three"]), ("b-1", 1, &[b"four"])],
            b"state",
        );
        out(&mut tail);
        let segment = Arc::clone(tail.segment());
        let log = Log::new(vec![Arc::clone(&segment)]);
        let frame = segment.frame(two, Fetch::One).unwrap();
        for (ordinal, data) in [(0, None), (1, Some(&b"two"[..])), (3, Some(b"four")), (4, None)] {
            let event = segment.event_with_ordinal(&frame, ordinal).ok();
            assert_eq!(event.as_ref().map(Event::data), data, "{ordinal}");
        }
        assert!(segment.event(&frame, 3).is_err());
        let last = |name| segment.last_of_stream(&frame, name);
        assert_eq!(last("a-1"), Some((Version(3), Position(3))));
        assert_eq!(last("b-1"), Some((Version(1), Position(4))));
        assert_eq!((last("a-"), last("c-1")), (None, None));
        assert_eq!(log.last_of_stream(1, two, "b-1").unwrap(), Some((Version(1), Position(4))));

        let place = |ordinal| Place { segment: 1, frame: two, ordinal };
        assert!(
            log.stream_is(place(2), "a-1").unwrap() && !log.stream_is(place(2), "b-1").unwrap()
        );
        assert_eq!(log.stream_name(place(3)).unwrap(), "b-1");
        for ordinal in [0, 4] {
            assert!(log.stream_name(place(ordinal)).unwrap_err().is_damage(), "{ordinal}");
        }
        let replayed = |from, events| {
            let mut seen = Vec::new();
            log.replay(1, from, events, &mut |event| {
                seen.push((event.frame, event.version, event.stream.to_owned()));
                Ok(())
            })
            .unwrap();
            seen
        };
        assert_eq!(replayed(0, 4).len(), 4, "from the first frame on");
        assert_eq!(replayed(0, 1).len(), 1);
        assert_eq!(replayed(two, 3)[2], (two, 1, "b-1".to_owned()));

        let states = log.state_writes(1, 0).unwrap();
        assert_eq!(states.len(), 1);
        assert_eq!((states[0].0.position, &states[0].1[..]), (Position(4), &b"state"[..]));
        assert_eq!(log.state_writes(1, two).unwrap().len(), 1);
        assert_eq!(log.state_writes(1, two + frame.frame.len).unwrap().len(), 0);
        assert!(log.state_writes(2, 0).is_err());
        let event = segment.event(&frame, 2).unwrap();
        assert_eq!((logged(two, &event).frame, logged(two, &event).version), (two, 1));
    }
}

/// Segments with so many events each, the last of them unsealed.
fn segments(dir: &Dir, events: &[u32]) -> (Vec<SegmentRow>, Vec<Tail>) {
    let (mut rows, mut tails) = (Vec::<SegmentRow>::new(), Vec::new());
    let mut version = 1;
    for (events, ordinal) in events.iter().zip(1..) {
        let link = rows.last().map_or_else(link_to_nothing, |row| link_to(row, false));
        let prepared = prepared(dir, ordinal, LEN);
        let mut tail =
            Tail::begin(dir, ReadMode::Positional, prepared, &link, at(i64::from(ordinal)))
                .unwrap();
        for _ in 0..*events {
            stage(&mut tail, 9, &[("a-1", version, &[b"x"])], &[]);
            version += 1;
        }
        tail.stage_seal(at(9));
        out(&mut tail);
        rows.push(tail.row());
        tails.push(tail);
    }
    (rows, tails)
}

#[test]
fn a_log_finds_segments_by_ordinal_and_by_position() {
    let (_, dir) = disk();
    let (rows, tails) = segments(&dir, &[2, 1, 3]);
    let all: Vec<_> = tails.iter().map(|tail| Arc::clone(tail.segment())).collect();
    let log = Log::new(all[..2].to_vec());
    assert_eq!(rows.iter().map(|row| row.base).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!((log.base_behind(1), log.base_behind(2)), (3, u64::MAX));
    log.push(Arc::clone(&all[2]));
    let ordinal_of = |position| log.segment_of(Position(position)).map(|segment| segment.ordinal());
    assert_eq!(
        [0, 1, 2, 3, 4, 9].map(ordinal_of),
        [None, Some(1), Some(1), Some(2), Some(3), Some(3)]
    );
    assert_eq!(log.segment(3).unwrap().position(2), Position(6));
    assert!(log.segment(0).is_err() && log.segment(4).is_err());
    assert_eq!(log.segments().len(), 3);
    log.replace_last(Arc::clone(&all[2]));
    assert_eq!(log.segments().len(), 3);
    let later = Log::new(all[1..].to_vec());
    assert!(later.segment(1).is_err());
    assert_eq!(later.segment(3).unwrap().ordinal(), 3);
    assert_eq!(later.base_behind(2), 4);
}

fn surveyed(dir: &Dir, known: &[SegmentRow]) -> Result<Survey> {
    survey(dir, STORE, &list(dir).unwrap(), known)
}

#[test]
fn a_survey_finds_the_segments_as_they_hang_together() {
    let (disk, dir) = disk();
    let empty = surveyed(&dir, &[]).unwrap();
    assert!(empty.sealed.is_empty() && empty.last.is_none() && empty.damage.is_none());
    let (rows, _) = segments(&dir, &[2, 1, 3]);
    disk.put("log/0000000002.0.idx", b"");
    disk.put("log/0000000001.0.idx", b"");
    disk.put("log/0000000009.0.seg.tmp", b"");
    disk.put("log/other.tmp", b"");
    let Listing { segments, others, temporary } = list(&dir).unwrap();
    assert_eq!(segments.into_iter().collect::<Vec<_>>(), [(1, 0), (2, 0), (3, 0)]);
    let index = |ordinal| LogFile::SealedIndex { ordinal, generation: 0 };
    assert_eq!(
        (others, temporary),
        (vec![index(1), index(2)], vec!["0000000009.0.seg.tmp".into()])
    );

    // With any part of them vouched for by the directory.
    for known in 0..=3 {
        let found = surveyed(&dir, &rows[..known]).unwrap();
        assert!(found.damage.is_none() && found.unused.is_none(), "{known}");
        let last = found.last.unwrap();
        assert_eq!((last.header.ordinal, last.begin.base), (3, 4), "{known}");
        assert_eq!(last.begun_at, at(3));
        assert_eq!(last.known_end, if known == 3 { rows[2].end } else { 0 }, "{known}");
        assert_eq!(found.sealed, rows[..2], "{known}");
    }
    // One that is prepared behind them.
    prepared(&dir, 4, LEN);
    for known in [0, 3] {
        let found = surveyed(&dir, &rows[..known]).unwrap();
        assert_eq!(found.last.unwrap().header.ordinal, 3);
        let unused = found.unused.unwrap();
        assert_eq!((unused.ordinal, unused.header.is_some()), (4, true));
        unused.check().unwrap();
    }
}

#[test]
fn a_survey_names_what_does_not_hang_together() {
    let names = |ordinal| LogFile::Segment { ordinal, generation: 0 }.path();
    let damage = |change: &dyn Fn(&MemoryDisk, &Dir), known: usize| {
        let (disk, dir) = disk();
        let (rows, _) = segments(&dir, &[2, 1, 3]);
        change(&disk, &dir);
        let found = surveyed(&dir, &rows[..known]).unwrap();
        let last = found.last.map(|last| last.header.ordinal);
        (found.damage.map(|e| e.to_string()), last, found.sealed.len())
    };
    assert_eq!(damage(&|_, _| (), 0), (None, Some(3), 2));
    // A segment in the middle is gone, with the directory's word and without.
    for known in [0, 3] {
        let (error, last, sealed) = damage(&|disk, _| disk.delete(&names(2)), known);
        assert!(error.unwrap().contains("0000000002.0.seg"), "{known}");
        assert_eq!((last, sealed), (Some(1), 0), "{known}");
    }
    // The newest is gone, which only the directory can know.
    assert_eq!(damage(&|disk, _| disk.delete(&names(3)), 0), (None, Some(2), 1));
    let (error, last, _) = damage(&|disk, _| disk.delete(&names(3)), 3);
    assert!(error.unwrap().contains("0000000003.0.seg"));
    assert_eq!(last, Some(2));
    // Two that have changed places, one that is shorter, one of another store.
    let swap = |disk: &MemoryDisk, _: &Dir| {
        let files = disk.files();
        disk.put(&names(1), &files[&names(2)]);
        disk.put(&names(2), &files[&names(1)]);
    };
    assert!(damage(&swap, 0).0.unwrap().contains("segment 1.0 of this store"));
    let cut = |disk: &MemoryDisk, _: &Dir| {
        let files = disk.files();
        let bytes = &files[&names(2)];
        disk.put(&names(2), &bytes[..bytes.len() - 1]);
    };
    assert!(damage(&cut, 0).0.unwrap().contains("65535 bytes"));
}

#[test]
fn a_survey_does_not_take_another_segment_for_that_of_the_directory() {
    let changes: [fn(&mut SegmentRow); 2] = [|row| row.salt[3] ^= 1, |row| row.base += 1];
    for change in changes {
        let (_, dir) = disk();
        let (mut rows, _) = segments(&dir, &[2, 1, 3]);
        change(&mut rows[2]);
        let found = surveyed(&dir, &rows).unwrap();
        let damage = found.damage.unwrap().to_string();
        assert!(damage.contains("the segment of the directory"), "{damage}");
        assert_eq!((found.last.unwrap().header.ordinal, found.sealed.len()), (2, 1));
    }
}

#[test]
fn only_the_newest_segment_can_be_one_that_was_never_used() {
    let name = |ordinal| LogFile::Segment { ordinal, generation: 0 }.path();
    for ordinal in [2, 3] {
        let (disk, dir) = disk();
        segments(&dir, &[2, 1, 3]);
        disk.put(&name(ordinal), &vec![0; LEN as usize]);
        let found = surveyed(&dir, &[]).unwrap();
        assert_eq!(found.unused.is_some(), ordinal == 3, "zeros in the place of {ordinal}");
        let damage = found.damage.map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(damage.contains(&name(2)), ordinal == 2, "{damage}");
    }
    // A newer version's header is read by that version only, whatever is behind it.
    let (disk, dir) = disk();
    segments(&dir, &[2, 1, 3]);
    let mut bytes = disk.files()[&name(3)].clone();
    bytes[USED_LEN as usize..].fill(0);
    bytes[10..12].fill(0xff);
    let crc = crc32(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    disk.put(&name(3), &bytes);
    let found = surveyed(&dir, &[]);
    assert!(
        matches!(found, Err(_) | Ok(Survey { damage: Some(_), unused: None, .. })),
        "{found:?}"
    );
}

#[test]
fn a_segment_that_begins_with_a_frame_of_a_newer_kind_was_used() {
    // As short as one can be, and as long as ours: longer ones are of a newer version's segment.
    for len in [28, 60] {
        let (disk, dir) = disk();
        segments(&dir, &[2, 1, 3]);
        let name = LogFile::Segment { ordinal: 3, generation: 0 }.path();
        let header = SegmentHeader::decode(&disk.files()[&name][..HEADER_BYTES as usize]).unwrap();
        let head = of_a_newer_kind(Seed::of(&header.salt), HEADER_BYTES, len);
        let file = dir.open(&name, Access::ReadWrite).unwrap();
        file.write_all_at(&head, u64::from(HEADER_BYTES)).unwrap();
        let found = surveyed(&dir, &[]);
        assert!(
            matches!(found, Err(_) | Ok(Survey { damage: Some(_), unused: None, .. })),
            "{len} bytes: {found:?}"
        );
    }
}

#[test]
fn a_link_names_the_segment_before_it() {
    type Change = fn(&mut crate::format::control::Begin);
    let wrong: [(&str, Change, &str); 7] = [
        ("another predecessor", |begin| begin.predecessor = 3, "a link to segment 1"),
        ("a position too many", |begin| begin.base += 1, "a link to position 3"),
        ("a base far away", |begin| begin.base = 1 << 40, "begins at position"),
        ("an end in the header", |begin| begin.predecessor_end = 4095, "an end inside"),
        ("an end behind the file", |begin| begin.predecessor_end = LEN + 1, "an end inside"),
        ("another digest", |begin| begin.predecessor_chain.0 += 1, "the digest"),
        ("another last frame", |begin| begin.predecessor_crc += 1, "the digest"),
    ];
    for (what, change, says) in wrong {
        let (_, dir) = disk();
        let (rows, _) = segments(&dir, &[2]);
        let mut link = link_to(&rows[0], false);
        change(&mut link);
        let prepared = prepared(&dir, 2, LEN);
        let mut tail = Tail::begin(&dir, ReadMode::Positional, prepared, &link, at(2)).unwrap();
        out(&mut tail);
        let found = [&[][..], &rows].map(|known| surveyed(&dir, known).unwrap().damage);
        let found = found.map(|damage| damage.map(|e| e.to_string()).unwrap_or_default());
        assert!(found.iter().any(|error| error.contains(says)), "{what}: {found:?}");
    }
    // An end at either edge may be.
    for end in [HEADER_BYTES, LEN] {
        let (_, dir) = disk();
        let (rows, _) = segments(&dir, &[2]);
        let link =
            crate::format::control::Begin { predecessor_end: end, ..link_to(&rows[0], false) };
        let prepared = prepared(&dir, 2, LEN);
        let mut tail = Tail::begin(&dir, ReadMode::Positional, prepared, &link, at(2)).unwrap();
        out(&mut tail);
        let found = surveyed(&dir, &[]).unwrap();
        assert!(found.damage.is_none(), "{end}");
        assert_eq!(found.sealed[0].end, end);
    }
}

#[test]
fn an_unused_segment_never_held_an_event() {
    let name = LogFile::Segment { ordinal: 2, generation: 0 }.path();
    let checked = |change: &dyn Fn(&mut Vec<u8>, &Tail)| -> Option<Result<()>> {
        let (disk, dir) = disk();
        let (rows, _) = segments(&dir, &[2]);
        let link = link_to(&rows[0], false);
        let prepared = prepared(&dir, 2, LEN);
        let mut tail = Tail::begin(&dir, ReadMode::Positional, prepared, &link, at(2)).unwrap();
        stage(&mut tail, 9, &[("a-1", 3, &[b"x"])], &[]);
        tail.write().unwrap();
        stage(&mut tail, 9, &[("a-1", 4, &[b"y"])], &[]);
        tail.write().unwrap();
        let mut bytes = disk.files()[&name].clone();
        change(&mut bytes, &tail);
        disk.put(&name, &bytes);
        let found = surveyed(&dir, &[]).ok()?;
        found.damage.is_none().then_some(())?;
        Some(found.unused?.check())
    };
    let first = HEADER_BYTES as usize;
    assert!(checked(&|_, _| ()).is_none(), "it is used");
    let torn = checked(&|bytes, _| bytes[first + 20] ^= 1);
    assert!(torn.unwrap().is_ok(), "frames of the first group prove nothing");
    let zeros = checked(&|bytes, _| bytes[first..].fill(0));
    assert!(zeros.unwrap().is_ok());
    let short = checked(&|bytes, _| {
        bytes[first..].fill(0);
        bytes.pop();
    });
    assert!(short.unwrap().unwrap_err().to_string().contains("65536 bytes"));
    let headless = checked(&|bytes, _| bytes.fill(0));
    assert!(headless.unwrap().unwrap_err().is_damage());
    let half = checked(&|bytes, _| {
        bytes.fill(0);
        bytes[..64].fill(9);
    });
    assert!(half.unwrap().unwrap_err().is_damage(), "only the place of the header is used");
    let other = checked(&|bytes, _| {
        bytes.fill(0);
        bytes[64] = 9;
    });
    assert!(other.is_none(), "something else was there");
    // A later group, which was written when the first one was durable.
    let put_later = |bytes: &mut Vec<u8>, tail: &Tail| {
        let segment = Arc::clone(tail.segment());
        let progress = Progress { end: 8192, ..*tail.progress() };
        let mut group = Vec::new();
        crate::format::frame_writer::put_watermark(
            &mut group,
            &crate::format::frame_writer::FramePlace {
                seed: segment.seed(),
                offset: progress.end,
                durable_end: HEADER_BYTES + 4,
                previous: 7,
                first: 0,
                time: at(9),
            },
        );
        bytes[8192..][..group.len()].copy_from_slice(&group);
    };
    let later = checked(&|bytes, tail| {
        bytes[first..].fill(0);
        put_later(bytes, tail);
    });
    assert!(later.unwrap().unwrap_err().to_string().contains("a later one at byte 8192"));
    // The same behind frames of the first group.
    let behind = checked(&|bytes, tail| {
        bytes[first + 20] ^= 1;
        put_later(bytes, tail);
    });
    assert!(behind.unwrap().unwrap_err().to_string().contains("a later one at byte 8192"));
}

#[test]
fn a_head_page_says_what_was_said_last() {
    let (_, dir) = disk();
    assert!(HeadReader::open(&dir, STORE).is_none());
    let mut tail = begin(&dir, ReadMode::Positional, LEN);
    out(&mut tail);
    let segment = Arc::clone(tail.segment());
    let mut writer = HeadWriter::open(&dir, STORE);
    let reader = HeadReader::open(&dir, STORE).unwrap();
    assert_eq!((reader.change(), reader.look()), (0, None));
    for (round, (visible, durable)) in (1..).zip([(1, 0), (1, 1), (2, 1)]) {
        writer.say(&segment, Position(visible), Position(durable));
        assert_eq!(reader.change(), 2 * round);
        let head = reader.look().unwrap();
        assert_eq!((head.ordinal, head.end, head.change), (1, segment.written(), 2 * round));
        assert_eq!((head.visible, head.durable), (visible, durable));
        assert_eq!(head.salt.to_le_bytes(), segment.header().salt[..8]);
        writer.say(&segment, Position(visible), Position(durable));
        assert_eq!(reader.change(), 2 * round, "nothing new is not said again");
    }
    assert!(HeadReader::open(&dir, [2; 16]).unwrap().look().is_none(), "another store's");
    // Another writer goes on behind it, also where one died while it was storing.
    let mut next = HeadWriter::open(&dir, STORE);
    next.say(&segment, Position(3), Position(3));
    assert_eq!((reader.change(), reader.look().unwrap().visible), (8, 3));
    let page = dir.shared_page("head", Access::ReadWrite).unwrap();
    page.store(crate::format::head::CHANGE_WORD, 9);
    assert_eq!(reader.look(), None, "half stored");
    let mut next = HeadWriter::open(&dir, STORE);
    next.say(&segment, Position(4), Position(4));
    assert_eq!((reader.change(), reader.look().unwrap().visible), (10, 4));
}

#[test]
fn errors_of_other_kinds_are_not_taken_for_damage() {
    let (disk, dir) = disk();
    let (rows, _) = segments(&dir, &[2, 1]);
    for known in [0, 2] {
        disk.fail_from(disk.calls() + 2, crate::storage::memory::Fault::Errno(5));
        let listing = Listing { segments: [(1, 0), (2, 0)].into(), ..Listing::default() };
        let failed = survey(&dir, STORE, &listing, &rows[..known]);
        assert!(matches!(failed, Err(Error::Io { .. })), "{known}: {failed:?}");
        disk.heal();
    }
}

#[test]
fn half_a_head_page_is_not_believed_though_its_checksum_is_right() {
    use crate::format::head::Head;
    let (_, dir) = disk();
    let page = dir.shared_page("head", Access::ReadWrite).unwrap();
    let reader = HeadReader::open(&dir, STORE).unwrap();
    for (change, is_whole) in [(3, false), (4, true)] {
        let head =
            Head { store: STORE, change, ordinal: 1, salt: 0, end: 8192, visible: 1, durable: 1 };
        for (index, word) in head.encode().into_iter().enumerate() {
            page.store(index, word);
        }
        assert_eq!(reader.look().is_some(), is_whole, "change {change}");
    }
}

#[test]
fn a_segment_is_filled_with_zeros_only_where_that_is_asked_for() {
    for (preallocate, is_filled) in [(Preallocate::Zero, true), (Preallocate::None, false)] {
        let (disk, dir) = disk();
        disk.start_trace();
        prepare(&dir, STORE, 1, LEN, preallocate).unwrap();
        let of = |kind| disk.trace().iter().filter(|call| call.kind == kind).count();
        assert_eq!(of(CallKind::Grow), usize::from(!is_filled), "{preallocate:?}");
        assert_eq!(of(CallKind::Write) > 1, is_filled, "the header, and zeros: {preallocate:?}");
    }
}

/// What an error about a place says: the file, and where in it.
fn told(error: Error) -> (String, u64) {
    match error {
        Error::Corrupt { path, offset, .. } => (path.to_str().unwrap().into(), offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_frame_is_said_to_be_where_it_is() {
    let (disk, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, LEN);
    stage(&mut tail, 9, &[("a-1", 1, &[b"one"])], &[]);
    let two = stage(&mut tail, 9, &[("a-1", 2, &[b"two", b"three"])], &[]);
    out(&mut tail);
    let (segment, name) =
        (Arc::clone(tail.segment()), LogFile::Segment { ordinal: 1, generation: 0 }.path());
    let whole = segment.frame(two, Fetch::One).unwrap();
    let entry = whole.frame.event(whole.bytes(), 1).unwrap().entry.start;
    // Its entry alone, then its head.
    disk.corrupt(&name, (two + entry) as usize, 1);
    let at = segment.frame(two, Fetch::One).unwrap();
    assert!(segment.event(&at, 0).is_ok());
    let (path, offset) = told(segment.event(&at, 1).unwrap_err());
    assert!(path.ends_with(&name), "{path}");
    assert_eq!(offset, u64::from(two + entry));
    disk.corrupt(&name, two as usize + 20, 1);
    for fetch in [Fetch::Near, Fetch::One, Fetch::Ahead] {
        let (path, offset) = told(segment.frame(two, fetch).unwrap_err());
        assert!(path.ends_with(&name), "{path}");
        assert_eq!(offset, u64::from(two), "{fetch:?}");
    }
}

#[test]
fn a_read_of_frames_goes_on_behind_what_it_has_fetched() {
    let (_, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, 1 << 20);
    let data = vec![7; 60_000];
    let mut first = None;
    for version in 1..=12 {
        let offset = stage(&mut tail, 9, &[("a-1", version, &[&data])], &[]);
        first.get_or_insert(offset);
    }
    out(&mut tail);
    // One that is longer than what is fetched for one.
    let at = tail.segment().frame(first.unwrap(), Fetch::One).unwrap();
    assert_eq!(tail.segment().event(&at, 0).unwrap().data(), data);
    let found = events(tail.segment(), first.unwrap());
    assert_eq!(found.len(), 12, "from more than two fetches");
    for (version, event) in (1..).zip(found) {
        assert_eq!(event, (version, "a-1".into(), version, data.clone()));
    }
}

#[test]
fn reads_of_one_event_ask_for_its_block_and_reads_in_order_for_nothing() {
    let (disk, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, 1 << 20);
    let data = vec![7; 60_000];
    let frames: Vec<u32> =
        (1..=12).map(|version| stage(&mut tail, 9, &[("a-1", version, &[&data])], &[])).collect();
    out(&mut tail);
    let bytes = &disk.files()[&tail.segment().file().path()];
    let block = |frame: usize| frames[frame] as usize >> 17;
    let handle = || {
        let (mapped, asked) = mapped(bytes.clone());
        let segment = Arc::new(reopened(&dir, &tail, ReadMode::Mmap, 1));
        segment.read_through(mapped);
        (segment, asked)
    };
    let place = |frame: usize| Place {
        segment: 1,
        frame: frames[frame],
        ordinal: u32::try_from(frame).unwrap(),
    };

    let (segment, asked) = handle();
    for fetch in [Fetch::Ahead, Fetch::Near] {
        let at = segment.frame(frames[0], fetch).unwrap();
        assert_eq!(segment.event_with_ordinal(&at, 0).unwrap().data(), data);
    }
    assert_eq!(*asked.blocks.lock(), [0; 0]);
    // This one ends in the block behind.
    assert!(block(2) < block(3));
    let at = segment.frame(frames[2], Fetch::One).unwrap();
    assert_eq!(*asked.blocks.lock(), [block(2), block(3)]);
    assert_eq!(segment.event_with_ordinal(&at, 2).unwrap().data(), data);
    assert_eq!(asked.blocks.lock().len(), 2);

    let (segment, asked) = handle();
    let log = Log::new(vec![segment]);
    log.touch([0, 1, 2, 6, 11, 10].map(place).iter());
    assert_eq!(*asked.blocks.lock(), [block(0), block(6), block(11)], "the others are near");

    let (segment, asked) = handle();
    let log = Log::new(vec![segment]);
    assert!(log.stream_is(place(9), "a-1").unwrap());
    assert!(log.last_of_stream(1, frames[0], "a-1").unwrap().is_some());
    assert_eq!(*asked.blocks.lock(), [block(9), block(0)]);
}

/// Another handle of a segment that was written, as readers open it.
fn reopened(dir: &Dir, tail: &Tail, mode: ReadMode, base: u64) -> Segment {
    Segment::new(dir.clone(), mode, *tail.segment().header(), base, tail.progress().end)
}

#[test]
fn a_frame_that_is_not_there_as_a_whole_is_damage() {
    for mode in BOTH {
        let (disk, dir) = disk();
        let mut tail = begin(&dir, mode, LEN);
        let one = stage(&mut tail, 9, &[("a-1", 1, &[&[7; 6000]])], &[]);
        out(&mut tail);
        let end = tail.progress().end;
        let ending = |end| Segment::new(dir.clone(), mode, *tail.segment().header(), 1, end);
        let whole = &disk.files()[&tail.segment().file().path()][one as usize..end as usize];
        for fetch in [Fetch::Near, Fetch::One, Fetch::Ahead] {
            // Cut by the end of the log, which leaves it less room than it takes.
            let cut = ending(end - 4).frame(one, fetch).unwrap_err().to_string();
            assert!(cut.contains(&format!("a frame of 28 to {} bytes", end - 4 - one)), "{cut}");
            // Cut by the end of what is held.
            let holding = ending(one);
            holding.hold(one, &whole[..whole.len() - 4]);
            assert_eq!(told(holding.frame(one, fetch).unwrap_err()).1, u64::from(one));
        }
    }
}

#[test]
fn a_writer_reads_its_segment_through_the_file_that_it_has() {
    let (disk, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, LEN);
    let one = stage(&mut tail, 9, &[("a-1", 1, &[b"one"])], &[]);
    out(&mut tail);
    disk.start_trace();
    tail.segment().frame(one, Fetch::One).unwrap();
    assert!(disk.trace().iter().all(|call| call.kind == CallKind::Read), "{:?}", disk.trace());
}

#[test]
fn a_segment_is_the_one_that_its_first_frame_says() {
    let (disk, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, LEN);
    let one = stage(&mut tail, 9, &[("a-1", 1, &[b"one"])], &[]);
    out(&mut tail);
    let name = LogFile::Segment { ordinal: 1, generation: 0 }.path();
    assert!(reopened(&dir, &tail, ReadMode::Positional, 1).frame(one, Fetch::One).is_ok());
    let other = reopened(&dir, &tail, ReadMode::Positional, 2).frame(one, Fetch::One);
    assert_eq!(told(other.unwrap_err()).1, u64::from(HEADER_BYTES), "of another position");
    // A longer file is as good, a shorter one is not.
    let bytes = disk.files()[&name].clone();
    disk.put(&name, &[&bytes[..], &[0; 4096]].concat());
    assert!(reopened(&dir, &tail, ReadMode::Positional, 1).frame(one, Fetch::One).is_ok());
    disk.put(&name, &bytes[..bytes.len() - 1]);
    assert!(reopened(&dir, &tail, ReadMode::Positional, 1).frame(one, Fetch::One).is_err());
    // A first frame that follows another header.
    let mut foreign = bytes;
    let seed = tail.segment().seed();
    Frame::mend(&mut foreign[HEADER_BYTES as usize..], seed, HEADER_BYTES, 99).unwrap();
    disk.put(&name, &foreign);
    let other = reopened(&dir, &tail, ReadMode::Positional, 1).frame(one, Fetch::One);
    assert_eq!(told(other.unwrap_err()).1, u64::from(HEADER_BYTES), "of another segment");
}

#[test]
fn a_map_is_known_for_as_long_as_somebody_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let disk = crate::storage::disk::Disk::new(folder.path().to_path_buf());
    let dir = Dir::new(Arc::new(disk));
    dir.create_dir(LOG).unwrap();
    let mut tail = begin(&dir, ReadMode::Positional, LEN);
    let one = stage(&mut tail, 9, &[("a-1", 1, &[b"one"])], &[]);
    out(&mut tail);
    let seed = tail.segment().seed();
    assert!(!is_mapped(seed));
    let mapped = reopened(&dir, &tail, ReadMode::Mmap, 1);
    assert!(!is_mapped(seed), "not before it is read");
    let frame = mapped.frame(one, Fetch::One).unwrap();
    assert!(is_mapped(seed) && !is_mapped(Seed::of(&[0; 16])));
    drop(mapped);
    assert!(is_mapped(seed), "what was read holds it");
    drop(frame);
    assert!(!is_mapped(seed));
}

#[test]
fn a_walk_reads_heads_that_are_longer_than_a_window() {
    let (_, dir) = disk();
    let mut tail = begin(&dir, ReadMode::Positional, 1 << 20);
    // A row of eight bytes for each event.
    let data: Vec<&[u8]> = vec![b""; WINDOW / 8 + 1];
    let offset = stage(&mut tail, 9, &[("a-1", 1, &data)], &[]);
    out(&mut tail);
    let (found, progress, stop) = walked(&tail, &dir, tail.progress().end);
    assert_eq!((found.last(), stop), (Some(&(offset, Kind::Batch)), Stop::End));
    assert_eq!(progress.events as usize, data.len());
    // The same where one event of it is read.
    let segment = tail.segment();
    let at = segment.frame(offset, Fetch::One).unwrap();
    let last = u32::try_from(data.len()).unwrap() - 1;
    assert_eq!(
        segment.event_with_ordinal(&at, last).unwrap().version,
        Version(u64::from(last) + 1)
    );
}
