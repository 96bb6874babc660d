//! The clerks: several threads with commands for the same orders at the same time, while what
//! follows from payments is seen to in another.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annals::{ExpectedVersion, NewEvent, Store};
use serde_json::json;

use super::checks::Checks;
use super::shop::{
    Book, Done, PRODUCTS, Shop, Tally, order_stream, product_of, reaction_failure, stock_stream,
};
use super::views::{Models, Projecting, catch_up};
use crate::failure::Failure;
use crate::output::{Output, grouped, rate};

/// The clerks at the desk. Two of them see to each order, at about the same time.
const CLERKS: u64 = 4;
/// The orders of the day.
const ORDERS: u64 = 240;
/// What there is of each product: of the last one half of what is ordered.
const SUPPLY: [u64; 3] = [1_000_000, 1_000_000, ORDERS / 6];
/// Each product takes in what there is once; an order is placed, reserved, paid for, settled (two
/// events), or, without a unit left, placed and cancelled.
const EVENTS: u64 = 3 + 5 * (ORDERS - SUPPLY[2]) + 2 * SUPPLY[2];

/// The orders of last year, each of three events, and the number of the first.
const OLD_ORDERS: u64 = 200;
const FIRST_OLD: u64 = 900_000;

/// What a day at the desk gave.
pub(super) struct Desk {
    pub(super) tally: Tally,
    pub(super) cancelled: u64,
    pub(super) events: u64,
    elapsed: Duration,
}

/// Appends last year's orders as they were stored then: a price in euros, version 1 of its type.
pub(super) fn last_year(store: &Store) -> Result<u64, Failure> {
    let mut batch = store.batch();
    for order in FIRST_OLD..FIRST_OLD + OLD_ORDERS {
        let (customer, product) = (order % 12, product_of(order));
        let placed = json!({ "customer": customer, "product": product, "euros": order % 50 });
        let paid = json!({ "cents": order % 50 * 100 });
        let events = [
            NewEvent::json("OrderPlaced", &placed)?.tag(format!("customer:{customer}")),
            NewEvent::json("OrderPaid", &paid)?,
            NewEvent::json("OrderShipped", &json!({}))?,
        ];
        batch = batch.append(order_stream(order), ExpectedVersion::NoStream, events);
    }
    batch.commit()?;
    Ok(OLD_ORDERS)
}

/// Whether the view shows last year's orders in cents, each.
pub(super) fn old_orders_are_in_cents(models: &Models) -> bool {
    (FIRST_OLD..FIRST_OLD + OLD_ORDERS).all(|order| {
        let summary = models.orders.get(&order_stream(order));
        summary.is_some_and(|s| s.cents == order % 50 * 100 && s.stage == "shipped")
    })
}

/// A day: goods come in, the clerks work, both views follow.
pub(super) fn day(shop: &Shop) -> Result<Desk, Failure> {
    let before = shop.store.head();
    let start = Instant::now();
    let mut goods = Book::new(|_| {});
    for (product, units) in PRODUCTS.into_iter().zip(SUPPLY) {
        shop.receive(product, units, &mut goods)?;
    }
    let projecting = Projecting::start(shop)?;
    let tally = work(shop, 1..ORDERS + 1, &|_| {})?;
    let elapsed = start.elapsed();
    let events = shop.store.head().0 - before.0;
    projecting.stop()?;
    catch_up(shop)?;
    let cancelled = shop.store.read_all().event_type("OrderCancelled").into_iter().count() as u64;
    Ok(Desk { tally, cancelled, events, elapsed })
}

/// Lets the clerks see to orders, each in a thread, and settles what is paid in another. `tell`
/// hears of every command that appended something.
pub(super) fn work(
    shop: &Shop,
    orders: Range<u64>,
    tell: &(impl Fn(Done) + Sync),
) -> Result<Tally, Failure> {
    let is_done = AtomicBool::new(false);
    let (clerks, settled) = thread::scope(|scope| {
        let settling = scope.spawn(|| settle(shop, &is_done, tell));
        let clerks: Vec<_> = (0..CLERKS)
            .map(|number| {
                let orders = orders.clone();
                scope.spawn(move || clerk(shop, number, orders, tell))
            })
            .collect();
        let clerks: Vec<_> = clerks.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_done.store(true, Ordering::Release);
        (clerks, settling.join())
    });
    let panicked = |_| Failure::Demo("a thread panicked".into());
    let mut tally = settled.map_err(panicked)??;
    for clerk in clerks {
        tally.add(clerk.map_err(panicked)??);
    }
    Ok(tally)
}

