//! Right checksums around wrong fields: what a fuzzer needs to get past the checksums.

use super::{GROUP_HEAD_BYTES, GroupPlace, OFF_CRC, OFF_LEN, STATE_HEADER_BYTES, head_crc};
use crate::format::codec::{Cursor, crc32, patch_u32, u32_at};
use crate::format::statewrites::Writes;

/// Where the salt stands in the header.
const OFF_SALT: usize = 32;

/// Writes the checksums of a file: of its header, and of its groups as far as their lengths lead.
pub(crate) fn mend(bytes: &mut [u8]) {
    let Some(covered) = bytes.get(..OFF_CRC) else { return };
    let crc = crc32(covered);
    patch_u32(bytes, OFF_CRC, crc);
    let salt = bytes.get(OFF_SALT..).and_then(|salt| salt.first_chunk::<16>()).copied();
    let mut offset = STATE_HEADER_BYTES;
    while let Some(salt) = salt
        && let Ok(start) = usize::try_from(offset)
        && let Some(group) = bytes.get_mut(start..)
        && let Some(len) = mend_group(group, salt, offset)
    {
        offset = offset.saturating_add(len);
    }
}

/// The same for the group at the beginning of the bytes. Returns its length; `None` where no head
/// can be made out.
fn mend_group(bytes: &mut [u8], salt: [u8; 16], offset: u64) -> Option<u64> {
    let len = u64::from(u32_at(bytes, OFF_LEN)? & !7);
    let applied = Cursor::at(bytes, OFF_LEN + 4).u64()?;
    let table_end = Writes::table_end(bytes, GROUP_HEAD_BYTES)?;
    let usable = len >= GROUP_HEAD_BYTES as u64 && table_end <= bytes.len();
    usable.then_some(())?;
    mend_values(bytes, table_end);
    let head = bytes.get(OFF_LEN..table_end)?;
    let crc = head_crc(&GroupPlace { salt, offset, applied }, head);
    patch_u32(bytes, 0, crc);
    Some(len)
}

/// The checksums of the values, as far as the rows can be made out.
fn mend_values(bytes: &mut [u8], table_end: usize) -> Option<()> {
    let rows = u32_at(bytes, GROUP_HEAD_BYTES)?;
    let (mut at, mut value_at) = (GROUP_HEAD_BYTES + 8, table_end);
    for _ in 0..rows {
        let mut cursor = Cursor::at(bytes.get(..table_end)?, at);
        let kind = cursor.u8()?;
        let key = usize::try_from(cursor.varint()?).ok()?;
        cursor.take(key)?;
        if kind == 0 {
            let len = cursor.varint_u32()? as usize;
            let crc_at = cursor.offset();
            cursor.u32()?;
            let behind = value_at.checked_add(len)?;
            let crc = crc32(bytes.get(value_at..behind)?);
            at = cursor.offset();
            patch_u32(bytes, crc_at, crc);
            value_at = behind;
        } else {
            at = cursor.offset();
        }
    }
    Some(())
}
