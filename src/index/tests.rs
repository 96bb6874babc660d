//! Index files by themselves: what is built, and what of it is believed.

use super::build::{LookUp, build};
use super::checked::{self, CheckedFile};
use super::compare::Unasked;
use super::directory::{self, Directory};
use super::ids::{self, IdRun};
use super::live::LiveIndex;
use super::save::{Covers, describe};
use super::sealed::SealedIndex;
use super::segment::{SegmentIndex, Unit};
use super::{Context, Hasher, Index, Slot, Tiers};
use crate::error::{Error, Result};
use crate::format::blocks::{BLOCK_BYTES, FileKind};
use crate::format::directory::SegmentRow;
use crate::format::files::{self, LOG, LogFile};
use crate::format::packed::width_of;
use crate::format::sealed::{OFFSET_RUN, SealedFooter, ZONE_EVENTS, Zone};
use crate::format::segment::Chain;
use crate::index::Indexed;
use crate::options::ReadMode;
use crate::place::{Frames, LoggedEvent, Place};
use crate::position::{Position, Timestamp, Version};
use crate::storage::Dir;
use crate::storage::disk::Disk;
use crate::sync::Arc;

const NAME: LogFile = LogFile::IndexCheckpoint { ordinal: 3, generation: 0 };

fn row() -> SegmentRow {
    SegmentRow {
        ordinal: 3,
        generation: 0,
        base: 100,
        events: 4,
        len: 1 << 20,
        end: 9000,
        last_crc: 7,
        chain: Chain(8),
        salt: [2; 16],
    }
}

fn event<'a>(frame: u32, stream: &'a str, version: u64, event_type: &'a str) -> Indexed<'a> {
    Indexed {
        frame,
        stream,
        stream_hash: stream.len() as u64,
        version,
        previous: 0,
        event_type,
        schema_version: 1,
        created_at: Timestamp::from_micros(5),
        id_hash: None,
        labels: &[],
    }
}

/// The body and the footer of an index of a segment.
fn build_of(row: &SegmentRow, units: &[Unit]) -> Result<(Vec<u8>, Vec<u8>)> {
    let look_up = LookUp { frames: &Unasked, previous: &|_, _| Ok(0) };
    build(units, describe([1; 16], row.ordinal, &Covers::sealed(row)), &look_up)
}

fn built(units: &[Unit]) -> Result<(Vec<u8>, SealedFooter)> {
    let (body, footer) = build_of(&row(), units)?;
    Ok((body, SealedFooter::decode(&footer).expect("a footer")))
}

/// Puts an index of a segment in place.
fn save(dir: &Dir, name: LogFile, row: &SegmentRow, live: LiveIndex) {
    let (body, footer) = build_of(row, &[Unit::Live(Arc::new(live))]).unwrap();
    let kind = match name {
        LogFile::SealedIndex { .. } => FileKind::SealedIndex,
        _ => FileKind::IndexCheckpoint,
    };
    checked::write(dir, LOG, &name.path(), kind, false, body, &footer).unwrap();
}

fn disk() -> (tempfile::TempDir, Dir) {
    let folder = tempfile::tempdir().unwrap();
    let dir = Dir::new(Arc::new(Disk::new(folder.path().to_path_buf())));
    dir.create_dir(LOG).unwrap();
    (folder, dir)
}

#[test]
fn offsets_take_as_many_bits_as_the_widest_run_needs() {
    let mut live = LiveIndex::new(0);
    for (event_number, run) in (0..3 * OFFSET_RUN).map(|n| (n, n / OFFSET_RUN)) {
        // The second run is twice as wide as the others; all of them are far from the start.
        let step = if run == 1 { 8 } else { 4 };
        let within = u32::try_from(event_number % OFFSET_RUN).unwrap();
        let base = 1_000_000 * u32::try_from(run + 1).unwrap();
        live.add(&event(base + step * within, "A-1", event_number as u64 + 1, "X"));
    }
    let (_, footer) = built(&[Unit::Live(Arc::new(live))]).unwrap();
    let widest = u64::from(8 * (u32::try_from(OFFSET_RUN).unwrap() - 1) / 4);
    assert_eq!(u32::from(footer.offset_width), width_of(widest));
    assert_eq!((footer.type_width, footer.category_width), (0, 0), "of one, no number is needed");
    assert_eq!((footer.ids, footer.sections.ids.len), (0, 0), "no ids, no section");
}

