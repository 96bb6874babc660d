//! What is done to a store in a test, and doing it while keeping account in a model.

use super::oracle::Model;
use super::{Random, open, seed};
use crate::storage::memory::MemoryDisk;
use crate::writer::Part;
use crate::{
    Appended, Durability, Error, EventId, ExpectedVersion, NewEvent, Position, Result, Store,
    StoreOptions, Timestamp,
};

/// One thing that is done.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// An append, or a batch where it names several streams.
    Append(Vec<(String, Vec<NewEvent>)>),
    /// Appends of several callers that are committed as one group.
    Group(Vec<Vec<(String, Vec<NewEvent>)>>),
    Sync,
    /// A round of upkeep.
    KeepUp,
    /// Closing and opening.
    Reopen,
}

/// What is done to what, from the beginning.
pub(super) struct History {
    pub(super) disk: MemoryDisk,
    pub(super) model: Model,
    pub(super) options: StoreOptions,
    pub(super) acts: Vec<Act>,
}

/// A store on a disk, and what is known of it.
pub(super) struct Runner<'a> {
    disk: &'a MemoryDisk,
    options: StoreOptions,
    pub(super) durability: Durability,
    pub(super) store: Option<Store>,
    pub(super) model: Model,
    /// The last position that was acknowledged, durable or not.
    pub(super) acknowledged: Position,
    /// An append ended in a way that stops the writer.
    pub(super) is_stopped: bool,
    /// What is acknowledged must be there: the disk does not lie.
    pub(super) settles: bool,
}

impl<'a> Runner<'a> {
    pub(super) fn new(
        disk: &'a MemoryDisk,
        options: &StoreOptions,
        durability: Durability,
        model: Model,
    ) -> Self {
        let options = options.clone().durability(durability);
        let acknowledged = Position(model.len());
        Self {
            disk,
            options,
            durability,
            store: None,
            model,
            acknowledged,
            is_stopped: false,
            settles: true,
        }
    }

    /// Opens the store, does everything up to the first failure, and returns that.
    pub(super) fn run(&mut self, acts: &[Act]) -> Option<Error> {
        self.open().and_then(|()| acts.iter().try_for_each(|act| self.act(act))).err()
    }

    /// Opens the store as the last handle left it.
    pub(super) fn open(&mut self) -> Result<()> {
        let store = self.try_open()?;
        self.model.settle(store.head());
        self.take(store);
        Ok(())
    }

    pub(super) fn try_open(&self) -> Result<Store> {
        open(self.disk, &self.options)
    }

    /// Goes on with a store that holds what the model says.
    pub(super) fn take(&mut self, store: Store) {
        self.acknowledged = store.head();
        self.is_stopped = false;
        self.store = Some(store);
    }

    /// Does one thing. Appends are refused, fail in a way that says whether they are there, or
    /// answer what the model says.
    pub(super) fn act(&mut self, act: &Act) -> Result<()> {
        let Some(store) = self.store.clone() else { return Err(Error::Closed) };
        let done = match act {
            Act::Append(batch) if self.durability == Durability::Sync => {
                let mut commit = store.batch();
                for (stream, events) in batch {
                    commit = commit.append(stream, ExpectedVersion::Any, events.iter().cloned());
                }
                self.note(batch, commit.commit())
            }
            // Without a thread, a commit of the weaker modes is followed by a sync at once.
            Act::Append(batch) => self.group(&store, std::slice::from_ref(batch)),
            Act::Group(batches) => self.group(&store, batches),
            Act::Sync => store.sync().map(drop),
            Act::KeepUp => store.keep_up().map(drop),
            Act::Reopen => {
                drop(store);
                return self.close().and_then(|()| self.open());
            }
        };
        self.model.keep_up_to(store.durable());
        done
    }

    /// Ends the store in good order.
    pub(super) fn close(&mut self) -> Result<()> {
        let Some(store) = self.store.take() else { return Ok(()) };
        let closed = store.close();
        self.model.keep_up_to(store.durable());
        if closed.is_ok() {
            self.model.keep_up_to(self.acknowledged);
        }
        closed
    }

    fn group(&mut self, store: &Store, batches: &[Vec<(String, Vec<NewEvent>)>]) -> Result<()> {
        let part = |(stream, events): &(String, Vec<NewEvent>)| Part {
            stream: stream.clone(),
            expected: ExpectedVersion::Any,
            events: events.clone().into(),
        };
        let group = batches.iter().map(|batch| batch.iter().map(part).collect()).collect();
        let answers = store.commit_group(group);
        assert_eq!(answers.len(), batches.len());
        let mut first = Ok(());
        for (batch, answer) in batches.iter().zip(answers) {
            first = first.and(self.note(batch, answer));
        }
        first
    }

