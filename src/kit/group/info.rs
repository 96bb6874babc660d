//! What a group says of itself.

use super::item::{Item, Stage};
use crate::names::EventId;
use crate::position::Position;

/// How far a group has come. From [`ConsumerGroup::info`](crate::kit::ConsumerGroup::info).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupInfo {
    /// Everything up to here was acknowledged or durably parked, or does not match.
    pub position: Position,
    /// The position at which the cursor is saved.
    pub saved: Position,
    /// How many positions are visible behind `position`, of whatever events.
    pub lag: u64,
    /// How many events were fetched behind `position`; at most the group's window.
    pub window: usize,
    /// How many events consumers have that they have not answered.
    pub in_flight: usize,
    /// How many events are parked.
    pub parked: usize,
    /// Its consumers, in the order in which they came.
    pub consumers: Vec<ConsumerInfo>,
}

/// What a consumer has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its number: 1 for the group's first.
    pub number: u64,
    /// How many deliveries it got.
    pub delivered: u64,
    /// How many it acknowledged.
    pub acked: u64,
    /// How many it gave back, or dropped.
    pub nacked: u64,
    /// How many it parked by itself.
    pub parked: u64,
    /// How many it has not answered.
    pub in_flight: u64,
}

/// An event that is parked. From [`ConsumerGroup::parked`](crate::kit::ConsumerGroup::parked).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedEvent {
    /// Its position.
    pub position: Position,
    /// Its id.
    pub id: EventId,
    /// Its key.
    pub key: String,
    /// How often it was handed out; never, where it only stands behind one that is parked.
    pub attempts: u32,
    /// Why it failed last, or behind what it stands; cut to 1,024 bytes.
    pub reason: String,
    /// It will be handed out by itself when its turn comes: it was replayed, or stands behind one
    /// that is parked.
    pub is_queued: bool,
}

impl ParkedEvent {
    pub(super) fn new(position: Position, item: &Item) -> Self {
        Self {
            position,
            id: item.id,
            key: item.key.as_ref().into(),
            attempts: item.attempts,
            reason: item.reason.clone(),
            is_queued: item.stage != Stage::Parked,
        }
    }
}
