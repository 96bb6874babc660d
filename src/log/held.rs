//! Groups that are visible but still wait to be written, in `Interval`.

use crate::error::Result;
use crate::storage::NamedFile;

/// A buffer that a large group has made longer than this is not kept.
const KEPT_BYTES: usize = 2 << 20;

/// The bytes behind what a segment's file was handed, if there are any. One buffer serves all, so
/// that a commit allocates nothing; who reads of it, copies.
#[derive(Default)]
pub(super) struct Held {
    offset: u32,
    bytes: Vec<u8>,
}

impl Held {
    /// Takes in a group, which follows what is written or held.
    pub(super) fn push(&mut self, offset: u32, group: &[u8]) {
        if self.bytes.is_empty() {
            self.offset = offset;
        }
        self.bytes.extend_from_slice(group);
    }

    /// Hands everything to the file, and says where it ends; `None` where nothing is held.
    pub(super) fn write_to(&self, file: &NamedFile) -> Result<Option<u32>> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        file.write_all_at(&self.bytes, u64::from(self.offset))?;
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        Ok(Some(self.offset.saturating_add(len)))
    }

    /// Forgets everything, now that the file has it.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }

    /// At most so many bytes from an offset on; `None` where none are held there.
    pub(super) fn read(&self, offset: u32, most: usize) -> Option<Vec<u8>> {
        let rest = self.bytes.get(offset.checked_sub(self.offset)? as usize..)?;
        let bytes = rest.get(..most).unwrap_or(rest);
        (!bytes.is_empty()).then(|| bytes.to_vec())
    }
}
