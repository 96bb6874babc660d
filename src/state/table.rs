//! The keys of a file of `state/` in memory, and where their values are.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::format::codec::crc32;
use crate::format::state::{Group, GroupPlace, Parsed};
use crate::format::statewrites::Place;
use crate::storage::NamedFile;
use crate::sync::Arc;

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Value {
        offset: u64,
        len: u32,
        crc: u32,
    },
    /// Certainly deleted. Kept only where there is a doubt about what is absent.
    Deleted,
    /// There is, or was, a value, and it cannot be known which.
    Lost,
}

/// The keys, ordered. Per key it takes about 100 bytes and the key.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) slots: BTreeMap<Arc<[u8]>, Slot>,
    /// Why a key that is absent may have had a value.
    pub(super) doubt: Option<Error>,
    pub(super) file: Option<NamedFile>,
}

impl Table {
    /// Takes a write in; `offset` is where its group begins.
    pub(super) fn set(&mut self, key: Arc<[u8]>, place: Place, offset: u64) {
        let slot = match place {
            Place::Value { start, len, crc } => Slot::Value { offset: offset + start, len, crc },
            Place::Lost => Slot::Lost,
            Place::Deleted if self.doubt.is_some() => Slot::Deleted,
            Place::Deleted => {
                self.slots.remove(&key);
                return;
            }
        };
        self.slots.insert(key, slot);
    }

    /// Takes note of groups that cannot be read: what was written before them may be hidden.
    pub(super) fn hole(&mut self, why: Error) {
        self.slots.retain(|_, slot| *slot != Slot::Deleted);
        self.slots.values_mut().for_each(|slot| *slot = Slot::Lost);
        self.doubt.get_or_insert(why);
    }

    /// Why a value cannot be known.
    fn lost(&self) -> Error {
        self.doubt.clone().unwrap_or_else(|| {
            let path = self.file.as_ref().map(|file| file.path().to_owned()).unwrap_or_default();
            Error::corrupt(path, 0, "the value of the key", "a value that was damaged")
        })
    }

    /// What is known of a key, and where its value is.
    pub(super) fn find(&self, key: &[u8]) -> Found {
        match self.slots.get(key) {
            None => Found::Known(self.doubt.clone().map_or(Ok(None), Err)),
            Some(slot) => self.found(*slot),
        }
    }

    /// What a slot says.
    pub(super) fn found(&self, slot: Slot) -> Found {
        match (slot, &self.file) {
            (Slot::Deleted, _) => Found::Known(Ok(None)),
            (Slot::Value { offset, len, crc }, Some(file)) => {
                Found::At { file: file.clone(), offset, len, crc }
            }
            _ => Found::Known(Err(self.lost())),
        }
    }
}

/// A value, or where to read it.
#[derive(Debug)]
pub(crate) enum Found {
    Known(Result<Option<Arc<[u8]>>>),
    At { file: NamedFile, offset: u64, len: u32, crc: u32 },
}

impl Found {
    /// The bytes of the value, as far as they are known.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Known(value) => {
                value.as_ref().ok().and_then(Option::as_ref).map_or(0, |v| v.len())
            }
            Self::At { len, .. } => *len as usize,
        }
    }

    pub(crate) fn read(self) -> Result<Option<Arc<[u8]>>> {
        match self {
            Self::Known(value) => value,
            Self::At { file, offset, len, crc } => read_value(&file, offset, len, crc).map(Some),
        }
    }
}

/// Takes the writes of a group that was just encoded into a table.
pub(super) fn take_in(table: &mut Table, bytes: &[u8], place: &GroupPlace, room: u64) {
    if let Parsed::Group(group) = Group::parse(bytes, place.salt, place.offset, room) {
        for (key, at) in group.writes {
            table.set(Arc::from(key), at, place.offset);
        }
    }
}

/// Reads a value and verifies it.
pub(super) fn read_value(file: &NamedFile, offset: u64, len: u32, crc: u32) -> Result<Arc<[u8]>> {
    let value = file.read_range(offset, len as usize)?.ok_or_else(|| {
        Error::corrupt(file.path(), offset, format!("{len} bytes"), "the end of the file")
    })?;
    let computed = crc32(&value);
    if computed != crc {
        let (expected, found) = (format!("checksum {crc:08x}"), format!("checksum {computed:08x}"));
        return Err(Error::corrupt(file.path(), offset, expected, found));
    }
    Ok(value.into())
}
