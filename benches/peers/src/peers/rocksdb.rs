//! `RocksDB`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, Options, ReadOptions, WriteBatch};

use super::group_sync::GroupSync;
use super::kv::{Kv, KvStore, Put, See, TABLES, Table, target};
use super::none_running;
use crate::Result;
use crate::store::{INTERVAL, Kind, Mode, Peer, Setup, Store, Version, Work};

pub static PEER: Peer = Peer {
    name: "rocksdb",
    version: Version::Package("librocksdb-sys"),
    kind: Kind::Other,
    open,
    lacks: &[
        (&[Work::Pipeline], "has no appends in flight"),
        (&[Work::Follow], "has no subscriptions"),
        (&[Work::Conditional], "has no tags; a table of them would be another design"),
    ],
    notes: &[
        "a commit is written under a lock, then the log is synced by the first of those that wait \
         (a group commit of this program): a reader may see events that are not durable",
        "buffered: `manual_wal_flush`, and `flush_wal` each 10 ms by a thread",
        "compression is off",
    ],
    after_kill: none_running,
};

const NAMES: [&str; 4] = ["events", "streams", "categories", "types"];

struct Rocks {
    database: Arc<DB>,
    mode: Mode,
    syncs: GroupSync,
    stopped: Arc<AtomicBool>,
    syncer: Option<JoinHandle<()>>,
}

fn open(dir: &Path, setup: Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options.set_manual_wal_flush(setup.mode == Mode::Interval);
    options.increase_parallelism(2);
    let database = Arc::new(DB::open_cf(&options, dir, NAMES)?);
    let stopped = Arc::new(AtomicBool::new(false));
    let syncer = (setup.mode == Mode::Interval).then(|| {
        let (database, stopped) = (Arc::clone(&database), Arc::clone(&stopped));
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(INTERVAL);
                // A failure shows in the next write.
                let _ = database.flush_wal(true);
            }
        })
    });
    let (mode, syncs) = (setup.mode, GroupSync::default());
    Ok(Box::new(KvStore::new(Rocks { database, mode, syncs, stopped, syncer })?))
}

impl Rocks {
    fn table(&self, table: Table) -> Result<&ColumnFamily> {
        let name = NAMES[TABLES.iter().position(|of| *of as usize == table as usize).unwrap_or(0)];
        Ok(self.database.cf_handle(name).ok_or("a table that was made is gone")?)
    }
}

impl Kv for Rocks {
    fn write(&self, puts: &[Put]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (table, key, value) in puts {
            batch.put_cf(self.table(*table)?, key, value);
        }
        Ok(self.database.write(batch)?)
    }

    fn settle(&self) -> Result<()> {
        if self.mode == Mode::Sync {
            self.syncs.sync(|| Ok(self.database.flush_wal(true)?))?;
        }
        Ok(())
    }

    fn last(&self, table: Table, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut end = prefix.to_vec();
        let mode = match end.last_mut() {
            Some(last) => {
                *last += 1;
                IteratorMode::From(&end, Direction::Reverse)
            }
            None => IteratorMode::End,
        };
        let mut found = self.database.iterator_cf(self.table(table)?, mode);
        let key = found.next().transpose()?.map(|(key, _)| key.to_vec());
        Ok(key.filter(|key| key.starts_with(prefix)))
    }

    fn each(&self, table: Table, prefix: &[u8], see: &mut See<'_>) -> Result<()> {
        let mut options = ReadOptions::default();
        options.set_readahead_size(1 << 20);
        let mode = IteratorMode::From(prefix, Direction::Forward);
        let found = self.database.iterator_cf_opt(self.table(table)?, options, mode);
        for entry in found {
            let (key, value) = entry?;
            if !key.starts_with(prefix) {
                break;
            }
            see(&key, &value)?;
        }
        Ok(())
    }

    fn events(&self, table: Table, prefix: &[u8], see: &mut See<'_>) -> Result<()> {
        let events = self.table(Table::Events)?;
        self.each(table, prefix, &mut |key, value| {
            let found = self.database.get_pinned_cf(events, target(table, key, value))?;
            see(key, &found.ok_or("an event that was there is gone")?)
        })
    }

    fn close(mut self) -> Result<()> {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(syncer) = self.syncer.take() {
            syncer.join().map_err(|_| "the syncing thread panicked")?;
        }
        Ok(self.database.flush_wal(true)?)
    }
}
