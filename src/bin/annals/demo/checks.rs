//! What the demo promises to check, and whether it holds.

use std::borrow::Cow;
use std::collections::HashMap;

use annals::kit::SchemaCheck;
use annals::{Position, Result, Store, Version};
use serde_json::{Value, json};

use super::goods::{PaymentEvent, StockEvent};
use super::orders::OrderEvent;
use super::shop::Shop;
use super::views::Models;
use crate::failure::Failure;
use crate::output::{Output, grouped};

#[derive(Default)]
pub(super) struct Checks(Vec<(Cow<'static, str>, bool)>);

impl Checks {
    pub(super) fn add(&mut self, what: impl Into<Cow<'static, str>>, holds: bool) {
        self.0.push((what.into(), holds));
    }

    /// Reads everything, forwards and backwards.
    pub(super) fn dense(&mut self, store: &Store) -> Result<()> {
        let mut versions = HashMap::<String, Version>::new();
        let (mut last, mut dense_positions, mut dense_versions) = (Position::START, true, true);
        for event in store.read_all() {
            let event = event?;
            dense_positions &= Some(event.position()) == last.next();
            last = event.position();
            let version = versions.entry(event.stream().into()).or_default();
            dense_versions &= event.version().0 == version.0 + 1;
            *version = event.version();
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
        Ok(())
    }

    /// Both views, and what they say.
    pub(super) fn views(&mut self, when: &str, shop: &Shop) -> Result<(), Failure> {
        let models = Models::of_views(&shop.store)?;
        self.add(
            format!("{when}, both views equal a fold of the log"),
            models == Models::of_log(shop)?,
        );
        let ended = models.orders_at("shipped") + models.orders_at("cancelled");
        self.add(
            format!("{when}, each of {} orders is shipped or cancelled", grouped(ended)),
            ended == models.orders.len() as u64,
        );
        Ok(())
    }

    /// Every record and derived file, and every type and version that was ever stored.
    pub(super) fn store(&mut self, shop: &Shop) -> Result<(), Failure> {
        let verified = shop.store.verify().run()?;
        self.add(
            format!(
                "verify finds nothing wrong: {} events, {} index files",
                grouped(verified.events),
                verified.index_files
            ),
            verified.is_clean() && verified.events == shop.store.head().0,
        );
        let schemas = SchemaCheck::new(&shop.store)
            .types::<OrderEvent>()
            .types::<StockEvent>()
            .types::<PaymentEvent>()
            .upcasts(shop.upcasts.clone())
            .all()
            .run()?;
        self.add(
            format!("all {} types and versions ever stored can be read", schemas.schemas.len()),
            schemas.is_clean() && schemas.schemas.len() == 8,
        );
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
