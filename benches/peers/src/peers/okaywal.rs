//! okaywal: a log of entries, and nothing else.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use okaywal::{Configuration, Entry, EntryId, LogManager, SegmentReader, WriteAheadLog};

use super::none_running;
use super::record;
use crate::Result;
use crate::store::{Kind, Peer, Setup, Store, Version, Work};
use crate::workload::{Event, Tally};

pub static PEER: Peer = Peer {
    name: "okaywal",
    version: Version::Package("okaywal"),
    kind: Kind::Other,
    open,
    lacks: &[
        (&[Work::Os, Work::Interval], "always syncs"),
        (
            &[
                Work::Pipeline,
                Work::Streams,
                Work::Scan,
                Work::Category,
                Work::Type,
                Work::MemoryOpen,
                Work::MemoryServing,
                Work::Follow,
                Work::Conditional,
            ],
            "is a write-ahead log without an index",
        ),
    ],
    notes: &[
        "does much less: no order is numbered, no names are looked up, nothing can be found but by \
         its place; opening it reads everything",
        "checkpoints are off, so that it keeps what it was given",
    ],
    after_kill: none_running,
};

struct Wal {
    log: WriteAheadLog,
    /// What was found while opening.
    found: Arc<Mutex<Tally>>,
}

#[derive(Debug)]
struct Manager(Arc<Mutex<Tally>>);

impl LogManager for Manager {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let Some(chunks) = entry.read_all_chunks()? else { return Ok(()) };
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in chunks {
            let mut rest = chunk.as_slice();
            while let Some(found) = record::decode(rest).map_err(io::Error::other)? {
                found.tell(&mut tally).map_err(io::Error::other)?;
                rest = &rest[found.length..];
            }
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: EntryId,
        _entries: &mut SegmentReader,
        _wal: &WriteAheadLog,
    ) -> io::Result<()> {
        Ok(())
    }
}

fn open(dir: &Path, setup: Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let found = Arc::new(Mutex::new(Tally::deep()));
    let bytes = u32::try_from((setup.events * 384).clamp(16 << 20, 1 << 30))?;
    let log = Configuration::default_for(dir)
        .preallocate_bytes(bytes)
        .checkpoint_after_bytes(1 << 40)
        .open(Manager(Arc::clone(&found)))?;
    Ok(Box::new(Wal { log, found }))
}

impl Store for Wal {
    fn append(&self, events: &[Event<'_>]) -> Result<()> {
        let mut bytes = Vec::with_capacity(events.len() * 384);
        for event in events {
            record::encode(&mut bytes, event, 0, 0);
        }
        let mut entry = self.log.begin_entry()?;
        entry.write_chunk(&bytes)?;
        entry.commit()?;
        Ok(())
    }

    /// For the check only: what opening has read.
    fn scan(&self, tally: &mut Tally) -> Result<()> {
        *tally = *self.found.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.log.shutdown()?)
    }
}
