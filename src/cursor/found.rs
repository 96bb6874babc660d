//! What opening finds of the cursors.

use std::fmt;

use super::cursors::Cursors;
use crate::error::Result;

/// Opening looks at so much state at most: it is not to take longer for a store that keeps much.
const STATE_BYTES: u64 = 1 << 20;
/// And compares so many cursors with the log.
const CURSORS: usize = 256;

/// What opening a store found of its named cursors.
///
/// A cursor *diverges* where the log has another event at its position, or none: its place is one
/// of another history, such as that of a store whose log was restored from a backup.
///
/// ```
/// let store = annals::Store::in_memory()?;
/// let cursors = &store.recovery().cursors;
/// assert!(cursors.diverged.is_empty() && cursors.unchecked.is_none());
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CursorsFound {
    /// The names of those that diverge. Their consumers get
    /// [`Error::Cursor`](crate::Error::Cursor) until they are reset.
    pub diverged: Vec<String>,
    /// Why not all of them could be compared with the log: one cannot be read, or there is more
    /// than opening looks at (256 cursors, 1 MiB of state).
    /// [`Store::cursors`](crate::Store::cursors) compares them all.
    pub unchecked: Option<String>,
}

impl Cursors {
    /// Compares the cursors with the log. Whatever cannot be read stops no opening: its consumer
    /// gets the error.
    pub(crate) fn look(&self) -> CursorsFound {
        let mut found = CursorsFound::default();
        if let Err(e) = self.look_into(&mut found) {
            found.unchecked = Some(e.to_string());
        }
        found
    }

    fn look_into(&self, found: &mut CursorsFound) -> Result<()> {
        let bytes = self.catalog.state.file_bytes()?;
        if bytes > STATE_BYTES {
            found.unchecked = Some(format!("the state has {bytes} bytes"));
            return Ok(());
        }
        for (looked_at, cursor) in self.infos()?.enumerate() {
            if looked_at == CURSORS {
                found.unchecked = Some(format!("there are more than {CURSORS} cursors"));
                break;
            }
            match cursor {
                Ok(cursor) if cursor.has_diverged => found.diverged.push(cursor.name),
                Ok(_) => {}
                Err(e) => found.unchecked = Some(e.to_string()),
            }
        }
        Ok(())
    }
}

impl fmt::Display for CursorsFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { diverged, unchecked } = self;
        match (diverged.as_slice(), unchecked) {
            ([], None) => f.write_str("all fit the log"),
            ([], Some(why)) => write!(f, "not all compared with the log: {why}"),
            (names, _) => write!(f, "diverged: {}", names.join(", ")),
        }
    }
}
