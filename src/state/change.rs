//! Changes: what callers and frames ask the state to take in.

use crate::error::{Error, Result};
use crate::format::Invalid;
use crate::format::statewrites::{MAX_KEY, MAX_VALUE, Place, Write, Writes, put_writes};
use crate::sync::Arc;

/// The most that one write may hold, in bytes of keys and values, and in changes.
const WRITE_BYTES: usize = 64 << 20;
pub(super) const WRITE_CHANGES: usize = 65_535;

/// A key and its new value; `None` deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Arc<[u8]>,
    pub(crate) value: Option<Arc<[u8]>>,
}

/// The bytes that changes take as state writes in a frame.
pub(crate) fn encode(changes: &[Change]) -> Vec<u8> {
    let mut out = Vec::new();
    put_writes(&mut out, changes.iter().map(row));
    out
}

pub(super) fn row(change: &Change) -> (&[u8], Write<'_>) {
    let write = change.value.as_deref().map_or(Write::Deleted, Write::Value);
    (&change.key, write)
}

/// Checks changes against the limits.
pub(crate) fn check(changes: &[Change]) -> Result<()> {
    let mut bytes = 0_usize;
    for Change { key, value } in changes {
        let value = value.as_ref().map_or(0, |value| value.len());
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(Error::limit("bytes of a state key", MAX_KEY as u64, key.len() as u64));
        }
        if value > MAX_VALUE {
            return Err(Error::limit("bytes of a state value", MAX_VALUE as u64, value as u64));
        }
        bytes = bytes.saturating_add(key.len() + value);
    }
    if bytes > WRITE_BYTES {
        return Err(Error::limit("bytes of a state write", WRITE_BYTES as u64, bytes as u64));
    }
    if changes.len() > WRITE_CHANGES {
        let (limit, found) = (WRITE_CHANGES as u64, changes.len() as u64);
        return Err(Error::limit("changes of a state write", limit, found));
    }
    Ok(())
}

/// The changes that a frame carries, given the bytes of its state writes, whose checksum was
/// verified.
pub(crate) fn changes_of(bytes: &[u8]) -> Result<Vec<Change>, Invalid> {
    let wrong = || Invalid::new("state writes that fit", "state writes that do not");
    let writes = Writes::parse(bytes, 0, bytes.len())?;
    let change = |(key, place): (&[u8], Place)| {
        let value = match place {
            Place::Deleted => None,
            Place::Lost => return Err(wrong()),
            Place::Value { start, len, .. } => {
                let start = usize::try_from(start).map_err(|_| wrong())?;
                let end = start.checked_add(len as usize).ok_or_else(wrong)?;
                Some(Arc::from(bytes.get(start..end).ok_or_else(wrong)?))
            }
        };
        Ok(Change { key: Arc::from(key), value })
    };
    writes.rows.into_iter().map(change).collect()
}
