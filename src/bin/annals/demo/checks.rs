//! What the demo promises to check, and whether it holds.

use std::borrow::Cow;
use std::collections::HashMap;

use annals::{Position, Result, Store, Version};
use serde_json::{Value, json};

use super::projection::Projection;
use super::shop::{ORDER_ITEMS, ORDERS, Order, stream};
use crate::failure::Failure;
use crate::output::{Output, grouped};

#[derive(Default)]
pub(super) struct Checks(Vec<(Cow<'static, str>, bool)>);

impl Checks {
    pub(super) fn add(&mut self, what: impl Into<Cow<'static, str>>, holds: bool) {
        self.0.push((what.into(), holds));
    }

    /// Reads everything, forwards and backwards. Returns a projection of it, and how many events
    /// there are.
    pub(super) fn dense(&mut self, store: &Store) -> Result<(Projection, u64)> {
        let mut projection = Projection::default();
        let mut versions = HashMap::<String, Version>::new();
        let (mut last, mut dense_positions, mut dense_versions) = (Position::START, true, true);
        for event in store.read_all() {
            let event = event?;
            dense_positions &= Some(event.position()) == last.next();
            last = event.position();
            let version = versions.entry(event.stream().into()).or_default();
            dense_versions &= event.version().0 == version.0 + 1;
            *version = event.version();
            projection.apply(&event)?;
        }
        dense_positions &= last == store.head();
        for event in store.read_all().backwards() {
            dense_positions &= event?.position() == last;
            last = Position(last.0.saturating_sub(1));
        }
        dense_positions &= last == Position::START;
        for (stream, version) in &versions {
            dense_versions &= store.stream(stream)?.is_some_and(|info| info.version == *version);
        }
        let head = store.head().0;
        self.add(
            format!("positions 1 to {} are dense, forwards and backwards", grouped(head)),
            dense_positions,
        );
        self.add(
            format!("versions are dense in each of {} streams", grouped(versions.len() as u64)),
            dense_versions,
        );
        Ok((projection, head))
    }

    pub(super) fn every_order_is_shipped(&mut self, store: &Store) -> Result<()> {
        let mut all = true;
        for order in 1..=ORDERS {
            let order = Order::load(store, &stream(order))?;
            all &= order.is_shipped() && order.items == ORDER_ITEMS;
        }
        self.add("every order has all its items and is shipped", all);
        Ok(())
    }

    pub(super) fn all_hold(&self) -> bool {
        self.0.iter().all(|(_, holds)| *holds)
    }

    pub(super) fn print(&self, output: &mut Output) -> Result<(), Failure> {
        for (what, holds) in &self.0 {
            output.line(format_args!("  {}  {what}", if *holds { "ok  " } else { "FAIL" }))?;
        }
        Ok(())
    }

    pub(super) fn as_json(&self) -> Value {
        self.0.iter().map(|(what, holds)| json!({ "check": what, "ok": holds })).collect()
    }

    pub(super) fn result(&self) -> Result<(), Failure> {
        match self.0.iter().find(|(_, holds)| !*holds) {
            Some((what, _)) => Err(Failure::Demo(format!("it does not hold that {what}"))),
            None => Ok(()),
        }
    }
}
