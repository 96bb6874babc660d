//! What the framework's own repositories (for PostgreSQL, MySQL, DynamoDB) are tested for.

mod common;

use annals::Store;
use annals_cqrs_es::{AnnalsRepository, AnnalsViews};
use common::{AccountView, BankAccount};
use cqrs_es::persist::{
    PersistedEventRepository, PersistenceError, SerializedEvent, ViewContext, ViewRepository,
};
use serde_json::{Value, json};

type Views = AnnalsViews<AccountView, BankAccount>;

fn event(id: &str, sequence: usize) -> SerializedEvent {
    SerializedEvent::new(
        id.into(),
        sequence,
        "Account".into(),
        "CustomerDepositedMoney".into(),
        "1.0".into(),
        json!({"Deposited": {"amount": sequence, "balance": 0}}),
        json!({"time": "2021-03-18T12:32:45.930Z"}),
    )
}

async fn stored(repository: &AnnalsRepository, id: &str) -> Vec<SerializedEvent> {
    repository.get_events::<BankAccount>(id).await.unwrap()
}

async fn persist(
    repository: &AnnalsRepository,
    events: &[SerializedEvent],
    snapshot: Option<(Value, usize)>,
) -> Result<(), PersistenceError> {
    let id = events.first().map(|event| event.aggregate_id.clone()).unwrap_or_default();
    let snapshot = snapshot.map(|(value, number)| (id, value, number));
    repository.persist::<BankAccount>(events, snapshot).await
}

fn is_lock_error(result: &Result<(), PersistenceError>) -> bool {
    matches!(result, Err(PersistenceError::OptimisticLockError))
}

