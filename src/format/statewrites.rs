//! State writes: a value for a key, or the end of one. The same bytes in batch frames and in the
//! groups of `state/`.

use super::Invalid;
use super::codec::{Cursor, Put, crc32, patch_u32, u32_at};

/// The longest key, in bytes.
pub(crate) const MAX_KEY: usize = 1024;
/// The longest value, in bytes.
pub(crate) const MAX_VALUE: usize = 16 << 20;

/// The number of rows, and the size of the table.
const FIXED: usize = 4 + 4;
const VALUE: u8 = 0;
const DELETED: u8 = 1;
const LOST: u8 = 2;

/// What is written for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write<'a> {
    Value(&'a [u8]),
    Deleted,
    /// There was a value, and it was damaged. Only compaction writes this.
    Lost,
}

/// What was written for a key, and where the value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Value { start: u64, len: u32, crc: u32 },
    Deleted,
    Lost,
}

/// Parsed writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writes<'a> {
    /// The keys in the order in which they were written; a later row of a key replaces an earlier.
    pub(crate) rows: Vec<(&'a [u8], Place)>,
}

/// Appends writes, and returns where their table ends and their values begin.
pub(crate) fn put_writes<'a>(
    out: &mut Vec<u8>,
    writes: impl ExactSizeIterator<Item = (&'a [u8], Write<'a>)> + Clone,
) -> usize {
    let start = out.len();
    out.put_u32(u32::try_from(writes.len()).unwrap_or(u32::MAX));
    out.put_u32(0);
    for (key, write) in writes.clone() {
        let kind = match write {
            Write::Value(_) => VALUE,
            Write::Deleted => DELETED,
            Write::Lost => LOST,
        };
        out.put_u8(kind);
        out.put_varint(key.len() as u64);
        out.put(key);
        if let Write::Value(value) = write {
            out.put_varint(value.len() as u64);
            out.put_u32(crc32(value));
        }
    }
    let end = out.len();
    let table = u32::try_from(end - start - FIXED).unwrap_or(u32::MAX);
    patch_u32(out, start + 4, table);
    for (_, write) in writes {
        if let Write::Value(value) = write {
            out.put(value);
        }
    }
    end
}

/// The most bytes that a write takes, its key and value included.
pub(crate) const fn write_bound(key: usize, value: usize) -> usize {
    1 + 2 * 10 + 4 + key + value
}

/// The most bytes that writes take beside [`write_bound`] of each.
pub(crate) const WRITES_BOUND: usize = FIXED;

impl<'a> Writes<'a> {
    /// Where the table of the writes at an offset ends; nothing is verified yet. `None` where the
    /// bytes do not reach as far as to say so.
    pub(crate) fn table_end(bytes: &[u8], at: usize) -> Option<usize> {
        let table = u32_at(bytes, at.checked_add(4)?)?;
        at.checked_add(FIXED)?.checked_add(table as usize)
    }

    /// Reads the table of writes whose checksum was verified. The writes begin at `at` and end,
    /// with their values, at exactly `end`, both counted from the start of `bytes`, which may end
    /// before the values do.
    pub(crate) fn parse(bytes: &'a [u8], at: usize, end: usize) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("state writes that fit", "state writes that do not");
        let table_end = Self::table_end(bytes, at).ok_or_else(wrong)?;
        let table = bytes.get(..table_end).ok_or_else(wrong)?;
        let mut cursor = Cursor::at(table, at);
        let count = cursor.u32().ok_or_else(wrong)?;
        let mut cursor = Cursor::at(table, at + FIXED);
        let mut value_at = table_end as u64;
        // Not more than the table can hold, whatever the count says.
        let mut rows = Vec::with_capacity((count as usize).min(table.len() / 3));
        for _ in 0..count {
            let mut key = || {
                let kind = cursor.u8()?;
                let len = usize::try_from(cursor.varint()?).ok()?;
                Some((kind, cursor.take(len)?))
            };
            let (kind, key) = key().ok_or_else(wrong)?;
            let place = match kind {
                VALUE => {
                    let mut value = || Some((cursor.varint_u32()?, cursor.u32()?));
                    let (len, crc) = value().ok_or_else(wrong)?;
                    let start = value_at;
                    value_at = value_at.checked_add(u64::from(len)).ok_or_else(wrong)?;
                    Place::Value { start, len, crc }
                }
                DELETED => Place::Deleted,
                LOST => Place::Lost,
                other => {
                    let found = format!("kind {other}");
                    return Err(Invalid::unsupported("a known state write", found));
                }
            };
            rows.push((key, place));
        }
        if cursor.offset() != table_end || value_at != end as u64 {
            return Err(wrong());
        }
        Ok(Self { rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_come_back_and_whatever_else_is_refused() {
        let writes: [(&[u8], Write<'_>); 3] =
            [(b"a", Write::Value(b"12")), (b"b", Write::Deleted), (b"a", Write::Value(b""))];
        let mut bytes = b"before".to_vec();
        let end = put_writes(&mut bytes, writes.into_iter());
        assert_eq!(bytes.len(), end + 2);
        let found = Writes::parse(&bytes, 6, bytes.len()).unwrap();
        let keys: Vec<&[u8]> = found.rows.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, [b"a", b"b", b"a"]);
        let first = Place::Value { start: end as u64, len: 2, crc: crc32(b"12") };
        assert_eq!(found.rows[0].1, first);
        for len in 0..end {
            assert!(Writes::parse(&bytes[..len], 6, bytes.len()).is_err(), "{len} bytes");
        }
        assert!(Writes::parse(&bytes, 6, bytes.len() - 1).is_err());
        assert!(Writes::parse(&bytes, 6, bytes.len() + 1).is_err());
        bytes[14] = 9;
        assert!(Writes::parse(&bytes, 6, bytes.len()).unwrap_err().unsupported);
    }

    #[test]
    fn tables_with_rows_of_their_own_counting_are_refused() {
        let writes: [(&[u8], Write<'_>); 3] =
            [(b"a", Write::Deleted), (b"b", Write::Deleted), (b"c", Write::Lost)];
        let mut bytes = Vec::new();
        let end = put_writes(&mut bytes, writes.into_iter());
        assert_eq!(Writes::parse(&bytes, 0, end).unwrap().rows.len(), 3);
        assert_eq!(Writes::parse(&bytes, 0, end).unwrap().rows[2].1, Place::Lost);
        for count in [0, 2, 4, u32::MAX] {
            patch_u32(&mut bytes, 0, count);
            assert!(Writes::parse(&bytes, 0, end).is_err(), "{count} rows");
        }
    }

    #[test]
    fn the_bounds_cover_the_largest_write() {
        let (key, value) = (vec![b'k'; MAX_KEY], vec![b'v'; MAX_VALUE]);
        let write: [(&[u8], Write<'_>); 1] = [(&key, Write::Value(&value))];
        let mut bytes = Vec::new();
        put_writes(&mut bytes, write.into_iter());
        let bound = WRITES_BOUND + write_bound(key.len(), value.len());
        assert!(bytes.len() <= bound && bound <= bytes.len() + 20, "{} of {bound}", bytes.len());
        assert_eq!((MAX_KEY, MAX_VALUE), (1024, 16_777_216), "as documented");
    }
}
