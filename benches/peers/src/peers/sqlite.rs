//! SQLite: a table of events with the indexes that an event store needs.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, params};

use super::none_running;
use crate::Result;
use crate::store::{Kind, Mode, Peer, Setup, Store, Version, Work};
use crate::workload::{Event, Tally};

pub static PEER: Peer = Peer {
    name: "rusqlite",
    version: Version::Program(|| format!("SQLite {}", rusqlite::version())),
    kind: Kind::Other,
    open,
    lacks: &[
        (&[Work::Pipeline], "has no appends in flight"),
        (&[Work::Interval], "does not answer before it has written"),
        (&[Work::Follow], "has no subscriptions, only polling"),
        (&[Work::Conditional], "has no tags; a table of them would be another design"),
    ],
    notes: &[
        "no group commit: threads take turns, a transaction each",
        "relaxed: `synchronous=NORMAL`, which in WAL mode syncs at checkpoints only",
        "gives less: no checksums on read; and more: SQL",
    ],
    after_kill: none_running,
};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (
        position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL,
        category TEXT NOT NULL, type TEXT NOT NULL, id BLOB NOT NULL, payload BLOB NOT NULL);
    CREATE UNIQUE INDEX IF NOT EXISTS by_stream ON events (stream, version);
    CREATE INDEX IF NOT EXISTS by_category ON events (category);
    CREATE INDEX IF NOT EXISTS by_type ON events (type);";
const INSERT: &str = "
    INSERT INTO events (stream, version, category, type, id, payload)
    VALUES (?1, (SELECT coalesce(max(version), 0) + 1 FROM events WHERE stream = ?1), ?2, ?3, ?4,
            ?5)";

struct Sqlite {
    writer: Mutex<Connection>,
}

fn open(dir: &Path, setup: Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let writer = Connection::open(dir.join("events.sqlite"))?;
    writer.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = if setup.mode == Mode::Sync { "FULL" } else { "NORMAL" };
    writer.pragma_update(None, "synchronous", synchronous)?;
    writer.pragma_update(None, "mmap_size", 1_i64 << 34)?;
    writer.execute_batch(SCHEMA)?;
    Ok(Box::new(Sqlite { writer: Mutex::new(writer) }))
}

impl Sqlite {
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, condition: &str, key: &str, tally: &mut Tally) -> Result<()> {
        let connection = self.connection();
        let sql = format!("SELECT stream, type, payload FROM events {condition}");
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows =
            if key.is_empty() { statement.query([])? } else { statement.query([key])? };
        while let Some(row) = rows.next()? {
            let (stream, event_type) = (row.get_ref(0)?, row.get_ref(1)?);
            tally.see(stream.as_str()?, event_type.as_str()?, row.get_ref(2)?.as_blob()?);
        }
        Ok(())
    }
}

impl Store for Sqlite {
    fn append(&self, events: &[Event<'_>]) -> Result<()> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for event in events {
                insert.execute(params![
                    event.stream,
                    event.category(),
                    event.event_type,
                    event.id,
                    event.payload
                ])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn read_stream(&self, stream: &str, tally: &mut Tally) -> Result<()> {
        self.read("WHERE stream = ?1 ORDER BY version", stream, tally)
    }

    fn scan(&self, tally: &mut Tally) -> Result<()> {
        self.read("ORDER BY position", "", tally)
    }

    fn read_category(&self, category: &str, tally: &mut Tally) -> Result<()> {
        self.read("WHERE category = ?1 ORDER BY position", category, tally)
    }

    fn read_type(&self, event_type: &str, tally: &mut Tally) -> Result<()> {
        self.read("WHERE type = ?1 ORDER BY position", event_type, tally)
    }

    fn close(self: Box<Self>) -> Result<()> {
        let connection = self.writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        connection.close().map_err(|(_, error)| error)?;
        Ok(())
    }
}
