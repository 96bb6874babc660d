//! The framework's repository of events and snapshots.

use annals::{Error, Event, Query, Store, StoredView, Version, ViewError};
use cqrs_es::Aggregate;
use cqrs_es::persist::{
    PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::envelope::{from_annals, stream_of, to_annals};
use crate::error::{persistence, refused};

/// So many events of a replay wait for the query at most.
const REPLAY_QUEUE: usize = 256;
const SNAPSHOTS_SCHEMA: u32 = 1;

/// Events and snapshots of aggregates in a store of annals: the framework's
/// `PersistedEventRepository`. Clones use the same store.
///
/// An aggregate is the stream `Type-id`, its sequence is the version. Snapshots of a type are the
/// view `cqrs-es/snapshots/Type`; they are committed with the events that led to them.
#[derive(Clone, Debug)]
pub struct AnnalsRepository {
    store: Store,
    snapshot_size: usize,
}

/// A snapshot as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    aggregate: Value,
    sequence: usize,
    number: usize,
}

impl AnnalsRepository {
    /// A repository in a store.
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), snapshot_size: 1 }
    }

    /// The size that `PersistedEventStore::new_snapshot_store` was given. The framework does not
    /// say of which event a snapshot is: of the last one that this size divides. Without it, of the
    /// last one that is persisted with it, as the aggregate store has it. 0 counts as 1.
    #[must_use]
    pub fn snapshot_size(mut self, events: usize) -> Self {
        self.snapshot_size = events.max(1);
        self
    }

    /// Writes events and, in the same commit, the snapshot of a sequence.
    pub(crate) async fn write<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot: Option<(Value, usize, usize)>,
    ) -> Result<(), PersistenceError> {
        let Some(first) = events.first() else { return Ok(()) };
        let stream = stream_of(A::TYPE, &first.aggregate_id)?;
        let before = expected(events)?;
        let new = events.iter().map(to_annals).collect::<Result<Vec<_>, _>>()?;
        let Some((aggregate, sequence, number)) = snapshot else {
            let done = self.store.append_async(stream, before, new).await;
            return done.map(|_| ()).map_err(persistence);
        };
        let kept = serde_json::to_vec(&Kept { aggregate, sequence, number })?;
        let view = self.store.create_view(snapshots_of::<A>(), SNAPSHOTS_SCHEMA);
        let view = view.map_err(persistence)?;
        loop {
            let from = view.position().map_err(persistence)?;
            let update = view.update(from).put(&first.aggregate_id, kept.clone());
            let batch = self.store.batch().append(&stream, before, new.clone());
            match batch.update_view(update).commit_async().await {
                // Another aggregate of the type was faster, and nothing was written. Each time
                // that happens somebody else's commit succeeds.
                Err(Error::View(ViewError::Moved { .. })) => {}
                done => return done.map(|_| ()).map_err(persistence),
            }
        }
    }

    fn snapshots<A: Aggregate>(&self) -> Result<Option<StoredView>, PersistenceError> {
        self.store.view(snapshots_of::<A>()).map_err(persistence)
    }

    fn events_after(
        &self,
        stream: &str,
        sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let events = self.store.read_stream(stream).after(Version(sequence as u64));
        events.into_iter().map(read).collect()
    }

    /// Reads on a thread of its own: the stream is a queue that somebody has to fill while the
    /// query empties it. The thread ends with the events, or when the stream is dropped.
    fn replay(
        events: impl Iterator<Item = annals::Result<Event>> + Send + 'static,
    ) -> Result<ReplayStream, PersistenceError> {
        let (mut feed, stream) = ReplayStream::new(REPLAY_QUEUE);
        let push = move || {
            for event in events {
                let is_over = event.is_err();
                let pushed = futures::executor::block_on(feed.push(read(event)));
                if is_over || pushed.is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("annals-replay".into()).spawn(push);
        thread.map_err(|e| PersistenceError::UnknownError(Box::new(e)))?;
        Ok(stream)
    }
}

impl PersistedEventRepository for AnnalsRepository {
    async fn get_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.get_last_events::<A>(aggregate_id, 0).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.events_after(&stream_of(A::TYPE, aggregate_id)?, last_sequence)
    }

    async fn get_snapshot<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        let Some(view) = self.snapshots::<A>()? else { return Ok(None) };
        let Some(kept) = view.get(aggregate_id).map_err(persistence)? else { return Ok(None) };
        let kept: Kept = serde_json::from_slice(&kept)?;
        Ok(Some(SerializedSnapshot {
            aggregate_id: aggregate_id.into(),
            aggregate: kept.aggregate,
            current_sequence: kept.sequence,
            current_snapshot: kept.number,
        }))
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot_update: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        let last = events.last().map_or(0, |event| event.sequence);
        let sequence = last - last % self.snapshot_size;
        let snapshot = snapshot_update.map(|(_, aggregate, number)| (aggregate, sequence, number));
        self.write::<A>(events, snapshot).await
    }

    async fn stream_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<ReplayStream, PersistenceError> {
        let stream = stream_of(A::TYPE, aggregate_id)?;
        Self::replay(self.store.read_stream(stream).into_iter())
    }

    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        stream_of(A::TYPE, "")?;
        let events = self.store.read(Query::new().stream_prefix(format!("{}-", A::TYPE)));
        Self::replay(events.into_iter())
    }
}

fn snapshots_of<A: Aggregate>() -> String {
    format!("cqrs-es/snapshots/{}", A::TYPE)
}

fn read(event: annals::Result<Event>) -> Result<SerializedEvent, PersistenceError> {
    from_annals(&event.map_err(persistence)?)
}

/// The version that the stream has to have. Sequences that are no run behind one another are, as in
/// a database with a key over them, taken for those of somebody who was too late.
fn expected(events: &[SerializedEvent]) -> Result<Version, PersistenceError> {
    for (event, next) in events.iter().zip(events.iter().skip(1)) {
        if event.aggregate_id != next.aggregate_id {
            return Err(refused("the events are of several aggregates"));
        }
        if event.sequence.checked_add(1) != Some(next.sequence) {
            return Err(PersistenceError::OptimisticLockError);
        }
    }
    let before = events.first().and_then(|event| event.sequence.checked_sub(1));
    Ok(Version(before.ok_or(PersistenceError::OptimisticLockError)? as u64))
}