    /// Takes note of how an append ended.
    fn note(
        &mut self,
        batch: &[(String, Vec<NewEvent>)],
        answer: Result<Vec<Appended>>,
    ) -> Result<()> {
        let (append, expected) = self.model.plan(batch);
        match answer {
            Ok(answer) => {
                assert!(!self.is_stopped, "acknowledged after a failure that stops the writer");
                assert_eq!(answer, expected);
                self.model.push(append, self.durability == Durability::Sync);
                self.acknowledged = Position(self.model.len());
                Ok(())
            }
            Err(e) => {
                match &e {
                    Error::NotWritten { .. } => {}
                    Error::Unknown { .. } => {
                        self.is_stopped = true;
                        self.model.push(append, false);
                    }
                    Error::Poisoned { .. } => self.is_stopped = true,
                    other => panic!("an append fails with {other:?}"),
                }
                assert!(!self.settles || !e.is_corruption(), "{e}");
                assert!(e.is_retryable() && !e.is_conflict(), "{e}");
                Err(e)
            }
        }
    }
}

/// Makes events that differ from each other in everything.
#[derive(Debug)]
pub(super) struct Maker {
    random: Random,
    made: u64,
    /// Streams to choose from.
    streams: usize,
}

impl Maker {
    pub(super) fn new(seed: u64, streams: usize) -> Self {
        Self { random: Random(seed), made: 0, streams }
    }

    pub(super) fn stream(&mut self) -> String {
        let n = self.random.below(self.streams);
        let category = ["Order", "Account", "Cart"][n % 3];
        if n.is_multiple_of(7) { format!("heartbeat{n}") } else { format!("{category}-{n}") }
    }

    /// An event with so many bytes of data, a third of them with an id.
    pub(super) fn event(&mut self, bytes: usize) -> NewEvent {
        self.made += 1;
        let made = self.made;
        let event_type = ["Placed", "Paid", "Shipped", "Noted"][self.random.below(4)];
        let mut data = format!("{made}:").into_bytes();
        while data.len() < bytes {
            data.extend(self.random.next().to_string().bytes());
        }
        let mut event = NewEvent::new(event_type, data);
        if made.is_multiple_of(3) {
            event = event.id(self.id());
        }
        match made % 5 {
            0 => event.tag(format!("customer:{made}")).tag("vip"),
            1 => event.metadata(format!("{{\"n\":{made}}}")).schema_version(2),
            2 => event.correlation("request-1").causation(made.to_string()),
            3 => event.content_type("application/json"),
            _ => event.created_at(Timestamp::from_micros(made.cast_signed())),
        }
    }

    pub(super) fn id(&mut self) -> EventId {
        let (high, low) = (self.random.next(), self.random.next());
        uuid::Uuid::from_u64_pair(high, low).into()
    }

    pub(super) fn events(&mut self, count: usize, bytes: usize) -> Vec<NewEvent> {
        (0..count).map(|_| self.event(bytes)).collect()
    }

    /// Events for one stream.
    pub(super) fn one(&mut self, count: usize, bytes: usize) -> Vec<(String, Vec<NewEvent>)> {
        vec![(self.stream(), self.events(count, bytes))]
    }

    /// Events for several streams, which may come more than once.
    pub(super) fn batch(&mut self, parts: usize, bytes: usize) -> Vec<(String, Vec<NewEvent>)> {
        (0..parts).flat_map(|part| self.one(1 + part % 2, bytes)).collect()
    }
}

/// A store with so many segments, closed in good order or left by a power cut.
pub(super) fn filled(
    segments: u64,
    options: &StoreOptions,
    is_closed: bool,
) -> (MemoryDisk, Model) {
    let disk = MemoryDisk::simulated(seed());
    let mut maker = Maker::new(seed(), 12);
    let mut runner = Runner::new(&disk, options, Durability::Sync, Model::default());
    assert!(runner.run(&[]).is_none());
    while runner.store.as_ref().unwrap().info().unwrap().segments < segments {
        runner.act(&Act::Append(maker.one(2, 9000))).unwrap();
        runner.act(&Act::Append(maker.batch(3, 300))).unwrap();
        runner.act(&Act::Append(maker.one(1, 30))).unwrap();
    }
    if is_closed {
        runner.close().unwrap();
        return (disk.crash_keeping_everything(), runner.model);
    }
    (disk.crash_keeping_nothing(), runner.model)
}
