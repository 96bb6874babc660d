//! LMDB, through heed.

use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions};

use super::kv::{Kv, KvStore, Put, See, Table, target};
use super::none_running;
use crate::Result;
use crate::store::{Kind, Mode, Peer, Setup, Store, Version, Work};

pub static PEER: Peer = Peer {
    name: "heed",
    version: Version::Package("heed"),
    kind: Kind::Other,
    open,
    lacks: &[
        (&[Work::Pipeline], "has no appends in flight"),
        (&[Work::Interval], "does not answer before it has written"),
        (&[Work::Follow], "has no subscriptions"),
        (&[Work::Conditional], "has no tags; a table of them would be another design"),
    ],
    notes: &[
        "LMDB; no group commit: threads take turns, a transaction each",
        "relaxed: `MDB_NOSYNC`, with which a power cut may damage the file",
        "gives less: no checksums at all",
    ],
    after_kill: none_running,
};

struct Lmdb {
    env: Env,
    tables: [Database<'static, Bytes, Bytes>; 4],
}

#[expect(unsafe_code, reason = "the directory is this program's own")]
fn open(dir: &Path, setup: Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let mut options = EnvOpenOptions::new();
    options.map_size(64 << 30).max_dbs(4);
    if setup.mode != Mode::Sync {
        // SAFETY: nothing is read here after a power cut.
        unsafe { options.flags(EnvFlags::NO_SYNC) };
    }
    // SAFETY: the files are changed through this environment only.
    let env = unsafe { options.open(dir) }?;
    let made = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
        let mut table = |name| opener.create_database(transaction, Some(name));
        let tables = [table("events")?, table("streams")?, table("categories")?, table("types")?];
        heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(tables))
    });
    let tables = made?.unwrap_commit();
    Ok(Box::new(KvStore::new(Lmdb { env, tables })?))
}

impl Kv for Lmdb {
    fn write(&self, puts: &[Put]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for (table, key, value) in puts {
            self.tables[*table as usize].put(&mut transaction, key, value)?;
        }
        Ok(transaction.commit()?)
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn last(&self, table: Table, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        let transaction = self.env.read_txn()?;
        let table = &self.tables[table as usize];
        if prefix.is_empty() {
            return Ok(table.last(&transaction)?.map(|(key, _)| key.to_vec()));
        }
        let mut found = table.rev_prefix_iter(&transaction, prefix)?;
        Ok(found.next().transpose()?.map(|(key, _)| key.to_vec()))
    }

    fn each(&self, table: Table, prefix: &[u8], see: &mut See<'_>) -> Result<()> {
        let transaction = self.env.read_txn()?;
        let table = &self.tables[table as usize];
        if prefix.is_empty() {
            for entry in table.iter(&transaction)? {
                let (key, value) = entry?;
                see(key, value)?;
            }
            return Ok(());
        }
        for entry in table.prefix_iter(&transaction, prefix)? {
            let (key, value) = entry?;
            see(key, value)?;
        }
        Ok(())
    }

    fn events(&self, table: Table, prefix: &[u8], see: &mut See<'_>) -> Result<()> {
        let transaction = self.env.read_txn()?;
        let events = &self.tables[Table::Events as usize];
        for entry in self.tables[table as usize].prefix_iter(&transaction, prefix)? {
            let (key, value) = entry?;
            let found = events.get(&transaction, &target(table, key, value))?;
            see(key, found.ok_or("an event that was there is gone")?)?;
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        self.env.force_sync()?;
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}