#[test]
fn a_zone_says_which_types_and_categories_it_has() {
    let mut live = LiveIndex::new(0);
    let types: Vec<String> = (0..66).map(|n| format!("T{n}")).collect();
    // The first zone has the types 0 and 1 in the categories 0 and 1, the second all others in
    // category 2.
    let first = (0..ZONE_EVENTS as usize).map(|n| (["a-1", "b-1"][n % 2], &types[n % 2]));
    let second = types[2..].iter().map(|name| ("c-1", name));
    for (number, (stream, event_type)) in (1..).zip(first.chain(second)) {
        let hashed = Indexed { stream_hash: number, ..event(4096, stream, number, event_type) };
        live.add(&hashed);
    }
    let (body, footer) = built(&[Unit::Live(Arc::new(live))]).unwrap();
    let zones = usize::try_from(footer.sections.zones.at).unwrap();
    let zone = |index| Zone::at(&body[zones..], index).unwrap();
    assert_eq!((zone(0).types, zone(0).categories), (0b11, 0b11));
    // Sixty-four types in 64 bits: 64 and 65 share those of 0 and 1.
    assert_eq!((zone(1).types, zone(1).categories), (u64::MAX, 0b100));
}

/// An index checkpoint of two events of one stream, in frames at 5000 and 6000.
fn older(dir: &Dir) -> Unit {
    let mut live = LiveIndex::new(0);
    live.add(&event(5000, "A-1", 1, "X"));
    live.add(&event(6000, "A-1", 2, "X"));
    save(dir, NAME, &row(), live);
    Unit::Sealed(Arc::new(SealedIndex::open(dir, NAME, ReadMode::Positional).unwrap().unwrap()))
}

#[test]
fn what_follows_an_older_file_has_to_stand_behind_it() {
    let (_folder, dir) = disk();
    let older = older(&dir);
    let newer = |first: u32, frame: u32| {
        let mut live = LiveIndex::new(first);
        // The segment before these is this one: they go on where the file ends.
        live.add(&Indexed { previous: 3, ..event(frame, "A-1", 3, "X") });
        built(&[older.clone(), Unit::Live(Arc::new(live))])
    };
    let joined = newer(2, 7000).unwrap().1;
    assert_eq!((joined.events, joined.terms), (3, 1));
    let frames = newer(2, 5500).unwrap_err();
    assert!(frames.is_corruption(), "a frame in front of those before: {frames}");
    let events = newer(0, 7000).unwrap_err();
    assert!(events.is_corruption(), "an event in front of those before: {events}");
}

/// A derived file of so many blocks, and how to open it.
fn blocks(dir: &Dir, count: usize) -> Vec<u8> {
    let body: Vec<u8> = (0..count * BLOCK_BYTES).map(|at| (at / 100).to_le_bytes()[0]).collect();
    let kind = FileKind::IndexCheckpoint;
    checked::write(dir, LOG, &NAME.path(), kind, true, body.clone(), b"footer").unwrap();
    body
}

fn opened(dir: &Dir, mode: ReadMode) -> CheckedFile {
    CheckedFile::open(dir, &NAME.path(), FileKind::IndexCheckpoint, mode).unwrap().unwrap()
}

#[test]
fn a_checked_file_gives_every_range_and_nothing_behind_its_end() {
    let (folder, dir) = disk();
    let body = blocks(&dir, 3);
    for mode in [ReadMode::Mmap, ReadMode::Positional] {
        let file = opened(&dir, mode);
        let len = folder.path().join(NAME.path()).metadata().unwrap().len();
        assert_eq!(file.len(), len);
        let content = [&body[..], b"footer"].concat();
        assert_eq!(&*file.content().unwrap(), content);
        assert_eq!(&*file.footer().unwrap(), b"footer");
        let block = BLOCK_BYTES;
        let inside = block + 3..2 * block - 5;
        let across = [block - 1..block + 1, 5..3 * block, block..2 * block];
        for range in [0..0, 0..1, 1..5, inside].into_iter().chain(across) {
            let read = file.read(range.start as u64..range.end as u64).unwrap();
            assert_eq!(&*read, &content[range.clone()], "{range:?} {mode:?}");
        }
        let end = content.len() as u64;
        assert!(file.read(end..end).is_ok());
        #[expect(clippy::reversed_empty_ranges, reason = "it is refused")]
        for range in [end..end + 1, 5..4, end + 1..end + 1] {
            assert!(file.read(range.clone()).unwrap_err().is_corruption(), "{range:?} {mode:?}");
        }
    }
}

