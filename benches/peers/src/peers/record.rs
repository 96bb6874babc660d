//! The record of an event where a store keeps bytes only: what a plain log would write.
//!
//! | bytes | |
//! |---|---|
//! | 4 | CRC-32 of the rest |
//! | 4 | length of the whole |
//! | 8 | position |
//! | 8 | version |
//! | 16 | id |
//! | 8 | time |
//! | 8 | what tells the records of one file from those of another |
//! | 2 | length of the stream's name |
//! | 2 | length of the type |
//! | | stream, type, payload |

use crate::Result;
use crate::workload::{Event, Tally};

pub const HEADER: usize = 60;

/// Appends the record of an event to a buffer, and says how long it is.
pub fn encode(buffer: &mut Vec<u8>, event: &Event<'_>, position: u64, version: u64) -> usize {
    let start = buffer.len();
    let length = HEADER + event.stream.len() + event.event_type.len() + event.payload.len();
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&(length as u32).to_le_bytes());
    buffer.extend_from_slice(&position.to_le_bytes());
    buffer.extend_from_slice(&version.to_le_bytes());
    buffer.extend_from_slice(&event.id);
    // The time and the file are the same for all here.
    buffer.extend_from_slice(&[7; 16]);
    buffer.extend_from_slice(&(event.stream.len() as u16).to_le_bytes());
    buffer.extend_from_slice(&(event.event_type.len() as u16).to_le_bytes());
    buffer.extend_from_slice(event.stream.as_bytes());
    buffer.extend_from_slice(event.event_type.as_bytes());
    buffer.extend_from_slice(event.payload);
    let crc = crc32fast::hash(&buffer[start + 4..]);
    buffer[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    length
}

/// What a record says.
pub struct Decoded<'a> {
    pub stream: &'a [u8],
    pub event_type: &'a [u8],
    pub payload: &'a [u8],
    pub length: usize,
}

impl Decoded<'_> {
    pub fn tell(&self, tally: &mut Tally) -> Result<()> {
        tally.see_bytes(self.stream, self.event_type, self.payload)
    }
}

/// The record at the beginning of some bytes, checked; `None` where there is none.
#[inline]
pub fn decode(bytes: &[u8]) -> Result<Option<Decoded<'_>>> {
    if bytes.len() < HEADER || number(bytes, 4) == 0 {
        return Ok(None);
    }
    let length = number(bytes, 4) as usize;
    let Some(record) = bytes.get(..length).filter(|record| record.len() >= HEADER) else {
        return Err("a record with a wrong length".into());
    };
    if crc32fast::hash(&record[4..]) != number(record, 0) {
        return Err("a record with a wrong checksum".into());
    }
    Ok(Some(parts(record)))
}

/// What a record says, where the store has checked its bytes, or does not.
#[inline]
pub fn parts(record: &[u8]) -> Decoded<'_> {
    let short = |at: usize| usize::from(u16::from_le_bytes([record[at], record[at + 1]]));
    let (stream, rest) = record[HEADER..].split_at(short(56));
    let (event_type, payload) = rest.split_at(short(58));
    Decoded { stream, event_type, payload, length: record.len() }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
