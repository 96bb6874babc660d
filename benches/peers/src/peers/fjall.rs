//! fjall.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::group_sync::GroupSync;
use super::kv::{Kv, KvStore, Put, See, Table, target};
use super::none_running;
use crate::Result;
use crate::store::{INTERVAL, Kind, Mode, Peer, Setup, Store, Version, Work};

pub static PEER: Peer = Peer {
    name: "fjall",
    version: Version::Package("fjall"),
    kind: Kind::Other,
    open,
    lacks: &[
        (&[Work::Pipeline], "has no appends in flight"),
        (&[Work::Follow], "has no subscriptions"),
        (&[Work::Conditional], "has no tags; a table of them would be another design"),
    ],
    notes: &[
        "a commit is written under a lock, then synced by the first of those that wait (a group \
         commit of this program): a reader may see events that are not durable",
        "buffered: `manual_journal_persist`, and `persist` each 10 ms by a thread",
    ],
    after_kill: none_running,
};

struct Fjall {
    database: Database,
    tables: [Keyspace; 4],
    mode: Mode,
    syncs: GroupSync,
    stopped: Arc<AtomicBool>,
    syncer: Option<JoinHandle<()>>,
}

fn open(dir: &Path, setup: Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let builder = Database::builder(dir.join("fjall"));
    let database = builder.manual_journal_persist(setup.mode == Mode::Interval).open()?;
    let table = |name| database.keyspace(name, KeyspaceCreateOptions::default);
    let tables = [table("events")?, table("streams")?, table("categories")?, table("types")?];
    let stopped = Arc::new(AtomicBool::new(false));
    let syncer = (setup.mode == Mode::Interval).then(|| {
        let (database, stopped) = (database.clone(), Arc::clone(&stopped));
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(INTERVAL);
                // A failure shows in the next write.
                let _ = database.persist(PersistMode::SyncData);
            }
        })
    });
    let (mode, syncs) = (setup.mode, GroupSync::default());
    Ok(Box::new(KvStore::new(Fjall { database, tables, mode, syncs, stopped, syncer })?))
}

impl Kv for Fjall {
    fn write(&self, puts: &[Put]) -> Result<()> {
        let mut batch = self.database.batch();
        for (table, key, value) in puts {
            batch.insert(&self.tables[*table as usize], key.as_slice(), value.as_slice());
        }
        let to_system = self.mode != Mode::Interval;
        Ok(batch.durability(to_system.then_some(PersistMode::Buffer)).commit()?)
    }

    fn settle(&self) -> Result<()> {
        if self.mode == Mode::Sync {
            self.syncs.sync(|| Ok(self.database.persist(PersistMode::SyncData)?))?;
        }
        Ok(())
    }

    fn last(&self, table: Table, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        let found = self.tables[table as usize].prefix(prefix).next_back();
        Ok(found.map(fjall::Guard::key).transpose()?.map(|key| key.to_vec()))
    }

    fn each(&self, table: Table, prefix: &[u8], see: &mut See<'_>) -> Result<()> {
        for entry in self.tables[table as usize].prefix(prefix) {
            let (key, value) = entry.into_inner()?;
            see(&key, &value)?;
        }
        Ok(())
    }

    fn events(&self, table: Table, prefix: &[u8], see: &mut See<'_>) -> Result<()> {
        self.each(table, prefix, &mut |key, value| {
            let found = self.tables[Table::Events as usize].get(target(table, key, value))?;
            see(key, &found.ok_or("an event that was there is gone")?)
        })
    }

    fn close(mut self) -> Result<()> {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(syncer) = self.syncer.take() {
            syncer.join().map_err(|_| "the syncing thread panicked")?;
        }
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}
