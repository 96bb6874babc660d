//! A load that can be killed, and the check of what it leaves.
//!
//! `crash_workload append DIR [APPENDS]` appends from four threads until it is killed (or each has
//! made so many appends) and prints a line `ACK stream version position id count` for each append
//! that was acknowledged. Two views are folded along: one of everything, behind the appends, and
//! one of what the first thread appends, in the commits of these appends.
//! `crash_workload verify DIR ACKS` opens the store and checks that every acknowledged append is
//! there, whole, once and unchanged, that positions and versions are dense, that nothing is there
//! by halves, that each view is the fold of the log up to where it stands, and that the store goes
//! on.
//! Without arguments: a short load and its check, in a directory that is removed again.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use annals::{EventId, ExpectedVersion, NewEvent, Position, Store, StoredView, ViewUpdate};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const THREADS: u64 = 4;
/// Appends of each thread, unless it is killed before.
const APPENDS: u64 = 20_000;
/// The view of everything, which is committed alone.
const BEHIND: &str = "behind";
/// The view of the streams of this category, which is committed with their events.
const INLINE: &str = "Inline";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] => short_run(),
        ["append", dir] => append(Path::new(dir), APPENDS),
        ["append", dir, appends] => match appends.parse() {
            Ok(appends) => append(Path::new(dir), appends),
            Err(e) => Err(format!("{appends}: {e}").into()),
        },
        ["verify", dir, acks] => verify(Path::new(dir), Path::new(acks)),
        _ => Err("usage: crash_workload append DIR [APPENDS] | verify DIR ACKS".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "{e}");
            ExitCode::FAILURE
        }
    }
}

/// Small segments, so that a short run meets rolls, sealing and index checkpoints too.
fn open(dir: &Path) -> annals::Result<Store> {
    Store::options().segment_bytes(256 << 10).checkpoint_bytes(64 << 10).open(dir)
}

fn short_run() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    append(&dir.path().join("store"), 50)?;
    let acks = dir.path().join("acks");
    std::fs::write(&acks, "")?;
    verify(&dir.path().join("store"), &acks)
}

fn append(dir: &Path, appends: u64) -> Result<(), Failure> {
    let store = open(dir)?;
    let from = store.head().0;
    let (behind, inline) = (store.create_view(BEHIND, 1)?, store.create_view(INLINE, 1)?);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let folding = scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                fold_some(&store, &behind)?;
            }
            // What came since, to the end.
            while fold_some(&store, &behind)? > 0 {}
            Ok::<(), Failure>(())
        });
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (store, seed) = (store.clone(), from * THREADS + thread);
                let view = (thread == 0).then(|| inline.clone());
                scope.spawn(move || append_some(&store, view.as_ref(), seed, appends))
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<(), Failure>>| {
            thread.join().map_err(|_| Failure::from("a thread panicked"))?
        };
        let appended = threads.into_iter().try_for_each(join);
        is_over.store(true, Ordering::Release);
        appended.and(join(folding))
    })
}

fn append_some(
    store: &Store,
    view: Option<&StoredView>,
    seed: u64,
    appends: u64,
) -> Result<(), Failure> {
    for n in 0..appends {
        let number = seed.wrapping_mul(1_000_003).wrapping_add(n);
        let category = if view.is_some() { INLINE } else { "Load" };
        let stream = format!("{category}-{}", number % 37);
        let count = number % 3 + 1;
        let first = id_of((store.head().0 << 20) | (number % (1 << 20)), seed);
        let data =
            |index| format!("{first} {index} {count} {}", "x".repeat((number % 700) as usize));
        let events = (0..count).map(|index| {
            let event = NewEvent::new("Loaded", data(index));
            if index == 0 { event.id(first) } else { event }
        });
        let done = if let Some(view) = view {
            let mut fold = Fold::new(view)?;
            (0..count).try_for_each(|index| fold.note(&stream, data(index).as_bytes()))?;
            let batch = store.batch().append(&stream, ExpectedVersion::Any, events);
            let done = batch.update_view(fold.into_update()).commit()?;
            // Nobody else appends what this view is of, so it is complete up to any position.
            if n % 16 == 0 {
                view.commit(Fold::new(view)?.into_update(), store.head())?;
            }
            *done.first().ok_or("an append without an answer")?
        } else {
            store.append(&stream, ExpectedVersion::Any, events)?
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "ACK {stream} {} {} {first} {count}", done.version, done.position)?;
        out.flush()?;
    }
    Ok(())
}

/// Takes some events into the view of everything. Returns how many.
fn fold_some(store: &Store, view: &StoredView) -> Result<usize, Failure> {
    let mut fold = Fold::new(view)?;
    let (mut upto, mut events) = (fold.from, 0);
    for event in store.read_all().after(upto).limit(50) {
        let event = event?;
        fold.note(event.stream(), event.data())?;
        upto = event.position();
        events += 1;
    }
    if events == 0 {
        std::thread::yield_now();
    } else {
        view.commit(fold.into_update(), upto)?;
    }
    Ok(events)
}

/// Of a stream, how many events there are, and a sum that depends on their order.
type Sum = (u64, u64);

fn add(sum: Sum, data: &[u8]) -> Sum {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    (sum.0 + 1, data.iter().fold(sum.1.wrapping_add(1), step))
}

/// Changes of a view of sums.
struct Fold<'v> {
    view: &'v StoredView,
    from: Position,
    sums: BTreeMap<String, Sum>,
}

impl<'v> Fold<'v> {
    fn new(view: &'v StoredView) -> Result<Self, Failure> {
        Ok(Self { view, from: view.position()?, sums: BTreeMap::new() })
    }

