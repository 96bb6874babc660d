//! Writing a new file of `state/` with the newest value of each key. It gets its name once all of
//! it is durable, and only then the file before it goes.

use super::table::{Slot, Table, read_value, take_in};
use crate::error::{Error, Result};
use crate::format::files::{STATE, StateFile, TEMPORARY};
use crate::format::state::{
    GROUP_HEAD_BYTES, GroupKind, GroupPlace, MARK_BYTES, STATE_HEADER_BYTES, StateHeader, put_group,
};
use crate::format::statewrites::{WRITES_BOUND, Write, write_bound};
use crate::storage::{Dir, NamedFile};
use crate::sync::Arc;

/// The shortest file.
const LEAST_BYTES: u64 = 64 << 10;
/// A group holds about so many bytes of values.
const GROUP_BYTES: usize = 1 << 20;

/// A new file with everything that an old one had.
#[derive(Debug)]
pub(super) struct Compacted {
    pub(super) table: Table,
    pub(super) header: StateHeader,
    pub(super) end: u64,
}

/// What the new file is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) file: StateFile,
    pub(super) store: [u8; 16],
    pub(super) number: u32,
    /// Room for so many bytes behind what is copied.
    pub(super) room: u64,
    pub(super) applied: u64,
    pub(super) fill: bool,
}

/// What is copied of a key: `None` where there is nothing to read.
type Copied = (Arc<[u8]>, Slot, Option<Arc<[u8]>>);

/// Writes the new file under its temporary name, and syncs it. Nothing that is in use was touched
/// where this fails.
pub(super) fn write(dir: &Dir, old: &Table, plan: &Plan) -> Result<Compacted> {
    dir.create_dir(STATE)?;
    dir.sync_dir("")?;
    let live: u64 = old.slots.iter().map(|(key, slot)| row_bound(key, slot) as u64).sum();
    let groups = 4 * (MARK_BYTES + (GROUP_HEAD_BYTES + WRITES_BOUND) as u64);
    // Each group but the last holds GROUP_BYTES, so their heads are small beside them.
    let needed = STATE_HEADER_BYTES + live + live / 1024 + groups + plan.room;
    let len = needed.saturating_add(live).max(LEAST_BYTES).next_multiple_of(4096);
    let header = StateHeader { store: plan.store, salt: dir.random()?, number: plan.number, len };
    let name = temporary(plan.file, plan.number);
    if dir.open_if_there(&name)?.is_some() {
        dir.remove(&name)?;
    }
    let file = dir.create(&name)?;
    file.preallocate(len, plan.fill)?;
    file.write_all_at(&header.encode(), 0)?;
    let mut copy = Copy {
        file: file.clone(),
        header,
        end: STATE_HEADER_BYTES,
        applied: plan.applied,
        table: Table { doubt: old.doubt.clone(), file: Some(file.clone()), ..Table::default() },
    };
    if old.doubt.is_some() {
        copy.group(GroupKind::Doubt, &[])?;
    }
    let mut chunk: Vec<Copied> = Vec::new();
    let mut bytes = 0;
    for (key, slot) in &old.slots {
        let (slot, value) = match (*slot, &old.file) {
            (Slot::Value { offset, len, crc }, Some(file)) => {
                match read_value(file, offset, len, crc) {
                    Ok(value) => (*slot, Some(value)),
                    Err(e) if e.is_corruption() => (Slot::Lost, None),
                    Err(e) => return Err(e),
                }
            }
            (Slot::Value { .. }, None) => (Slot::Lost, None),
            (other, _) => (other, None),
        };
        bytes += row_bound(key, &slot);
        chunk.push((Arc::clone(key), slot, value));
        if bytes >= GROUP_BYTES {
            copy.group(GroupKind::Writes, &chunk)?;
            (chunk, bytes) = (Vec::new(), 0);
        }
    }
    if !chunk.is_empty() {
        copy.group(GroupKind::Writes, &chunk)?;
    }
    copy.group(GroupKind::Mark, &[])?;
    file.sync()?;
    Ok(Compacted { table: copy.table, header, end: copy.end })
}

/// Gives the new file its name, durably. Where this fails, either name may show.
pub(super) fn put_in_place(dir: &Dir, of: StateFile, compacted: &mut Compacted) -> Result<()> {
    let name = of.path(compacted.header.number);
    dir.rename(&temporary(of, compacted.header.number), &name)?;
    dir.sync_dir(STATE)?;
    // So that errors name the file as it is called now.
    compacted.table.file = Some(dir.open(&name, crate::storage::Access::ReadWrite)?);
    Ok(())
}

/// What the n-th file is called until it is complete.
pub(super) fn temporary(of: StateFile, number: u32) -> String {
    format!("{}{TEMPORARY}", of.path(number))
}

fn row_bound(key: &[u8], slot: &Slot) -> usize {
    let value = match slot {
        Slot::Value { len, .. } => *len as usize,
        Slot::Deleted | Slot::Lost => 0,
    };
    write_bound(key.len(), value)
}

struct Copy {
    file: NamedFile,
    header: StateHeader,
    end: u64,
    applied: u64,
    table: Table,
}

impl Copy {
    fn group(&mut self, kind: GroupKind, writes: &[Copied]) -> Result<()> {
        let place = GroupPlace { salt: self.header.salt, offset: self.end, applied: self.applied };
        let rows = writes.iter().map(|(key, slot, value)| {
            let write = match (slot, value) {
                (Slot::Value { .. }, Some(value)) => Write::Value(value),
                (Slot::Deleted, _) => Write::Deleted,
                _ => Write::Lost,
            };
            (&**key, write)
        });
        let mut bytes = Vec::new();
        put_group(&mut bytes, &place, kind, rows);
        let end = self.end + bytes.len() as u64;
        if end > self.header.len {
            return Err(Error::limit("bytes of a state file", self.header.len, end));
        }
        self.file.write_all_at(&bytes, self.end)?;
        take_in(&mut self.table, &bytes, &place, self.header.len - self.end);
        self.end = end;
        Ok(())
    }
}
