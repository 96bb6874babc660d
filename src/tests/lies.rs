//! Disks that lie: each is a bug of the kind that a store can have without a wrong line in its
//! logic, and each has to be found by a crash, a fault or a plain read. Were one of them not found,
//! the crash exploration would not see a missing sync either.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::history::Maker;
use super::oracle::{Batch, Model, check_disk};
use super::{scaled, seed, small};
use crate::bytes::Region;
use crate::position::Timestamp;
use crate::storage::memory::{CallKind, Fault, Keep, MemoryDisk};
use crate::storage::{Access, Dir, File, Lock, SharedPage, Storage};
use crate::sync::{Arc, Mutex};
use crate::{Error, ExpectedVersion, Result, Store};

/// What a disk does other than it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// None: the control.
    Honest,
    /// A sync of a file does nothing.
    NoSync,
    /// A sync of a directory does nothing.
    NoDirSync,
    /// A sync of a segment syncs another file.
    WrongFile,
    /// A sync of what is to be renamed into place does nothing.
    NoSyncOfTemporary,
    /// The directory that holds the log is never synced, the store's own is.
    NoSyncOfLogDir,
    /// Writes to a segment reach the disk behind the sync that should have covered them.
    LateWrites,
    /// Of two writes to a segment that follow each other the first one comes last.
    Reordered,
    /// A write to a segment is dropped now and then.
    LostWrites,
    /// A write to a segment goes to the sector behind now and then.
    Misdirected,
    /// A write moves half of its bytes and claims all.
    ShortWrites,
    /// A sync that failed is made again, and what that answers is passed on.
    RetriedSync,
    /// A sync that failed is not told of.
    SwallowedSync,
    /// Reads past the cache read the cache, and dropping it does nothing.
    DirectFromCache,
    /// Giving back space takes the block before along.
    GreedyRelease,
    /// A lock that is held is given again.
    NoLock,
}

#[derive(Debug)]
struct NoLock;

impl Lock for NoLock {}

const LIES: [Lie; 14] = [
    Lie::NoSync,
    Lie::NoDirSync,
    Lie::WrongFile,
    Lie::NoSyncOfTemporary,
    Lie::NoSyncOfLogDir,
    Lie::LateWrites,
    Lie::Reordered,
    Lie::LostWrites,
    Lie::Misdirected,
    Lie::ShortWrites,
    Lie::RetriedSync,
    Lie::SwallowedSync,
    Lie::DirectFromCache,
    Lie::GreedyRelease,
];

/// A disk with a lie in front of it.
#[derive(Debug)]
struct Liar {
    disk: MemoryDisk,
    lie: Lie,
}

#[derive(Debug)]
struct LyingFile {
    disk: MemoryDisk,
    file: Arc<dyn File>,
    lie: Lie,
    name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    writes: u64,
    /// Writes that were answered and not passed on.
    held: Vec<(Vec<u8>, u64)>,
}

impl Liar {
    fn dir(disk: &MemoryDisk, lie: Lie) -> Dir {
        Dir::new(Arc::new(Self { disk: disk.clone(), lie }))
    }

    fn file(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        let (disk, lie, name) = (self.disk.clone(), self.lie, name.to_owned());
        Arc::new(LyingFile { disk, file, lie, name, state: Mutex::default() })
    }

    /// Nothing, but it takes the power that the call would have taken.
    fn nothing(&self) -> io::Result<()> {
        self.disk.list("").map(drop)
    }
}

