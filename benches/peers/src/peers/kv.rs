//! An event store over ordered keys, as one builds it on a key-value store: the events by position,
//! and under each stream, category and type the positions of its events.

use std::sync::{Mutex, PoisonError};

use super::record;
use crate::Result;
use crate::store::Store;
use crate::workload::{Event, Tally};

#[derive(Clone, Copy, Debug)]
pub enum Table {
    /// position -> record
    Events,
    /// stream, 0, version -> position
    Streams,
    /// category, 0, position -> nothing
    Categories,
    /// type, 0, position -> nothing
    Types,
}

pub const TABLES: [Table; 4] = [Table::Events, Table::Streams, Table::Categories, Table::Types];

/// What a write is made of: in which table, under which key, what.
pub type Put = (Table, Vec<u8>, Vec<u8>);
pub type See<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// A key-value store.
pub trait Kv: Send + Sync {
    /// Writes all or nothing, in the order of calls.
    fn write(&self, puts: &[Put]) -> Result<()>;
    /// Makes durable what was written, where writing alone does not.
    fn settle(&self) -> Result<()>;
    /// The last key that begins with some bytes.
    fn last(&self, table: Table, prefix: &[u8]) -> Result<Option<Vec<u8>>>;
    /// Shows every entry whose key begins with some bytes, in order.
    fn each(&self, table: Table, prefix: &[u8], see: &mut See<'_>) -> Result<()>;
    /// For each entry whose key begins with some bytes, shows the event whose position is in it.
    fn events(&self, table: Table, prefix: &[u8], see: &mut See<'_>) -> Result<()>;
    fn close(self) -> Result<()>;
}

pub struct KvStore<T> {
    kv: T,
    /// The last position. Held while a commit is written, so that positions are in order.
    last: Mutex<u64>,
}

impl<T: Kv> KvStore<T> {
    pub fn new(kv: T) -> Result<Self> {
        let last = kv.last(Table::Events, &[])?;
        let last = Mutex::new(last.map_or(0, |key| number_at_end(&key)));
        Ok(Self { kv, last })
    }

    fn see(&self, table: Table, name: &str, tally: &mut Tally) -> Result<()> {
        self.kv.events(table, &prefix(name), &mut |_, value| record::parts(value).tell(tally))
    }
}

fn prefix(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 9);
    key.extend_from_slice(name.as_bytes());
    key.push(0);
    key
}

fn key(name: &str, number: u64) -> Vec<u8> {
    let mut key = prefix(name);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The number that a key ends with.
pub fn number_at_end(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The key of the event that an entry of another table points to.
pub fn target(table: Table, key: &[u8], value: &[u8]) -> [u8; 8] {
    let found = if matches!(table, Table::Streams) { value } else { key };
    number_at_end(found).to_be_bytes()
}

impl<T: Kv> Store for KvStore<T> {
    fn append(&self, events: &[Event<'_>]) -> Result<()> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut puts: Vec<Put> = Vec::with_capacity(events.len() * 4);
        let mut versions: Vec<(&str, u64)> = Vec::new();
        for (event, position) in events.iter().zip(*last + 1..) {
            // The versions that this commit has given are not found yet.
            let given = versions.iter_mut().rev().find(|(stream, _)| *stream == event.stream);
            let version = if let Some((_, version)) = given {
                *version += 1;
                *version
            } else {
                let found = self.kv.last(Table::Streams, &prefix(event.stream))?;
                let version = found.map_or(0, |key| number_at_end(&key)) + 1;
                versions.push((event.stream, version));
                version
            };
            let mut record = Vec::with_capacity(384);
            record::encode(&mut record, event, position, version);
            puts.push((Table::Events, position.to_be_bytes().to_vec(), record));
            let place = position.to_be_bytes().to_vec();
            puts.push((Table::Streams, key(event.stream, version), place));
            puts.push((Table::Categories, key(event.category(), position), Vec::new()));
            puts.push((Table::Types, key(event.event_type, position), Vec::new()));
        }
        self.kv.write(&puts)?;
        *last += events.len() as u64;
        drop(last);
        self.kv.settle()
    }

    fn read_stream(&self, stream: &str, tally: &mut Tally) -> Result<()> {
        self.see(Table::Streams, stream, tally)
    }

    fn scan(&self, tally: &mut Tally) -> Result<()> {
        self.kv.each(Table::Events, &[], &mut |_, value| record::parts(value).tell(tally))
    }

    fn read_category(&self, category: &str, tally: &mut Tally) -> Result<()> {
        self.see(Table::Categories, category, tally)
    }

    fn read_type(&self, event_type: &str, tally: &mut Tally) -> Result<()> {
        self.see(Table::Types, event_type, tally)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.kv.close()
    }
}
