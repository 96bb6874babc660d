//! The bank account of the guide through `CqrsFramework`, with queries, snapshots and conflicts.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use annals::{Query, Store};
use annals_cqrs_es::{AnnalsEventStore, AnnalsRepository, AnnalsViews};
use common::{AccountView, BankAccount, BankCommand, BankError, BankServices, deposit, open};
use cqrs_es::persist::{
    GenericQuery, PersistedEventRepository, PersistedEventStore, QueryReplay,
    SemanticVersionEventUpcaster, ViewRepository,
};
use cqrs_es::{AggregateError, CqrsFramework, EventStore};
use serde_json::json;
use tokio::sync::Barrier;

type Events = AnnalsEventStore<BankAccount>;
type Bank = CqrsFramework<BankAccount, Events>;
type Views = AnnalsViews<AccountView, BankAccount>;

fn bank(events: Events) -> Bank {
    CqrsFramework::new(events, vec![], BankServices::default())
}

fn query(views: &Views) -> GenericQuery<Views, AccountView, BankAccount> {
    let mut query = GenericQuery::new(Arc::new(views.clone()));
    query.use_error_handler(Box::new(|e| panic!("{e}")));
    query
}

#[tokio::test]
async fn commands_become_events_and_views() {
    let store = Store::in_memory().unwrap();
    let views = Views::open(&store, "accounts").unwrap();
    let bank = bank(Events::new(&store)).append_query(Box::new(query(&views)));
    bank.execute("a-1", open("Ann")).await.unwrap();
    bank.execute("a-1", deposit(100)).await.unwrap();
    let metadata = HashMap::from([("correlation_id".to_string(), "req-7".to_string())]);
    let withdraw = BankCommand::Withdraw { amount: 30 };
    bank.execute_with_metadata("a-1", withdraw, metadata.clone()).await.unwrap();

    let view = views.load("a-1").await.unwrap().unwrap();
    let entries = vec!["+100".to_string(), "-30".to_string()];
    assert_eq!(view, AccountView { owner: Some("Ann".into()), balance: 70, entries });
    assert!(views.load("a-2").await.unwrap().is_none());

    // As annals shows it: stream, types, schema version, correlation.
    let found = store.read(Query::new().correlation("req-7"));
    let found: Vec<_> = found.into_iter().collect::<annals::Result<_>>().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].stream(), found[0].event_type()), ("Account-a-1", "CustomerWithdrewCash"));
    assert_eq!((found[0].version().0, found[0].schema_version()), (3, 2));
    let stored: serde_json::Value = found[0].metadata_json().unwrap();
    assert_eq!(stored, json!({"event_version": "2.1", "metadata": metadata}));
}

#[tokio::test]
async fn a_refused_command_and_one_without_events_write_nothing() {
    let store = Store::in_memory().unwrap();
    let bank = bank(Events::new(&store).snapshot_every(1));
    bank.execute("a", open("Ann")).await.unwrap();
    bank.execute("a", BankCommand::Look).await.unwrap();
    let refused = bank.execute("a", BankCommand::Withdraw { amount: 1 }).await.unwrap_err();
    assert!(matches!(refused, AggregateError::UserError(BankError(why)) if why.contains("funds")));
    assert_eq!(store.head().0, 1);
}

