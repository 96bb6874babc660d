//! One run of each work.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Result;
use crate::stats::{Sample, histogram, nanos};
use crate::store::{Mode, Peer, Setup, Store, Work};
use crate::workload::{Event, Tally, Workload};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Events of the store that is read, and the most that a run of relaxed appends makes.
    pub events: u64,
    /// A run ends after so long, or after so many events, whichever is first.
    pub time: Duration,
    /// Appends before the clock starts.
    pub warm: u64,
    pub rounds: usize,
}

impl Scale {
    /// So many commits a durable run can make at most: what the fastest disks would.
    fn commits(&self, batch: u64) -> u64 {
        let millis = u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX);
        (millis * 250).div_ceil(batch.min(20)).max(10)
    }
}

/// So many streams durable appends go to.
const STREAMS: u64 = 10_000;
const IN_FLIGHT: usize = 1024;
/// Events that a subscriber waits for, one by one.
const FOLLOWED: u64 = 1000;

/// Does a work on a store of its own, in an empty directory.
pub fn on_new(work: Work, peer: &Peer, dir: &Path, scale: &Scale) -> Result<Sample> {
    match work {
        Work::Durable1 => durable(peer, dir, scale, 1, 1),
        Work::Durable16 => durable(peer, dir, scale, 16, 1),
        Work::Durable100 => durable(peer, dir, scale, 1, 100),
        Work::Pipeline => pipeline(peer, dir, scale),
        Work::Os => relaxed(peer, dir, scale, Mode::Os),
        Work::Interval => relaxed(peer, dir, scale, Mode::Interval),
        Work::Conditional => conditional(peer, dir, scale),
        Work::Follow => follow(peer, dir, scale),
        _ => Err("needs a store that is filled".into()),
    }
}

/// Lets no write of the store before reach into what is timed next.
pub fn settle() {
    rustix::fs::sync();
}

fn warmed(
    peer: &Peer,
    dir: &Path,
    mode: Mode,
    workload: &Workload,
    events: u64,
    scale: &Scale,
) -> Result<Box<dyn Store>> {
    let store = (peer.open)(dir, Setup { mode, events: events + scale.warm })?;
    for n in 0..scale.warm {
        store.append(&[workload.event(n)])?;
    }
    settle();
    Ok(store)
}

fn durable(peer: &Peer, dir: &Path, scale: &Scale, threads: u64, batch: u64) -> Result<Sample> {
    let workload = Workload::new(STREAMS);
    let commits = scale.commits(batch);
    let store = warmed(peer, dir, Mode::Sync, &workload, commits * batch, scale)?;
    let (next, started) = (AtomicU64::new(0), Instant::now());
    let work = || -> Result<(u64, Histogram<u64>)> {
        let (mut calls, mut done) = (histogram()?, 0);
        let mut events = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let begun = Instant::now();
            if n >= commits || begun - started >= scale.time {
                return Ok((done, calls));
            }
            events.clear();
            let first = scale.warm + n * batch;
            events.extend((first..first + batch).map(|at| workload.event_of(n * 7919, at)));
            store.append(&events)?;
            calls.record(nanos(begun.elapsed()))?;
            done += batch;
        }
    };
    let parts: Vec<Result<(u64, Histogram<u64>)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect()
    });
    let spent = started.elapsed();
    let (mut done, mut calls) = (0, histogram()?);
    for part in parts {
        let (events, times) = part?;
        done += events;
        calls.add(times)?;
    }
    store.close()?;
    Ok(Sample::rate(done, spent).with(&calls))
}

/// The events of a run that ends by number or by time; the clock is looked at now and then.
fn until<'a>(
    workload: &'a Workload,
    scale: &Scale,
    events: u64,
    started: Instant,
) -> impl Iterator<Item = Event<'a>> {
    let (warm, time) = (scale.warm, scale.time);
    (0..events)
        .take_while(move |n| n % 64 != 63 || started.elapsed() < time)
        .map(move |n| workload.event(warm + n))
}

fn pipeline(peer: &Peer, dir: &Path, scale: &Scale) -> Result<Sample> {
    let workload = Workload::new(STREAMS);
    let events = scale.events;
    let store = warmed(peer, dir, Mode::Sync, &workload, events, scale)?;
    let started = Instant::now();
    let mut events = until(&workload, scale, events, started);
    let done = store.pipeline(&mut events, IN_FLIGHT)?;
    let sample = Sample::rate(done, started.elapsed());
    store.close()?;
    Ok(sample)
}

fn relaxed(peer: &Peer, dir: &Path, scale: &Scale, mode: Mode) -> Result<Sample> {
    let workload = Workload::new(scale.events / 10);
    let store = warmed(peer, dir, mode, &workload, scale.events, scale)?;
    let (started, mut done) = (Instant::now(), 0);
    for event in until(&workload, scale, scale.events, started) {
        store.append(&[event])?;
        done += 1;
    }
    let sample = Sample::rate(done, started.elapsed());
    store.close()?;
    Ok(sample)
}

