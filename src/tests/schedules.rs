//! Random schedules: four writers and three readers take turns on one thread, on a disk that fails,
//! lies, loses its power and whose clock jumps.
//!
//! `ANNALS_SCHEDULE=n` runs only the n-th; a failure prints it. `ANNALS_LONG=1` runs a million, or
//! as many as `ANNALS_MINUTES` allow.

use std::env;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::faults::assert_typed;
use super::history::{Act, Maker, Runner};
use super::oracle::{Care, Model, assert_holds, check_opened};
use super::{MODES, Random, Scene, open, scaled, seed, small};
use crate::storage::memory::{Fault, MemoryDisk};
use crate::{
    AllEvents, Durability, Error, ExpectedVersion, NewEvent, Position, Preallocate, Result, Store,
    StoreOptions, Timestamp, Version,
};

const WRITERS: usize = 4;
const READERS: usize = 3;
/// Turns between two crashes, and how often a schedule crashes.
const TURNS: usize = 16;
const CRASHES: usize = 3;

const FAULTS: [Fault; 6] = [
    Fault::Errno(5),
    Fault::Errno(24),
    Fault::Error(ErrorKind::StorageFull),
    Fault::Error(ErrorKind::Interrupted),
    Fault::Error(ErrorKind::PermissionDenied),
    Fault::ShortCount,
];

/// What became of all schedules.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    schedules: usize,
    turns: usize,
    commits: usize,
    failed_calls: usize,
    read_events: usize,
    retries: usize,
    crashes: usize,
    reopened: usize,
    /// Of disks that lie or break: stores that were refused, and that lost an append.
    refused: usize,
    shortened: usize,
}

/// Whether a disk only fails, or also says that it wrote what it did not, and loses sectors that
/// were durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Fails,
    Lies,
}

/// A reader in the middle of a read of everything.
#[derive(Default)]
struct Reader {
    events: Option<AllEvents>,
    /// The last position that it saw, and the last that it has to see.
    at: u64,
    upto: u64,
}

struct Schedule<'a> {
    kind: Disk,
    random: Random,
    maker: Maker,
    runner: Runner<'a>,
    disk: &'a MemoryDisk,
    readers: [Reader; READERS],
    /// An append whose end is unknown and which can be made again: its ids are the caller's.
    unknown: Option<(String, Vec<NewEvent>)>,
    tally: &'a mut Tally,
}