    fn note(&mut self, stream: &str, data: &[u8]) -> Result<(), Failure> {
        let known = match self.sums.get(stream) {
            Some(sum) => *sum,
            None => self.view.get(stream)?.map_or(Ok((0, 0)), |value| sum_of(&value))?,
        };
        self.sums.insert(stream.to_owned(), add(known, data));
        Ok(())
    }

    fn into_update(self) -> ViewUpdate {
        let update = self.view.update(self.from);
        let put = |update: ViewUpdate, (stream, (events, sum)): (String, Sum)| {
            update.put(stream, format!("{events} {sum:016x}"))
        };
        self.sums.into_iter().fold(update, put)
    }
}

fn sum_of(value: &[u8]) -> Result<Sum, Failure> {
    let text = std::str::from_utf8(value)?;
    let (events, sum) = text.split_once(' ').ok_or("a value of a view without a sum")?;
    Ok((events.parse()?, u64::from_str_radix(sum, 16)?))
}

/// Each view is the fold of the log up to where it stands. Returns where the inline one stands.
fn check_views(store: &Store) -> Result<Position, Failure> {
    let mut inline = Position::START;
    for name in [BEHIND, INLINE] {
        // The load may have been killed before it had created it.
        let Some(view) = store.view(name)? else { continue };
        let position = view.position()?;
        let mut expected = BTreeMap::<String, Sum>::new();
        for event in store.read_all() {
            let event = event?;
            if event.position() > position {
                break;
            }
            if name == BEHIND || event.category() == INLINE {
                let sum = expected.entry(event.stream().to_owned()).or_default();
                *sum = add(*sum, event.data());
            }
        }
        let mut found = BTreeMap::new();
        for entry in view.scan().read()? {
            let (key, value) = entry?;
            found.insert(String::from_utf8(key)?, sum_of(&value)?);
        }
        if position > store.head() || found != expected {
            let differs = expected.iter().find(|(stream, sum)| found.get(*stream) != Some(sum));
            return Err(format!("the view {name} at {position} is no fold: {differs:?}").into());
        }
        if name == INLINE {
            inline = position;
        }
    }
    Ok(inline)
}

fn id_of(high: u64, low: u64) -> EventId {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(high.to_le_bytes().into_iter().chain(low.to_le_bytes()))
    {
        *to = from;
    }
    bytes[0] |= 1;
    EventId::from_bytes(bytes)
}

/// An append as an event of it tells.
struct Seen {
    stream: String,
    version: u64,
    position: u64,
    count: u64,
}

fn verify(dir: &Path, acks: &Path) -> Result<(), Failure> {
    if !dir.join("STORE").exists() {
        let acknowledged = std::fs::read(acks)?;
        return if acknowledged.is_empty() { Ok(()) } else { Err("the store is gone".into()) };
    }
    // A reader, before the writer may mend anything.
    check_views(&Store::open_read_only(dir)?)?;
    let store = open(dir)?;
    let inline = check_views(&store)?;
    let seen = read_everything(&store)?;
    for line in std::io::BufReader::new(std::fs::File::open(acks)?).lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let ["ACK", stream, version, position, id, count] = words.as_slice() else {
            return Err(format!("not an acknowledgement: {line}").into());
        };
        let found = seen.get(*id).ok_or_else(|| format!("lost: {line}"))?;
        let same = found.stream == *stream
            && found.version.to_string() == *version
            && found.position.to_string() == *position
            && found.count.to_string() == *count;
        if !same {
            return Err(format!("changed: {line}").into());
        }
        if stream.starts_with(INLINE) && position.parse::<u64>()? > inline.0 {
            return Err(format!("the view stands at {inline}, without {line}").into());
        }
        if store.event_by_id(id.parse::<EventId>()?)?.is_none() {
            return Err(format!("not found by its id: {line}").into());
        }
    }
    let head = store.head().0;
    let after = store.append("Check-1", ExpectedVersion::Any, [NewEvent::new("Checked", "")])?;
    if after.position.0 != head + 1 {
        return Err(format!("position {} follows {head}", after.position).into());
    }
    store.close()?;
    Ok(())
}

/// Reads the log, checks that it is dense and whole, and returns the appends by their first id.
fn read_everything(store: &Store) -> Result<HashMap<String, Seen>, Failure> {
    let mut seen = HashMap::new();
    let mut versions: HashMap<String, u64> = HashMap::new();
    let mut open_append: Option<(String, u64, u64)> = None;
    let mut position = 0;
    for event in store.read_all() {
        let event = event?;
        position += 1;
        if event.position().0 != position {
            return Err(format!("position {} where {position} follows", event.position()).into());
        }
        let version = versions.entry(event.stream().to_owned()).or_default();
        *version += 1;
        if event.version().0 != *version {
            return Err(format!("version {} at position {position}", event.version()).into());
        }
        if event.event_type() != "Loaded" {
            continue;
        }
        let text = std::str::from_utf8(event.data())?;
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or("a short payload");
        let (first, index) = (word()?.to_owned(), word()?.parse::<u64>()?);
        let count = word()?.parse::<u64>()?;
        let expected = open_append.take().unwrap_or((first.clone(), 0, count));
        if expected != (first.clone(), index, count) {
            return Err(format!("half an append before position {position}").into());
        }
        if index + 1 < count {
            open_append = Some((first, index + 1, count));
        } else {
            let stream = event.stream().to_owned();
            seen.insert(first, Seen { stream, version: *version, position, count });
        }
    }
    if open_append.is_some() {
        return Err("half an append at the end".into());
    }
    for (stream, last) in versions {
        let read = store.read_stream(&stream).into_iter().count() as u64;
        if read != last {
            return Err(format!("{stream}: {read} events by the index, {last} in the log").into());
        }
    }
    Ok(seen)
}