#[test]
fn each_block_is_verified_by_itself_and_damage_is_met_again() {
    for mode in [ReadMode::Mmap, ReadMode::Positional] {
        let (folder, dir) = disk();
        let count = 130;
        blocks(&dir, count);
        let path = folder.path().join(NAME.path());
        let mut bytes = std::fs::read(&path).unwrap();
        // Among them blocks that share a bit, or a word of bits, with others.
        let damaged = [3, 65, 67, 128];
        for block in damaged {
            bytes[block * BLOCK_BYTES + 17] ^= 1;
        }
        std::fs::write(&path, bytes).unwrap();
        let file = opened(&dir, mode);
        for _ in 0..2 {
            for block in 0..count {
                let start = (block * BLOCK_BYTES) as u64;
                let read = file.read(start + 20..start + 21);
                match read {
                    Ok(_) => assert!(!damaged.contains(&block), "{block} {mode:?}"),
                    Err(Error::Corrupt { offset, .. }) => {
                        assert!(damaged.contains(&block) && offset == start, "{block} {mode:?}");
                    }
                    Err(e) => panic!("{e}"),
                }
            }
        }
        // A range is as good as the worst of its blocks.
        let range = |from: usize, to: usize| (from * BLOCK_BYTES) as u64..(to * BLOCK_BYTES) as u64;
        assert!(file.read(range(0, 3)).is_ok() && file.read(range(2, 4)).is_err());
        assert!(file.read(range(66, 67)).is_ok() && file.read(range(60, 66)).is_err());
    }
}

/// A log of one stream, in frames of three events.
struct Threes;

impl Frames for Threes {
    fn stream_is(&self, _: Place, _: &str) -> Result<bool> {
        Ok(true)
    }

    fn stream_name(&self, _: Place) -> Result<String> {
        Ok("A-1".into())
    }

    fn last_of_stream(&self, _: u32, _: u32, _: &str) -> Result<Option<(Version, Position)>> {
        Ok(None)
    }

