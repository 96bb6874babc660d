//! redb.

use std::path::Path;
use std::time::Instant;

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::kv::{Kv, KvStore, Put, See, TABLES, Table, target};
use super::none_running;
use crate::Result;
use crate::store::{INTERVAL, Kind, Mode, Peer, Setup, Store, Version, Work};

pub static PEER: Peer = Peer {
    name: "redb",
    version: Version::Package("redb"),
    kind: Kind::Other,
    open,
    lacks: &[
        (&[Work::Pipeline], "has no appends in flight"),
        (&[Work::Os], "keeps in memory what is not durable, or syncs it"),
        (&[Work::Follow], "has no subscriptions"),
        (&[Work::Conditional], "has no tags; a table of them would be another design"),
    ],
    notes: &[
        "no group commit: threads take turns, a transaction each",
        "buffered: `Durability::None`, and a durable commit each 10 ms, with the lock held",
        "gives less: checksums are read after an unclean end only",
    ],
    after_kill: none_running,
};

type Bytes = &'static [u8];
const DEFINITIONS: [TableDefinition<'static, Bytes, Bytes>; 4] = [
    TableDefinition::new("events"),
    TableDefinition::new("streams"),
    TableDefinition::new("categories"),
    TableDefinition::new("types"),
];

struct Redb {
    database: Database,
    mode: Mode,
    synced: std::sync::Mutex<Instant>,
}

fn definition(table: Table) -> TableDefinition<'static, Bytes, Bytes> {
    DEFINITIONS[table as usize]
}

fn open(dir: &Path, setup: Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let database = Database::create(dir.join("events.redb"))?;
    let transaction = database.begin_write()?;
    for table in TABLES {
        transaction.open_table(definition(table))?;
    }
    transaction.commit()?;
    let (mode, synced) = (setup.mode, std::sync::Mutex::new(Instant::now()));
    Ok(Box::new(KvStore::new(Redb { database, mode, synced })?))
}

impl Kv for Redb {
    fn write(&self, puts: &[Put]) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        if self.mode != Mode::Sync {
            let mut synced = self.synced.lock().map_err(|_| "a panic elsewhere")?;
            if synced.elapsed() < INTERVAL {
                transaction.set_durability(Durability::None)?;
            } else {
                *synced = Instant::now();
            }
        }
        for table in TABLES {
            let mut open = transaction.open_table(definition(table))?;
            for (of, key, value) in puts {
                if *of as usize == table as usize {
                    open.insert(key.as_slice(), value.as_slice())?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn last(&self, table: Table, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        let open = self.database.begin_read()?.open_table(definition(table))?;
        let end = after(prefix);
        let mut range = match &end {
            Some(end) => open.range(prefix..end.as_slice())?,
            None => open.range::<&[u8]>(prefix..)?,
        };
        Ok(range.next_back().transpose()?.map(|(key, _)| key.value().to_vec()))
    }

    fn each(&self, table: Table, prefix: &[u8], see: &mut See<'_>) -> Result<()> {
        let open = self.database.begin_read()?.open_table(definition(table))?;
        for entry in open.range::<&[u8]>(prefix..)? {
            let (key, value) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            see(key.value(), value.value())?;
        }
        Ok(())
    }

    fn events(&self, table: Table, prefix: &[u8], see: &mut See<'_>) -> Result<()> {
        let events = self.database.begin_read()?.open_table(definition(Table::Events))?;
        self.each(table, prefix, &mut |key, value| {
            let found = events.get(target(table, key, value).as_slice())?;
            see(key, found.ok_or("an event that was there is gone")?.value())
        })
    }

    fn close(self) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.commit()?;
        Ok(self.database.close()?)
    }
}

/// The least key behind all that begin with some bytes.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}
