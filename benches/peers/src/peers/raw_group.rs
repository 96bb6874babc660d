//! A simple group commit: the first that comes writes and syncs for all that have queued.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Result;

const BLOCK: usize = 4096;
/// So long a gathering leader waits at most.
const GATHER: Duration = Duration::from_micros(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `pwrite` and `fdatasync`.
    Buffered,
    /// The same; the leader first waits for the callers that were acknowledged just before.
    Gathering,
    /// Blocks of 4 KiB through `O_DIRECT | O_DSYNC`; the last is written again as it fills.
    Direct,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    /// Callers that have queued, and those of the group before.
    queued: usize,
    served: usize,
    /// Groups begun and groups durable.
    begun: u64,
    durable: u64,
    is_led: bool,
    has_failed: bool,
}

pub struct Group {
    way: Way,
    state: Mutex<State>,
    done: Condvar,
    /// What only the leader touches.
    place: Mutex<Place>,
}

struct Place {
    end: u64,
    /// What the last block holds so far, for `Way::Direct`.
    partial: Vec<u8>,
    aligned: Vec<u8>,
}

impl Group {
    /// Goes on at the end of what is there; `last` is what its last block holds.
    pub fn new(way: Way, end: u64, last: &[u8]) -> Self {
        let place = Place { end, partial: last.to_vec(), aligned: Vec::new() };
        Self { way, state: Mutex::default(), done: Condvar::new(), place: Mutex::new(place) }
    }

    pub fn commit(&self, file: &File, record: &[u8]) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.buffer.extend_from_slice(record);
        state.queued += 1;
        let mine = state.begun;
        while state.durable <= mine {
            if state.has_failed {
                return Err("a write failed".into());
            }
            if state.is_led {
                state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.is_led = true;
            if self.way == Way::Gathering && state.served > 1 {
                let until = Instant::now() + GATHER;
                while state.queued < state.served && Instant::now() < until {
                    drop(state);
                    std::thread::yield_now();
                    state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                }
            }
            let buffer = std::mem::take(&mut state.buffer);
            state.served = std::mem::take(&mut state.queued);
            state.begun += 1;
            drop(state);
            let written = self.write(file, &buffer);
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.durable += 1;
            state.is_led = false;
            state.has_failed = written.is_err();
            self.done.notify_all();
            written?;
        }
        Ok(())
    }

    /// Writes, and does not sync.
    pub fn write_only(&self, file: &File, bytes: &[u8]) -> Result<()> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all_at(bytes, place.end)?;
        place.end += bytes.len() as u64;
        Ok(())
    }

    fn write(&self, file: &File, bytes: &[u8]) -> Result<()> {
        if self.way != Way::Direct {
            self.write_only(file, bytes)?;
            file.sync_data()?;
            return Ok(());
        }
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let Place { end, partial, aligned } = &mut *place;
        let begin = *end - partial.len() as u64;
        let length = partial.len() + bytes.len();
        let room = length.next_multiple_of(BLOCK);
        if aligned.len() < room + BLOCK {
            aligned.resize(room + BLOCK, 0);
        }
        let at = aligned.as_ptr().align_offset(BLOCK);
        let blocks = &mut aligned[at..at + room];
        blocks[..partial.len()].copy_from_slice(partial);
        blocks[partial.len()..length].copy_from_slice(bytes);
        blocks[length..].fill(0);
        file.write_all_at(blocks, begin)?;
        *end += bytes.len() as u64;
        partial.clear();
        partial.extend_from_slice(&blocks[length / BLOCK * BLOCK..length]);
        Ok(())
    }
}