    /// Hands over whole frames, as the log does.
    fn replay(
        &self,
        _: u32,
        _: u32,
        events: u32,
        each: &mut dyn FnMut(&LoggedEvent<'_>) -> Result<()>,
    ) -> Result<()> {
        (0..events.next_multiple_of(3)).try_for_each(|event| {
            each(&LoggedEvent {
                frame: 4096 + event / 3 * 100,
                stream: "A-1",
                version: u64::from(event) + 1,
                event_type: "X",
                schema_version: 1,
                created_at: Timestamp::from_micros(5),
                id: None,
                labels: Vec::new(),
            })
        })
    }
}

/// The index of a store over [`Threes`].
fn index_over(dir: &Dir, tiers: Tiers) -> Index {
    let context = Context {
        dir: dir.clone(),
        store: [1; 16],
        mode: ReadMode::Positional,
        hasher: Hasher::new(&[9; 16], 64),
        frames: Arc::new(Threes),
        writable: true,
        heads_kept: 0,
    };
    Index::new(context, tiers)
}

/// The index of a store with one sealed segment.
fn index_of(dir: &Dir, row: SegmentRow) -> Index {
    index_over(dir, Tiers::new(None, Vec::new(), vec![Slot::sealed(row)]))
}

/// So many segments from the first on, of four events each.
fn rows(count: u32) -> Vec<SegmentRow> {
    let row_of = |n: u32| SegmentRow { ordinal: n + 1, base: 1 + u64::from(4 * n), ..row() };
    (0..count).map(row_of).collect()
}

/// The index of a store with these sealed segments, of which nothing is folded.
fn index_of_all(dir: &Dir, rows: &[SegmentRow]) -> Index {
    let slots = rows.iter().map(|row| Slot::sealed(*row)).collect();
    index_over(dir, Tiers::new(None, Vec::new(), slots))
}

/// An index of so many events of one stream.
fn live_of(events: u32) -> LiveIndex {
    let mut live = LiveIndex::new(0);
    for version in 1..=u64::from(events) {
        live.add(&event(4096, "A-1", version, "X"));
    }
    live
}

/// A directory that covers some segments, and the runs of some of their neighbours.
fn folds(dir: &Dir, rows: &[SegmentRow], runs: &[(usize, usize)]) -> (Directory, Vec<IdRun>) {
    let (store, mode) = ([1; 16], ReadMode::Positional);
    directory::write(dir, 1, store, &[], rows).unwrap();
    let run = |(first, last): &(usize, usize)| {
        let (first, last) = (&rows[*first], &rows[*last]);
        ids::write(dir, store, first, last, Vec::new()).unwrap();
        IdRun::open(dir, first.ordinal, last.ordinal, store, mode).unwrap().unwrap()
    };
    let runs = runs.iter().map(run).collect();
    (Directory::open(dir, 1, store, mode).unwrap().unwrap(), runs)
}

/// Whether an index file that describes one row is taken for that of another.
fn is_taken(dir: &Dir, name: LogFile, describes: &SegmentRow, row: &SegmentRow) -> bool {
    save(dir, name, describes, live_of(describes.events));
    index_of(dir, *row).open_file(row, name).is_some()
}

/// A segment that is sealed gets no more events, and stays in memory for as long as the store is
/// open: it keeps no room for any.
#[test]
fn only_a_part_that_goes_on_has_room_for_more() {
    let index = SegmentIndex::new(1, Vec::new());
    let room = || index.look(|live| live.offsets.capacity()).1;
    let add = |events: std::ops::Range<u32>| {
        for version in events {
            index.add(&event(4096, "A-1", u64::from(version), "X"));
        }
    };
    add(1..101);
    assert_eq!(index.freeze_and_go_on().len(), 1);
    assert!(room() >= 100);
    assert_eq!((index.freeze().len(), room()), (1, 0), "nothing came since");
    add(101..102);
    assert_eq!((index.freeze().len(), room(), index.events()), (2, 0, 101));
}

#[test]
fn an_index_file_is_believed_where_it_describes_the_segment() {
    let (_folder, dir) = disk();
    let row = row();
    let sealed = LogFile::SealedIndex { ordinal: 3, generation: 0 };
    assert!(is_taken(&dir, sealed, &row, &row));
    let others = [
        SegmentRow { salt: [3; 16], ..row },
        SegmentRow { base: 101, ..row },
        SegmentRow { events: 5, ..row },
        SegmentRow { events: 3, ..row },
        SegmentRow { end: 9001, ..row },
        SegmentRow { chain: Chain(9), ..row },
    ];
    for other in others {
        assert!(!is_taken(&dir, sealed, &other, &row), "{other:?}");
    }
    // A checkpoint covers the first part of it, and no more.
    let part = SegmentRow { events: 3, end: 8000, chain: Chain(1), ..row };
    assert!(is_taken(&dir, NAME, &part, &row));
    let others = [
        SegmentRow { salt: [3; 16], ..part },
        SegmentRow { base: 99, ..part },
        SegmentRow { events: 4, ..part },
        SegmentRow { events: 5, ..part },
        SegmentRow { end: 9000, ..part },
        SegmentRow { end: 9001, ..part },
    ];
    for other in others {
        assert!(!is_taken(&dir, NAME, &other, &row), "{other:?}");
    }
}

#[test]
fn upkeep_is_wanted_where_a_file_is_missing_until_there_is_nothing_to_do() {
    let (_folder, dir) = disk();
    let index = index_of(&dir, row());
    for _ in 0..2 {
        assert!(index.wants_upkeep());
        // A segment that nobody has read is left alone.
        assert!(!index.seal_one().unwrap() && !index.wants_upkeep());
        index.want_files();
    }
    // Files that are none of its are nothing to leave out.
    for name in ["directory-1", "0000000001-0000000002.ids", "0000000003.0.idx", "other"] {
        assert!(!index.leave_out(name).unwrap(), "{name}");
    }
}

#[test]
fn a_reader_takes_over_the_files_that_were_written_since() {
    let (_folder, dir) = disk();
    let row = row();
    let index = index_of(&dir, row);
    index.adopt_files();
    index.segment(3).unwrap();
    assert_eq!(index.in_memory(), 1, "it was built, because there is no file");
    index.adopt_files();
    assert_eq!(index.in_memory(), 1, "there is still none");
    save(&dir, LogFile::SealedIndex { ordinal: 3, generation: 0 }, &row, live_of(4));
    index.adopt_files();
    assert_eq!(index.in_memory(), 0);
    let adopted = index.segment(3).unwrap();
    index.adopt_files();
    assert!(Arc::ptr_eq(&adopted, &index.segment(3).unwrap()), "once is enough");
}

#[test]
fn a_reader_takes_over_what_was_folded_since() {
    let (_folder, dir) = disk();
    let rows = rows(4);
    let index = index_of_all(&dir, &rows);
    index.begin(5, 17);
    assert_eq!(index.rows(), rows, "the active segment has none yet");
    assert_eq!((index.uncovered(), index.folded()), (5, (0, vec![])));
    let (directory, runs) = folds(&dir, &rows[..3], &[(0, 1)]);
    index.adopt_folds(Some(directory), runs);
    assert_eq!((index.uncovered(), index.folded()), (2, (3, vec![2])));
    // Without a newer directory, the one in use goes on.
    index.adopt_folds(None, Vec::new());
    assert_eq!((index.uncovered(), index.folded()), (2, (3, vec![])));
}

#[test]
fn as_many_events_are_read_again_as_are_asked_for() {
    let (_folder, dir) = disk();
    let index = index_of(&dir, row());
    for (known, end) in [(0, 1), (0, 3), (0, 4), (2, 4), (3, 4), (4, 4)] {
        let live = index.replay(3, 0, known, end).unwrap();
        assert_eq!((live.first, live.end()), (known, end));
    }
}

#[test]
fn a_damaged_file_is_left_out_once_and_no_other_with_it() {
    let (_folder, dir) = disk();
    let rows = rows(4);
    let sealed = LogFile::SealedIndex { ordinal: 1, generation: 0 };
    save(&dir, sealed, &rows[0], live_of(4));
    let part = LogFile::IndexCheckpoint { ordinal: 2, generation: 0 };
    save(&dir, part, &SegmentRow { events: 2, end: 8000, ..rows[1] }, live_of(2));
    let index = index_of_all(&dir, &rows);
    let (directory, runs) = folds(&dir, &rows, &[(0, 1), (2, 2)]);
    index.adopt_folds(Some(directory), runs);
    let seen = || {
        let files = [1, 2].map(|segment| index.segment(segment).unwrap().sealed_events());
        (index.folded(), files)
    };
    assert_eq!(seen(), ((4, vec![2, 1]), [Some(4), Some(2)]));
    let run = LogFile::IdRun { first: 1, last: 2 };
    for (name, left) in [
        (files::directory(1), ((0, vec![2, 1]), [Some(4), Some(2)])),
        (run.to_string(), ((0, vec![1]), [Some(4), Some(2)])),
        (sealed.to_string(), ((0, vec![1]), [None, Some(2)])),
        (part.to_string(), ((0, vec![1]), [None, None])),
    ] {
        for is_new in [true, false] {
            assert_eq!(index.leave_out(&name).unwrap(), is_new, "{name}");
            assert_eq!(seen(), left, "without {name}");
        }
    }
    // What the files held is there all the same.
    for segment in [1, 2] {
        let index = index.segment(segment).unwrap();
        assert_eq!(index.events(), 4);
        assert!((0..4).all(|event| index.offset(event).unwrap().is_some()));
    }
}

#[test]
fn what_failed_on_a_damaged_file_is_tried_without_it() {
    let (_folder, dir) = disk();
    let rows = rows(2);
    let index = index_of_all(&dir, &rows);
    let damaged = |name: &str| Error::corrupt(dir.path(name), 0, "a block", "another");
    let healed = |attempt: &dyn Fn(u32) -> Result<()>| {
        let attempts = std::cell::Cell::new(0);
        let result = index.healing(|| {
            attempts.set(attempts.get() + 1);
            attempt(attempts.get())
        });
        (result.is_ok(), attempts.get())
    };
    let (directory, runs) = folds(&dir, &rows, &[(0, 0), (1, 1)]);
    index.adopt_folds(Some(directory), runs);
    let without_folds = |_| match index.folded() {
        (0, runs) if runs.is_empty() => Ok(()),
        (0, runs) => {
            let of = if runs.len() == 2 { 1 } else { 2 };
            Err(damaged(&LogFile::IdRun { first: of, last: of }.path()))
        }
        _ => Err(damaged(&files::directory(1))),
    };
    assert_eq!(healed(&without_folds), (true, 4));
    // Another thread may have left it out meanwhile.
    let overtaken = |attempt| match attempt {
        1 => Err(damaged(&files::directory(1))),
        _ => Ok(()),
    };
    assert_eq!(healed(&overtaken), (true, 2));
    let log = LogFile::Segment { ordinal: 1, generation: 0 }.path();
    assert_eq!(healed(&|_| Err(damaged(&log))), (false, 2), "the log's own damage stays");
    let other = || Error::io("read", "x", std::io::ErrorKind::Other.into());
    assert_eq!(healed(&|_| Err(other())), (false, 1), "no damage at all");
}

#[test]
fn what_is_read_again_takes_the_place_of_the_damaged_file_and_of_no_newer_one() {
    let (_folder, dir) = disk();
    let row = row();
    save(&dir, LogFile::SealedIndex { ordinal: 3, generation: 0 }, &row, live_of(4));
    let index = index_of(&dir, row);
    let segment = index.segment(3).unwrap();
    // Two threads meet the damage, and one is so slow that the file is written again before it.
    let damaged = segment.file().unwrap();
    segment.replace_sealed(&damaged, live_of(4));
    assert_eq!(segment.sealed_events(), None);
    assert!(index.seal_one().unwrap());
    segment.replace_sealed(&damaged, live_of(2));
    assert_eq!((segment.sealed_events(), segment.events()), (Some(4), 4));
}
