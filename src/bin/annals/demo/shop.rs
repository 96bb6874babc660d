//! The shop: its repositories over one store, and what a clerk does for an order.

use std::fmt::Display;

use annals::kit::{
    Cause, CommandError, Executed, Loaded, Reaction, ReactionError, Repository, Request, Snapshots,
    Upcasts,
};
use annals::{EventId, Position, Store, Version};

use super::goods::{PaymentEvent, Payments, Stock, StockCommand, Stocks, Take};
use super::orders::{OrderCommand, Orders, upcasts};
use crate::failure::Failure;

/// What is sold, and what is the stream of its stock.
pub(super) const PRODUCTS: [&str; 3] = ["cup", "pan", "pot"];
/// A state of a stock is saved when so many events had to be folded for it.
const SNAPSHOT_EVERY: u64 = 25;
/// The ids of all commands follow from this one.
const COMMANDS: EventId = EventId::from_bytes(*b"the annals' demo");

/// The stream of an order.
pub(super) fn order_stream(order: u64) -> String {
    format!("Order-{order:06}")
}

/// The stream of the stock of a product.
pub(super) fn stock_stream(product: &str) -> String {
    format!("Stock-{product}")
}

/// The product that an order is about: two orders in a row are about the same, so that clerks who
/// see to them at the same time race for its stock.
pub(super) fn product_of(order: u64) -> &'static str {
    match order / 2 % 3 {
        0 => PRODUCTS[0],
        1 => PRODUCTS[1],
        _ => PRODUCTS[2],
    }
}

/// What an order costs.
pub(super) const fn cents_of(order: u64) -> u64 {
    900 + order % 100 * 7
}

/// The id of a command: the same whoever gives it, and whenever.
fn id(command: &str, about: impl Display) -> EventId {
    COMMANDS.derive(&format!("{command} {about}"))
}

#[derive(Clone)]
pub(super) struct Shop {
    pub(super) store: Store,
    pub(super) upcasts: Upcasts,
    orders: Repository<Orders>,
    pub(super) stocks: Repository<Stocks>,
    payments: Repository<Payments>,
}

/// What commands came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Commands that were given.
    pub(super) commands: u64,
    /// Decisions that were made again, because another clerk was faster.
    pub(super) conflicts: u64,
    /// Commands that were found done already.
    pub(super) repeated: u64,
    /// Commands that were refused.
    pub(super) refused: u64,
}

/// A command that appended events: where the last of them is.
pub(super) struct Done {
    pub(super) stream: String,
    pub(super) version: Version,
    pub(super) position: Position,
}

/// What a clerk keeps: a tally, and somebody who is told of each command that appended something.
pub(super) struct Book<F> {
    pub(super) tally: Tally,
    pub(super) tell: F,
}

impl<F: FnMut(Done)> Book<F> {
    pub(super) fn new(tell: F) -> Self {
        Self { tally: Tally::default(), tell }
    }

    /// Notes what came of a command. `false` where it was refused.
    fn note<S, E, R: Display>(
        &mut self,
        stream: &str,
        outcome: Result<Executed<S, E>, CommandError<R>>,
    ) -> Result<bool, Failure> {
        self.tally.commands += 1;
        match outcome {
            Ok(done) => {
                self.tally.conflicts += u64::from(done.attempts.saturating_sub(1));
                if done.is_repeated || done.events.is_empty() {
                    self.tally.repeated += 1;
                } else {
                    let (version, position) = (done.version, done.position);
                    (self.tell)(Done { stream: stream.into(), version, position });
                }
                Ok(true)
            }
            Err(CommandError::Refused(_)) => {
                self.tally.refused += 1;
                Ok(false)
            }
            Err(CommandError::Store(error)) => Err(error.into()),
            Err(error) => Err(Failure::Demo(format!("a command on {stream}: {error}"))),
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.commands += other.commands;
        self.conflicts += other.conflicts;
        self.repeated += other.repeated;
        self.refused += other.refused;
    }
}

impl Shop {
    pub(super) fn open(store: &Store) -> Result<Self, Failure> {
        let upcasts = upcasts()?;
        let snapshots: Snapshots<Stock> = Snapshots::new(store, "stock", 1).every(SNAPSHOT_EVERY);
        Ok(Self {
            store: store.clone(),
            orders: Repository::new(store, Orders).upcasts(upcasts.clone()),
            stocks: Repository::new(store, Stocks).keeper(snapshots),
            payments: Repository::new(store, Payments),
            upcasts,
        })
    }

    /// A stock without its snapshot.
    pub(super) fn stock_from_first_event(&self, stream: &str) -> Result<Loaded<Stock>, Failure> {
        Ok(Repository::new(&self.store, Stocks).load(stream)?)
    }

    /// Takes goods in, once.
    pub(super) fn receive<F: FnMut(Done)>(
        &self,
        product: &str,
        units: u64,
        book: &mut Book<F>,
    ) -> Result<(), Failure> {
        let stream = stock_stream(product);
        let request = Request::new(StockCommand::Receive { units }).id(id("receive", product));
        book.note(&stream, self.stocks.execute(&stream, request)).map(drop)
    }

    /// Sees to an order: it is placed, a unit is reserved, the payment taken; or it is cancelled,
    /// where nothing is left. Any number of clerks may do so for one order, at once and again.
    pub(super) fn serve<F: FnMut(Done)>(
        &self,
        order: u64,
        book: &mut Book<F>,
    ) -> Result<(), Failure> {
        let (product, cents) = (product_of(order), cents_of(order));
        let stream = order_stream(order);
        let place = OrderCommand::Place { customer: order % 12, product, cents };
        let request = Request::new(place).id(id("place", order));
        book.note(&stream, self.orders.execute(&stream, request))?;

        let stock = stock_stream(product);
        let reserve = Request::new(StockCommand::Reserve { order }).id(id("reserve", order));
        if !book.note(&stock, self.stocks.execute(&stock, reserve))? {
            let cancel = Request::new(OrderCommand::Cancel).id(id("cancel", order));
            return book.note(&stream, self.orders.execute(&stream, cancel)).map(drop);
        }
        let payment = format!("Payment-{order:06}");
        let take = Request::new(Take { order, product, cents }).id(id("take", order));
        book.note(&payment, self.payments.execute(&payment, take)).map(drop)
    }

    /// What follows from payments: the orders are settled.
    pub(super) fn settling(&self) -> Result<Reaction, Failure> {
        let settling = Reaction::builder(&self.store, "settling").event_type("PaymentTaken");
        Ok(settling.save_every(32).start()?)
    }

    /// Settles the order that a payment is for. The command's id follows from the payment, and so
    /// do its correlation and causation ids.
    pub(super) fn settle<F: FnMut(Done)>(
        &self,
        cause: &Cause<'_>,
        book: &mut Book<F>,
    ) -> Result<(), Failure> {
        let PaymentEvent::Taken { order, cents, .. } = cause.event().decode()?;
        let stream = order_stream(order);
        let settle = cause.request("settle", OrderCommand::Settle { cents });
        book.note(&stream, self.orders.execute(&stream, settle)).map(drop)
    }
}

/// Why a reaction did not go on, as the failure that it was.
pub(super) fn reaction_failure(error: ReactionError<Failure>) -> Failure {
    match error {
        ReactionError::Failed { why, .. } => why,
        ReactionError::Store(error) => error.into(),
        error => Failure::Demo(format!("a reaction: {error}")),
    }
}
