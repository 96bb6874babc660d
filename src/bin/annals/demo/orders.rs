//! An order: what can be asked of one, what happens to it.

use std::convert::Infallible;

use annals::kit::{Decider, EventSet, Upcasts};
use serde_json::Value;

/// The stored names stay, whatever the variants are called.
#[derive(EventSet, Clone, Debug, PartialEq)]
pub(super) enum OrderEvent {
    /// Version 1 had the price in whole euros.
    #[event(name = "OrderPlaced", version = 2)]
    Placed {
        #[event(tag = "customer")]
        customer: u64,
        product: String,
        cents: u64,
    },
    #[event(name = "OrderCancelled")]
    Cancelled { why: String },
    #[event(name = "OrderPaid")]
    Paid { cents: u64 },
    #[event(name = "OrderShipped")]
    Shipped,
}

#[derive(Clone, Debug)]
pub(super) enum OrderCommand {
    Place {
        customer: u64,
        product: &'static str,
        cents: u64,
    },
    Cancel,
    /// It was paid: it is shipped, too.
    Settle {
        cents: u64,
    },
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Unknown,
    Placed,
    Cancelled,
    Paid,
    Shipped,
}

/// Decides about orders. What has been done already leads to nothing, so that it does not matter
/// which of two clerks comes second.
pub(super) struct Orders;

impl Decider for Orders {
    type State = Order;
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Error = Infallible;

    fn initial(&self) -> Order {
        Order::default()
    }

    fn decide(&self, order: &Order, command: &OrderCommand) -> Result<Vec<OrderEvent>, Infallible> {
        Ok(match (order, command) {
            (Order::Unknown, OrderCommand::Place { customer, product, cents }) => {
                let product = (*product).to_owned();
                vec![OrderEvent::Placed { customer: *customer, product, cents: *cents }]
            }
            (Order::Placed, OrderCommand::Cancel) => {
                vec![OrderEvent::Cancelled { why: "sold out".into() }]
            }
            (Order::Placed, OrderCommand::Settle { cents }) => {
                vec![OrderEvent::Paid { cents: *cents }, OrderEvent::Shipped]
            }
            _ => Vec::new(),
        })
    }

    fn evolve(&self, _: Order, event: &OrderEvent) -> Order {
        match event {
            OrderEvent::Placed { .. } => Order::Placed,
            OrderEvent::Cancelled { .. } => Order::Cancelled,
            OrderEvent::Paid { .. } => Order::Paid,
            OrderEvent::Shipped => Order::Shipped,
        }
    }
}

/// How orders of last year are read: their price was in whole euros.
pub(super) fn upcasts() -> annals::Result<Upcasts> {
    Upcasts::builder()
        .current::<OrderEvent>()
        .change("OrderPlaced", 1, |fields| {
            let euros = fields.remove("euros").and_then(|euros| euros.as_u64());
            let cents = euros.ok_or("no price in euros")? * 100;
            fields.insert("cents".into(), Value::from(cents));
            Ok(())
        })
        .build()
}
