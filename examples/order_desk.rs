//! From command to event to state: typed events with an old version among them, a decider, a
//! repository that 16 threads use at once, and a reaction that ships what is paid.
//!
//! `cargo run --release --features derive --example order_desk`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::fmt;
use std::thread;
use std::time::Instant;

use annals::kit::{
    CommandError, Decider, EventSet, Reaction, Repository, Request, Scenario, SchemaCheck, Upcasts,
};
use annals::{EventId, ExpectedVersion, NewEvent, Store};

/// What happens to an order. The stored names stay, whatever the variants are called.
#[derive(EventSet, Debug, Clone, PartialEq)]
enum OrderEvent {
    /// Version 1 had the total in whole euros.
    #[event(name = "OrderPlaced", version = 2)]
    Placed {
        #[event(tag = "customer")]
        customer: u32,
        cents: u64,
    },
    #[event(name = "OrderPaid")]
    Paid { cents: u64 },
    #[event(name = "OrderShipped")]
    Shipped,
}

#[derive(Debug, Clone)]
enum OrderCommand {
    Place { customer: u32, cents: u64 },
    Pay { cents: u64 },
    Ship,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Order {
    is_placed: bool,
    owed: u64,
    is_shipped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Refusal {
    PlacedBefore,
    NotPlaced,
    TooMuch,
    NotPaid,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PlacedBefore => "it was placed before",
            Self::NotPlaced => "it was not placed",
            Self::TooMuch => "less is owed",
            Self::NotPaid => "it is not paid",
        })
    }
}

impl std::error::Error for Refusal {}

struct Orders;

impl Decider for Orders {
    type State = Order;
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Error = Refusal;

    fn initial(&self) -> Order {
        Order::default()
    }

    fn decide(&self, order: &Order, command: &OrderCommand) -> Result<Vec<OrderEvent>, Refusal> {
        match *command {
            OrderCommand::Place { .. } if order.is_placed => Err(Refusal::PlacedBefore),
            OrderCommand::Place { customer, cents } => {
                Ok(vec![OrderEvent::Placed { customer, cents }])
            }
            _ if !order.is_placed => Err(Refusal::NotPlaced),
            OrderCommand::Pay { cents } if cents > order.owed => Err(Refusal::TooMuch),
            OrderCommand::Pay { cents } => Ok(vec![OrderEvent::Paid { cents }]),
            OrderCommand::Ship if order.owed > 0 => Err(Refusal::NotPaid),
            OrderCommand::Ship if order.is_shipped => Ok(Vec::new()),
            OrderCommand::Ship => Ok(vec![OrderEvent::Shipped]),
        }
    }

    fn evolve(&self, order: Order, event: &OrderEvent) -> Order {
        match event {
            OrderEvent::Placed { cents, .. } => Order { is_placed: true, owed: *cents, ..order },
            OrderEvent::Paid { cents } => Order { owed: order.owed - cents, ..order },
            OrderEvent::Shipped => Order { is_shipped: true, ..order },
        }
    }
}

/// A decider is tested without a store.
fn scenarios() {
    let placed = OrderEvent::Placed { customer: 7, cents: 500 };
    Scenario::new(Orders).when(OrderCommand::Ship).then_refused(Refusal::NotPlaced);
    Scenario::new(Orders)
        .given([placed.clone()])
        .when(OrderCommand::Pay { cents: 500 })
        .then([OrderEvent::Paid { cents: 500 }])
        .then_state(|order| order.owed == 0);
    Scenario::new(Orders)
        .given([placed, OrderEvent::Paid { cents: 500 }, OrderEvent::Shipped])
        .when(OrderCommand::Ship)
        .then_nothing();
    println!("the decider does what its scenarios say");
}

fn upcasts() -> annals::Result<Upcasts> {
    Upcasts::builder()
        .current::<OrderEvent>()
        .change("OrderPlaced", 1, |fields| {
            let euros = fields.remove("total").and_then(|t| t.as_u64()).ok_or("no total")?;
            fields.insert("cents".into(), (euros * 100).into());
            Ok(())
        })
        .build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    scenarios();
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path().join("shop.annals"))?;

    // An order of last year, as it was stored then.
    let old = NewEvent::json("OrderPlaced", &serde_json::json!({"customer": 7, "total": 5}))?;
    store.append("Order-0", ExpectedVersion::NoStream, [old])?;
    let orders = Repository::new(&store, Orders).upcasts(upcasts()?);
    let old = orders.load("Order-0")?;
    println!("Order-0, stored in euros, is read in cents: {} are owed", old.state.owed);

    // A command with an id is executed once, however often it is given.
    let id = EventId::from_bytes([1; 16]);
    let place = || Request::new(OrderCommand::Place { customer: 8, cents: 40_000 }).id(id);
    let first = orders.execute("Order-1", place())?;
    let again = orders.execute("Order-1", place())?;
    assert_eq!((first.version, again.version), (again.version, first.version));
    println!(
        "Order-1 is placed at version {}; again: repeated {}",
        first.version, again.is_repeated
    );

    // 16 threads pay one order at the same time, 25 cents each time.
    let began = Instant::now();
    let pay = |thread: u8| -> Result<u32, CommandError<Refusal>> {
        let mut attempts = 0;
        for number in 0..100_u8 {
            let id = EventId::from_bytes([2; 16]).derive(&format!("{thread} {number}"));
            let pay = Request::new(OrderCommand::Pay { cents: 25 }).id(id);
            attempts += orders.execute("Order-1", pay)?.attempts;
        }
        Ok(attempts)
    };
    let attempts: u32 = thread::scope(|scope| {
        let pay = &pay;
        let threads: Vec<_> = (0..16).map(|n| scope.spawn(move || pay(n))).collect();
        threads.into_iter().map(|t| t.join().expect("no payment panics")).sum::<Result<u32, _>>()
    })?;
    let took = began.elapsed();
    let order = orders.load("Order-1")?;
    assert_eq!((order.state.owed, order.version.0), (0, 1601));
    println!(
        "1600 payments from 16 threads, each once: {attempts} decisions, {:.0} payments per second",
        1600.0 / took.as_secs_f64()
    );

    // What is paid is shipped, because of the payment; a refusal is an answer, too.
    let mut shipping = Reaction::builder(&store, "shipping").event_type("OrderPaid").start()?;
    let handled = shipping.catch_up(|cause| {
        let ship = cause.request("ship", OrderCommand::Ship);
        match orders.execute(cause.event().stream(), ship) {
            Ok(_) | Err(CommandError::Refused(_)) => Ok(()),
            Err(e) => Err(e),
        }
    })?;
    let shipped = store.read_all().event_type("OrderShipped").into_iter().count();
    assert_eq!(shipped, 1);
    println!("{handled} payments were looked at, {shipped} order is shipped");

    let report = SchemaCheck::new(&store).types::<OrderEvent>().upcasts(upcasts()?).run()?;
    for schema in &report.schemas {
        let stored = &schema.stored;
        println!(
            "{} version {}: {} events, {} of {} looked at can be read",
            stored.event_type,
            stored.schema_version,
            stored.events,
            schema.checked - schema.failed,
            schema.checked
        );
    }
    assert!(report.is_clean());
    Ok(())
}
