//! The carts and coupons of the framework's guide, and what its event store has to hold.

use annals::{ExpectedVersion, NewEvent, Store};
use annals_disintegrate::{AnnalsEventId, AnnalsEventStore, Error, decision_maker};
use disintegrate::serde::json::Json;
use disintegrate::{
    Decision, Event, EventSourcedStateStore, EventStore, LoadState, NoSnapshot, PersistDecision,
    StateMutate, StateQuery, StreamItem, StreamQuery, query,
};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[stream(CartEvent, [ItemAdded, ItemRemoved, CouponApplied])]
#[stream(CouponEvent, [CouponEmitted, CouponApplied])]
enum ShopEvent {
    ItemAdded {
        #[id]
        user_id: String,
        #[id]
        item_id: i64,
        quantity: u32,
    },
    ItemRemoved {
        #[id]
        user_id: String,
        #[id]
        item_id: i64,
    },
    CouponEmitted {
        #[id]
        coupon_id: String,
        quantity: u32,
    },
    CouponApplied {
        #[id]
        coupon_id: String,
        #[id]
        user_id: String,
    },
}

#[derive(Default, StateQuery, Clone, Debug, Serialize, Deserialize)]
#[state_query(CartEvent)]
struct Cart {
    #[id]
    user_id: String,
    items: u32,
    coupon: Option<String>,
}

impl StateMutate for Cart {
    fn mutate(&mut self, event: CartEvent) {
        match event {
            CartEvent::ItemAdded { quantity, .. } => self.items += quantity,
            CartEvent::ItemRemoved { .. } => self.items = 0,
            CartEvent::CouponApplied { coupon_id, .. } => self.coupon = Some(coupon_id),
        }
    }
}

#[derive(Default, StateQuery, Clone, Debug, Serialize, Deserialize)]
#[state_query(CouponEvent)]
struct Coupon {
    #[id]
    coupon_id: String,
    left: u32,
}