impl Schedule<'_> {
    /// Turns until the crash. `false` where the store cannot be opened any more.
    fn run(&mut self) -> bool {
        if !self.open() {
            return false;
        }
        for _ in 0..TURNS {
            self.tally.turns += 1;
            if self.random.below(7) == 0 {
                self.arm();
            }
            let went_well = match self.random.below(12) {
                0..=5 => self.write(),
                6..=8 => self.read(),
                9 => self.look_up(),
                10 => self.runner.act(&Act::KeepUp),
                _ => self.runner.act(&Act::Sync),
            };
            if let Err(e) = went_well {
                self.tally.failed_calls += 1;
                self.assert_allowed(&e);
            }
            if (self.runner.is_stopped || self.random.below(20) == 0) && !self.reopen() {
                return false;
            }
        }
        true
    }

    /// Lets something go wrong soon, or the clock jump.
    fn arm(&mut self) {
        let at = self.disk.calls() + self.random.below(30) as u64;
        let fault = FAULTS[self.random.below(FAULTS.len())];
        match self.random.below(9) {
            0..=3 => self.disk.fail_at(at, fault),
            4 => self.disk.fail_from(at, fault),
            5 => self.disk.heal(),
            6 if self.kind == Disk::Lies => {
                let lies = [Fault::LostWrite, Fault::Misdirected];
                self.disk.fail_at(at, lies[self.random.below(lies.len())]);
            }
            7 if self.kind == Disk::Lies => self.break_a_sector(),
            _ => {
                let jump = self.random.next().cast_signed() >> self.random.below(60);
                let now = 1_700_000_000_000_000_i64;
                self.disk.set_time(Timestamp::from_micros(now.saturating_add(jump)));
            }
        }
    }

    fn break_a_sector(&mut self) {
        let files = self.disk.files();
        if let Some((name, bytes)) = files.iter().nth(self.random.below(files.len().max(1)))
            && !bytes.is_empty()
        {
            self.disk.break_sector(name, self.random.below(bytes.len()));
        }
    }

    /// Opens, at the latest when nothing fails any more.
    fn open(&mut self) -> bool {
        self.tally.reopened += 1;
        for is_last in [false, false, true] {
            if is_last {
                self.disk.heal();
            }
            match self.try_open() {
                Ok(()) => return self.retry(),
                Err(e) => {
                    self.assert_allowed(&e);
                    if is_last {
                        // Only what is gone for good keeps a store from opening.
                        assert_eq!(self.kind, Disk::Lies, "{e:?}");
                        self.tally.refused += 1;
                        return false;
                    }
                }
            }
        }
        false
    }

    fn try_open(&mut self) -> Result<()> {
        if self.kind == Disk::Fails {
            return self.runner.open();
        }
        // What a lying disk has lost at the end of the log nobody can know.
        let store = self.runner.try_open()?;
        let head = store.head();
        let kept = self.runner.model.kept();
        if head.0 < kept {
            self.tally.shortened += 1;
        }
        self.runner.model.forget_behind(head);
        self.runner.take(store);
        Ok(())
    }

    fn reopen(&mut self) -> bool {
        self.readers = Default::default();
        if let Err(e) = self.runner.close() {
            self.assert_allowed(&e);
        }
        self.open()
    }

    /// Makes an append again whose end was unknown: it is there once.
    fn retry(&mut self) -> bool {
        let Some((stream, events)) = self.unknown.take() else { return true };
        let Some(store) = self.runner.store.clone() else { return true };
        let id = events[0].id;
        let known = self.runner.model.appends();
        let there = known.iter().find(|append| append.events[0].event.id == id);
        let there = there.map(|append| append.events.last().map(|event| event.version));
        match store.append(&stream, ExpectedVersion::Any, events.iter().cloned()) {
            Ok(done) => {
                self.tally.retries += 1;
                assert_eq!(done.deduplicated, there.is_some(), "an append that was made again");
                match there {
                    Some(version) => assert_eq!(Some(done.version.0), version),
                    None => {
                        let is_kept = self.runner.durability == Durability::Sync;
                        let (append, _) = self.runner.model.plan(&[(stream, events)]);
                        self.runner.model.push(append, is_kept);
                        self.runner.acknowledged = store.head();
                    }
                }
                self.runner.model.keep_up_to(store.durable());
                true
            }
            Err(e) => {
                self.assert_allowed(&e);
                if matches!(e, Error::Unknown { .. }) && there.is_none() {
                    let (append, _) = self.runner.model.plan(&[(stream, events)]);
                    self.runner.model.push(append, false);
                }
                self.runner.is_stopped = !matches!(e, Error::NotWritten { .. });
                true
            }
        }
    }

    /// One writer alone, or several whose requests are committed as a group.
    fn write(&mut self) -> Result<()> {
        let writers = 1 + self.random.below(WRITERS);
        let sizes = [0, 10, 30, 100, 300, 600, 3000];
        let size = |random: &mut Random| match random.below(24) {
            0 => 20_000,
            _ => sizes[random.below(sizes.len())],
        };
        self.tally.commits += 1;
        if writers == 1 && !self.runner.is_stopped {
            let count = 1 + self.random.below(3);
            let mut batch = self.maker.one(count, size(&mut self.random));
            batch[0].1[0].id = Some(self.maker.id());
            let done = self.runner.act(&Act::Append(batch.clone()));
            if matches!(done, Err(Error::Unknown { .. })) {
                self.unknown = batch.pop();
            }
            return done;
        }
        let batches = (0..writers).map(|_| {
            let parts = 1 + self.random.below(2);
            self.maker.batch(parts, size(&mut self.random))
        });
        let act = Act::Group(batches.collect());
        self.runner.act(&act)
    }

    /// A reader goes on, or begins again.
    fn read(&mut self) -> Result<()> {
        let reader = &mut self.readers[self.random.below(READERS)];
        let Some(store) = &self.runner.store else { return Ok(()) };
        let events = reader.events.get_or_insert_with(|| {
            reader.upto = store.head().0;
            reader.at = self.random.next() % (reader.upto + 1);
            store.read_all().after(Position(reader.at)).into_iter()
        });
        for _ in 0..=self.random.below(4) {
            match events.next() {
                Some(Ok(event)) => {
                    self.tally.read_events += 1;
                    reader.at += 1;
                    assert_eq!(event.position(), Position(reader.at));
                    let recorded = self.runner.model.at(reader.at);
                    assert_holds(&event, recorded.expect("an event that was appended"));
                }
                Some(Err(e)) => {
                    reader.events = None;
                    return Err(e);
                }
                None => {
                    assert_eq!(reader.at, reader.upto, "a read ends where it was to end");
                    reader.events = None;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// One event by its stream, its position and its id.
    fn look_up(&mut self) -> Result<()> {
        let Some(store) = &self.runner.store else { return Ok(()) };
        let head = store.head().0;
        if head == 0 {
            return Ok(());
        }
        let position = 1 + self.random.next() % head;
        let recorded = self.runner.model.at(position).unwrap();
        let by_position = store.event(Position(position))?.expect("an event that is visible");
        assert_holds(&by_position, recorded);
        let by_id = store.event_by_id(by_position.id())?.expect("an id that is visible");
        assert_eq!(by_id.position(), Position(position));
        let read = store.read_stream(&recorded.stream).after(Version(recorded.version - 1));
        let in_stream = read.limit(1).into_iter().next().expect("a version that is visible")?;
        assert_eq!(in_stream.position(), Position(position));
        Ok(())
    }

    /// A failure of the disk is told as one; only of a disk that lies can it look like damage.
    fn assert_allowed(&self, e: &Error) {
        match (self.kind, e) {
            (Disk::Lies, e) if e.is_corruption() => {}
            (Disk::Lies, Error::NotAStore { .. }) => {}
            (_, Error::Closed) => assert!(self.runner.store.is_none()),
            (_, e) => assert_typed(e),
        }
    }
}

fn options(random: &mut Random) -> StoreOptions {
    let checkpoint = [1, 4 << 10, 64 << 10][random.below(3)];
    let preallocate = [Preallocate::Zero, Preallocate::None][random.below(2)];
    small().checkpoint_bytes(checkpoint).preallocate(preallocate)
}

/// One schedule, with what it is made of following from its number alone.
fn run(number: u64, kind: Disk, tally: &mut Tally) {
    let seed = seed();
    let _scene = Scene(move || {
        format!(
            "seed {seed}, schedule {number}\n  again: ANNALS_SEED={seed} ANNALS_SCHEDULE={number} \
             cargo test --lib tests::schedules"
        )
    });
    let mut random = Random(seed.wrapping_add(number.wrapping_mul(0x9E37_79B9)));
    let options = options(&mut random);
    let (_, durability) = MODES[random.below(MODES.len())];
    let mut disk = MemoryDisk::simulated(random.next());
    let mut model = Model::default();
    let mut maker = Maker::new(random.next(), WRITERS + 2);
    let mut unknown = None;
    let mut in_cache = false;
    tally.schedules += 1;
    for crash in 0..CRASHES {
        let mut runner = Runner::new(&disk, &options, durability, std::mem::take(&mut model));
        if crash > 0 && !in_cache && random.below(4) == 0 {
            disk.fail_at(random.below(60) as u64, FAULTS[random.below(FAULTS.len())]);
        }
        runner.settles = kind == Disk::Fails;
        let mut schedule = Schedule {
            kind,
            random,
            maker,
            runner,
            disk: &disk,
            readers: Default::default(),
            unknown,
            tally: &mut *tally,
        };
        if !schedule.run() {
            return;
        }
        Schedule { random, maker, runner, unknown, .. } = schedule;
        let next = crash_now(&disk, &mut random, runner, durability, &mut model);
        tally.crashes += 1;
        (disk, in_cache) = next;
    }
    disk.heal();
    let store = match open(&disk, &options) {
        Ok(store) => store,
        Err(e) => {
            assert_eq!(kind, Disk::Lies, "{e}");
            tally.refused += 1;
            return;
        }
    };
    if kind == Disk::Fails {
        model.settle(store.head());
        let care = if number.is_multiple_of(16) { Care::Full } else { Care::Plain };
        check_opened(&disk, &options, &store, &mut model, care);
    } else {
        tally.shortened += usize::from(store.head().0 < model.kept());
        model.forget_behind(store.head());
        check_prefix(&store, &model);
    }
}

/// Ends the process or the power, perhaps in the middle of an append. Also returns whether
/// something that was acknowledged is in the cache alone, where a failing sync would lose it.
fn crash_now(
    disk: &MemoryDisk,
    random: &mut Random,
    mut runner: Runner<'_>,
    durability: Durability,
    model: &mut Model,
) -> (MemoryDisk, bool) {
    // What a failed sync has lost, the cache shows for as long as nobody asks the medium.
    let is_poisoned = runner.store.as_ref().is_none_or(Store::is_poisoned);
    disk.heal();
    disk.crash_at(disk.calls() + random.below(12) as u64);
    let mut maker = Maker::new(random.next(), WRITERS + 2);
    if !runner.is_stopped {
        // Whatever it says: it is noted.
        let _ = runner.act(&Act::Append(maker.one(2, 900)));
    }
    let acknowledged = runner.acknowledged;
    *model = std::mem::take(&mut runner.model);
    match random.below(4) {
        0 => {
            let in_cache = durability == Durability::Os && runner.settles && !is_poisoned;
            if in_cache {
                model.keep_up_to(acknowledged);
            }
            (disk.crash_keeping_everything(), in_cache)
        }
        1 => (disk.crash_keeping_nothing(), false),
        _ => (disk.crash_seeded(random.next()), false),
    }
}

/// Whatever is returned is right, and what is not returned is an error.
fn check_prefix(store: &Store, model: &Model) {
    for (found, recorded) in store.read_all().into_iter().zip(model.events()) {
        match found {
            Ok(event) => assert_holds(&event, recorded),
            Err(e) => {
                if !e.is_corruption() {
                    assert_typed(&e);
                }
                return;
            }
        }
    }
}

fn run_all(kind: Disk, short: usize, long: usize) {
    let number = |name| env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    let mut tally = Tally::default();
    if let Some(only) = number("ANNALS_SCHEDULE") {
        return run(only, kind, &mut tally);
    }
    let started = Instant::now();
    let most = Duration::from_secs(60 * number("ANNALS_MINUTES").unwrap_or(24 * 60));
    for number in 0..scaled(short, long) as u64 {
        if started.elapsed() > most {
            break;
        }
        run(number, kind, &mut tally);
    }
    eprintln!("{kind:?}: {tally:?}, {:.0?}", started.elapsed());
    assert!(tally.commits > tally.schedules && tally.read_events > tally.schedules);
}

#[test]
fn random_schedules_on_a_failing_disk_lose_nothing() {
    run_all(Disk::Fails, 15_000, 750_000);
}

#[test]
fn random_schedules_on_a_lying_disk_return_nothing_wrong() {
    run_all(Disk::Lies, 5_000, 250_000);
}
