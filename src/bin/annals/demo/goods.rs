//! What there is to sell, and what was paid for it: the other two kinds of streams.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;

use annals::kit::{Decider, EventSet};
use serde::{Deserialize, Serialize};

#[derive(EventSet, Clone, Debug, PartialEq)]
pub(super) enum StockEvent {
    #[event(name = "StockReceived")]
    Received { units: u64 },
    #[event(name = "StockReserved")]
    Reserved {
        #[event(tag = "order")]
        order: u64,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum StockCommand {
    Receive {
        units: u64,
    },
    /// One unit, for an order.
    Reserve {
        order: u64,
    },
}

/// What is there of a product. Saved in snapshots, so its fields are a schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stock {
    pub(super) received: u64,
    pub(super) reserved: BTreeSet<u64>,
}

/// Nothing is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct SoldOut;

impl fmt::Display for SoldOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sold out")
    }
}

/// Decides about the stock of a product, which every clerk sells from.
pub(super) struct Stocks;

impl Decider for Stocks {
    type State = Stock;
    type Command = StockCommand;
    type Event = StockEvent;
    type Error = SoldOut;

    fn initial(&self) -> Stock {
        Stock::default()
    }

    fn decide(&self, stock: &Stock, command: &StockCommand) -> Result<Vec<StockEvent>, SoldOut> {
        match *command {
            StockCommand::Receive { units } => Ok(vec![StockEvent::Received { units }]),
            StockCommand::Reserve { order } if stock.reserved.contains(&order) => Ok(Vec::new()),
            StockCommand::Reserve { .. } if stock.reserved.len() as u64 >= stock.received => {
                Err(SoldOut)
            }
            StockCommand::Reserve { order } => Ok(vec![StockEvent::Reserved { order }]),
        }
    }

    fn evolve(&self, mut stock: Stock, event: &StockEvent) -> Stock {
        match *event {
            StockEvent::Received { units } => stock.received += units,
            StockEvent::Reserved { order } => {
                stock.reserved.insert(order);
            }
        }
        stock
    }
}

#[derive(EventSet, Clone, Debug, PartialEq)]
pub(super) enum PaymentEvent {
    #[event(name = "PaymentTaken")]
    Taken {
        #[event(tag = "order")]
        order: u64,
        product: String,
        cents: u64,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Take {
    pub(super) order: u64,
    pub(super) product: &'static str,
    pub(super) cents: u64,
}

/// Decides about the payment of an order: it is taken once.
pub(super) struct Payments;

impl Decider for Payments {
    type State = bool;
    type Command = Take;
    type Event = PaymentEvent;
    type Error = Infallible;

    fn initial(&self) -> bool {
        false
    }

    fn decide(&self, is_taken: &bool, take: &Take) -> Result<Vec<PaymentEvent>, Infallible> {
        if *is_taken {
            return Ok(Vec::new());
        }
        let Take { order, product, cents } = *take;
        Ok(vec![PaymentEvent::Taken { order, product: product.to_owned(), cents }])
    }

    fn evolve(&self, _: bool, _: &PaymentEvent) -> bool {
        true
    }
}
