//! Many threads with commands for one entity: the retry loop that `cqrs-es` leaves to its caller,
//! and the repository of `annals::kit`, on the same kind of store.
//!
//! `storm [THREADS [COMMANDS [ROUNDS]]]` (16, 1600 and 9 unless said), with `TMPDIR` on the disk that
//! is meant. Each round runs both, in turns first, each on a new store on that disk in which each
//! commit is synced. Behind every run the store is read: each command was applied exactly once, and
//! on top of all before it. Prints the median of commands per second, and the ratio of the medians.
//!
//! Both read all events of the entity for a command, and once more with a snapshot each 50 events.
//! The loop of `cqrs-es` begins anew where it lost; the kit reads what it missed, and lets those
//! that have lost take turns. Commands of the kit have ids, so that they could be given again.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use annals::kit::{CommandError, Decider, EventSet, Repository, Request, Snapshots};
use annals::{EventId, Store};
use annals_cqrs_es::AnnalsEventStore;
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, AggregateError, CqrsFramework, DomainEvent};
use futures::executor::block_on;
use serde::{Deserialize, Serialize};

type Failure = Box<dyn Error + Send + Sync>;

const ENTITY: &str = "shared";
const SNAPSHOT_EVERY: u64 = 50;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// At the same time, on one entity.
    pub threads: u64,
    /// Of all threads together.
    pub commands: u64,
    /// Of both, in turns.
    pub rounds: usize,
}

/// Who executes commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Kit,
    CqrsEs,
}

/// What came of one run.
#[derive(Clone, Copy, Debug)]
struct Run {
    per_second: f64,
    /// How often a command was decided.
    attempts: f64,
}

/// A payment into an account: `command` counts the commands, `balance` is what is there then.
#[derive(EventSet, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
enum Paid {
    #[event(name = "Paid")]
    In { command: u64, balance: u64 },
}

impl DomainEvent for Paid {
    fn event_type(&self) -> String {
        "Paid".into()
    }

    fn event_version(&self) -> String {
        "1.0".into()
    }
}

/// The account for `cqrs-es`.
#[derive(Serialize, Deserialize, Clone, Default, Debug)]
struct Account {
    balance: u64,
}

#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl Error for Refused {}

impl Aggregate for Account {
    const TYPE: &'static str = "Account";
    type Command = u64;
    type Event = Paid;
    type Error = Refused;
    type Services = ();

    async fn handle(
        &mut self,
        command: u64,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refused> {
        let balance = self.balance + 1;
        sink.write(Paid::In { command, balance }, self).await;
        Ok(())
    }

    fn apply(&mut self, event: Paid) {
        let Paid::In { balance, .. } = event;
        self.balance = balance;
    }
}

/// The account for the kit.
struct Accounts;

impl Decider for Accounts {
    type State = u64;
    type Command = u64;
    type Event = Paid;
    type Error = Refused;

    fn initial(&self) -> u64 {
        0
    }

    fn decide(&self, balance: &u64, command: &u64) -> Result<Vec<Paid>, Refused> {
        Ok(vec![Paid::In { command: *command, balance: balance + 1 }])
    }

    fn evolve(&self, _: u64, Paid::In { balance, .. }: &Paid) -> u64 {
        *balance
    }
}

fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let mut number = |default: u64| words.next().map_or(Ok(default), |word| word.parse());
    let settings = Settings {
        threads: number(16)?.max(1),
        commands: number(1600)?.max(1),
        rounds: usize::try_from(number(9)?.max(1))?,
    };
    compare(settings)
}

/// Runs both, with and without snapshots, and prints what came of it.
///
/// # Errors
///
/// A command that was not applied exactly once, and whatever the store says.
pub fn compare(settings: Settings) -> Result<(), Failure> {
    let Settings { threads, commands, rounds } = settings;
    println!("{threads} threads, {commands} commands on one entity, {rounds} rounds");
    for snapshots in [false, true] {
        let (mut kit, mut cqrs_es) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let order = [[Who::Kit, Who::CqrsEs], [Who::CqrsEs, Who::Kit]][round % 2];
            for who in order {
                let run = run(who, settings, snapshots)?;
                if who == Who::Kit { kit.push(run) } else { cqrs_es.push(run) }
            }
        }
        let how = if snapshots { "with snapshots" } else { "from the first event" };
        let (ours, theirs) = (median(&mut kit), median(&mut cqrs_es));
        println!("{how}: kit {}", shown(&kit));
        println!("{how}: cqrs-es {}", shown(&cqrs_es));
        println!("{how}: ratio of the medians {:.2}", ours / theirs);
    }
    Ok(())
}

fn median(runs: &mut [Run]) -> f64 {
    runs.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    runs.get(runs.len() / 2).map_or(f64::NAN, |run| run.per_second)
}

