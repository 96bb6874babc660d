//! Executing commands: races, repetitions, and what commands carry along.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use annals::kit::{
    AsOf, CommandError, Decider, EventSet, FoldCost, Kept, Repository, Request, Snapshots,
    StateKeeper, Upcasts,
};
use annals::{
    Error, EventId, ExpectedVersion, NewEvent, Position, Query, SchemaError, Store, Version,
};

#[derive(EventSet, Debug, Clone, PartialEq)]
pub(crate) enum Account {
    #[event(name = "Deposited", version = 2)]
    Deposited { cents: u64 },
    #[event(name = "Withdrawn")]
    Withdrawn { cents: u64 },
    #[event(name = "Blocked")]
    Blocked {
        #[event(tag = "account")]
        account: String,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Command {
    Deposit(u64),
    Withdraw(u64),
    /// A withdrawal, then as a second event the block.
    WithdrawAndBlock(u64),
    /// Nothing to do where it is blocked.
    Block,
    /// Only where the sum is this.
    DepositOnto(u64, u64),
}

#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct State {
    pub(crate) cents: u64,
    pub(crate) is_blocked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Refusal {
    NotEnough,
    Blocked,
    OtherSum,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// How often anything was decided.
    pub(crate) decided: AtomicU32,
}

impl Decider for &Accounts {
    type State = State;
    type Command = Command;
    type Event = Account;
    type Error = Refusal;

    fn initial(&self) -> State {
        State::default()
    }

    fn decide(&self, state: &State, command: &Command) -> Result<Vec<Account>, Refusal> {
        self.decided.fetch_add(1, Ordering::Relaxed);
        let blocked = || Account::Blocked { account: "a".into() };
        match *command {
            Command::Block if state.is_blocked => Ok(Vec::new()),
            _ if state.is_blocked => Err(Refusal::Blocked),
            Command::Block => Ok(vec![blocked()]),
            Command::Deposit(cents) => Ok(vec![Account::Deposited { cents }]),
            Command::DepositOnto(sum, _) if sum != state.cents => Err(Refusal::OtherSum),
            Command::DepositOnto(_, cents) => Ok(vec![Account::Deposited { cents }]),
            Command::Withdraw(cents) | Command::WithdrawAndBlock(cents) if cents > state.cents => {
                Err(Refusal::NotEnough)
            }
            Command::Withdraw(cents) => Ok(vec![Account::Withdrawn { cents }]),
            Command::WithdrawAndBlock(cents) => Ok(vec![Account::Withdrawn { cents }, blocked()]),
        }
    }

    fn evolve(&self, mut state: State, event: &Account) -> State {
        match event {
            Account::Deposited { cents } => state.cents += cents,
            Account::Withdrawn { cents } => state.cents -= cents,
            Account::Blocked { .. } => state.is_blocked = true,
        }
        state
    }
}

fn accounts() -> &'static Accounts {
    Box::leak(Box::default())
}

fn id(number: u64) -> EventId {
    EventId::from_bytes([7; 16]).derive(&number.to_string())
}

#[test]
fn a_stream_is_loaded_decided_on_and_appended_to() {
    let store = Store::in_memory().unwrap();
    let repository = Repository::new(&store, accounts());
    let done = repository.execute("Account-a", Command::Deposit(5)).unwrap();
    assert_eq!((done.state.cents, done.version, done.position), (5, Version(1), Position(1)));
    assert_eq!((done.events, done.attempts), (vec![Account::Deposited { cents: 5 }], 1));
    let refused = repository.execute("Account-a", Command::Withdraw(6));
    assert!(matches!(refused, Err(CommandError::Refused(Refusal::NotEnough))));
    let done = repository.execute("Account-a", Command::WithdrawAndBlock(2)).unwrap();
    assert_eq!((done.version, done.events.len()), (Version(3), 2));
    let nothing = repository.execute("Account-a", Command::Block).unwrap();
    assert_eq!((nothing.version, nothing.events), (Version(3), vec![]));
    let loaded = repository.load("Account-a").unwrap();
    assert_eq!(loaded.state, State { cents: 3, is_blocked: true });
    assert_eq!((loaded.version, loaded.folded), (Version(3), 3));
    assert_eq!(repository.load("Account-b").unwrap().version, Version(0));
}

#[test]
fn a_command_given_again_has_the_original_outcome() {
    let store = Store::in_memory().unwrap();
    let decider = accounts();
    let repository = Repository::new(&store, decider);
    repository.execute("Account-a", Command::Deposit(9)).unwrap();
    let request = || Request::new(Command::WithdrawAndBlock(4)).id(id(1));
    let first = repository.execute("Account-a", request()).unwrap();
    let decided = decider.decided.load(Ordering::Relaxed);
    store
        .append("Account-a", Version(3), [Account::Deposited { cents: 70 }.to_event().unwrap()])
        .unwrap();
    let again = repository.execute("Account-a", request()).unwrap();
    assert!(again.is_repeated && !first.is_repeated);
    assert_eq!((again.state, again.version), (first.state, first.version));
    assert_eq!((again.position, again.events), (first.position, first.events));
    assert_eq!(decider.decided.load(Ordering::Relaxed), decided, "nothing was decided");
    // The same id means the same command, whatever it says now; on another stream it is a mistake.
    let other = repository.execute("Account-a", Request::new(Command::Deposit(1)).id(id(1)));
    assert!(other.unwrap().is_repeated);
    match repository.execute("Account-b", request()) {
        Err(CommandError::OtherStream { command, stream, position }) => {
            assert_eq!((command, stream.as_str(), position), (id(1), "Account-a", Position(2)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.head(), Position(4));
}

#[test]
fn ids_go_along_from_command_to_event_to_the_next_command() {
    let store = Store::in_memory().unwrap();
    let repository = Repository::new(&store, accounts());
    let request = Request::new(Command::Deposit(5)).id(id(1)).metadata(r#"{"user":"u"}"#);
    repository.execute("Account-a", request).unwrap();
    let first = store.event(Position(1)).unwrap().unwrap();
    let own = id(1).to_string();
    assert_eq!((first.correlation_id(), first.causation_id()), (Some(&*own), Some(&*own)));
    assert_eq!(first.metadata(), br#"{"user":"u"}"#);
    let caused = Request::new(Command::Deposit(6)).caused_by(&first, "next");
    repository.execute("Account-b", caused).unwrap();
    let second = store.event(Position(2)).unwrap().unwrap();
    assert_eq!(second.correlation_id(), Some(&*own));
    assert_eq!(second.causation_id(), Some(&*first.id().to_string()));
    let caused = Request::new(Command::Deposit(7)).caused_by(&second, "next").id(id(2));
    repository.execute("Account-c", caused).unwrap();
    let all = store.read(Query::new().correlation(&own)).into_iter().count();
    assert_eq!(all, 3, "one query finds everything that the first command led to");
}

/// Appends something of its own before the first decisions are written.
struct Meddling<'a> {
    store: &'a Store,
    times: AtomicU32,
}

impl Decider for &Meddling<'_> {
    type State = u64;
    type Command = ();
    type Event = Account;
    type Error = Refusal;

    fn initial(&self) -> u64 {
        0
    }
    fn decide(&self, sum: &u64, (): &()) -> Result<Vec<Account>, Refusal> {
        if self.times.load(Ordering::Relaxed) > 0 {
            self.times.fetch_sub(1, Ordering::Relaxed);
            let meddled = Account::Deposited { cents: 1 }.to_event().unwrap().tag("t");
            self.store.append("Account-a", ExpectedVersion::Any, [meddled]).unwrap();
        }
        Ok(vec![Account::Withdrawn { cents: *sum }])
    }
    fn evolve(&self, sum: u64, event: &Account) -> u64 {
        match event {
            Account::Deposited { cents } => sum + cents,
            Account::Withdrawn { cents } => sum - cents,
            Account::Blocked { .. } => sum,
        }
    }
}

#[test]
fn a_lost_race_is_decided_again_on_what_was_missed_up_to_a_bound() {
    let store = Store::in_memory().unwrap();
    let meddling = Meddling { store: &store, times: AtomicU32::new(3) };
    let repository = Repository::new(&store, &meddling).attempts(4);
    let query = Query::new().tag("t");
    let done = repository.execute("Account-a", ()).unwrap();
    assert_eq!((done.attempts, done.version), (4, Version(4)));
    assert_eq!(done.events, [Account::Withdrawn { cents: 3 }]);
    meddling.times.store(3, Ordering::Relaxed);
    let done = repository.execute_over(&query, "Account-b", ()).unwrap();
    assert_eq!((done.attempts, &done.events[..]), (4, &[Account::Withdrawn { cents: 6 }][..]));

    for over in [false, true] {
        meddling.times.store(4, Ordering::Relaxed);
        let head = store.head();
        let lost = match over {
            false => repository.execute("Account-a", ()),
            true => repository.execute_over(&query, "Account-a", ()),
        };
        let Err(CommandError::Exhausted { attempts: 4, last }) = lost else { panic!("{lost:?}") };
        assert!(last.is_conflict());
        assert_eq!(store.head().0, head.0 + 4, "nothing but what the others appended");
    }
}

#[test]
fn a_storm_on_one_entity_applies_each_command_once() {
    const THREADS: u64 = 16;
    const COMMANDS: u64 = 25;
    let store = Store::in_memory().unwrap();
    let repository = Repository::new(&store, accounts());
    let start = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (repository, start) = (repository.clone(), &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..COMMANDS {
                    // Each command comes from two threads.
                    let id = id(thread / 2 * COMMANDS + number);
                    let deposit = Request::new(Command::Deposit(1)).id(id);
                    repository.execute("Account-a", deposit).unwrap();
                }
            });
        }
    });
    let loaded = repository.load("Account-a").unwrap();
    assert_eq!((loaded.state.cents, loaded.version.0), (200, THREADS / 2 * COMMANDS));
}