fn conditional(peer: &Peer, dir: &Path, scale: &Scale) -> Result<Sample> {
    let workload = Workload::new(STREAMS);
    let commits = scale.commits(1);
    let store = warmed(peer, dir, Mode::Sync, &workload, commits, scale)?;
    let (started, mut calls, mut done) = (Instant::now(), histogram()?, 0);
    for n in 0..commits {
        let begun = Instant::now();
        if begun - started >= scale.time {
            break;
        }
        store.append_if_unseen(workload.event(n), &format!("customer:{n}"))?;
        calls.record(nanos(begun.elapsed()))?;
        done += 1;
    }
    let sample = Sample::rate(done, started.elapsed()).with(&calls);
    store.close()?;
    Ok(sample)
}

/// From the return of an append to the event's arrival, which may be earlier.
fn follow(peer: &Peer, dir: &Path, scale: &Scale) -> Result<Sample> {
    let workload = Workload::new(STREAMS);
    let events = FOLLOWED.min(scale.events);
    let store = warmed(peer, dir, Mode::Sync, &workload, events, scale)?;
    let mut following = store.follow()?;
    let (seen, returned) = std::thread::scope(|scope| -> Result<_> {
        let reader = scope.spawn(move || -> Result<Vec<Instant>> {
            let mut seen = Vec::new();
            while (seen.len() as u64) < events {
                following.wait(&mut seen)?;
            }
            Ok(seen)
        });
        let mut returned = Vec::new();
        for n in 0..events {
            // So long that the subscriber waits again.
            std::thread::sleep(Duration::from_micros(200));
            store.append(&[workload.event(scale.warm + n)])?;
            returned.push(Instant::now());
        }
        Ok((reader.join().map_err(|_| "a thread panicked")??, returned))
    })?;
    store.close()?;
    let lag = |(seen, returned): (&Instant, &Instant)| {
        let late = seen.saturating_duration_since(*returned).as_secs_f64();
        (late - returned.saturating_duration_since(*seen).as_secs_f64()) * 1e6
    };
    let mut lags: Vec<f64> = seen.iter().zip(&returned).map(lag).collect();
    lags.sort_by(f64::total_cmp);
    let at = |quantile: f64| lags[((lags.len() - 1) as f64 * quantile) as usize];
    Ok(Sample { value: at(0.5), tail: Some([at(0.5), at(0.99), at(0.999)]) })
}

/// Does a work that reads, in a directory with a store of `scale.events` events.
pub fn on_filled(
    work: Work,
    peer: &Peer,
    dir: &Path,
    workload: &Workload,
    scale: &Scale,
    round: u64,
) -> Result<Sample> {
    let setup = Setup { mode: Mode::Sync, events: 0 };
    if work == Work::OpenClean {
        return open(peer, dir, workload, round);
    }
    let store = (peer.open)(dir, setup)?;
    let sample = match work {
        Work::Streams => streams(&*store, workload, scale)?,
        Work::Scan => twice(&|tally| store.scan(tally), scale.events)?,
        Work::Category => {
            let read = |tally: &mut Tally| store.read_category(Workload::category(round), tally);
            twice(&read, scale.events / 16)?
        }
        Work::Type => {
            let read = |tally: &mut Tally| store.read_type(Workload::event_type(round), tally);
            twice(&read, scale.events / 16)?
        }
        _ => return Err("is not done on a filled store".into()),
    };
    store.close()?;
    Ok(sample)
}

/// Opens, and reads a stream: who does the work later has it counted too.
pub fn open(peer: &Peer, dir: &Path, workload: &Workload, round: u64) -> Result<Sample> {
    let started = Instant::now();
    let store = (peer.open)(dir, Setup { mode: Mode::Sync, events: 0 })?;
    if peer.can(Work::Streams) {
        store.read_stream(workload.random_stream(round), &mut Tally::default())?;
    }
    let spent = started.elapsed();
    store.close()?;
    Ok(Sample::of(spent.as_secs_f64() * 1e3))
}

/// The first time warms the caches, the second one counts.
fn twice(read: &dyn Fn(&mut Tally) -> Result<()>, at_least: u64) -> Result<Sample> {
    read(&mut Tally::default())?;
    let (started, mut tally) = (Instant::now(), Tally::default());
    read(&mut tally)?;
    let spent = started.elapsed();
    if tally.events < at_least {
        return Err(format!("{} events were read, not {at_least}", tally.events).into());
    }
    Ok(Sample::rate(tally.events, spent))
}

fn streams(store: &dyn Store, workload: &Workload, scale: &Scale) -> Result<Sample> {
    let pass = |time: Duration| -> Result<(u64, Duration, Histogram<u64>)> {
        let (started, mut calls) = (Instant::now(), histogram()?);
        let mut begun = started;
        for n in 0..workload.streams() {
            let mut tally = Tally::default();
            store.read_stream(workload.random_stream(n), &mut tally)?;
            if tally.events == 0 {
                return Err(format!("{} is empty", workload.random_stream(n)).into());
            }
            let now = Instant::now();
            calls.record(nanos(now - begun))?;
            begun = now;
            if begun - started >= time {
                return Ok((n + 1, begun - started, calls));
            }
        }
        Ok((workload.streams(), started.elapsed(), calls))
    };
    pass(scale.time)?;
    let (read, spent, calls) = pass(scale.time)?;
    Ok(Sample::rate(read, spent).with(&calls))
}
