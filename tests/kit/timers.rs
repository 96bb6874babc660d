//! The power goes at each call of the disk while reminders are at work: each is sent once.

#[path = "../../examples/reminders/schedule.rs"]
mod schedule;

use annals::testkit::{Fault, SimulatedDisk};
use annals::{Error, EventId, Result, Store, StoreOptions};

use annals::kit::CommandError;
use schedule::{Day, Desk, Invoice, InvoiceCommand};

fn options() -> StoreOptions {
    Store::options().segment_bytes(64 << 10)
}

fn give(desk: &Desk, number: u8, invoice: &str, command: InvoiceCommand) -> Result<()> {
    match desk.execute(invoice, EventId::from_bytes([number; 16]), command) {
        Ok(()) => Ok(()),
        Err(CommandError::Store(e)) => Err(e),
        Err(e) => panic!("{e}"),
    }
}

/// Three invoices: one is paid in time, one late, one never. May be run again at any time.
fn work(disk: &SimulatedDisk, days: impl Iterator<Item = Day>) -> Result<Store> {
    let store = disk.open(options())?;
    let mut desk = Desk::open(&store)?;
    for day in days {
        for number in 1..=3 {
            let send = InvoiceCommand::Send { day: 1, cents: 100 };
            give(&desk, number, &format!("Invoice-{number}"), send)?;
        }
        if day >= 2 {
            give(&desk, 10, "Invoice-1", InvoiceCommand::Pay { day: 2 })?;
        }
        if day >= 6 {
            give(&desk, 11, "Invoice-2", InvoiceCommand::Pay { day: 6 })?;
        }
        desk.work(day)?;
    }
    drop(desk);
    Ok(store)
}

fn count(store: &Store, stream: &str, event_type: &str) -> usize {
    store.read_all().stream(stream).event_type(event_type).into_iter().map(Result::unwrap).count()
}

fn check(store: &Store) {
    for (number, reminders) in [(1, 0), (2, 1), (3, 1)] {
        let (invoice, timer) = (format!("Invoice-{number}"), format!("Timer-Invoice-{number}"));
        assert_eq!(count(store, &invoice, "InvoiceSent"), 1);
        assert_eq!(count(store, &timer, "TimerSet"), 1);
        assert_eq!(count(store, &timer, "TimerFired"), 1);
        assert_eq!(count(store, &invoice, "InvoiceReminded"), reminders, "{invoice}");
    }
    let desk = Desk::open(store).unwrap();
    assert_eq!(desk.invoices.load("Invoice-2").unwrap().state, Invoice::Paid);
    assert_eq!(desk.invoices.load("Invoice-3").unwrap().state, Invoice::Open);
}

#[test]
fn each_reminder_is_sent_once_whatever_the_crash() {
    // Every call in a long run; else some of them, others for each part of the work.
    let step = if std::env::var_os("ANNALS_LONG").is_some() { 1 } else { 5 };
    let mut runs = 0;
    for call in (0..).step_by(step) {
        let disk = SimulatedDisk::new(call);
        disk.cut_power_at(call);
        let done = work(&disk, 1..=8);
        for left in disk.power_cuts(1).chain([disk.after_kill()]) {
            runs += 1;
            check(&work(&left, 1..=8).unwrap());
        }
        if done.is_ok() && disk.calls() <= call {
            assert!(runs > 50, "{runs} runs");
            return;
        }
    }
}

#[test]
fn each_reminder_is_sent_once_whatever_call_fails() {
    let step = if std::env::var_os("ANNALS_LONG").is_some() { 1 } else { 7 };
    for call in (0..).step_by(step) {
        let disk = SimulatedDisk::new(call);
        disk.fail_at(call, Fault::DiskError);
        let done = work(&disk, 1..=8);
        let is_over = done.is_ok() && disk.calls() <= call;
        drop(done);
        disk.heal();
        // The process ends; whatever was said to have failed is done again.
        check(&work(&disk, 1..=8).unwrap());
        if is_over {
            assert!(call > 100, "{call} calls");
            return;
        }
    }
}

#[test]
fn a_day_that_is_worked_on_again_changes_nothing() {
    let disk = SimulatedDisk::new(1);
    let store = work(&disk, 1..=8).unwrap();
    let head = store.head();
    store.close().unwrap();
    let store = work(&disk, [4, 8, 2, 9].into_iter()).unwrap();
    assert_eq!(store.head(), head);
    check(&store);
    assert!(matches!(disk.open(options()), Err(Error::Locked { .. })));
}
