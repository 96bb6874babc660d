//! The two read models: a summary of each order, and the sales of each product.

use std::collections::BTreeMap;

use annals::kit::{
    ApplyError, AsJson, EventSet, PayloadRef, Projected, Projection, ProjectionError, Projector,
    SpawnedProjector, View, ViewChanges,
};
use annals::{Position, Query, Store};
use serde::{Deserialize, Serialize};

use super::goods::PaymentEvent;
use super::orders::OrderEvent;
use super::shop::Shop;
use crate::failure::Failure;

pub(super) const ORDERS: &str = "orders";
pub(super) const SALES: &str = "sales";

/// What is shown of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) customer: u64,
    pub(super) product: String,
    pub(super) cents: u64,
    pub(super) stage: String,
}

/// What was sold of a product: how many units, for how much.
pub(super) type Sales = (u64, u64);

impl Summary {
    fn after(mut self, event: OrderEvent) -> Self {
        let stage = match event {
            OrderEvent::Placed { customer, product, cents } => {
                (self.customer, self.product, self.cents) = (customer, product, cents);
                "placed"
            }
            OrderEvent::Cancelled { .. } => "cancelled",
            OrderEvent::Paid { .. } => "paid",
            OrderEvent::Shipped => "shipped",
        };
        self.stage = stage.into();
        self
    }
}

/// Of each order its summary, under the name of its stream.
pub(super) struct OrderSummaries;

impl Projection for OrderSummaries {
    type Key = String;
    type Value = Summary;
    type Codec = AsJson;

    fn name(&self) -> &str {
        ORDERS
    }

    fn query(&self) -> Query {
        Query::new().category("Order")
    }

    fn apply(
        &self,
        event: &Projected<'_>,
        view: &mut ViewChanges<String, Summary, AsJson>,
    ) -> Result<(), ApplyError> {
        let change = OrderEvent::from_payload(payload(event))?;
        let order = event.stream().to_owned();
        Ok(view.change(&order, |summary| Some(summary.unwrap_or_default().after(change)))?)
    }
}

/// Of each product its sales.
pub(super) struct ProductSales;

impl Projection for ProductSales {
    type Key = String;
    type Value = Sales;
    type Codec = AsJson;

    fn name(&self) -> &str {
        SALES
    }

    fn query(&self) -> Query {
        Query::new().event_type("PaymentTaken")
    }

    fn apply(
        &self,
        event: &Projected<'_>,
        view: &mut ViewChanges<String, Sales, AsJson>,
    ) -> Result<(), ApplyError> {
        let PaymentEvent::Taken { product, cents, .. } =
            PaymentEvent::from_payload(payload(event))?;
        let sold = |sales: Option<Sales>| {
            let (units, sum) = sales.unwrap_or_default();
            Some((units + 1, sum + cents))
        };
        Ok(view.change(&product, sold)?)
    }
}

fn payload<'a>(event: &Projected<'a>) -> PayloadRef<'a> {
    PayloadRef {
        event_type: event.event_type(),
        schema_version: event.schema_version(),
        content_type: event.content_type(),
        data: event.data(),
    }
}

/// Both projections, each in a thread.
pub(super) struct Projecting(SpawnedProjector, SpawnedProjector);

impl Projecting {
    pub(super) fn start(shop: &Shop) -> Result<Self, Failure> {
        let orders = Projector::builder(&shop.store, OrderSummaries)
            .lift(shop.upcasts.for_projection())
            .start()
            .map_err(failure)?;
        let sales = Projector::builder(&shop.store, ProductSales).start().map_err(failure)?;
        Ok(Self(orders.spawn().map_err(failure)?, sales.spawn().map_err(failure)?))
    }

    pub(super) fn stop(self) -> Result<(), Failure> {
        self.0.stop().map_err(failure)?;
        self.1.stop().map_err(failure)
    }
}

/// Brings both views up to date. Says how many events they were behind, together.
pub(super) fn catch_up(shop: &Shop) -> Result<u64, Failure> {
    let mut orders = Projector::builder(&shop.store, OrderSummaries)
        .lift(shop.upcasts.for_projection())
        .start()
        .map_err(failure)?;
    let mut sales = Projector::builder(&shop.store, ProductSales).start().map_err(failure)?;
    let behind = orders.progress().map_err(annals_failure)?.lag()
        + sales.progress().map_err(annals_failure)?.lag();
    orders.run_until_caught_up().map_err(failure)?;
    sales.run_until_caught_up().map_err(failure)?;
    Ok(behind)
}

/// Builds the summaries anew beside those that are there, and lets them take over.
pub(super) fn rebuild(shop: &Shop) -> Result<Position, Failure> {
    let rebuilt = Projector::builder(&shop.store, OrderSummaries)
        .lift(shop.upcasts.for_projection())
        .rebuild(|_| {})
        .map_err(failure)?;
    Ok(rebuilt.view().position()?)
}

/// What both views hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Models {
    pub(super) orders: BTreeMap<String, Summary>,
    pub(super) sales: BTreeMap<String, Sales>,
}

impl Models {
    /// As the views have them.
    pub(super) fn of_views(store: &Store) -> Result<Self, Failure> {
        let missing = || Failure::Demo("a view is missing".into());
        let orders = View::<String, Summary>::open(store, ORDERS)?.ok_or_else(missing)?;
        let sales = View::<String, Sales>::open(store, SALES)?.ok_or_else(missing)?;
        Ok(Self {
            orders: orders.entries()?.collect::<annals::Result<_>>()?,
            sales: sales.entries()?.collect::<annals::Result<_>>()?,
        })
    }

    /// As every event of the log, from the first on, makes them.
    pub(super) fn of_log(shop: &Shop) -> Result<Self, Failure> {
        let mut models = Self { orders: BTreeMap::new(), sales: BTreeMap::new() };
        for event in shop.upcasts.read(&shop.store, Query::new().category("Order")) {
            let event = event?;
            let summary = models.orders.entry(event.stream().into()).or_default();
            *summary = std::mem::take(summary).after(event.decode()?);
        }
        for event in shop.store.read_all().event_type("PaymentTaken") {
            let PaymentEvent::Taken { product, cents, .. } = PaymentEvent::from_event(&event?)?;
            let (units, sum) = models.sales.entry(product).or_default();
            (*units, *sum) = (*units + 1, *sum + cents);
        }
        Ok(models)
    }

    /// How many orders have come to a stage.
    pub(super) fn orders_at(&self, stage: &str) -> u64 {
        self.orders.values().filter(|summary| summary.stage == stage).count() as u64
    }
}

fn annals_failure(error: annals::Error) -> Failure {
    error.into()
}

fn failure(error: ProjectionError) -> Failure {
    match error {
        ProjectionError::Store(error) => error.into(),
        error => Failure::Demo(format!("a projection: {error}")),
    }
}
