//! The bank account of the framework's guide.

#![allow(dead_code, reason = "each test file uses its part of this")]

use std::sync::Arc;

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent, EventEnvelope, View};
use serde::{Deserialize, Serialize};
use tokio::sync::Barrier;

#[derive(Debug, Default, Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct BankAccount {
    pub opened: bool,
    pub balance: i64,
}

#[derive(Debug, Clone)]
pub enum BankCommand {
    Open {
        owner: String,
    },
    Deposit {
        amount: i64,
    },
    Withdraw {
        amount: i64,
    },
    /// One command with many events.
    DepositEach {
        amounts: Vec<i64>,
    },
    /// Has nothing to say.
    Look,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BankEvent {
    Opened { owner: String },
    Deposited { amount: i64, balance: i64 },
    Withdrew { amount: i64, balance: i64 },
}

#[derive(Debug, PartialEq, Eq)]
pub struct BankError(pub String);

impl std::fmt::Display for BankError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BankError {}

impl DomainEvent for BankEvent {
    fn event_type(&self) -> String {
        match self {
            Self::Opened { .. } => "AccountOpened",
            Self::Deposited { .. } => "CustomerDepositedMoney",
            Self::Withdrew { .. } => "CustomerWithdrewCash",
        }
        .into()
    }

    fn event_version(&self) -> String {
        "2.1".into()
    }
}

/// What commands ask on their way: here, to wait for each other between loading and committing.
#[derive(Clone, Default)]
pub struct BankServices {
    pub meeting: Option<Arc<Barrier>>,
}

impl Aggregate for BankAccount {
    const TYPE: &'static str = "Account";
    type Command = BankCommand;
    type Event = BankEvent;
    type Error = BankError;
    type Services = BankServices;

    async fn handle(
        &mut self,
        command: BankCommand,
        services: &BankServices,
        sink: &EventSink<Self>,
    ) -> Result<(), BankError> {
        if let Some(meeting) = &services.meeting {
            meeting.wait().await;
        }
        match command {
            BankCommand::Open { owner } => sink.write(BankEvent::Opened { owner }, self).await,
            BankCommand::Deposit { amount } => self.deposit(amount, sink).await,
            BankCommand::Withdraw { amount } if amount > self.balance => {
                return Err(BankError("funds not available".into()));
            }
            BankCommand::Withdraw { amount } => {
                let balance = self.balance - amount;
                sink.write(BankEvent::Withdrew { amount, balance }, self).await;
            }
            BankCommand::DepositEach { amounts } => {
                for amount in amounts {
                    self.deposit(amount, sink).await;
                }
            }
            BankCommand::Look => {}
        }
        Ok(())
    }

    // Adds up, as an aggregate may: what is applied twice shows.
    fn apply(&mut self, event: BankEvent) {
        match event {
            BankEvent::Opened { .. } => self.opened = true,
            BankEvent::Deposited { amount, .. } => self.balance += amount,
            BankEvent::Withdrew { amount, .. } => self.balance -= amount,
        }
    }
}

impl BankAccount {
    async fn deposit(&mut self, amount: i64, sink: &EventSink<Self>) {
        let balance = self.balance + amount;
        sink.write(BankEvent::Deposited { amount, balance }, self).await;
    }
}

/// The view of the guide: what the customer sees.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    pub owner: Option<String>,
    pub balance: i64,
    pub entries: Vec<String>,
}

impl View<BankAccount> for AccountView {
    fn update(&mut self, event: &EventEnvelope<BankAccount>) {
        match &event.payload {
            BankEvent::Opened { owner } => self.owner = Some(owner.clone()),
            BankEvent::Deposited { amount, balance } => {
                self.entries.push(format!("+{amount}"));
                self.balance = *balance;
            }
            BankEvent::Withdrew { amount, balance } => {
                self.entries.push(format!("-{amount}"));
                self.balance = *balance;
            }
        }
    }
}

pub fn open(owner: &str) -> BankCommand {
    BankCommand::Open { owner: owner.into() }
}

pub fn deposit(amount: i64) -> BankCommand {
    BankCommand::Deposit { amount }
}
