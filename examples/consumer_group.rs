//! Three consumers share the orders: each customer's in order, a failing one tried again and then
//! parked, and replayed once what was wrong is mended.
//!
//! `cargo run --example consumer_group`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use annals::kit::{ConsumerGroup, Delivery};
use annals::{Event, ExpectedVersion, NewEvent, Result, Store};

/// Charges an order. Customer 3 has no account until somebody opens one.
fn charge(event: &Event, has_account: &AtomicBool) -> Result<(), String> {
    if event.stream() == "Customer-3" && !has_account.load(Ordering::Relaxed) {
        return Err("the customer has no account".into());
    }
    Ok(())
}

fn handle(delivery: Delivery, consumer: u64, has_account: &AtomicBool) -> Result<()> {
    let event = delivery.event();
    let (stream, version, attempt) = (event.stream(), event.version(), delivery.attempt());
    match charge(event, has_account) {
        Ok(()) => {
            println!("consumer {consumer}: charged {stream} for order {version}");
            delivery.ack()
        }
        Err(why) => {
            println!("consumer {consumer}: {stream}, order {version}, attempt {attempt}: {why}");
            delivery.nack(why);
            Ok(())
        }
    }
}

/// Works until nothing has come for a while.
fn work(group: &ConsumerGroup, has_account: &AtomicBool) -> Result<()> {
    let mut consumer = group.consumer();
    while let Some(delivery) = consumer.next_timeout(Duration::from_millis(50))? {
        handle(delivery, consumer.number(), has_account)?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let store = Store::in_memory()?;
    for order in 0..12 {
        let stream = format!("Customer-{}", order % 4);
        store.append(stream, ExpectedVersion::Any, [NewEvent::new("OrderPlaced", "{}")])?;
    }
    let group = ConsumerGroup::builder(&store, "billing")
        .category("Customer")
        .max_attempts(3)
        .retry_backoff(Duration::from_millis(2), Duration::from_millis(20))
        .start()?;

    let has_account = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(|| work(&group, &has_account))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    for parked in group.parked() {
        println!(
            "parked: position {} after {} attempts: {}",
            parked.position, parked.attempts, parked.reason
        );
    }

    println!("the customer gets an account");
    has_account.store(true, Ordering::Relaxed);
    if let Some(first) = group.parked().first() {
        // What stands behind it follows by itself.
        group.replay(first.position)?;
    }
    work(&group, &has_account)?;
    assert!(group.parked().is_empty());
    group.close()?;
    println!("lag: {:?}", store.cursor("billing")?.and_then(|cursor| cursor.lag));
    Ok(())
}
