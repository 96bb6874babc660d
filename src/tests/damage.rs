//! Files that do not hold what was written to them: the same events, or an error that says so.
//!
//! By default a sample of each kind of damage; with `ANNALS_LONG=1` every bit and every length of
//! the files of small stores.

mod sweep;

use self::sweep::{Allowed, Files, Sweep, allowed, disk_of, is_derived};
use super::history::{Act, Maker, Runner, filled};
use super::oracle::{Model, check_disk};
use super::{Random, scaled, seed, small};
use crate::Durability;
use crate::format::files::{LogFile, TEMPORARY, parse_directory};
use crate::format::frame::BEGIN_BYTES;
use crate::format::segment::HEADER_BYTES;
use crate::storage::memory::MemoryDisk;

/// Whether every bit and every length is taken, and not a sample.
fn is_whole() -> bool {
    scaled(0, 1) == 1
}

/// One in so many of all bits and all lengths, for a long run that is not to take hours.
fn one_in() -> usize {
    std::env::var("ANNALS_ONE_IN").ok().map_or(1, |n| n.parse().expect("a number"))
}

/// The end of what is used of a file.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn parse(name: &str) -> Option<LogFile> {
    name.strip_prefix("log/").and_then(LogFile::parse)
}

fn is_segment(name: &str) -> bool {
    matches!(parse(name), Some(LogFile::Segment { .. }))
}

/// All bits of a file; or one in `stride` of those that say what the rest is, and so many others.
fn bits(name: &str, bytes: &[u8], sampled: usize, stride: usize) -> Vec<usize> {
    let (len, used) = (bytes.len(), used(bytes));
    if is_whole() {
        return (0..len * 8).step_by(one_in()).collect();
    }
    let first_frame = HEADER_BYTES as usize;
    let end = if is_segment(name) { used } else { len };
    let frame = if is_segment(name) { first_frame..first_frame + 60 } else { 0..0 };
    let ranges = [0..64.min(len), frame, end.saturating_sub(64)..end];
    let telling = ranges.into_iter().filter(|range| range.end <= len);
    let mut bits: Vec<usize> =
        telling.flat_map(|range| (range.start * 8..range.end * 8).step_by(stride)).collect();
    let mut random = Random(seed());
    if used > 0 {
        bits.extend((0..sampled).map(|_| random.below(used * 8)));
        bits.extend((0..sampled / 8).map(|_| random.below(len * 8)));
    }
    bits.sort_unstable();
    bits.dedup();
    bits
}

