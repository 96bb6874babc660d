//! What the consumers of a group share. Whoever pulls does what there is to do: fetches the next
//! event, writes what is to be parked, saves the cursor. No I/O is done under the lock.
//!
//! Of those who pull at most one *leads*: it reads the log and waits for it. The others wait on the
//! condvar. Whoever leaves, and whoever changes what may be handed out, sees to it that somebody
//! who waits looks again ([`Shared::pass_on`]); if only the leader is left, its wait is cut short.

use std::time::{Duration, Instant};

use super::item::Handed;
use super::record::{self, Kind, Record};
use super::state::{Feed, State};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::position::Position;
use crate::query::Query;
use crate::store::Store;
use crate::subscription::Subscription;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard};

/// What events must be handed out in order: those of the same key.
pub(super) type KeyOf = dyn Fn(&Event) -> String + Send + Sync;

pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) name: String,
    pub(super) stream: String,
    query: Query,
    key_of: Box<KeyOf>,
    save_every: u64,
    state: Mutex<State>,
    changed: Condvar,
}

/// A delivery's answer.
pub(super) enum Answer {
    Ack,
    Nack(String, Option<Duration>),
    Park(String),
}

impl Shared {
    pub(super) fn new(
        store: &Store,
        name: String,
        query: Query,
        key_of: Box<KeyOf>,
        save_every: u64,
        state: State,
    ) -> Self {
        let (stream, state) = (record::stream_of(&name), Mutex::new(state));
        let (store, changed) = (store.clone(), Condvar::new());
        Self { store, name, stream, query, key_of, save_every, state, changed }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The next event for a consumer. `None` where none came in time, and where the group is
    /// closed.
    pub(super) fn pull(
        &self,
        consumer: u64,
        deadline: Option<Instant>,
    ) -> Result<Option<(Event, Position, u32)>> {
        let mut state = self.state.lock();
        loop {
            if state.is_closed {
                return Ok(None);
            }
            if let Some(e) = &state.failed {
                return Err(e.clone());
            }
            let now = Instant::now();
            state.work.wake(now);
            if state.work.has_to_park() {
                drop(state);
                self.write_parked()?;
                state = self.state.lock();
                continue;
            }
            let save_at = state.save_at(self.save_every);
            if save_at.is_some_and(|at| at <= now) {
                drop(state);
                self.save()?;
                state = self.state.lock();
                continue;
            }
            if let Some(handed) = state.work.take() {
                return self.hand_out(state, consumer, handed).map(Some);
            }
            let next = [save_at, state.work.next_due(), deadline].into_iter().flatten().min();
            if state.can_lead() {
                let fetched;
                (state, fetched) = self.lead(state, next)?;
                if fetched || deadline.is_none_or(|deadline| Instant::now() < deadline) {
                    continue;
                }
            } else if deadline.is_none_or(|deadline| now < deadline) {
                state.waiting += 1;
                match next {
                    Some(next) => drop(self.changed.wait_until(&mut state, next)),
                    None => self.changed.wait(&mut state),
                }
                state.waiting -= 1;
                continue;
            }
            self.pass_on(&mut state);
            return Ok(None);
        }
    }

    fn hand_out(
        &self,
        mut state: MutexGuard<'_, State>,
        consumer: u64,
        handed: Handed,
    ) -> Result<(Event, Position, u32)> {
        let Handed { position, event, attempt } = handed;
        if let Some(info) = state.consumers.get_mut(&consumer) {
            info.delivered += 1;
            info.in_flight += 1;
        }
        self.pass_on(&mut state);
        drop(state);
        let event = match event {
            Some(event) => Ok(Some(event)),
            None => self.store.event(position),
        };
        let why = match event {
            Ok(Some(event)) => return Ok((event, position, attempt)),
            Ok(None) => Error::corrupt(&self.stream, 0, format!("event {position}"), "no event"),
            Err(e) => e,
        };
        let mut state = self.state.lock();
        state.work.untake(position);
        if let Some(info) = state.consumers.get_mut(&consumer) {
            info.delivered -= 1;
            info.in_flight -= 1;
        }
        self.pass_on(&mut state);
        Err(why)
    }

    /// Sees to it that somebody looks again, where there is something for somebody to do.
    pub(super) fn pass_on(&self, state: &mut State) {
        let has_work = state.work.has_ready() || state.work.has_to_park();
        let due = state.work.next_due().into_iter().chain(state.save_at(self.save_every)).min();
        if state.waiting > 0 {
            if has_work || due.is_some() || state.can_lead() {
                self.changed.notify_one();
            }
        } else if let Feed::Led { until, stop } = &state.feed
            && (has_work || due.is_some_and(|due| until.is_none_or(|until| due < until)))
        {
            stop.stop();
        }
    }

    /// Fetches one event, or waits for it until a time, and says whether the group has come
    /// further. Takes the lock and gives it back.
    fn lead<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> Result<(MutexGuard<'a, State>, bool)> {
        let after = state.work.fetched();
        let mut events = match std::mem::replace(&mut state.feed, Feed::Gone) {
            Feed::Here(events) => events,
            _ => {
                let events = self.store.subscribe().matching(self.query.clone()).after(after);
                Box::new(events.start().inspect_err(|e| self.fail(&mut state, e))?)
            }
        };
        let stop = events.stop_handle();
        state.feed = Feed::Led { until, stop: stop.clone() };
        drop(state);
        // A panic (of the key function) leaves the feed for others to start again: nothing that was
        // fetched and not taken in is skipped.
        let mut leaving = Leaving { shared: self, is_done: false };
        let fetched = match until {
            Some(until) => events.next_timeout(until.saturating_duration_since(Instant::now())),
            None => events.next().transpose(),
        };
        let fetched = fetched.map(|event| {
            event.filter(|event| event.stream() != self.stream).map(|event| {
                let key = (self.key_of)(&event);
                (event, Arc::from(key))
            })
        });
        leaving.is_done = true;
        let mut state = self.state.lock();
        state.feed = Feed::Gone;
        let fetched = fetched.inspect_err(|e| self.fail(&mut state, e))?;
        let has_moved = Subscription::position(&events) > after;
        if let Some((event, key)) = fetched {
            state.work.add(event, key);
        }
        state.work.fetched_upto(Subscription::position(&events));
        if !stop.is_stopped() {
            state.feed = Feed::Here(events);
        }
        Ok((state, has_moved))
    }

    /// Nothing can be fetched any more, which all who wait are to know.
    fn fail(&self, state: &mut State, why: &Error) {
        state.failed = Some(why.clone());
        self.changed.notify_all();
    }

    /// Takes in the answer to an event that was handed out. `Closed` where the group is closed, and
    /// the answer counts for nothing.
    pub(super) fn answer(&self, consumer: u64, position: Position, answer: Answer) -> Result<()> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(Error::Closed);
        }
        let now = Instant::now();
        state.answered += 1;
        state.answered_at = now;
        let info = state.consumers.get_mut(&consumer);
        if let Some(info) = info {
            info.in_flight -= 1;
            match &answer {
                Answer::Ack => info.acked += 1,
                Answer::Nack(..) => info.nacked += 1,
                Answer::Park(_) => info.parked += 1,
            }
        }
        let mut record = None;
        let is_park = matches!(answer, Answer::Park(_));
        match answer {
            Answer::Ack => record = state.work.ack(position),
            Answer::Nack(reason, delay) => state.work.nack(position, reason, delay, now),
            Answer::Park(reason) => state.work.park(position, reason),
        }
        self.pass_on(&mut state);
        drop(state);
        match record {
            Some(record) => self.change(&record, true),
            None if is_park => self.write_parked(),
            None => Ok(()),
        }
    }

    /// Writes what is to be parked.
    pub(super) fn write_parked(&self) -> Result<()> {
        let records = self.state.lock().work.begin_parking();
        if records.is_empty() {
            return Ok(());
        }
        let written = record::write(&self.store, &self.stream, &records);
        let mut state = self.state.lock();
        match &written {
            Ok(()) => state.work.parked(&records),
            Err(_) => state.work.not_parked(&records),
        }
        self.pass_on(&mut state);
        written
    }

    /// Begins to change what becomes of a parked event; [`change`](Self::change) follows.
    pub(super) fn begin_change(
        &self,
        position: Position,
        kind: Kind,
        reason: String,
    ) -> Result<Option<(Record, bool)>> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(Error::Closed);
        }
        Ok(state.work.begin_change(position, kind, reason))
    }

    /// Writes what has become of a parked event.
    pub(super) fn change(&self, record: &Record, was_queued: bool) -> Result<()> {
        let written = record::write(&self.store, &self.stream, std::slice::from_ref(record));
        let mut state = self.state.lock();
        match (&written, record.kind) {
            (Err(_), _) => state.work.put_back(record, was_queued),
            (Ok(()), Kind::Replayed) => state.work.queue_again(record.position),
            (Ok(()), _) => state.work.settle(record.position),
        }
        self.pass_on(&mut state);
        written
    }

    /// Saves the cursor at the low water.
    pub(super) fn save(&self) -> Result<()> {
        let mut state = self.state.lock();
        let low = state.work.low_water();
        let Some(cursor) = state.cursor.clone() else { return Ok(()) };
        if state.is_saving || low <= state.saved {
            return Ok(());
        }
        state.is_saving = true;
        state.answered = 0;
        drop(state);
        let saved = cursor.save(low);
        let mut state = self.state.lock();
        state.is_saving = false;
        if state.is_closed {
            self.changed.notify_all();
        }
        if saved.is_ok() {
            state.saved = state.saved.max(low);
        }
        self.pass_on(&mut state);
        saved
    }

    /// Hands out nothing more, wakes all who wait, saves, and lets go of the cursor.
    pub(super) fn close(&self) -> Result<()> {
        let mut state = self.state.lock();
        state.is_closed = true;
        if let Feed::Led { stop, .. } = &state.feed {
            stop.stop();
        }
        self.changed.notify_all();
        while state.is_saving {
            self.changed.wait(&mut state);
        }
        drop(state);
        let written = self.write_parked();
        let saved = self.save();
        self.state.lock().cursor = None;
        written.and(saved)
    }
}

impl Drop for Shared {
    /// Nobody can be told what went wrong: what is not saved comes again.
    fn drop(&mut self) {
        if !self.state.get_mut().is_closed {
            let _ = self.write_parked();
            let _ = self.save();
        }
    }
}

/// Gives up the lead where the leader panics.
struct Leaving<'a> {
    shared: &'a Shared,
    is_done: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            let mut state = self.shared.state.lock();
            state.feed = Feed::Gone;
            self.shared.pass_on(&mut state);
        }
    }
}