/// Of sorted runs.
fn shown(runs: &[Run]) -> String {
    let (Some(least), Some(middle), Some(most)) =
        (runs.first(), runs.get(runs.len() / 2), runs.last())
    else {
        return String::new();
    };
    let attempts = runs.iter().map(|run| run.attempts).sum::<f64>() / runs.len() as f64;
    format!(
        "{:.0} commands/s ({:.0} to {:.0}), {attempts:.2} attempts each; all applied once",
        middle.per_second, least.per_second, most.per_second
    )
}

fn run(who: Who, settings: Settings, snapshots: bool) -> Result<Run, Failure> {
    let Settings { threads, commands, .. } = settings;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("store");
    let store = Store::open(&path)?;
    let attempts = AtomicU64::new(0);
    let execute: Execute<'_> = match who {
        Who::Kit => kit(&store, snapshots, &attempts),
        Who::CqrsEs => cqrs_es(&store, snapshots, &attempts),
    };
    let barrier = Barrier::new(usize::try_from(threads)? + 1);
    let seconds = thread::scope(|scope| {
        let working: Vec<_> = (0..threads)
            .map(|thread| {
                let (execute, barrier) = (&execute, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    (thread..commands).step_by(usize::try_from(threads)?).try_for_each(execute)
                })
            })
            .collect();
        barrier.wait();
        let begun = Instant::now();
        for thread in working {
            thread.join().map_err(|_| Failure::from("a thread panicked"))??;
        }
        Ok::<f64, Failure>(begun.elapsed().as_secs_f64())
    })?;
    drop(execute);
    store.close()?;
    check(&path, commands)?;
    let attempts = attempts.load(Ordering::Relaxed) as f64 / commands as f64;
    Ok(Run { per_second: commands as f64 / seconds, attempts })
}

/// Executes a command.
type Execute<'a> = Box<dyn Fn(u64) -> Result<(), Failure> + Send + Sync + 'a>;

fn kit<'a>(store: &Store, snapshots: bool, attempts: &'a AtomicU64) -> Execute<'a> {
    let mut accounts = Repository::new(store, Accounts);
    if snapshots {
        let snapshots: Snapshots<u64> = Snapshots::new(store, "balance", 1);
        accounts = accounts.keeper(snapshots.every(SNAPSHOT_EVERY));
    }
    let all = EventId::from_bytes([7; 16]);
    Box::new(move |command| {
        let id = all.derive(&command.to_string());
        loop {
            match accounts.execute(format!("Account-{ENTITY}"), Request::new(command).id(id)) {
                Ok(done) => {
                    attempts.fetch_add(done.attempts.into(), Ordering::Relaxed);
                    return Ok(());
                }
                Err(CommandError::Exhausted { attempts: lost, .. }) => {
                    attempts.fetch_add(lost.into(), Ordering::Relaxed);
                }
                Err(e) => return Err(e.to_string().into()),
            }
        }
    })
}

fn cqrs_es<'a>(store: &Store, snapshots: bool, attempts: &'a AtomicU64) -> Execute<'a> {
    let every = if snapshots { usize::try_from(SNAPSHOT_EVERY).unwrap_or(usize::MAX) } else { 0 };
    let events = AnnalsEventStore::<Account>::new(store).snapshot_every(every);
    let accounts = CqrsFramework::new(events, vec![], ());
    Box::new(move |command| {
        loop {
            attempts.fetch_add(1, Ordering::Relaxed);
            match block_on(accounts.execute(ENTITY, command)) {
                Ok(()) => return Ok(()),
                Err(AggregateError::AggregateConflict) => {}
                Err(e) => return Err(e.to_string().into()),
            }
        }
    })
}

/// What is stored: each command once, and each on top of those before it.
fn check(path: &Path, commands: u64) -> Result<(), Failure> {
    let store = Store::open_read_only(path)?;
    let mut seen = vec![false; usize::try_from(commands)?];
    for (number, event) in (1..).zip(store.read_stream(format!("Account-{ENTITY}"))) {
        // `cqrs-es` stores an enum with its variant's name around, the kit without.
        let stored: serde_json::Value = event?.json()?;
        let fields = stored.get("In").unwrap_or(&stored);
        let of = |name: &str| fields.get(name).and_then(serde_json::Value::as_u64);
        let command = of("command").and_then(|command| usize::try_from(command).ok());
        let unseen = command.and_then(|command| seen.get_mut(command)).filter(|seen| !**seen);
        *unseen.ok_or_else(|| format!("a command twice, or none: {stored}"))? = true;
        if of("balance") != Some(number) {
            return Err(format!("event {number} rests on another state: {stored}").into());
        }
    }
    match seen.iter().position(|seen| !seen) {
        Some(lost) => Err(format!("command {lost} was not applied").into()),
        None => Ok(()),
    }
}
