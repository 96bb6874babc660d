//! raft-engine: logs of many groups in one; a stream is a group here.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use super::none_running;
use super::record;
use crate::Result;
use crate::store::{Kind, Mode, Peer, Setup, Store, Version, Work};
use crate::workload::{Event, Tally};

pub static PEER: Peer = Peer {
    name: "raft-engine",
    version: Version::Package("raft-engine"),
    kind: Kind::Other,
    open,
    lacks: &[
        (&[Work::Pipeline], "has no appends in flight"),
        (&[Work::Interval], "does not answer before it has written"),
        (
            &[Work::Scan, Work::Category, Work::Type, Work::Follow, Work::Conditional],
            "has no order across streams",
        ),
    ],
    notes: &[
        "gives less: no order across streams, no categories, no types; its index is in memory, and \
         opening builds it from everything; streams are found by a hash of their names",
        "compression is off",
    ],
    after_kill: none_running,
};

/// Threads that append to different streams do not wait for each other here.
const SHARDS: usize = 64;

struct Raft {
    engine: Engine,
    shards: Vec<Mutex<()>>,
    is_synced: bool,
}

struct Records;

impl MessageExt for Records {
    type Entry = BytesValue;

    /// The version that is in the record.
    fn index(entry: &BytesValue) -> u64 {
        let bytes = entry.get_value().get(16..24).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

fn open(dir: &Path, setup: Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let config = Config {
        dir: dir.to_string_lossy().into_owned(),
        batch_compression_threshold: ReadableSize(0),
        ..Config::default()
    };
    let engine = Engine::open(config)?;
    let shards = (0..SHARDS).map(|_| Mutex::new(())).collect();
    Ok(Box::new(Raft { engine, shards, is_synced: setup.mode == Mode::Sync }))
}

fn group(stream: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    stream.hash(&mut hasher);
    // Zero is no group.
    hasher.finish() | 1
}

impl Store for Raft {
    fn append(&self, events: &[Event<'_>]) -> Result<()> {
        let mut groups: Vec<u64> = events.iter().map(|event| group(event.stream)).collect();
        let mut shards: Vec<usize> = groups.iter().map(|group| *group as usize % SHARDS).collect();
        // In one order, so that no two wait for each other.
        shards.sort_unstable();
        shards.dedup();
        let lock =
            |shard: &usize| self.shards[*shard].lock().unwrap_or_else(PoisonError::into_inner);
        let _held: Vec<_> = shards.iter().map(lock).collect();
        let mut batch = LogBatch::with_capacity(events.len());
        let mut done: Vec<(u64, u64)> = Vec::new();
        for (event, group) in events.iter().zip(groups.drain(..)) {
            let given = done.iter_mut().rev().find(|(of, _)| *of == group);
            let version = if let Some((_, version)) = given {
                *version += 1;
                *version
            } else {
                let version = self.engine.last_index(group).unwrap_or(0) + 1;
                done.push((group, version));
                version
            };
            let mut entry = BytesValue::new();
            let mut bytes = Vec::with_capacity(384);
            record::encode(&mut bytes, event, 0, version);
            entry.set_value(bytes);
            batch.add_entries::<Records>(group, &[entry])?;
        }
        self.engine.write(&mut batch, self.is_synced)?;
        Ok(())
    }

    fn read_stream(&self, stream: &str, tally: &mut Tally) -> Result<()> {
        let group = group(stream);
        let (first, last) = (self.engine.first_index(group), self.engine.last_index(group));
        let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
        let mut entries = Vec::new();
        self.engine.fetch_entries_to::<Records>(group, first, last + 1, None, &mut entries)?;
        for entry in entries {
            record::parts(entry.get_value()).tell(tally)?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.engine.sync()?)
    }
}
