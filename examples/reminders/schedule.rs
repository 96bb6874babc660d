//! Invoices, timers, and the two reactions between them.
//!
//! A timer is a stream: it is set, and it fires. What is due is folded from those events, so it is
//! as durable as they are; nothing else keeps time.

use std::collections::BTreeMap;
use std::convert::Infallible;

use annals::kit::{
    CommandError, Decider, EventSet, LiftedSubscription, Reaction, ReactionError, Repository,
    Request, Upcasts,
};
use annals::{Error, EventId, Query, Result, Store};

/// Days since some day: what time is made of here.
pub(crate) type Day = u64;

#[derive(EventSet, Debug, Clone, PartialEq)]
pub(crate) enum InvoiceEvent {
    #[event(name = "InvoiceSent")]
    Sent { day: Day, cents: u64 },
    #[event(name = "InvoicePaid")]
    Paid { day: Day },
    #[event(name = "InvoiceReminded")]
    Reminded { day: Day },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum InvoiceCommand {
    Send { day: Day, cents: u64 },
    Pay { day: Day },
    Remind { day: Day },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Invoice {
    Draft,
    Open,
    Paid,
}

#[derive(Debug)]
pub(crate) struct Invoices;

impl Decider for Invoices {
    type State = Invoice;
    type Command = InvoiceCommand;
    type Event = InvoiceEvent;
    type Error = &'static str;

    fn initial(&self) -> Invoice {
        Invoice::Draft
    }

    fn decide(
        &self,
        state: &Invoice,
        command: &InvoiceCommand,
    ) -> Result<Vec<InvoiceEvent>, &'static str> {
        match (state, *command) {
            (Invoice::Draft, InvoiceCommand::Send { day, cents }) => {
                Ok(vec![InvoiceEvent::Sent { day, cents }])
            }
            (Invoice::Open, InvoiceCommand::Pay { day }) => Ok(vec![InvoiceEvent::Paid { day }]),
            (Invoice::Open, InvoiceCommand::Remind { day }) => {
                Ok(vec![InvoiceEvent::Reminded { day }])
            }
            // Paid in time: there is nothing to remind of.
            (Invoice::Paid, InvoiceCommand::Remind { .. }) => Ok(Vec::new()),
            (Invoice::Draft, _) => Err("it was not sent"),
            (_, InvoiceCommand::Send { .. }) => Err("it was sent before"),
            (Invoice::Paid, InvoiceCommand::Pay { .. }) => Err("it was paid before"),
        }
    }

    fn evolve(&self, state: Invoice, event: &InvoiceEvent) -> Invoice {
        match event {
            InvoiceEvent::Sent { .. } => Invoice::Open,
            InvoiceEvent::Paid { .. } => Invoice::Paid,
            InvoiceEvent::Reminded { .. } => state,
        }
    }
}

#[derive(EventSet, Debug, Clone, PartialEq)]
pub(crate) enum TimerEvent {
    #[event(name = "TimerSet")]
    Set {
        due: Day,
        /// The stream that it is about.
        about: String,
    },
    #[event(name = "TimerFired")]
    Fired { day: Day, about: String },
}

#[derive(Debug, Clone)]
pub(crate) enum TimerCommand {
    Set { due: Day, about: String },
    Fire { day: Day },
}

#[derive(Debug)]
pub(crate) struct Timers;

impl Decider for Timers {
    /// When it is due, and what it is about, while it waits.
    type State = Option<(Day, String)>;
    type Command = TimerCommand;
    type Event = TimerEvent;
    type Error = Infallible;

    fn initial(&self) -> Self::State {
        None
    }

    fn decide(
        &self,
        state: &Self::State,
        command: &TimerCommand,
    ) -> Result<Vec<TimerEvent>, Infallible> {
        Ok(match (command, state) {
            (TimerCommand::Set { due, about }, _) => {
                vec![TimerEvent::Set { due: *due, about: about.clone() }]
            }
            (TimerCommand::Fire { day }, Some((due, about))) if day >= due => {
                vec![TimerEvent::Fired { day: *day, about: about.clone() }]
            }
            // Not yet, or it has fired.
            (TimerCommand::Fire { .. }, _) => Vec::new(),
        })
    }

