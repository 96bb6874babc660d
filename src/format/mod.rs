//! Bytes <-> values: pure functions, no I/O. `docs/format.md` is the description of the bytes.
//!
//! Every number is little-endian and of fixed width unless it is said to be a varint (LEB128).
//! Checks come before fields: a value is handed out only after the checksum that covers it.

pub(crate) mod blocks;
pub(crate) mod codec;
pub(crate) mod control;
pub(crate) mod cursor;
pub(crate) mod directory;
pub(crate) mod entry;
pub(crate) mod files;
pub(crate) mod frame;
pub(crate) mod frame_writer;
pub(crate) mod head;
pub(crate) mod idruns;
pub(crate) mod packed;
pub(crate) mod sealed;
pub(crate) mod segment;
pub(crate) mod state;
pub(crate) mod statewrites;
pub(crate) mod store;
pub(crate) mod view;

/// The version of the format that this code writes, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u16 = 1;

/// The largest position, and the largest version, that a file may name. A checksum says that bytes
/// are what was written, not that they make sense, so numbers are bounded where they are read:
/// what is computed from them fits then.
pub(crate) const MAX_POSITION: u64 = (1 << 60) - 1;

/// Why bytes are not what they should be; the caller adds the file and the offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) expected: String,
    pub(crate) found: String,
    /// The bytes are whole, but of a version or with a feature that this code does not know.
    pub(crate) unsupported: bool,
}

impl Invalid {
    pub(crate) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into(), unsupported: false }
    }

    pub(crate) fn unsupported(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into(), unsupported: true }
    }

    pub(crate) fn checksum(expected: u32, found: u32) -> Self {
        Self::new(format!("checksum {expected:08x}"), format!("checksum {found:08x}"))
    }

    /// As an error about a place in a file.
    pub(crate) fn at(self, path: &std::path::Path, offset: u64) -> crate::error::Error {
        if self.unsupported {
            return crate::error::Error::UnsupportedFormat {
                path: path.into(),
                expected: self.expected,
                found: self.found,
            };
        }
        crate::error::Error::corrupt(path, offset, self.expected, self.found)
    }
}

/// Refuses what a newer version marked as unreadable for this one.
fn check_supported(reader: u16, flags: u32) -> Result<(), Invalid> {
    if reader > FORMAT_VERSION {
        return Err(Invalid::unsupported(
            format!("format version {FORMAT_VERSION} or older"),
            format!("format version {reader}"),
        ));
    }
    if flags != 0 {
        return Err(Invalid::unsupported(
            "no required features",
            format!("required features {flags:#x}"),
        ));
    }
    Ok(())
}
