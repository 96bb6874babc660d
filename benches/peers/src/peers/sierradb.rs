//! sierradb.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sierradb::bucket::segment::EventRecord;
use sierradb::database::{Database, DatabaseBuilder, ExpectedVersion, NewEvent, Transaction};
use sierradb::id::{uuid_to_partition_hash, uuid_v7_with_partition_hash};
use sierradb::{IterDirection, StreamId};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::none_running;
use crate::Result;
use crate::store::{Kind, Peer, Store, Version, Work};
use crate::workload::{Event, Tally};

const LACKS: &[(&[Work], &str)] = &[
    (&[Work::Os, Work::Interval], "always syncs before it answers"),
    (&[Work::Category, Work::Type], "has no such index"),
    (&[Work::Conditional], "has no conditions"),
    (&[Work::Follow], "has subscriptions in its server only"),
];
const ONE_PARTITION: &str = "one partition of one bucket, so that there is one order of all \
    events; it is built for many, whose events have no order among each other";

pub static PEER: Peer = Peer {
    name: "sierradb",
    version: Version::Package("sierradb"),
    kind: Kind::EventStore,
    open: |dir, _| open(dir, None),
    lacks: LACKS,
    notes: &[
        ONE_PARTITION,
        "as it comes: syncs each 5 ms, 4,096 bytes or 50 events, whichever is first",
        "payloads of texts that hardly compress; its compression is off",
    ],
    after_kill: none_running,
};

pub static EAGER: Peer = Peer {
    name: "sierradb-eager",
    version: Version::Package("sierradb"),
    kind: Kind::EventStore,
    open: |dir, _| open(dir, Some(1)),
    lacks: &[
        (&[Work::Os, Work::Interval], "always syncs before it answers"),
        (&[Work::Conditional], "has no conditions"),
        (
            &[
                Work::Streams,
                Work::Scan,
                Work::Category,
                Work::Type,
                Work::OpenClean,
                Work::OpenKilled,
                Work::BytesUsed,
                Work::BytesTaken,
                Work::MemoryOpen,
                Work::MemoryServing,
                Work::Follow,
            ],
            "differs from sierradb in appends only",
        ),
    ],
    notes: &["told to sync at once, whatever has come"],
    after_kill: none_running,
};

struct Sierra {
    database: Database,
    runtime: Runtime,
}

fn open(dir: &Path, sync_bytes: Option<usize>) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let mut builder = DatabaseBuilder::new();
    builder.total_buckets(1).bucket_ids_from_range(0..1).writer_threads(1).compression(false);
    if let Some(bytes) = sync_bytes {
        builder.min_sync_bytes(bytes);
    }
    let database = {
        let _inside = runtime.enter();
        builder.open(dir)?
    };
    Ok(Box::new(Sierra { database, runtime }))
}

/// The key of the only partition.
const KEY: Uuid = Uuid::nil();

fn transaction(events: &[Event<'_>]) -> Result<Transaction> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let new_event = |event: &Event<'_>| -> Result<NewEvent> {
        Ok(NewEvent {
            event_id: uuid_v7_with_partition_hash(uuid_to_partition_hash(KEY)),
            stream_id: StreamId::new(event.stream)?,
            stream_version: ExpectedVersion::Any,
            event_name: event.event_type.to_owned(),
            timestamp: u64::try_from(now.as_nanos())?,
            metadata: Vec::new(),
            payload: event.payload.to_vec(),
        })
    };
    Ok(Transaction::new(KEY, 0, events.iter().map(new_event).collect::<Result<_>>()?)?)
}

fn tell(event: &EventRecord, tally: &mut Tally) {
    tally.see(&event.stream_id, &event.event_name, &event.payload);
}

impl Store for Sierra {
    fn append(&self, events: &[Event<'_>]) -> Result<()> {
        let append = self.database.append_events(transaction(events)?);
        self.runtime.block_on(append)?;
        Ok(())
    }

    fn read_stream(&self, stream: &str, tally: &mut Tally) -> Result<()> {
        let stream = StreamId::new(stream)?;
        self.runtime.block_on(async {
            let read = self.database.read_stream(0, stream, 0, IterDirection::Forward);
            let mut read = read.await?;
            while let Some(commit) = read.next().await? {
                commit.into_iter().for_each(|event| tell(&event, tally));
            }
            Ok(())
        })
    }

    fn scan(&self, tally: &mut Tally) -> Result<()> {
        self.runtime.block_on(async {
            let mut read = self.database.read_partition(0, 0, IterDirection::Forward).await?;
            while let Some(commit) = read.next().await? {
                commit.into_iter().for_each(|event| tell(&event, tally));
            }
            Ok(())
        })
    }

    fn pipeline<'a>(
        &self,
        events: &mut dyn Iterator<Item = Event<'a>>,
        in_flight: usize,
    ) -> Result<u64> {
        use futures::stream::{FuturesOrdered, StreamExt};
        self.runtime.block_on(async {
            let (mut waiting, mut done) = (FuturesOrdered::new(), 0);
            for event in events {
                if waiting.len() == in_flight
                    && let Some(oldest) = waiting.next().await
                {
                    oldest?;
                    done += 1;
                }
                waiting.push_back(self.database.append_events(transaction(&[event])?));
            }
            while let Some(append) = waiting.next().await {
                append?;
                done += 1;
            }
            Ok(done)
        })
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.runtime.block_on(self.database.shutdown());
        Ok(())
    }
}
