//! Which events a group is not done with, and what may be handed out: a state machine without
//! locks, clocks or a store.
//!
//! Invariants:
//! - Of the events of a key that are not parked at most one is ready, handed out or delayed, and it
//!   is the first (the front of its lane).
//! - Where parked events block their key, no event behind a parked one of its key is handed out but
//!   as the first that is parked.
//! - Everything up to the low water was acknowledged, or is in the parked stream, or does not
//!   match.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::item::{Handed, Item, ParkedPolicy, Retry, Stage};
use super::record::{Kind, Record, shortened};
use crate::event::Event;
use crate::names::EventId;
use crate::position::Position;
use crate::sync::Arc;

pub(super) struct Work {
    policy: ParkedPolicy,
    retry: Retry,
    room: usize,
    /// What was fetched behind the low water, done or not.
    window: BTreeMap<Position, Item>,
    /// What of the window is not done, by key.
    lanes: HashMap<Arc<str>, VecDeque<Position>>,
    parked: BTreeMap<Position, Item>,
    parked_by_key: HashMap<Arc<str>, BTreeSet<Position>>,
    ready: BTreeSet<Position>,
    delayed: BTreeSet<(Instant, Position)>,
    to_park: BTreeSet<Position>,
    /// What a crash will have fetched once more though it was settled.
    pub(super) settled: HashSet<EventId>,
    /// Everything up to here was fetched, or does not match.
    fetched: Position,
    in_flight: usize,
}