/// Lengths to which a file is cut: all, or the ones where something begins or ends and a sample.
fn lengths(bytes: &[u8], sampled: usize) -> Vec<usize> {
    let (len, used) = (bytes.len(), used(bytes));
    if is_whole() {
        return (0..len).step_by(one_in()).collect();
    }
    let header = HEADER_BYTES as usize;
    let mut lengths = vec![0, 1, 63, 64, header - 1, header, header + 1, header + 59, header + 60];
    lengths.extend([used.saturating_sub(1), used, used + 1, len.saturating_sub(1), len / 2]);
    let mut random = Random(seed());
    lengths.extend((0..sampled).map(|_| random.below(len.max(1))));
    lengths.retain(|cut| *cut < len);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// The stores that the sweeps below damage, every file of them: closed, killed, and large enough to
/// have merged files.
fn bases() -> [(MemoryDisk, Model); 3] {
    [filled(3, &small(), true), filled(3, &small(), false), filled(10, &small(), true)]
}

/// The names of what is damaged. A file that is missing is there under a temporary name, too.
pub(super) fn names() -> Vec<String> {
    let files = bases().into_iter().flat_map(|(disk, _)| disk.files().into_keys());
    let mut names: Vec<String> = files.collect();
    names.extend(aliases("STORE", "").into_iter().filter(|name| name.contains(TEMPORARY)));
    names
}

#[test]
fn a_flipped_bit_of_a_closed_store_costs_no_event_without_an_error() {
    let (disk, model) = filled(3, &small(), true);
    let mut sweep = Sweep::new(&disk, model);
    for name in sweep.names() {
        for bit in bits(&name, &sweep.base[&name], 20, 4) {
            sweep.flip(&name, bit, allowed(&name));
        }
        sweep.count_as(&name);
    }
    sweep.report("flips, closed");
}

/// The files of another store with so many segments, which holds the same.
fn foreign(segments: u64) -> Files {
    let disk = MemoryDisk::simulated(!seed());
    let (_, model) = filled(segments, &small(), true);
    let mut runner = Runner::new(&disk, &small(), Durability::Sync, Model::default());
    assert!(runner.run(&[]).is_none());
    for append in model.appends() {
        let events = append.events.iter();
        let parts = events.map(|of| (of.stream.clone(), vec![of.event.clone()])).collect();
        runner.act(&Act::Append(parts)).unwrap();
    }
    runner.close().unwrap();
    disk.files()
}

fn is_merged(name: &str) -> bool {
    parse_directory(name).is_some() || matches!(parse(name), Some(LogFile::IdRun { .. }))
}

#[test]
fn a_damaged_directory_or_id_run_costs_a_rebuild() {
    let (disk, model) = filled(10, &small(), true);
    let foreign = foreign(10);
    let mut sweep = Sweep::new(&disk, model);
    let merged: Vec<String> = sweep.names().into_iter().filter(|name| is_merged(name)).collect();
    assert_eq!(merged.len(), 2, "{merged:?}");
    for name in merged {
        let bytes = sweep.base[&name].clone();
        for bit in bits(&name, &bytes, 9, 29) {
            sweep.flip(&name, bit, Allowed::Nothing);
        }
        sweep.count_as(&format!("{name}, flips"));
        for len in lengths(&bytes, 2) {
            sweep.replace(&name, bytes[..len].to_vec(), Allowed::Nothing, "cut");
        }
        sweep.count_as(&format!("{name}, cuts"));
        let mut without = sweep.base.clone();
        without.remove(&name);
        sweep.damaged(&without, Allowed::Nothing, &|| format!("{name} is missing"));
        for other in ["directory-0", "directory-4294967295", "log/0000000001-0000000009.ids"] {
            for mut files in [sweep.base.clone(), without.clone()] {
                files.insert(other.into(), bytes.clone());
                sweep.damaged(&files, Allowed::Nothing, &|| format!("{name}, as {other}"));
            }
        }
        let foreign = foreign[&name].clone();
        assert!(foreign != bytes, "another store has the same {name}");
        sweep.replace(&name, foreign, Allowed::Nothing, "of another store");
    }
    sweep.report("directory and id run");
}

#[test]
fn a_cut_or_longer_file_costs_no_event_without_an_error() {
    let (disk, model) = filled(3, &small(), true);
    let mut sweep = Sweep::new(&disk, model);
    for name in sweep.names() {
        let bytes = sweep.base[&name].clone();
        for len in lengths(&bytes, 12) {
            sweep.replace(&name, bytes[..len].to_vec(), allowed(&name), "cut");
            // As long as before, but empty from there on.
            for filler in [0, 0xff] {
                let mut filled = bytes[..len].to_vec();
                filled.resize(bytes.len(), filler);
                // Zeros behind the end of what is used are no damage.
                if filled != bytes {
                    sweep.replace(&name, filled, allowed(&name), "filled up");
                }
            }
        }
        sweep.count_as(&format!("{name}, cuts"));
        for filler in [0, 0xff] {
            for more in [1, 512, 5000, 70_000] {
                let mut longer = bytes.clone();
                longer.resize(bytes.len() + more, filler);
                sweep.replace(&name, longer, allowed(&name), "longer");
            }
            sweep.replace(&name, vec![filler; bytes.len()], allowed(&name), "all one byte");
        }
        sweep.count_as(&format!("{name}, tails"));
    }
    sweep.report("cuts and tails");
}

/// A store as it was at several times while it grew, and at last, when it was closed.
fn stages() -> (Vec<MemoryDisk>, MemoryDisk, Model) {
    let disk = MemoryDisk::simulated(seed());
    let mut maker = Maker::new(seed(), 9);
    let mut runner = Runner::new(&disk, &small(), Durability::Sync, Model::default());
    assert!(runner.run(&[]).is_none());
    let mut earlier = Vec::new();
    for round in 0..9 {
        runner.act(&Act::Append(maker.one(2, 7000))).unwrap();
        runner.act(&Act::Append(maker.batch(3, 300))).unwrap();
        runner.act(&Act::Append(maker.one(1, 30))).unwrap();
        earlier.push(disk.crash_keeping_nothing());
        if round % 4 == 3 {
            runner.act(&Act::Reopen).unwrap();
        }
    }
    runner.close().unwrap();
    (earlier, disk.crash_keeping_everything(), runner.model)
}

#[test]
fn stale_files_and_stale_tails_cost_no_event_without_an_error() {
    let (earlier, disk, model) = stages();
    let mut sweep = Sweep::new(&disk, model);
    for (at, stage) in earlier.iter().enumerate() {
        for (name, old) in stage.files() {
            let now = sweep.base.get(&name);
            // One that was removed since is back; one that has grown is old again.
            if now != Some(&old) {
                let what = format!("as it was in round {at}");
                sweep.replace(&name, old, allowed(&name), &what);
            }
        }
    }
    sweep.count_as("older files");
    let segments: Vec<String> = sweep.names().into_iter().filter(|name| is_segment(name)).collect();
    let last = segments.last().unwrap();
    let end = used(&sweep.base[last]).next_multiple_of(4);
    let first = HEADER_BYTES as usize;
    for from in &segments {
        let frames = sweep.base[from].clone();
        // Whole frames of this store, where they never were; also cut at any place.
        for start in (first..used(&frames)).step_by(scaled(997, 61)) {
            for gap in [0, 4, 512] {
                let mut bytes = sweep.base[last].clone();
                let room = bytes.len() - end - gap;
                let piece = &frames[start / 4 * 4..][..room.min(frames.len() - start / 4 * 4)];
                bytes[end + gap..][..piece.len()].copy_from_slice(piece);
                sweep.replace(last, bytes, Allowed::Errors, &format!("{from} from {start} behind"));
            }
        }
    }
    sweep.count_as("older frames behind the end");
    sweep.report("stale");
}

#[test]
fn a_missing_or_misplaced_file_costs_no_event_without_an_error() {
    for is_closed in [true, false] {
        let (disk, model) = filled(3, &small(), is_closed);
        let mut sweep = Sweep::new(&disk, model);
        let foreign = foreign(3);
        for name in sweep.names() {
            misplaced(&mut sweep, &name);
            if let Some(bytes) = foreign.get(&name).filter(|bytes| **bytes != sweep.base[&name]) {
                sweep.replace(&name, bytes.clone(), allowed(&name), "of another store");
            }
        }
        let names = sweep.names();
        for (at, one) in names.iter().enumerate() {
            for two in &names[at + 1..] {
                let mut files = sweep.base.clone();
                files.insert(one.clone(), sweep.base[two].clone());
                files.insert(two.clone(), sweep.base[one].clone());
                let is_harmless = is_derived(one) && is_derived(two);
                let harm = if is_harmless { Allowed::Nothing } else { Allowed::Errors };
                sweep.damaged(&files, harm, &|| format!("{one} and {two} are swapped"));
            }
        }
        sweep.report(if is_closed { "misplaced, closed" } else { "misplaced, killed" });
    }
}

/// A file is missing, there twice, or has another name.
fn misplaced(sweep: &mut Sweep, name: &str) {
    let mut without = sweep.base.clone();
    let bytes = without.remove(name).unwrap();
    sweep.damaged(&without, allowed(name), &|| format!("{name} is missing"));
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    for other in aliases(name, extension).into_iter().filter(|other| other != name) {
        for mut files in [sweep.base.clone(), without.clone()] {
            // A segment that takes the place of a good one may do harm, whatever it was.
            let harm = if files.contains_key(name) { allowed(&other) } else { allowed(name) };
            let is_foreign = !is_derived(name) && is_derived(&other);
            let harm = if is_foreign { allowed(name) } else { harm };
            files.insert(other.clone(), bytes.clone());
            sweep.damaged(&files, harm, &|| format!("{name} is also, or only, {other}"));
        }
    }
}

/// Other names that a file may be found under.
fn aliases(name: &str, extension: &str) -> [String; 8] {
    [
        format!("{name}{TEMPORARY}"),
        format!("{name}.old"),
        format!("log/0000000001.0.{extension}"),
        format!("log/0000000003.0.{extension}"),
        format!("log/0000000004.0.{extension}"),
        format!("log/4294967295.0.{extension}"),
        format!("log/0000000002.1.{extension}"),
        format!("log/0000000003.7.{extension}"),
    ]
}

/// A store that was killed.
struct Killed {
    disk: MemoryDisk,
    model: Model,
    /// The name of its unsealed segment.
    active: String,
    /// Where the last group lies in it, and how many events there are before that.
    last_group: std::ops::Range<usize>,
    kept: u64,
}

fn killed() -> Killed {
    let (disk, model) = filled(2, &small(), false);
    let mut runner = Runner::new(&disk, &small(), Durability::Sync, model);
    let mut maker = Maker::new(seed() + 20, 6);
    let acts: Vec<Act> = (0..6).map(|n| Act::Append(maker.one(1 + n % 2, 90))).collect();
    assert!(runner.run(&acts).is_none());
    let store = runner.store.clone().unwrap();
    let active = store.catalog().log.segments().last().cloned().unwrap();
    let (kept, before) = (runner.model.len(), active.written());
    let active_path = active.file().path();
    runner.act(&Act::Append(maker.batch(2, 200))).unwrap();
    let last_group = before as usize..active.written() as usize;
    let disk = disk.crash_keeping_nothing();
    Killed { disk, model: runner.model, active: active_path, last_group, kept }
}

#[test]
fn a_flipped_bit_of_a_killed_store_cuts_at_most_the_last_group() {
    let Killed { disk, model, active, last_group, kept, .. } = killed();
    let mut sweep = Sweep::new(&disk, model);
    for name in sweep.names() {
        let mut bits = bits(&name, &sweep.base[&name], 60, 4);
        if name == active && !is_whole() {
            bits.extend((last_group.start * 8..last_group.end * 8).step_by(9));
        }
        for bit in bits {
            let in_last = name == active && last_group.contains(&(bit / 8));
            let allowed = if in_last { Allowed::CutFrom(kept) } else { allowed(&name) };
            sweep.flip(&name, bit, allowed);
        }
        sweep.count_as(&name);
    }
    let base = disk_of(&sweep.base);
    let mut model = sweep.model.clone();
    assert!(sweep.report("flips, killed") > 0, "no flip in the last group cut it");
    check_disk(&base, &small(), &mut model);
}

#[test]
fn a_cut_or_overwritten_file_of_a_killed_store_cuts_at_most_the_last_group() {
    let Killed { disk, model, active, last_group, kept } = killed();
    let mut sweep = Sweep::new(&disk, model);
    for name in sweep.names() {
        let bytes = sweep.base[&name].clone();
        for len in lengths(&bytes, 12) {
            sweep.replace(&name, bytes[..len].to_vec(), allowed(&name), "cut");
        }
        sweep.count_as(&format!("{name}, cuts"));
    }
    let bytes = sweep.base[&active].clone();
    for at in (last_group.start..bytes.len()).step_by(scaled(13, one_in())) {
        let allowed = if at < last_group.end { Allowed::CutFrom(kept) } else { Allowed::Errors };
        for filler in [0, 0xff] {
            let mut filled = bytes[..at].to_vec();
            filled.resize(bytes.len(), filler);
            if filled != bytes {
                sweep.replace(&active, filled, allowed, "filled up");
            }
        }
        if at > last_group.start + 2000 && !is_whole() {
            break;
        }
    }
    sweep.count_as("tails of the active segment");
    assert!(sweep.report("cuts and tails, killed") > 0, "nothing cut the last group");
}

/// Stores that were killed when their newest segment had just got its first events, and nothing
/// else says so: the first segment, one that opening began, one that was rolled to.
fn just_begun() -> Vec<(&'static str, MemoryDisk, Model)> {
    let begin = |what, disk: MemoryDisk, model, acts: &dyn Fn(&mut Maker) -> Vec<Act>| {
        let mut runner = Runner::new(&disk, &small(), Durability::Sync, model);
        assert!(runner.run(&acts(&mut Maker::new(seed() + 30, 6))).is_none());
        (what, disk.crash_keeping_nothing(), runner.model)
    };
    let one = |maker: &mut Maker| vec![Act::Append(maker.one(1, 90))];
    // Leaves hardly any room in a segment of its own.
    let roll =
        |maker: &mut Maker| vec![Act::Append(maker.one(1, 61_000)), Act::Append(maker.one(1, 500))];
    let (cut, model) = filled(2, &small(), false);
    vec![
        begin("first", MemoryDisk::simulated(seed()), Model::default(), &one),
        begin("behind a cut", cut, model, &one),
        begin("behind a seal", MemoryDisk::simulated(seed()), Model::default(), &roll),
    ]
}

#[test]
fn the_newest_segment_of_a_killed_store_is_missed_from_its_first_event_on() {
    for (what, disk, model) in just_begun() {
        let mut sweep = Sweep::new(&disk, model);
        let active = sweep.names().into_iter().rfind(|name| is_segment(name)).unwrap();
        let bytes = sweep.base[&active].clone();
        let begin = (HEADER_BYTES + BEGIN_BYTES) as usize;
        assert!(used(&bytes) > begin, "{what}: it has events");
        let mut refused = 0;
        for len in lengths(&bytes, 12).into_iter().chain([0, 1, 63, 64, 4095, 4096, begin]) {
            sweep.replace(&active, bytes[..len].to_vec(), Allowed::Errors, "cut");
            refused += 1;
        }
        let mut without_header = bytes.clone();
        without_header[..HEADER_BYTES as usize].fill(0);
        sweep.replace(&active, without_header, Allowed::Errors, "no header");
        let mut without = sweep.base.clone();
        without.remove(&active);
        sweep.damaged(&without, Allowed::Errors, &|| format!("{what}: {active} is missing"));
        assert_eq!(sweep.refused(), refused + 2, "{what}");
        sweep.report(what);
    }
}
