//! The framework's event store, with snapshots that are what the events say.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use annals::Store;
use cqrs_es::persist::{
    EventStoreAggregateContext, EventUpcaster, PersistedEventRepository, PersistenceError,
    SerializedEvent,
};
use cqrs_es::{Aggregate, AggregateError, EventEnvelope, EventStore};

use crate::repository::AnnalsRepository;

/// The framework's `EventStore`, over a store of annals: loads an aggregate from its snapshot and
/// the events behind it, and commits events, now and then with a new snapshot.
///
/// Without snapshots it does what `PersistedEventStore::new_event_store` does with an
/// [`AnnalsRepository`]. With them it is there instead of `new_snapshot_store`, which in version
/// 0.5.0 folds the events of a command twice into the snapshot. Here a snapshot is the state behind
/// the last event of a command, folded from what is stored.
pub struct AnnalsEventStore<A> {
    repository: AnnalsRepository,
    snapshot_every: Option<usize>,
    upcasters: Vec<Box<dyn EventUpcaster>>,
    aggregate: PhantomData<fn() -> A>,
}

impl<A> fmt::Debug for AnnalsEventStore<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnnalsEventStore")
            .field("repository", &self.repository)
            .field("snapshot_every", &self.snapshot_every)
            .finish_non_exhaustive()
    }
}

impl<A: Aggregate> AnnalsEventStore<A> {
    /// An event store without snapshots.
    pub fn new(store: &Store) -> Self {
        Self {
            repository: AnnalsRepository::new(store),
            snapshot_every: None,
            upcasters: Vec::new(),
            aggregate: PhantomData,
        }
    }

    /// Keeps a snapshot with the command whose events reach or pass a multiple of so many; 0 keeps
    /// none. Making one costs reading the events behind the one before.
    #[must_use]
    pub fn snapshot_every(mut self, events: usize) -> Self {
        self.snapshot_every = (events > 0).then_some(events);
        self
    }

    /// Lifts stored events to what they are today, in this order.
    #[must_use]
    pub fn with_upcasters(mut self, upcasters: Vec<Box<dyn EventUpcaster>>) -> Self {
        self.upcasters = upcasters;
        self
    }

    fn lift(&self, event: SerializedEvent) -> Result<EventEnvelope<A>, PersistenceError> {
        let lift = |event: SerializedEvent, upcaster: &Box<dyn EventUpcaster>| {
            if upcaster.can_upcast(&event.event_type, &event.event_version) {
                upcaster.upcast(event)
            } else {
                event
            }
        };
        self.upcasters.iter().fold(event, lift).try_into()
    }

    async fn load(&self, id: &str) -> Result<EventStoreAggregateContext<A>, PersistenceError> {
        let mut context = self.begin(id).await?;
        let after = context.current_sequence;
        for event in self.repository.get_last_events::<A>(id, after).await? {
            let event = self.lift(event)?;
            context.current_sequence = event.sequence;
            context.aggregate.apply(event.payload);
        }
        Ok(context)
    }

    /// The snapshot, or nothing: also where the aggregate has another shape by now.
    async fn begin(&self, id: &str) -> Result<EventStoreAggregateContext<A>, PersistenceError> {
        let empty = EventStoreAggregateContext {
            aggregate_id: id.into(),
            aggregate: A::default(),
            current_sequence: 0,
            current_snapshot: None,
        };
        if self.snapshot_every.is_none() {
            return Ok(empty);
        }
        match self.repository.get_snapshot::<A>(id).await {
            Ok(Some(snapshot)) => Ok(snapshot.try_into().unwrap_or(empty)),
            Ok(None) | Err(PersistenceError::DeserializationError(_)) => Ok(empty),
            Err(e) => Err(e),
        }
    }

    fn is_due(&self, before: usize, upto: usize) -> bool {
        self.snapshot_every.is_some_and(|every| before / every < upto / every)
    }

    async fn write(
        &self,
        events: &[EventEnvelope<A>],
        id: &str,
        before: usize,
    ) -> Result<(), PersistenceError> {
        let serialized =
            events.iter().map(SerializedEvent::try_from).collect::<Result<Vec<_>, _>>()?;
        let upto = before + events.len();
        if !self.is_due(before, upto) {
            return self.repository.write::<A>(&serialized, None).await;
        }
        // Whether the state that the command left holds its events is not known: it does behind
        // `CqrsFramework`, and does not where events are committed by hand. What is stored is.
        let mut state = self.load(id).await?;
        if state.current_sequence != before {
            return Err(PersistenceError::OptimisticLockError);
        }
        for event in events {
            state.aggregate.apply(event.payload.clone());
        }
        let number = state.current_snapshot.map_or(1, |number| number + 1);
        let value = serde_json::to_value(&state.aggregate)?;
        self.repository.write::<A>(&serialized, Some((value, upto, number))).await
    }
}

impl<A: Aggregate> EventStore<A> for AnnalsEventStore<A> {
    type AC = EventStoreAggregateContext<A>;

    async fn load_events(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let events = self.repository.get_events::<A>(aggregate_id).await?;
        let events: Result<Vec<_>, _> = events.into_iter().map(|event| self.lift(event)).collect();
        Ok(events?)
    }

    async fn load_aggregate(
        &self,
        aggregate_id: &str,
    ) -> Result<Self::AC, AggregateError<A::Error>> {
        Ok(self.load(aggregate_id).await?)
    }

    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: Self::AC,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let (id, before) = (context.aggregate_id, context.current_sequence);
        let wrap = |(payload, sequence): (A::Event, usize)| EventEnvelope::<A> {
            aggregate_id: id.clone(),
            sequence,
            payload,
            metadata: metadata.clone(),
        };
        let events: Vec<_> = events.into_iter().zip(before + 1..).map(wrap).collect();
        self.write(&events, &id, before).await?;
        Ok(events)
    }
}