#[test]
fn of_two_with_the_same_command_one_executes_it() {
    let store = Store::in_memory().unwrap();
    let repository = Repository::new(&store, accounts());
    for round in 0..50 {
        let stream = format!("Account-{round}");
        let start = Barrier::new(4);
        let outcomes: Vec<_> = thread::scope(|scope| {
            let run = || {
                start.wait();
                // Whoever comes second would be refused, were it another command.
                let request = Request::new(Command::DepositOnto(0, 3)).id(id(round));
                repository.execute(&stream, request).unwrap()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|done| !done.is_repeated).count(), 1);
        assert!(outcomes.iter().all(|done| done.state.cents == 3 && done.version == Version(1)));
    }
}

#[test]
fn a_decision_over_a_query_holds_across_streams() {
    const THREADS: u32 = 8;
    let store = Store::in_memory().unwrap();
    let repository = Repository::new(&store, accounts());
    let query = Query::new().types(["Deposited", "Withdrawn", "Blocked"]).category("Account");
    let start = Barrier::new(THREADS as usize);
    let run = |thread: u32| {
        start.wait();
        let stream = format!("Account-{thread}");
        // Only the first finds nothing.
        match repository.execute_over(&query, stream, Command::DepositOnto(0, 5)) {
            Ok(_) => 1,
            Err(CommandError::Refused(Refusal::OtherSum)) => 0,
            Err(e) => panic!("{e}"),
        }
    };
    let done: u32 = thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || run(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((done, store.head()), (1, Position(1)));
    let request = || Request::new(Command::Withdraw(2)).id(id(1));
    let first = repository.execute_over(&query, "Account-x", request()).unwrap();
    repository.execute_over(&query, "Account-y", Command::Deposit(9)).unwrap();
    let again = repository.execute_over(&query, "Account-x", request()).unwrap();
    assert!(again.is_repeated);
    assert_eq!((again.state, again.events), (first.state, first.events));
    assert_eq!(repository.load_over(&query).unwrap().state.cents, 12);
}

fn upcasts() -> Upcasts {
    Upcasts::builder()
        .current::<Account>()
        .change("Deposited", 1, |fields| {
            let euros = fields.remove("euros").and_then(|e| e.as_u64()).ok_or("no euros")?;
            fields.insert("cents".into(), (euros * 100).into());
            Ok(())
        })
        .rename(("PaidIn", 1), ("Deposited", 1))
        .drop_event("Viewed", 1)
        .build()
        .unwrap()
}

#[test]
fn old_events_are_folded_and_conditions_hold_against_their_stored_types() {
    let store = Store::in_memory().unwrap();
    for (name, data) in
        [("Deposited", r#"{"euros":1}"#), ("PaidIn", r#"{"euros":2}"#), ("Viewed", "")]
    {
        let old = NewEvent::new(name, data);
        store.append("Account-a", ExpectedVersion::Any, [old]).unwrap();
    }
    let plain = Repository::new(&store, accounts());
    let Err(Error::Schema(SchemaError::UnknownVersion { found, current: 2 })) =
        plain.load("Account-a")
    else {
        panic!("version 1 is not what the decider knows");
    };
    assert_eq!(found.position, Some(Position(1)));
    let repository = plain.upcasts(upcasts());
    let done = repository.execute("Account-a", Command::Withdraw(250)).unwrap();
    assert_eq!((done.state.cents, done.version), (50, Version(4)));

    // The decision is about deposits; what another appends is stored under the old name.
    let query = Query::new().event_type("Deposited");
    let meddling = Meddling { store: &store, times: AtomicU32::new(0) };
    let repository = Repository::new(&store, &meddling).upcasts(upcasts());
    let before = repository.load_over(&query).unwrap();
    assert_eq!(before.state, 300);
    let old = NewEvent::new("PaidIn", r#"{"euros":2}"#);
    store.append("Account-b", ExpectedVersion::Any, [old]).unwrap();
    assert_eq!(repository.load_over(&query).unwrap().state, 500);
    let stored = upcasts().expand(query).after(before.position);
    let late = Account::Withdrawn { cents: 1 }.to_event().unwrap();
    let refused = store.batch().append("Account-c", ExpectedVersion::Any, [late]).unless(stored);
    assert!(matches!(refused.commit(), Err(Error::ConditionFailed(_))));
}

/// Keeps every state that it is offered, and gives the newest that is allowed.
#[derive(Default)]
struct Everything {
    kept: std::sync::Mutex<Vec<(String, Kept<State>, FoldCost)>>,
}

impl StateKeeper<State> for &Everything {
    fn load(&self, stream: &str, upto: Option<Version>) -> Option<Kept<State>> {
        let kept = self.kept.lock().unwrap();
        let of_stream = kept.iter().filter(|(name, ..)| name == stream).map(|(_, kept, _)| kept);
        of_stream
            .filter(|k| upto.is_none_or(|upto| k.version <= upto))
            .max_by_key(|k| k.version)
            .cloned()
    }
    fn offer(
        &self,
        stream: &str,
        state: &State,
        version: Version,
        position: Position,
        cost: FoldCost,
    ) {
        let kept = Kept { state: state.clone(), version, position };
        self.kept.lock().unwrap().push((stream.into(), kept, cost));
    }
}

#[test]
fn a_keeper_is_offered_states_and_saves_the_fold() {
    let store = Store::in_memory().unwrap();
    let everything: &Everything = Box::leak(Box::default());
    let repository = Repository::new(&store, accounts()).keeper(everything);
    for number in 1..=5 {
        let request = Request::new(Command::Deposit(number)).id(id(number));
        repository.execute("Account-a", request).unwrap();
    }
    let folded: Vec<u64> =
        everything.kept.lock().unwrap().iter().map(|(.., cost)| cost.events).collect();
    assert_eq!(folded, [1; 5], "each load began at the state of the command before");
    let loaded = repository.load("Account-a").unwrap();
    assert_eq!((loaded.state.cents, loaded.folded, loaded.version), (15, 0, Version(5)));
    // A state that is newer than the outcome of a repeated command is of no use for it.
    let again = repository.execute("Account-a", Request::new(Command::Deposit(2)).id(id(2)));
    let again = again.unwrap();
    assert_eq!((again.state.cents, again.version, again.is_repeated), (3, Version(2), true));
}

#[test]
fn snapshots_shorten_the_fold_and_are_never_an_error() {
    let store = Store::in_memory().unwrap();
    let with = |schema: u32| {
        let snapshots: Snapshots<State> =
            Snapshots::new(&store, "account", schema).every(10).keep(2);
        Repository::new(&store, accounts()).keeper(snapshots)
    };
    let repository = with(1);
    for number in 1..=25 {
        let done = repository.execute("Account-a", Command::Deposit(number)).unwrap();
        assert_eq!(done.state.cents, number * (number + 1) / 2);
    }
    // One was saved when the tenth event was folded, and again at the twentieth.
    let loaded = repository.load("Account-a").unwrap();
    assert_eq!((loaded.folded, loaded.state.cents, loaded.version), (5, 325, Version(25)));
    for (as_of, sum, folded) in [
        (AsOf::Now, 325, 5),
        (AsOf::Version(Version(12)), 78, 2),
        (AsOf::Position(Position(12)), 78, 2),
        (AsOf::Version(Version(9)), 45, 9),
        (AsOf::Version(Version(0)), 0, 0),
    ] {
        let then = repository.load_as_of("Account-a", as_of).unwrap();
        assert_eq!((then.state.cents, then.folded), (sum, folded), "{as_of:?}");
    }
    // Those of another schema are passed over.
    let newer = with(2).load("Account-a").unwrap();
    assert_eq!((newer.folded, newer.state.cents), (25, 325));
    let plain = Repository::new(&store, accounts()).load("Account-a").unwrap();
    assert_eq!((plain.folded, plain.state.cents), (25, 325));
}
