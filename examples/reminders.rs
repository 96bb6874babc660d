//! A process manager with timers: an invoice that is not paid in three days is reminded of. The
//! schedule is made of events, so it survives whatever the store survives.
//!
//! `cargo run --features derive --example reminders`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

#[path = "reminders/schedule.rs"]
mod schedule;

use annals::{EventId, Store};
use schedule::{Desk, InvoiceCommand, InvoiceEvent, TimerEvent};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let command = |number: u8| EventId::from_bytes([number; 16]);
    let store = Store::open(dir.path().join("invoices.annals"))?;
    let mut desk = Desk::open(&store)?;
    desk.execute("Invoice-1", command(1), InvoiceCommand::Send { day: 1, cents: 500 })?;
    desk.execute("Invoice-2", command(2), InvoiceCommand::Send { day: 1, cents: 900 })?;
    desk.work(1)?;
    desk.execute("Invoice-2", command(3), InvoiceCommand::Pay { day: 2 })?;
    desk.work(2)?;
    drop(desk);
    store.close()?;
    println!("the process ends on day 2, and begins again on day 5");

    let store = Store::open(dir.path().join("invoices.annals"))?;
    let mut desk = Desk::open(&store)?;
    desk.work(5)?;
    desk.work(5)?;
    for event in store.read_all() {
        let event = event?;
        let (stream, cause) = (event.stream(), event.causation_id().unwrap_or("nobody"));
        let cause = match cause.parse::<EventId>() {
            Ok(id) => store.event_by_id(id)?.map(|event| event.position()),
            Err(_) => None,
        };
        let cause = cause.map_or(String::new(), |cause| format!(", because of {cause}"));
        match event.category() {
            "Invoice" => {
                let what: InvoiceEvent = annals::kit::EventSet::from_event(&event)?;
                println!("{:>3} {stream:<16} {what:?}{cause}", event.position());
            }
            _ => {
                let what: TimerEvent = annals::kit::EventSet::from_event(&event)?;
                println!("{:>3} {stream:<16} {what:?}{cause}", event.position());
            }
        }
    }
    let reminders = store.read_all().event_type("InvoiceReminded").into_iter().count();
    assert_eq!(reminders, 1, "the other one is paid");
    Ok(())
}