impl StateMutate for Coupon {
    fn mutate(&mut self, event: CouponEvent) {
        match event {
            CouponEvent::CouponEmitted { quantity, .. } => self.left += quantity,
            CouponEvent::CouponApplied { .. } => self.left -= 1,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Applied,
    NoneLeft,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Refused {}

/// A decision over two entities.
struct ApplyCoupon {
    user_id: String,
    coupon_id: String,
}

impl Decision for ApplyCoupon {
    type Event = ShopEvent;
    type StateQuery = (Cart, Coupon);
    type Error = Refused;

    fn state_query(&self) -> (Cart, Coupon) {
        (cart(&self.user_id), coupon(&self.coupon_id))
    }

    fn process(&self, (cart, coupon): &(Cart, Coupon)) -> Result<Vec<ShopEvent>, Refused> {
        if cart.coupon.is_some() {
            return Err(Refused::Applied);
        }
        if coupon.left == 0 {
            return Err(Refused::NoneLeft);
        }
        let (user_id, coupon_id) = (self.user_id.clone(), self.coupon_id.clone());
        Ok(vec![ShopEvent::CouponApplied { coupon_id, user_id }])
    }
}

type Events = AnnalsEventStore<ShopEvent, Json<ShopEvent>>;

fn events(store: &Store) -> Events {
    AnnalsEventStore::new(store, Json::default())
}

fn cart(user_id: &str) -> Cart {
    Cart { user_id: user_id.into(), ..Cart::default() }
}

fn coupon(coupon_id: &str) -> Coupon {
    Coupon { coupon_id: coupon_id.into(), ..Coupon::default() }
}

fn added(user_id: &str, item_id: i64) -> ShopEvent {
    ShopEvent::ItemAdded { user_id: user_id.into(), item_id, quantity: 1 }
}

fn emitted(coupon_id: &str, quantity: u32) -> ShopEvent {
    ShopEvent::CouponEmitted { coupon_id: coupon_id.into(), quantity }
}

fn apply(user_id: &str, coupon_id: &str) -> ApplyCoupon {
    ApplyCoupon { user_id: user_id.into(), coupon_id: coupon_id.into() }
}

/// The ids of what a query finds, and the end.
async fn found<QE>(events: &Events, query: StreamQuery<AnnalsEventId, QE>) -> (Vec<i64>, i64)
where
    QE: TryFrom<ShopEvent> + Event + 'static + Clone + Send + Sync,
    <QE as TryFrom<ShopEvent>>::Error: std::error::Error + 'static + Send + Sync,
{
    let items: Vec<_> = events.stream(&query).map(Result::unwrap).collect().await;
    let (last, before) = items.split_last().unwrap();
    assert!(matches!(last, StreamItem::End(_)));
    assert!(before.iter().all(|item| matches!(item, StreamItem::Event(_))));
    (before.iter().map(StreamItem::id).collect(), last.id())
}

async fn filled(store: &Store) -> Events {
    let events = events(store);
    let all = vec![
        added("ann", 1),
        added("bob", 1),
        emitted("ten", 2),
        added("ann", 2),
        ShopEvent::ItemRemoved { user_id: "ann".into(), item_id: 1 },
    ];
    let stored = events.append_without_validation(all.clone()).await.unwrap();
    let ids: Vec<_> = stored.iter().map(disintegrate::PersistedEvent::id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    let stored: Vec<_> = stored.into_iter().map(disintegrate::PersistedEvent::into_inner).collect();
    assert_eq!(stored, all);
    events
}

#[tokio::test]
async fn queries_find_by_types_identifiers_and_origin() {
    let store = Store::in_memory().unwrap();
    let events = filled(&store).await;
    assert_eq!(found(&events, query!(ShopEvent)).await, (vec![1, 2, 3, 4, 5], 5));
    assert_eq!(found(&events, query!(CouponEvent)).await, (vec![3], 5));
    assert_eq!(found(&events, query!(ShopEvent; user_id == "ann")).await, (vec![1, 4, 5], 5));
    let one = query!(CartEvent; user_id == "ann", item_id == 1i64);
    assert_eq!(found(&events, one).await, (vec![1, 5], 5));
    let behind = query!(3 => CartEvent; user_id == "ann");
    assert_eq!(found(&events, behind).await, (vec![4, 5], 5));
    let adds = query!(CartEvent; user_id == "ann").exclude_events(&["ItemRemoved"]);
    assert_eq!(found(&events, adds).await, (vec![1, 4], 5));
    assert_eq!(found(&events, query!(ShopEvent; user_id == "eve")).await, (vec![], 5));
    // Of two filters each has an origin of its own.
    let two: StreamQuery<i64, ShopEvent> =
        query!(4 => CartEvent; user_id == "ann").union(&query!(0 => CartEvent; user_id == "bob"));
    assert_eq!(found(&events, two).await, (vec![2, 5], 5));
}

#[tokio::test]
async fn what_others_have_in_the_store_is_not_seen() {
    let store = Store::in_memory().unwrap();
    let odd = NewEvent::new("ItemAdded", "{").tag("user_id:ann");
    store.append("Elsewhere-1", ExpectedVersion::Any, [odd]).unwrap();
    let events = events(&store);
    assert_eq!(found(&events, query!(ShopEvent)).await, (vec![], 1));
    let other = events.clone().stream_name("other");
    other.append_without_validation(vec![added("ann", 1)]).await.unwrap();
    assert_eq!(found(&events, query!(ShopEvent)).await, (vec![], 2));
    assert_eq!(found(&other, query!(ShopEvent)).await, (vec![2], 2));
}

#[tokio::test]
async fn an_append_is_refused_where_its_query_has_a_new_event_only() {
    let store = Store::in_memory().unwrap();
    let events = filled(&store).await;
    let ann = || query!(CartEvent; user_id == "ann");
    let refused = events.append(vec![added("ann", 9)], ann(), 4).await;
    assert!(matches!(refused, Err(Error::Concurrency(Some(5)))));
    assert_eq!(store.head().0, 5);
    // Bob has nothing behind 2, and nobody has anything behind the end.
    let bob = query!(CartEvent; user_id == "bob");
    let stored = events.append(vec![added("bob", 9), added("bob", 8)], bob, 2).await.unwrap();
    assert_eq!((stored[0].id(), stored[1].id()), (6, 7));
    events.append(vec![added("ann", 9)], ann(), 7).await.unwrap();
    // An origin of the query's own is not what is checked against.
    let late = ann().change_origin(100);
    assert!(events.append(vec![added("ann", 9)], late, 7).await.is_err());
    assert!(matches!(
        events.append(vec![added("ann", 9)], ann(), -1).await,
        Err(Error::EventId(_))
    ));
    assert!(events.append(vec![], ann(), 0).await.unwrap().is_empty());
    assert_eq!(store.head().0, 8);
}

#[tokio::test]
async fn decisions_hold_rules_over_several_entities() {
    let store = Store::in_memory().unwrap();
    let events = filled(&store).await;
    let maker = decision_maker(events.clone(), NoSnapshot);
    let made = maker.make(apply("ann", "ten")).await.unwrap();
    assert_eq!(made[0].id(), 6);
    let again = maker.make(apply("ann", "ten")).await.unwrap_err();
    assert!(matches!(again, disintegrate::DecisionError::Domain(Refused::Applied)));
    maker.make(apply("bob", "ten")).await.unwrap();
    let none = maker.make(apply("eve", "ten")).await.unwrap_err();
    assert!(matches!(none, disintegrate::DecisionError::Domain(Refused::NoneLeft)));
    assert_eq!(store.head().0, 7);
}

#[tokio::test]
async fn a_decision_on_what_is_stale_is_refused() {
    let store = Store::in_memory().unwrap();
    let events = filled(&store).await;
    let states = EventSourcedStateStore::new(events.clone(), NoSnapshot);
    let load = || states.load((cart("ann"), coupon("ten")));
    let (first, second) = (load().await.unwrap(), load().await.unwrap());
    assert_eq!((first.version(), first.state().0.items, first.state().1.left), (5, 0, 2));
    // Somebody who has nothing to do with it comes between.
    events.append_without_validation(vec![added("zoe", 1)]).await.unwrap();
    let changes = apply("ann", "ten").process(first.state()).unwrap();
    states.persist(first, changes.clone(), None).await.unwrap();
    let refused = states.persist(second, changes, None).await.unwrap_err();
    assert!(matches!(refused.downcast_ref::<Error>(), Some(Error::Concurrency(Some(7)))));
    assert_eq!(store.head().0, 7);
}

#[tokio::test]
async fn a_validation_query_lets_pass_what_does_not_matter() {
    let store = Store::in_memory().unwrap();
    let events = filled(&store).await;
    let states = EventSourcedStateStore::new(events.clone(), NoSnapshot);
    let loaded = || states.load((cart("ann"), coupon("ten")));
    let (first, second) = (loaded().await.unwrap(), loaded().await.unwrap());
    events.append_without_validation(vec![added("ann", 7)]).await.unwrap();
    let changes =
        || apply("ann", "ten").process(&(cart("ann"), Coupon { left: 1, ..coupon("ten") }));
    // The new item stands in the way of the whole state, and not of the coupon.
    assert!(states.persist(first, changes().unwrap(), None).await.is_err());
    let of_the_coupon = query!(CouponEvent; coupon_id == "ten").cast();
    states.persist(second, changes().unwrap(), Some(of_the_coupon)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_coupon_is_never_applied_more_often_than_there_are() {
    const USERS: usize = 8;
    const COUPONS: u32 = 5;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("shop.annals")).unwrap();
    events(&store).append_without_validation(vec![emitted("ten", COUPONS)]).await.unwrap();
    let users: Vec<_> = (0..USERS)
        .map(|user| {
            let maker = decision_maker(events(&store), NoSnapshot);
            tokio::spawn(async move {
                loop {
                    match maker.make(apply(&format!("user-{user}"), "ten")).await {
                        Ok(_) => return true,
                        Err(disintegrate::DecisionError::Domain(refused)) => {
                            assert_eq!(refused, Refused::NoneLeft);
                            return false;
                        }
                        Err(disintegrate::DecisionError::StateStore(e)) => {
                            let e = e.downcast_ref::<Error>().unwrap();
                            assert!(matches!(e, Error::Concurrency(Some(_))), "{e}");
                        }
                        Err(e) => panic!("{e}"),
                    }
                }
            })
        })
        .collect();
    let mut applied = 0;
    for user in users {
        applied += u32::from(user.await.unwrap());
    }
    assert_eq!(applied, COUPONS);
    store.close().unwrap();
    let store = Store::open(dir.path().join("shop.annals")).unwrap();
    let (ids, end) = found(&events(&store), query!(CouponEvent; coupon_id == "ten")).await;
    assert_eq!((ids.len(), end), (6, 6));
}

#[tokio::test]
async fn data_that_is_not_the_formats_is_an_error_in_the_stream() {
    let store = Store::in_memory().unwrap();
    let odd = NewEvent::new("ItemAdded", "{").tag("user_id:ann");
    store.append("disintegrate", ExpectedVersion::Any, [odd]).unwrap();
    let query: StreamQuery<i64, ShopEvent> = query!(ShopEvent; user_id == "ann");
    let events = events(&store);
    let items: Vec<_> = events.stream(&query).collect().await;
    assert!(matches!(items[0], Err(Error::Deserialization(_))));
}