#[tokio::test]
async fn of_two_commands_at_once_one_wins_and_the_other_is_told() {
    for snapshot_every in [0, 1] {
        let store = Store::in_memory().unwrap();
        let events = || Events::new(&store).snapshot_every(snapshot_every);
        bank(events()).execute("a", open("Ann")).await.unwrap();
        let services = BankServices { meeting: Some(Arc::new(Barrier::new(2))) };
        let bank: Bank = CqrsFramework::new(events(), vec![], services);
        // Both have loaded the account when the second of them comes to the meeting.
        let (left, right) =
            tokio::join!(bank.execute("a", deposit(1)), bank.execute("a", deposit(2)));
        let (won, lost): (Vec<_>, Vec<_>) = [left, right].into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 1));
        assert!(matches!(lost[0], Err(AggregateError::AggregateConflict)));
        assert_eq!(store.stream("Account-a").unwrap().unwrap().version.0, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_storm_each_command_counts_once() {
    const TASKS: i64 = 8;
    const DEPOSITS: i64 = 10;
    let store = Store::in_memory().unwrap();
    let storm = (0..TASKS).map(|task| {
        let bank = bank(Events::new(&store).snapshot_every(3));
        tokio::spawn(async move {
            for _ in 0..DEPOSITS {
                // Half of all goes to one account, so there is something to lose.
                let own = format!("own-{task}");
                for id in ["shared", &own] {
                    while let Err(e) = bank.execute(id, deposit(1)).await {
                        assert!(matches!(e, AggregateError::AggregateConflict), "{e}");
                    }
                }
            }
        })
    });
    for task in storm.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let events = Events::new(&store).snapshot_every(3);
    for (id, expected) in [("shared", TASKS * DEPOSITS), ("own-3", DEPOSITS)] {
        let loaded = events.load_aggregate(id).await.unwrap();
        assert_eq!(loaded.aggregate.balance, expected);
        assert_eq!(loaded.current_sequence, usize::try_from(expected).unwrap());
        assert!(loaded.current_snapshot.is_some());
    }
    assert_eq!(store.head().0, u64::try_from(2 * TASKS * DEPOSITS).unwrap());
}

#[tokio::test]
async fn a_snapshot_is_the_fold_of_its_events_whatever_the_command_brought() {
    for snapshot_every in 1..6 {
        let store = Store::in_memory().unwrap();
        let events = || Events::new(&store).snapshot_every(snapshot_every);
        let (bank, repository) = (bank(events()), AnnalsRepository::new(&store));
        bank.execute("a", open("Ann")).await.unwrap();
        for amounts in [vec![1], vec![2, 3, 4], vec![5], vec![6, 7, 8, 9, 10, 11, 12], vec![13]] {
            bank.execute("a", BankCommand::DepositEach { amounts }).await.unwrap();
            let fold = Events::new(&store).load_aggregate("a").await.unwrap();
            let loaded = events().load_aggregate("a").await.unwrap();
            assert_eq!(loaded.aggregate, fold.aggregate);
            assert_eq!(loaded.current_sequence, fold.current_sequence);
            let kept = repository.get_snapshot::<BankAccount>("a").await.unwrap();
            let upto = kept.as_ref().map_or(0, |kept| kept.current_sequence);
            assert!(fold.current_sequence - upto < snapshot_every);
        }
        let kept = repository.get_snapshot::<BankAccount>("a").await.unwrap().unwrap();
        assert_eq!(kept.aggregate_id, "a");
        let all = events().load_events("a").await.unwrap();
        let mut state = BankAccount::default();
        for event in all.into_iter().take(kept.current_sequence) {
            cqrs_es::Aggregate::apply(&mut state, event.payload);
        }
        assert_eq!(serde_json::to_value(state).unwrap(), kept.aggregate);
    }
}

#[tokio::test]
async fn events_that_are_committed_by_hand_are_in_the_snapshot_once_as_well() {
    let store = Store::in_memory().unwrap();
    let events = Events::new(&store).snapshot_every(1);
    let context = events.load_aggregate("a").await.unwrap();
    let deposited = common::BankEvent::Deposited { amount: 5, balance: 5 };
    let done = events.commit(vec![deposited], context, HashMap::new()).await.unwrap();
    assert_eq!((done.len(), done[0].sequence), (1, 1));
    let loaded = events.load_aggregate("a").await.unwrap();
    assert_eq!((loaded.aggregate.balance, loaded.current_snapshot), (5, Some(1)));
}

/// Why there is an `AnnalsEventStore`. Should this fail with a newer version of the framework, then
/// it has been mended there.
#[tokio::test]
async fn the_frameworks_own_snapshot_store_folds_a_command_twice() {
    let store = Store::in_memory().unwrap();
    let repository = AnnalsRepository::new(&store);
    let events = PersistedEventStore::<_, BankAccount>::new_snapshot_store(repository.clone(), 1);
    let bank = CqrsFramework::new(events, vec![], BankServices::default());
    bank.execute("a", deposit(100)).await.unwrap();
    let kept = repository.get_snapshot::<BankAccount>("a").await.unwrap().unwrap();
    assert_eq!(kept.aggregate["balance"], 200);
    let fold = Events::new(&store).load_aggregate("a").await.unwrap();
    assert_eq!(fold.aggregate.balance, 100);
}

#[tokio::test]
async fn the_frameworks_own_event_store_works_on_the_repository() {
    let store = Store::in_memory().unwrap();
    let events =
        PersistedEventStore::<_, BankAccount>::new_event_store(AnnalsRepository::new(&store));
    let views = Views::open(&store, "accounts").unwrap();
    let query = Box::new(query(&views));
    let bank = CqrsFramework::new(events, vec![query], BankServices::default());
    bank.execute("a", open("Ann")).await.unwrap();
    bank.execute("a", BankCommand::DepositEach { amounts: vec![1, 2, 3] }).await.unwrap();
    bank.execute("a", BankCommand::Withdraw { amount: 6 }).await.unwrap();
    let refused = bank.execute("a", BankCommand::Withdraw { amount: 1 }).await;
    assert!(matches!(refused, Err(AggregateError::UserError(_))));
    assert_eq!(views.load("a").await.unwrap().unwrap().entries, ["+1", "+2", "+3", "-6"]);
}

#[tokio::test]
async fn views_are_built_again_by_replay() {
    let store = Store::in_memory().unwrap();
    let first = Views::open(&store, "first").unwrap();
    let bank = bank(Events::new(&store)).append_query(Box::new(query(&first)));
    for id in ["a", "b", "c"] {
        bank.execute(id, open(id)).await.unwrap();
    }
    // More than what waits in the queue of a replay.
    for n in 1..=300 {
        bank.execute("a", deposit(n)).await.unwrap();
    }
    // Of another type, and of one that begins with the same letters: they have no part in it.
    let other = annals::NewEvent::new("Odd", "{");
    store.append("Accounting-1", annals::ExpectedVersion::Any, [other]).unwrap();

    let all = Views::open(&store, "all").unwrap();
    let mut replay =
        QueryReplay::<_, _, BankAccount>::new(AnnalsRepository::new(&store), query(&all));
    replay.use_error_handler(Box::new(|e| panic!("{e}")));
    replay.replay_all().await.unwrap();
    for id in ["a", "b", "c"] {
        assert_eq!(all.load(id).await.unwrap(), first.load(id).await.unwrap());
    }
    assert_eq!(all.load("a").await.unwrap().unwrap().entries.len(), 300);

    let one = Views::open(&store, "one").unwrap();
    QueryReplay::<_, _, BankAccount>::new(AnnalsRepository::new(&store), query(&one))
        .replay("b")
        .await
        .unwrap();
    assert_eq!(one.load("b").await.unwrap(), first.load("b").await.unwrap());
    assert!(one.load("a").await.unwrap().is_none());
}

#[tokio::test]
async fn stored_events_are_lifted_by_the_frameworks_upcasters() {
    let store = Store::in_memory().unwrap();
    let old = annals::NewEvent::json("AccountOpened", &json!({"Opened": {"name": "Ann"}}))
        .unwrap()
        .metadata_json(&json!({"event_version": "1.0.0", "metadata": {}}))
        .unwrap();
    store.append("Account-a", annals::ExpectedVersion::NoStream, [old]).unwrap();
    let lift = |mut payload: serde_json::Value| {
        payload["Opened"]["owner"] = payload["Opened"]["name"].take();
        payload
    };
    let events = Events::new(&store).with_upcasters(vec![Box::new(
        SemanticVersionEventUpcaster::new("AccountOpened", "2.1.0", Box::new(lift)),
    )]);
    let loaded = events.load_events("a").await.unwrap();
    assert_eq!(loaded[0].payload, common::BankEvent::Opened { owner: "Ann".into() });
    assert!(Events::new(&store).load_events("a").await.is_err(), "without, it cannot be read");
}

#[tokio::test]
async fn everything_is_there_behind_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let store = Store::open(dir.path().join("bank.annals")).unwrap();
        let views = Views::open(&store, "accounts").unwrap();
        let events = Events::new(&store).snapshot_every(2);
        let bank = bank(events).append_query(Box::new(query(&views)));
        for _ in 0..3 {
            bank.execute("a", deposit(1)).await.unwrap();
        }
        let view = views.load("a").await.unwrap().unwrap();
        assert_eq!(view.balance, 3 * round);
        let loaded = Events::new(&store).snapshot_every(2).load_aggregate("a").await.unwrap();
        assert_eq!(loaded.aggregate.balance, 3 * round);
        assert!(loaded.current_snapshot.is_some());
        drop(bank);
        store.close().unwrap();
    }
}