fn clerk(
    shop: &Shop,
    number: u64,
    orders: Range<u64>,
    tell: impl Fn(Done),
) -> Result<Tally, Failure> {
    let mut book = Book::new(tell);
    for order in orders {
        if order % CLERKS == number || (order + 1) % CLERKS == number {
            shop.serve(order, &mut book)?;
        }
    }
    Ok(book.tally)
}

fn settle(shop: &Shop, is_done: &AtomicBool, tell: impl Fn(Done)) -> Result<Tally, Failure> {
    let mut book = Book::new(tell);
    let mut settling = shop.settling()?;
    loop {
        // In this order: what was paid before the work was done is then handled below.
        let is_last = is_done.load(Ordering::Acquire);
        settling
            .run_for(Some(Duration::from_millis(10)), |cause| shop.settle(cause, &mut book))
            .map_err(reaction_failure)?;
        if is_last {
            return Ok(book.tally);
        }
    }
}

impl Desk {
    pub(super) fn events_per_second(&self) -> u64 {
        rate(self.events, self.elapsed)
    }

    pub(super) fn report(
        &self,
        shop: &Shop,
        output: &mut Output,
        checks: &mut Checks,
    ) -> Result<(), Failure> {
        let models = Models::of_views(&shop.store)?;
        let Tally { commands, conflicts, repeated, refused } = self.tally;
        output.say(format_args!(
            "{CLERKS} clerks, {ORDERS} orders, two clerks for each, every append synced to disk\n  \
             {} commands in {:.2} s gave {} events: {} events/s\n  \
             {} decisions were made again after a conflict; {} commands were found done, by their \
             ids; {} were refused: sold out",
            grouped(commands),
            self.elapsed.as_secs_f64(),
            grouped(self.events),
            grouped(self.events_per_second()),
            grouped(conflicts),
            grouped(repeated),
            grouped(refused),
        ))?;
        output.say("  two views followed; the sales of each product:")?;
        for (product, (units, cents)) in &models.sales {
            output.say(format_args!(
                "    {product}: {units} sold for {}.{:02}",
                cents / 100,
                cents % 100
            ))?;
        }
        checks.add(
            "each command took effect once, whichever clerk came first",
            self.events == EVENTS,
        );
        checks.add(
            "what was short was sold to the last unit, and not beyond",
            self.cancelled == SUPPLY[2]
                && PRODUCTS.get(2).and_then(|pot| models.sales.get(*pot)).map(|sales| sales.0)
                    == Some(SUPPLY[2]),
        );
        checks.add("both views equal a fold of the log", models == Models::of_log(shop)?);
        checks.add(
            "orders of last year, stored in euros, are shown in cents",
            old_orders_are_in_cents(&models),
        );
        Ok(())
    }
}

/// A stock's state from its snapshot, beside one folded from the first event.
pub(super) fn snapshot(
    shop: &Shop,
    output: &mut Output,
    checks: &mut Checks,
) -> Result<u64, Failure> {
    let mut folded = 0;
    let mut are_equal = true;
    for product in PRODUCTS {
        let stream = stock_stream(product);
        let short = shop.stocks.load(&stream)?;
        let full = shop.stock_from_first_event(&stream)?;
        are_equal &= short.state == full.state && short.version == full.version;
        output.say(format_args!(
            "  {stream}: {} events; from its snapshot {} of them were folded",
            grouped(full.folded),
            short.folded
        ))?;
        folded += short.folded;
    }
    checks.add("states from snapshots equal those folded from the first event", are_equal);
    Ok(folded)
}