impl Storage for Liar {
    fn root(&self) -> &Path {
        self.disk.root()
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        match self.lie {
            Lie::NoDirSync => self.nothing(),
            Lie::NoSyncOfLogDir if dir == "log" => self.nothing(),
            _ => self.disk.sync_dir(dir),
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.file(name, self.disk.create(name)?))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        Ok(self.file(name, self.disk.open(name, access)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        if self.lie == Lie::NoLock {
            return Ok(Some(Box::new(NoLock)));
        }
        self.disk.lock(name)
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.disk.is_locked(name)
    }

    fn shared_page(&self, name: &str, access: Access) -> io::Result<Arc<dyn SharedPage>> {
        self.disk.shared_page(name, access)
    }

    fn now(&self) -> Timestamp {
        self.disk.now()
    }

    fn fill_random(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.fill_random(buffer)
    }
}

impl LyingFile {
    fn is_segment(&self) -> bool {
        self.name.strip_suffix(".seg").is_some()
    }

    /// Whether a write is one of frames, and not of the header or the zeros of a new segment.
    fn is_of_frames(&self, bytes: &[u8], offset: u64) -> bool {
        self.is_segment() && offset >= 4096 && bytes.iter().any(|byte| *byte != 0)
    }

    /// Whether a lie about single writes is told of this one.
    fn is_lied_about(&self, is_of_frames: bool) -> bool {
        let mut state = self.state.lock();
        state.writes += u64::from(is_of_frames);
        is_of_frames && state.writes.is_multiple_of(5)
    }

    fn pass_on_held(&self) -> io::Result<()> {
        let held = std::mem::take(&mut self.state.lock().held);
        held.iter().try_for_each(|(bytes, offset)| self.write_through(bytes, *offset))
    }

    fn write_through(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset).map(drop)
    }

    fn nothing(&self) -> io::Result<()> {
        self.file.len().map(drop)
    }
}

impl File for LyingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn read_direct(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        match self.lie {
            Lie::DirectFromCache => self.file.read_at(buffer, offset).map(Some),
            _ => self.file.read_direct(buffer, offset),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let is_of_frames = self.is_of_frames(bytes, offset);
        let is_lied_about = self.is_lied_about(is_of_frames);
        match self.lie {
            Lie::LateWrites if is_of_frames => {
                self.nothing()?;
                self.state.lock().held.push((bytes.to_vec(), offset));
            }
            Lie::Reordered if is_lied_about => {
                self.nothing()?;
                self.state.lock().held.push((bytes.to_vec(), offset));
            }
            Lie::Reordered => {
                self.write_through(bytes, offset)?;
                self.pass_on_held()?;
            }
            Lie::LostWrites if is_lied_about => self.nothing()?,
            Lie::Misdirected if is_lied_about => self.write_through(bytes, offset + 512)?,
            Lie::ShortWrites if is_lied_about => {
                let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
                self.write_through(half, offset)?;
            }
            _ => return self.file.write_at(bytes, offset),
        }
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        match self.lie {
            Lie::NoSync => self.nothing(),
            Lie::NoSyncOfTemporary if self.name.strip_suffix(".tmp").is_some() => self.nothing(),
            Lie::WrongFile if self.is_segment() => {
                self.disk.open("STORE", Access::ReadWrite)?.sync()
            }
            Lie::LateWrites => {
                self.file.sync()?;
                self.pass_on_held()
            }
            Lie::RetriedSync => self.file.sync().or_else(|_| self.file.sync()),
            Lie::SwallowedSync => self.file.sync().or_else(|_| self.nothing()),
            _ => self.file.sync(),
        }
    }

    fn grow(&self, len: u64) -> io::Result<()> {
        self.file.grow(len)
    }

    fn drop_cache(&self, len: u64) -> io::Result<()> {
        if self.lie == Lie::DirectFromCache { self.nothing() } else { self.file.drop_cache(len) }
    }

    fn release(&self, offset: u64, len: u64) -> io::Result<()> {
        if self.lie == Lie::GreedyRelease {
            let before = offset.min(4096);
            return self.file.release(offset - before, len + before);
        }
        self.file.release(offset, len)
    }

    fn map(&self, len: u64) -> io::Result<Option<Arc<dyn Region>>> {
        self.file.map(len)
    }
}

/// What is appended; the store is closed and opened again before the last third.
fn load() -> Vec<Vec<(String, Vec<crate::NewEvent>)>> {
    let mut maker = Maker::new(seed() + 20, 4);
    let sizes = [40, 600, 9000, 20, 14_000, 700, 9000, 5000, 30, 14_000, 90, 2000];
    sizes.map(|bytes| if bytes == 600 { maker.batch(3, bytes) } else { maker.one(1, bytes) }).into()
}

/// Appends until something fails, keeping account.
fn append(store: &Store, model: &mut Model, batches: &[Vec<(String, Vec<crate::NewEvent>)>]) {
    for batch in batches {
        append_one(store, model, batch);
    }
}

fn append_one(store: &Store, model: &mut Model, batch: &Batch) {
    let (append, expected) = model.plan(batch);
    let commit = batch.iter().fold(store.batch(), |commit, (stream, events)| {
        commit.append(stream, ExpectedVersion::Any, events.iter().cloned())
    });
    match commit.commit() {
        Ok(answer) => {
            assert_eq!(answer, expected);
            model.push(append, true);
        }
        Err(Error::Unknown { .. }) => model.push(append, false),
        Err(_) => {}
    }
}

fn open(disk: &MemoryDisk, lie: Lie, model: &mut Model) -> Result<Store> {
    let store = small().open_in(Liar::dir(disk, lie))?;
    model.settle(store.head());
    Ok(store)
}

/// One run over a lying disk, and all that it may leave. Unless something is made to fail, all of
/// it has to go well.
fn run(disk: &MemoryDisk, lie: Lie, fails: bool) {
    let mut model = Model::default();
    let batches = load();
    let (first, second) = batches.split_at(8);
    for batches in [first, second] {
        let opened = open(disk, lie, &mut model);
        assert!(opened.is_ok() || fails, "{opened:?}");
        let Ok(store) = opened else { continue };
        append(&store, &mut model, batches);
        let read = store.read_all().into_iter().map_while(Result::ok).count() as u64;
        assert!(read == store.head().0 || fails, "{read} of {}", store.head());
        let closed = store.close();
        assert!(closed.is_ok() || fails, "{closed:?}");
    }
    let killed = disk.crash_keeping_everything();
    for image in [
        disk.crash_keeping_nothing(),
        killed.crash_keeping_everything(),
        disk.crash(&mut |_| Keep::New),
        disk.crash_seeded(seed()),
        disk.crash_seeded(seed() + 1),
    ] {
        // The opening lies too, and is cut short.
        let (again, mut behind) = (image.crash_keeping_everything(), model.clone());
        if let Ok(store) = open(&again, lie, &mut behind) {
            let batch = batches.first().map(Vec::as_slice).unwrap_or_default();
            append_one(&store, &mut behind, batch);
            check_disk(&again.crash_keeping_nothing(), &small(), &mut behind);
        }
        check_disk(&image, &small(), &mut model.clone());
    }
}

/// Looks for a lie as the crash exploration and the sweep of faults look for bugs. What it was
/// found by, and behind how many runs. Of the calls before which the power can go, each `step`th is
/// tried.
fn hunt(lie: Lie, step: usize) -> (Option<String>, usize) {
    let whole = MemoryDisk::simulated(seed());
    whole.start_trace();
    let mut runs = 0;
    let mut finds = |disk: &MemoryDisk, fails: bool| {
        runs += 1;
        catch_unwind(AssertUnwindSafe(|| run(disk, lie, fails))).is_err()
    };
    if finds(&whole, false) {
        return (Some("a plain run and what it leaves".into()), runs);
    }
    let trace = whole.trace();
    for (number, call) in trace.iter().enumerate() {
        let disk = MemoryDisk::simulated(seed());
        disk.fail_at(number as u64, Fault::Errno(5));
        if call.kind == CallKind::Sync && finds(&disk, true) {
            return (Some(format!("a failed sync of {}, call {number}", call.name)), runs);
        }
    }
    for number in (0..=trace.len()).step_by(step) {
        let disk = MemoryDisk::simulated(seed());
        disk.crash_at(number as u64);
        if finds(&disk, true) {
            return (Some(format!("no power from call {number}")), runs);
        }
    }
    (None, runs)
}

#[test]
fn every_lie_of_a_disk_is_found() {
    for lie in LIES {
        let (by, runs) = hunt(lie, 1);
        let by = by.unwrap_or_else(|| panic!("{lie:?} was not found in {runs} runs"));
        eprintln!("{lie:?}: found by run {runs}: {by}");
    }
}

#[test]
fn an_honest_disk_is_not_accused() {
    let (by, runs) = hunt(Lie::Honest, scaled(15, 1));
    assert!(by.is_none(), "{by:?} in run {runs}");
    eprintln!("{runs} runs");
}

#[test]
fn a_lock_that_keeps_nobody_out_is_found_by_the_second_opening() {
    for (lie, is_refused) in [(Lie::Honest, true), (Lie::NoLock, false)] {
        let disk = MemoryDisk::simulated(seed());
        let first = small().open_in(Liar::dir(&disk, lie)).unwrap();
        let second = small().open_in(Liar::dir(&disk, lie));
        assert_eq!(matches!(second, Err(Error::Locked { .. })), is_refused, "{lie:?}: {second:?}");
        drop(first);
    }
}