    fn evolve(&self, _: Self::State, event: &TimerEvent) -> Self::State {
        match event {
            TimerEvent::Set { due, about } => Some((*due, about.clone())),
            TimerEvent::Fired { .. } => None,
        }
    }
}

/// The timers that wait, by when they are due: a fold of the log, in memory, made again at each
/// start.
pub(crate) struct Schedule {
    events: LiftedSubscription,
    waiting: BTreeMap<String, Day>,
}

impl Schedule {
    pub(crate) fn new(store: &Store) -> Result<Self> {
        let timers = Query::new().category("Timer");
        let events = Upcasts::default().subscribe(store, timers).start()?;
        Ok(Self { events, waiting: BTreeMap::new() })
    }

    /// The timers that are due on a day, the longest waiting first.
    pub(crate) fn due(&mut self, day: Day) -> Result<Vec<String>> {
        while let Some(event) = self.events.try_next()? {
            let timer = event.stream().to_owned();
            match event.decode()? {
                TimerEvent::Set { due, .. } => self.waiting.insert(timer, due),
                TimerEvent::Fired { .. } => self.waiting.remove(&timer),
            };
        }
        let mut due: Vec<_> = self.waiting.iter().filter(|(_, due)| **due <= day).collect();
        due.sort_by_key(|(timer, due)| (**due, (*timer).clone()));
        Ok(due.into_iter().map(|(timer, _)| timer.clone()).collect())
    }
}

/// The whole: a desk that sends invoices, and reminds of those that are not paid in three days.
pub(crate) struct Desk {
    pub(crate) invoices: Repository<Invoices>,
    pub(crate) timers: Repository<Timers>,
    schedule: Schedule,
    setting: Reaction,
    reminding: Reaction,
}

/// So many days after it was sent, an invoice that is not paid is reminded of.
pub(crate) const PATIENCE: Day = 3;

impl Desk {
    pub(crate) fn open(store: &Store) -> Result<Self> {
        Ok(Self {
            invoices: Repository::new(store, Invoices),
            timers: Repository::new(store, Timers),
            schedule: Schedule::new(store)?,
            setting: Reaction::builder(store, "set-timers").event_type("InvoiceSent").start()?,
            reminding: Reaction::builder(store, "remind").event_type("TimerFired").start()?,
        })
    }

    /// A command from outside, with the id that makes it safe to give again.
    pub(crate) fn execute(
        &self,
        invoice: &str,
        id: EventId,
        command: InvoiceCommand,
    ) -> Result<(), CommandError<&'static str>> {
        self.invoices.execute(invoice, Request::new(command).id(id)).map(drop)
    }

    /// Everything that there is to do on a day. Safe to do again.
    pub(crate) fn work(&mut self, day: Day) -> Result<()> {
        let (timers, invoices) = (&self.timers, &self.invoices);
        self.setting
            .catch_up(|cause| {
                let InvoiceEvent::Sent { day, .. } = cause.event().decode()? else { return Ok(()) };
                let about = cause.event().stream().to_owned();
                let timer = format!("Timer-{about}");
                let set = TimerCommand::Set { due: day + PATIENCE, about };
                timers.execute(timer, cause.request("set", set)).map(drop).map_err(store_error)
            })
            .map_err(reaction_error)?;
        for timer in self.schedule.due(day)? {
            // It fires once by itself: once it has, there is nothing to fire.
            timers.execute(timer, TimerCommand::Fire { day }).map_err(store_error)?;
        }
        self.reminding
            .catch_up(|cause| {
                let TimerEvent::Fired { day, about } = cause.event().decode()? else {
                    return Ok(());
                };
                let remind = cause.request("remind", InvoiceCommand::Remind { day });
                match invoices.execute(about, remind) {
                    Ok(_) => Ok(()),
                    Err(CommandError::Refused(why)) => Err(Error::Payload { why: why.into() }),
                    Err(CommandError::Store(e)) => Err(e),
                    Err(e) => Err(Error::Payload { why: e.to_string() }),
                }
            })
            .map_err(reaction_error)?;
        Ok(())
    }
}

fn store_error(error: CommandError<Infallible>) -> Error {
    match error {
        CommandError::Store(error) | CommandError::Exhausted { last: error, .. } => error,
        other => Error::Payload { why: other.to_string() },
    }
}

fn reaction_error(error: ReactionError<Error>) -> Error {
    match error {
        ReactionError::Failed { why, .. } => why,
        ReactionError::Store(error) => error,
        other => Error::Payload { why: other.to_string() },
    }
}