impl Work {
    pub(super) fn new(policy: ParkedPolicy, retry: Retry, room: usize, fetched: Position) -> Self {
        Self {
            policy,
            retry,
            room,
            window: BTreeMap::new(),
            lanes: HashMap::new(),
            parked: BTreeMap::new(),
            parked_by_key: HashMap::new(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            to_park: BTreeSet::new(),
            settled: HashSet::new(),
            fetched,
            in_flight: 0,
        }
    }

    /// Takes in what an earlier run has parked, in the order of positions.
    pub(super) fn load(&mut self, position: Position, key: Arc<str>, record: Record) {
        let mut item = Item::new(Arc::clone(&key), record.id, None);
        item.attempts = record.attempts;
        item.reason = record.reason;
        item.is_behind = record.kind == Kind::ParkedBehind;
        item.stage = if record.kind == Kind::Parked { Stage::Parked } else { Stage::Queued };
        self.parked.insert(position, item);
        self.parked_by_key.entry(Arc::clone(&key)).or_default().insert(position);
        self.release(&key);
    }

    pub(super) fn has_room(&self) -> bool {
        self.window.len() < self.room
    }

    pub(super) const fn fetched(&self) -> Position {
        self.fetched
    }

    /// Everything up to a position was fetched, or does not match.
    pub(super) fn fetched_upto(&mut self, position: Position) {
        self.fetched = self.fetched.max(position);
    }

    /// Takes in an event that was fetched.
    pub(super) fn add(&mut self, event: Event, key: Arc<str>) {
        let position = event.position();
        self.fetched_upto(position);
        let id = event.id();
        if self.parked.contains_key(&position) || self.settled.remove(&id) {
            return;
        }
        self.window.insert(position, Item::new(Arc::clone(&key), id, Some(event)));
        let lane = self.lanes.entry(Arc::clone(&key)).or_default();
        lane.push_back(position);
        if lane.len() == 1 {
            self.advance(&key);
        }
    }

    /// The first event that may be handed out.
    pub(super) fn take(&mut self) -> Option<Handed> {
        let position = self.ready.pop_first()?;
        let item = self.item(position)?;
        item.stage = Stage::InFlight;
        item.attempts = item.attempts.saturating_add(1);
        item.tries = item.tries.saturating_add(1);
        let (event, attempt) = (item.event.clone(), item.attempts);
        self.in_flight += 1;
        Some(Handed { position, event, attempt })
    }

    /// Takes back what was not handed out after all.
    pub(super) fn untake(&mut self, position: Position) {
        if let Some(item) = self.in_flight(position) {
            item.attempts = item.attempts.saturating_sub(1);
            item.tries = item.tries.saturating_sub(1);
            item.stage = Stage::Ready;
            self.in_flight -= 1;
            self.ready.insert(position);
        }
    }

    /// An event that was handed out is processed. Where it is parked that has to be written first:
    /// the record, and then [`settle`](Self::settle).
    pub(super) fn ack(&mut self, position: Position) -> Option<Record> {
        let item = self.in_flight(position)?;
        item.stage = Stage::Done;
        item.event = None;
        let key = Arc::clone(&item.key);
        let (id, attempts) = (item.id, item.attempts);
        self.in_flight -= 1;
        if let Some(parked) = self.parked.get_mut(&position) {
            parked.stage = Stage::Writing;
            let reason = String::new();
            return Some(Record { kind: Kind::Processed, id, position, attempts, reason });
        }
        self.leave_lane(position, &key);
        self.trim();
        None
    }

    /// An event that was handed out is to be tried again, or parked where it was tried often
    /// enough.
    pub(super) fn nack(
        &mut self,
        position: Position,
        reason: String,
        delay: Option<Duration>,
        now: Instant,
    ) {
        let retry = self.retry;
        let Some(item) = self.in_flight(position) else { return };
        if item.tries >= retry.attempts {
            return self.park(position, reason);
        }
        item.reason = shortened(reason);
        let delay = delay.unwrap_or_else(|| retry.delay(item.tries));
        // A time that no clock reaches is as good as a year.
        let due = now.checked_add(delay).unwrap_or(now + Duration::from_secs(31_536_000));
        item.stage = if delay.is_zero() { Stage::Ready } else { Stage::Delayed(due) };
        self.in_flight -= 1;
        if delay.is_zero() {
            self.ready.insert(position);
        } else {
            self.delayed.insert((due, position));
        }
    }

    /// An event that was handed out is to be parked.
    pub(super) fn park(&mut self, position: Position, reason: String) {
        if let Some(item) = self.in_flight(position) {
            item.stage = Stage::ToPark;
            item.reason = shortened(reason);
            item.is_behind = false;
            self.in_flight -= 1;
            self.to_park.insert(position);
        }
    }

    /// Makes ready what was delayed until now.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some((_, position)) = self.delayed.first().copied().filter(|(due, _)| *due <= now)
        {
            self.delayed.pop_first();
            if let Some(item) = self.item(position) {
                item.stage = Stage::Ready;
                self.ready.insert(position);
            }
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.delayed.first().map(|(due, _)| *due)
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn has_to_park(&self) -> bool {
        !self.to_park.is_empty()
    }

    /// What is to be written to the parked stream. [`parked`](Self::parked) follows, or
    /// [`not_parked`](Self::not_parked).
    pub(super) fn begin_parking(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        for position in std::mem::take(&mut self.to_park) {
            let Some(item) = self.item(position) else { continue };
            item.stage = Stage::Writing;
            records.push(Record {
                kind: if item.is_behind { Kind::ParkedBehind } else { Kind::Parked },
                id: item.id,
                position,
                attempts: item.attempts,
                reason: item.reason.clone(),
            });
        }
        records
    }

    /// Records of parked events are durable.
    pub(super) fn parked(&mut self, records: &[Record]) {
        for Record { position, .. } in records {
            let Some(item) = self.item(*position) else { continue };
            item.tries = 0;
            let key = Arc::clone(&item.key);
            let stage = if item.is_behind { Stage::Queued } else { Stage::Parked };
            if let Some(parked) = self.parked.get_mut(position) {
                parked.stage = stage;
            } else if let Some(item) = self.window.get_mut(position) {
                item.event = None;
                let mut done = Item::new(Arc::clone(&key), item.id, None);
                done.stage = Stage::Done;
                let parked = Item { stage, ..std::mem::replace(item, done) };
                self.parked.insert(*position, parked);
                self.parked_by_key.entry(Arc::clone(&key)).or_default().insert(*position);
                self.leave_lane(*position, &key);
            }
            self.release(&key);
        }
        self.trim();
    }

    /// Records of parked events could not be written: they are to be written again.
    pub(super) fn not_parked(&mut self, records: &[Record]) {
        for Record { position, .. } in records {
            if let Some(item) = self.item(*position) {
                item.stage = Stage::ToPark;
                self.to_park.insert(*position);
            }
        }
    }

    /// Begins to change what becomes of a parked event that nobody is working on, and says whether
    /// it waits for its turn only; `None` where there is none. [`settle`](Self::settle) or
    /// [`queue_again`](Self::queue_again) follows, or [`put_back`](Self::put_back).
    pub(super) fn begin_change(
        &mut self,
        position: Position,
        kind: Kind,
        reason: String,
    ) -> Option<(Record, bool)> {
        let item = self.parked.get_mut(&position)?;
        if !matches!(item.stage, Stage::Parked | Stage::Queued | Stage::Ready) {
            return None;
        }
        let was_queued = item.stage != Stage::Parked;
        item.stage = Stage::Writing;
        let (id, attempts) = (item.id, item.attempts);
        self.ready.remove(&position);
        let reason = shortened(reason);
        Some((Record { kind, id, position, attempts, reason }, was_queued))
    }

    /// A parked event is processed, or was discarded: it is parked no more.
    pub(super) fn settle(&mut self, position: Position) {
        let Some(item) = self.parked.remove(&position) else { return };
        if let Some(positions) = self.parked_by_key.get_mut(&item.key) {
            positions.remove(&position);
            if positions.is_empty() {
                self.parked_by_key.remove(&item.key);
            }
        }
        self.release(&item.key);
    }

    /// A parked event is to be handed out when its turn comes.
    pub(super) fn queue_again(&mut self, position: Position) {
        if let Some(item) = self.parked.get_mut(&position) {
            item.stage = Stage::Queued;
            item.tries = 0;
            let key = Arc::clone(&item.key);
            self.release(&key);
        }
    }

    /// A change could not be written.
    pub(super) fn put_back(&mut self, record: &Record, was_queued: bool) {
        if was_queued {
            self.queue_again(record.position);
        } else if let Some(item) = self.parked.get_mut(&record.position) {
            item.stage = Stage::Parked;
        }
    }

    /// Everything up to here is acknowledged or durably parked, or does not match.
    pub(super) fn low_water(&self) -> Position {
        let first = self.window.first_key_value();
        first.map_or(self.fetched, |(position, _)| Position(position.0.saturating_sub(1)))
    }

    pub(super) fn parked_items(&self) -> impl Iterator<Item = (Position, &Item)> {
        self.parked.iter().map(|(position, item)| (*position, item))
    }

    /// How many events the window holds, consumers have, and are parked.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.window.len(), self.in_flight, self.parked.len())
    }

    /// An event that is not done, or is parked. What is in both is parked.
    fn item(&mut self, position: Position) -> Option<&mut Item> {
        match self.parked.get_mut(&position) {
            Some(item) => Some(item),
            None => self.window.get_mut(&position),
        }
    }

    fn in_flight(&mut self, position: Position) -> Option<&mut Item> {
        self.item(position).filter(|item| item.stage == Stage::InFlight)
    }

    /// Takes an event that is done out of its lane, and looks at who is next.
    fn leave_lane(&mut self, position: Position, key: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.retain(|other| *other != position);
        if lane.is_empty() {
            self.lanes.remove(key);
        } else {
            self.advance(key);
        }
    }

    /// Lets the front of a lane be handed out; or has all of the lane parked, where its key is
    /// blocked.
    fn advance(&mut self, key: &Arc<str>) {
        let Some((lane, front)) = self.lanes.get(key).and_then(|l| Some((l, *l.front()?))) else {
            return;
        };
        let blocking = self.parked_by_key.get(key).and_then(|parked| parked.first().copied());
        let blocking =
            blocking.filter(|parked| self.policy == ParkedPolicy::BlocksKey && *parked < front);
        if let Some(blocking) = blocking {
            for position in lane {
                if let Some(item) = self.window.get_mut(position)
                    && item.stage == Stage::Queued
                {
                    item.stage = Stage::ToPark;
                    item.is_behind = true;
                    item.reason = format!("behind the parked event at position {blocking}");
                    self.to_park.insert(*position);
                }
            }
        } else if let Some(item) = self.window.get_mut(&front)
            && item.stage == Stage::Queued
        {
            item.stage = Stage::Ready;
            self.ready.insert(front);
        }
    }

    /// Lets what is parked of a key, and waits for its turn only, be handed out where it has come.
    fn release(&mut self, key: &Arc<str>) {
        let Some(positions) = self.parked_by_key.get(key) else { return };
        let turns = match self.policy {
            ParkedPolicy::BlocksKey => 1,
            ParkedPolicy::BlocksNothing => positions.len(),
        };
        for position in positions.iter().take(turns) {
            if let Some(item) = self.parked.get_mut(position)
                && item.stage == Stage::Queued
            {
                item.stage = Stage::Ready;
                self.ready.insert(*position);
            }
        }
    }

    fn trim(&mut self) {
        while let Some(first) = self.window.first_entry()
            && first.get().stage == Stage::Done
        {
            first.remove();
        }
    }
}
