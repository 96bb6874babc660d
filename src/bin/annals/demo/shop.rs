//! The domain: the day's orders, what can be asked of one, what happened to it.

use annals::{Appended, Error, Event, ExpectedVersion, NewEvent, Result, Store, Version};
use serde_json::{Value, json};

/// The clerks at the desk.
pub(super) const CLERKS: u64 = 4;
/// The orders that each of them sees to.
pub(super) const ORDERS: u64 = 100;
/// Items that each clerk adds to each order.
pub(super) const ITEMS: u64 = 3;
/// Items of a complete order.
pub(super) const ORDER_ITEMS: u64 = CLERKS * ITEMS;

/// The stream of an order.
pub(super) fn stream(order: u64) -> String {
    format!("Order-{order:04}")
}

/// What is known of an order, from its events.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    version: Version,
    stage: Stage,
    pub(super) items: u64,
    total: u64,
}

#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    Unknown,
    Placed,
    Paid,
    Shipped,
}

/// What a clerk wants.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    Place,
    AddItem {
        price: u64,
    },
    /// Paid once all items are in.
    Pay {
        items: u64,
    },
    Ship,
}

impl Order {
    /// Folds the events of a stream.
    pub(super) fn load(store: &Store, stream: &str) -> Result<Self> {
        let mut order = Self::default();
        for event in store.read_stream(stream) {
            order.evolve(&event?)?;
        }
        Ok(order)
    }

    pub(super) fn is_shipped(&self) -> bool {
        self.stage == Stage::Shipped
    }

    fn evolve(&mut self, event: &Event) -> Result<()> {
        self.version = event.version();
        match event.event_type() {
            "OrderPlaced" => self.stage = Stage::Placed,
            "ItemAdded" => {
                self.items += 1;
                self.total += number(event, "price")?;
            }
            "OrderPaid" => self.stage = Stage::Paid,
            "OrderShipped" => self.stage = Stage::Shipped,
            _ => {}
        }
        Ok(())
    }

    /// The event that a command leads to, or `None` where another clerk saw to it, or its time has
    /// not come.
    fn decide(&self, command: Command) -> Result<Option<NewEvent>> {
        let (event_type, data) = match command {
            Command::Place if self.stage == Stage::Unknown => ("OrderPlaced", json!({})),
            Command::AddItem { price } if self.stage == Stage::Placed => {
                ("ItemAdded", json!({ "price": price }))
            }
            Command::Pay { items } if self.stage == Stage::Placed && self.items == items => {
                ("OrderPaid", json!({ "amount": self.total }))
            }
            Command::Ship if self.stage == Stage::Paid => ("OrderShipped", json!({})),
            _ => return Ok(None),
        };
        NewEvent::json(event_type, &data).map(Some)
    }
}

/// Loads, decides, appends; where another clerk was faster, again. Returns what was appended, and
/// how often it was tried in vain.
pub(super) fn handle(
    store: &Store,
    stream: &str,
    command: Command,
) -> Result<(Option<Appended>, u64)> {
    let mut conflicts = 0;
    loop {
        let order = Order::load(store, stream)?;
        let Some(event) = order.decide(command)? else {
            return Ok((None, conflicts));
        };
        match store.append(stream, ExpectedVersion::Exact(order.version), [event]) {
            Ok(appended) => return Ok((Some(appended), conflicts)),
            Err(Error::Conflict(_)) => conflicts += 1,
            Err(error) => return Err(error),
        }
    }
}

/// A number in the data of an event.
pub(super) fn number(event: &Event, field: &str) -> Result<u64> {
    event.json::<Value>()?.get(field).and_then(Value::as_u64).ok_or_else(|| Error::Payload {
        why: format!("event at position {}: no number \"{field}\"", event.position()),
    })
}
