//! The framework's event store.

use std::error::Error as StdError;
use std::marker::PhantomData;

use annals::{ExpectedVersion, NewEvent, Position, Query, Store};
use async_trait::async_trait;
use disintegrate::serde::Serde;
use disintegrate::{
    DecisionMaker, Event, EventSourcedStateStore, EventStore, PersistedEvent, SnapshotConfig,
    StreamItem, StreamQuery,
};
use futures::stream::{self, BoxStream, StreamExt};

use crate::error::Error;
use crate::query::{id_of, position, query_of, tags};

/// The id of an event: its position in the log of annals.
pub type AnnalsEventId = i64;

/// The stream of annals that events go to unless told otherwise.
const STREAM: &str = "disintegrate";

/// The framework's `EventStore` in a store of annals. Clones are the same.
///
/// The framework knows no streams: all events go to one stream of annals, and are found by types
/// and tags. What is in other streams of the store is not seen.
#[derive(Debug)]
pub struct AnnalsEventStore<E, S> {
    store: Store,
    stream: String,
    serde: S,
    event: PhantomData<fn() -> E>,
}

impl<E, S: Clone> Clone for AnnalsEventStore<E, S> {
    fn clone(&self) -> Self {
        let (store, stream) = (self.store.clone(), self.stream.clone());
        Self { store, stream, serde: self.serde.clone(), event: PhantomData }
    }
}

/// A `DecisionMaker` of the framework over an event store.
pub fn decision_maker<E, S, SN>(
    event_store: AnnalsEventStore<E, S>,
    snapshot: SN,
) -> DecisionMaker<EventSourcedStateStore<AnnalsEventId, E, AnnalsEventStore<E, S>, SN>>
where
    E: Event + Clone + Send + Sync + 'static,
    S: Serde<E> + Clone + Send + Sync,
    SN: SnapshotConfig + Clone,
{
    DecisionMaker::new(EventSourcedStateStore::new(event_store, snapshot))
}

impl<E, S> AnnalsEventStore<E, S>
where
    E: Event + Clone + Send + Sync,
    S: Serde<E> + Send + Sync,
{
    /// An event store whose events are written and read by a format of the framework.
    pub fn new(store: &Store, serde: S) -> Self {
        Self { store: store.clone(), stream: STREAM.into(), serde, event: PhantomData }
    }

    /// Uses another stream: event types of one name in different streams do not meet.
    #[must_use]
    pub fn stream_name(mut self, stream: impl Into<String>) -> Self {
        self.stream = stream.into();
        self
    }

    fn to_annals(&self, event: &E) -> NewEvent {
        let new = NewEvent::new(event.name(), self.serde.serialize(event.clone()));
        new.tags(tags(&event.domain_ids()))
    }

    fn from_annals<QE>(
        &self,
        event: &annals::Event,
    ) -> Result<PersistedEvent<AnnalsEventId, QE>, Error>
    where
        QE: TryFrom<E> + Event,
        <QE as TryFrom<E>>::Error: StdError + Send + Sync + 'static,
    {
        let stored = self.serde.deserialize(event.data().to_vec())?;
        let found = QE::try_from(stored).map_err(|e| Error::QueryEventMapping(Box::new(e)))?;
        Ok(PersistedEvent::new(id_of(event.position())?, found))
    }

    /// What matches up to where the log ends now, then where that is.
    fn read<'a, QE>(
        &'a self,
        query: &'a StreamQuery<AnnalsEventId, QE>,
    ) -> Result<impl Iterator<Item = Found<QE>> + Send + 'a, Error>
    where
        QE: TryFrom<E> + Event + Clone + Send + Sync + 'static,
        <QE as TryFrom<E>>::Error: StdError + Send + Sync + 'static,
    {
        let end = self.store.head();
        let asked = query_of(&self.stream, query)?;
        let events = asked.map(|asked| self.store.read(asked).into_iter());
        let found = events
            .into_iter()
            .flatten()
            // What came behind the end is for the next one who asks.
            .take_while(move |event| event.as_ref().map_or(true, |event| event.position() <= end))
            .map(move |event| self.from_annals(&event?))
            // Its filters may begin at different places, which annals cannot say.
            .filter(move |found| found.as_ref().map_or(true, |event| query.matches(event)))
            .map(|found| found.map(StreamItem::Event));
        Ok(found.chain(std::iter::once_with(move || Ok(StreamItem::End(id_of(end)?)))))
    }

    async fn write(
        &self,
        events: Vec<E>,
        unless: Option<Query>,
    ) -> Result<Vec<PersistedEvent<AnnalsEventId, E>>, Error> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let new: Vec<NewEvent> = events.iter().map(|event| self.to_annals(event)).collect();
        let batch = self.store.batch().append(&self.stream, ExpectedVersion::Any, new);
        let batch = unless.into_iter().fold(batch, annals::Batch::unless);
        let done = batch.commit_async().await?;
        // Positions are dense, and nothing comes between the events of a batch.
        let last = done.last().map_or(0, |done| done.position.0);
        let first = (last + 1).saturating_sub(events.len() as u64);
        let persisted = |(at, event)| Ok(PersistedEvent::new(id_of(Position(at))?, event));
        (first..).zip(events).map(persisted).collect()
    }
}

/// An item of a stream of the framework.
type Found<QE> = Result<StreamItem<AnnalsEventId, QE>, Error>;

#[async_trait]
impl<E, S> EventStore<AnnalsEventId, E> for AnnalsEventStore<E, S>
where
    E: Event + Clone + Send + Sync,
    S: Serde<E> + Send + Sync,
{
    type Error = Error;

    fn stream<'a, QE>(
        &'a self,
        query: &'a StreamQuery<AnnalsEventId, QE>,
    ) -> BoxStream<'a, Result<StreamItem<AnnalsEventId, QE>, Error>>
    where
        QE: TryFrom<E> + Event + 'static + Clone + Send + Sync,
        <QE as TryFrom<E>>::Error: StdError + 'static + Send + Sync,
    {
        match self.read(query) {
            Ok(found) => stream::iter(found).boxed(),
            Err(e) => stream::iter([Err(e)]).boxed(),
        }
    }

    async fn append<QE>(
        &self,
        events: Vec<E>,
        query: StreamQuery<AnnalsEventId, QE>,
        last_event_id: AnnalsEventId,
    ) -> Result<Vec<PersistedEvent<AnnalsEventId, E>>, Error>
    where
        E: Clone + 'async_trait,
        QE: Event + 'static + Clone + Send + Sync,
    {
        let unless = query_of(&self.stream, &query)?;
        let after = position(last_event_id)?;
        self.write(events, unless.map(|query| query.after(after))).await
    }

    async fn append_without_validation(
        &self,
        events: Vec<E>,
    ) -> Result<Vec<PersistedEvent<AnnalsEventId, E>>, Error>
    where
        E: Clone + 'async_trait,
    {
        self.write(events, None).await
    }
}