#[tokio::test]
async fn events_come_back_as_they_went() {
    let store = Store::in_memory().unwrap();
    let repository = AnnalsRepository::new(&store);
    assert!(stored(&repository, "a").await.is_empty());
    let events = [event("a", 1), event("a", 2)];
    persist(&repository, &events, None).await.unwrap();
    assert_eq!(stored(&repository, "a").await, events);
    persist(&repository, &[event("b-1", 1)], None).await.unwrap();
    assert_eq!(stored(&repository, "b-1").await, [event("b-1", 1)]);
    let behind = |sequence| repository.get_last_events::<BankAccount>("a", sequence);
    assert_eq!(behind(1).await.unwrap(), events[1..]);
    assert!(behind(2).await.unwrap().is_empty());
    assert!(behind(9).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_out_of_order_is_refused_whole() {
    let store = Store::in_memory().unwrap();
    let repository = AnnalsRepository::new(&store);
    persist(&repository, &[event("a", 1), event("a", 2)], None).await.unwrap();
    // There already; not there yet; there in part; twice in one; before all.
    for wrong in [vec![2], vec![4], vec![3, 2], vec![2, 3], vec![3, 3], vec![0]] {
        let events: Vec<_> = wrong.iter().map(|&sequence| event("a", sequence)).collect();
        for snapshot in [None, Some((json!({"balance": 9}), 1))] {
            assert!(is_lock_error(&persist(&repository, &events, snapshot).await), "{wrong:?}");
        }
    }
    let mixed = persist(&repository, &[event("a", 3), event("b", 4)], None).await;
    assert!(matches!(mixed, Err(PersistenceError::UnknownError(_))));
    assert_eq!(stored(&repository, "a").await.len(), 2);
    assert!(repository.get_snapshot::<BankAccount>("a").await.unwrap().is_none());
    persist(&repository, &[], None).await.unwrap();
    assert_eq!(store.head().0, 2);
}

#[tokio::test]
async fn a_snapshot_comes_with_its_events_or_not_at_all() {
    let store = Store::in_memory().unwrap();
    let repository = AnnalsRepository::new(&store);
    let snapshot = |id: &'static str| repository.get_snapshot::<BankAccount>(id);
    assert!(snapshot("a").await.unwrap().is_none());
    persist(&repository, &[event("a", 1), event("a", 2)], Some((json!({"balance": 3}), 1)))
        .await
        .unwrap();
    let found = snapshot("a").await.unwrap().unwrap();
    assert_eq!(found.aggregate, json!({"balance": 3}));
    assert_eq!((found.current_sequence, found.current_snapshot), (2, 1));

    // Somebody who was too late changes neither.
    let late = persist(&repository, &[event("a", 2)], Some((json!({"balance": 99}), 2))).await;
    assert!(is_lock_error(&late));
    assert_eq!(snapshot("a").await.unwrap().unwrap(), found);

    // Those of others stand beside it.
    persist(&repository, &[event("b", 1)], Some((json!({"balance": 7}), 1))).await.unwrap();
    persist(&repository, &[event("a", 3)], Some((json!({"balance": 6}), 2))).await.unwrap();
    let (a, b) = (snapshot("a").await.unwrap().unwrap(), snapshot("b").await.unwrap().unwrap());
    assert_eq!(
        (a.current_sequence, a.current_snapshot, a.aggregate["balance"].clone()),
        (3, 2, json!(6))
    );
    assert_eq!(b.aggregate, json!({"balance": 7}));

    // In one commit: the view of the snapshots stands at the last event.
    let view = store.view("cqrs-es/snapshots/Account").unwrap().unwrap();
    assert_eq!(view.position().unwrap(), store.head());
}

#[tokio::test]
async fn the_size_says_of_which_event_a_snapshot_is() {
    let store = Store::in_memory().unwrap();
    let repository = AnnalsRepository::new(&store).snapshot_size(4);
    let events: Vec<_> = (1..=13).map(|sequence| event("a", sequence)).collect();
    // The framework takes it at a multiple of 4, and events come behind it in the same commit.
    persist(&repository, &events, Some((json!({}), 1))).await.unwrap();
    let found = repository.get_snapshot::<BankAccount>("a").await.unwrap().unwrap();
    assert_eq!(found.current_sequence, 12);
    let behind = repository.get_last_events::<BankAccount>("a", 12).await.unwrap();
    assert_eq!(behind, [event("a", 13)]);
}

#[tokio::test]
async fn a_replay_that_nobody_reads_on_ends() {
    let store = Store::in_memory().unwrap();
    let repository = AnnalsRepository::new(&store);
    let events: Vec<_> = (1..=1000).map(|sequence| event("a", sequence)).collect();
    persist(&repository, &events, None).await.unwrap();
    let mut stream = repository.stream_events::<BankAccount>("a").await.unwrap();
    for sequence in 1..=3 {
        let found = stream.next::<BankAccount>(&[]).await.unwrap().unwrap();
        assert_eq!((found.sequence, found.aggregate_id.as_str()), (sequence, "a"));
    }
    drop(stream);
    let mut all = repository.stream_all_events::<BankAccount>().await.unwrap();
    let mut count = 0;
    while let Some(found) = all.next::<BankAccount>(&[]).await {
        found.unwrap();
        count += 1;
    }
    assert_eq!(count, 1000);
}

#[tokio::test]
async fn a_replay_gives_what_cannot_be_read_as_an_error_and_goes_on() {
    let store = Store::in_memory().unwrap();
    let repository = AnnalsRepository::new(&store);
    persist(&repository, &[event("a", 1)], None).await.unwrap();
    let odd = annals::NewEvent::new("Odd", "{");
    store.append("Account-a", annals::ExpectedVersion::Any, [odd]).unwrap();
    persist(&repository, &[event("a", 3)], None).await.unwrap();
    let mut stream = repository.stream_events::<BankAccount>("a").await.unwrap();
    let mut seen = Vec::new();
    while let Some(found) = stream.next::<BankAccount>(&[]).await {
        seen.push(found.map(|event| event.sequence).ok());
    }
    assert_eq!(seen, [Some(1), None, Some(3)]);
    let all = repository.get_events::<BankAccount>("a").await;
    assert!(matches!(all, Err(PersistenceError::DeserializationError(_))));
}

#[tokio::test]
async fn a_view_is_updated_from_the_version_that_was_read_only() {
    let store = Store::in_memory().unwrap();
    let views = Views::open(&store, "accounts").unwrap();
    assert!(views.load("a").await.unwrap().is_none());
    assert!(views.load_with_context("a").await.unwrap().is_none());
    let view = |balance| AccountView { balance, ..AccountView::default() };
    views.update_view(view(1), ViewContext::new("a".into(), 0)).await.unwrap();

    let (found, context) = views.load_with_context("a").await.unwrap().unwrap();
    assert_eq!((found, context.version), (view(1), 1));
    assert_eq!(context.view_instance_id, "a");
    views.update_view(view(2), context).await.unwrap();
    assert_eq!(views.load("a").await.unwrap(), Some(view(2)));

    // Others of the name are the same view.
    let same = Views::open(&store, "accounts").unwrap();
    for version in [0, 1, 3, i64::MAX] {
        let late = same.update_view(view(9), ViewContext::new("a".into(), version)).await;
        assert!(is_lock_error(&late), "{version}");
    }
    assert_eq!(views.load("a").await.unwrap(), Some(view(2)));
    assert!(Views::open(&store, "others").unwrap().load("a").await.unwrap().is_none());
}

#[test]
fn of_updates_at_once_from_one_version_one_wins() {
    let store = Store::in_memory().unwrap();
    let wins: usize = std::thread::scope(|scope| {
        let update = || {
            let views = Views::open(&store, "accounts").unwrap();
            let mut wins = 0;
            for version in 0..20 {
                let context = ViewContext::new("a".into(), version);
                let done = views.update_view(AccountView::default(), context);
                let done = futures::executor::block_on(done);
                assert!(done.is_ok() || is_lock_error(&done));
                wins += usize::from(done.is_ok());
                // All go on together.
                while futures::executor::block_on(views.load_with_context("a"))
                    .unwrap()
                    .is_none_or(|(_, context)| context.version <= version)
                {
                    std::thread::yield_now();
                }
            }
            wins
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(update)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(wins, 20);
}
