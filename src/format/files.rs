//! The names of a store's files: the only place that builds or parses one.

use std::fmt;

pub(crate) const STORE: &str = "STORE";
pub(crate) const LOCK: &str = "LOCK";
pub(crate) const LOG: &str = "log";
pub(crate) const STATE: &str = "state";
/// The page that followers look at.
pub(crate) const HEAD: &str = "head";
/// What an atomic replacement leaves behind when it is interrupted.
pub(crate) const TEMPORARY: &str = ".tmp";

const DIRECTORY: &str = "directory-";
const VALUES: &str = "values-";
const SNAPSHOTS: &str = "snapshots-";
const VIEW: &str = "view-";
const ORDINAL_DIGITS: usize = 10;

/// A file of `log/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum LogFile {
    Segment { ordinal: u32, generation: u32 },
    SealedIndex { ordinal: u32, generation: u32 },
    IndexCheckpoint { ordinal: u32, generation: u32 },
    IdRun { first: u32, last: u32 },
}

impl LogFile {
    /// Reads the name of a file in `log/`; `None` for any other name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.')?;
        if extension == "ids" {
            let (first, last) = stem.split_once('-')?;
            return Some(Self::IdRun { first: ordinal(first)?, last: ordinal(last)? })
                .filter(|file| file.to_string() == name);
        }
        let (number, generation) = stem.split_once('.')?;
        let (ordinal, generation) = (ordinal(number)?, generation.parse().ok()?);
        let file = match extension {
            "seg" => Self::Segment { ordinal, generation },
            "idx" => Self::SealedIndex { ordinal, generation },
            "part" => Self::IndexCheckpoint { ordinal, generation },
            _ => return None,
        };
        // `+1`, `01` and the like parse as numbers but are no names of ours.
        (file.to_string() == name).then_some(file)
    }

    /// Whether it is, or belongs to, this one segment.
    pub(crate) fn is_of(self, segment: u32, its_generation: u32) -> bool {
        match self {
            Self::Segment { ordinal, generation }
            | Self::SealedIndex { ordinal, generation }
            | Self::IndexCheckpoint { ordinal, generation } => {
                (ordinal, generation) == (segment, its_generation)
            }
            Self::IdRun { .. } => false,
        }
    }

    /// The name from the store's directory.
    pub(crate) fn path(self) -> String {
        format!("{LOG}/{self}")
    }
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { ordinal, generation } => write!(f, "{ordinal:010}.{generation}.seg"),
            Self::SealedIndex { ordinal, generation } => {
                write!(f, "{ordinal:010}.{generation}.idx")
            }
            Self::IndexCheckpoint { ordinal, generation } => {
                write!(f, "{ordinal:010}.{generation}.part")
            }
            Self::IdRun { first, last } => write!(f, "{first:010}-{last:010}.ids"),
        }
    }
}

fn ordinal(digits: &str) -> Option<u32> {
    (digits.len() == ORDINAL_DIGITS).then(|| digits.parse().ok()).flatten().filter(|n| *n > 0)
}

/// The name of the n-th stream directory.
pub(crate) fn directory(number: u32) -> String {
    format!("{DIRECTORY}{number}")
}

/// The number of a stream directory; `None` for any other name.
pub(crate) fn parse_directory(name: &str) -> Option<u32> {
    let number = name.strip_prefix(DIRECTORY)?.parse().ok()?;
    (directory(number) == name).then_some(number)
}

/// What a file of `state/` holds. Each kind, and each view, has a file of its own, which is
/// replaced by the one of the next number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum StateFile {
    /// Cursors, and the list of views.
    Values,
    Snapshots,
    /// One view, by its random id.
    View([u8; 16]),
}

impl StateFile {
    /// The name of the n-th file, from the store's directory.
    pub(crate) fn path(self, number: u32) -> String {
        format!("{STATE}/{self}{number}")
    }

    /// Reads the name of a file in `state/`; `None` for any other name.
    pub(crate) fn parse(name: &str) -> Option<(Self, u32)> {
        let (stem, number) = name.rsplit_once('-')?;
        let number: u32 = number.parse().ok()?;
        let file = match stem.strip_prefix(VIEW) {
            Some(id) => Self::View(view_id(id)?),
            None if format!("{stem}-") == VALUES => Self::Values,
            None if format!("{stem}-") == SNAPSHOTS => Self::Snapshots,
            None => return None,
        };
        (number > 0 && format!("{file}{number}") == name).then_some((file, number))
    }

    /// Reads the name of what an interrupted replacement leaves.
    pub(crate) fn parse_temporary(name: &str) -> Option<Self> {
        Self::parse(name.strip_suffix(TEMPORARY)?).map(|(file, _)| file)
    }
}

impl fmt::Display for StateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values => f.write_str(VALUES),
            Self::Snapshots => f.write_str(SNAPSHOTS),
            Self::View(id) => {
                f.write_str(VIEW)?;
                id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("-")
            }
        }
    }
}

/// The id that 32 hexadecimal digits say.
fn view_id(digits: &str) -> Option<[u8; 16]> {
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    let mut id = [0; 16];
    for (at, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_refused() {
        for file in [
            LogFile::Segment { ordinal: 1, generation: 0 },
            LogFile::SealedIndex { ordinal: u32::MAX, generation: 3 },
            LogFile::IndexCheckpoint { ordinal: 42, generation: 0 },
            LogFile::IdRun { first: 1, last: 8 },
        ] {
            assert_eq!(LogFile::parse(&file.to_string()), Some(file));
        }
        for other in [
            "",
            ".seg",
            "1.0.seg",
            "0000000000.0.seg",
            "0000000001.0.log",
            "0000000001.seg",
            "+000000001.0.seg",
            "0000000001.00.seg",
            "0000000001.0.seg.tmp",
            "9999999999.0.seg",
            "0000000001-8.ids",
            "../../x.0.seg",
        ] {
            assert_eq!(LogFile::parse(other), None, "{other}");
        }
        let view = StateFile::View([0xab; 16]);
        let path = format!("state/view-{}-7", "ab".repeat(16));
        assert_eq!(StateFile::Values.path(7), "state/values-7");
        assert_eq!(StateFile::Snapshots.path(7), "state/snapshots-7");
        assert_eq!(view.path(7), path);
        for file in [StateFile::Values, StateFile::Snapshots, view] {
            let name = file.path(7).strip_prefix("state/").unwrap().to_owned();
            assert_eq!(StateFile::parse(&name), Some((file, 7)));
            assert_eq!(StateFile::parse_temporary(&format!("{name}.tmp")), Some(file));
            assert_eq!(StateFile::parse_temporary(&name), None);
        }
        let wrong = ["AB", "a", "zz"].map(|digits| format!("view-{}-7", digits.repeat(16)));
        let other = ["values-", "values-0", "values-07", "values-+1", "values-1.tmp", "view--7"];
        for other in other.into_iter().chain(wrong.iter().map(String::as_str)) {
            assert_eq!(StateFile::parse(other), None, "{other}");
        }
        assert_eq!(parse_directory(&directory(7)), Some(7));
        for other in ["directory-", "directory-07", "directory-x", "directory-1.tmp"] {
            assert_eq!(parse_directory(other), None, "{other}");
        }
    }

    #[test]
    fn the_files_of_a_segment_have_its_ordinal_and_generation() {
        let (ordinal, generation) = (7, 1);
        for file in [
            LogFile::Segment { ordinal, generation },
            LogFile::SealedIndex { ordinal, generation },
            LogFile::IndexCheckpoint { ordinal, generation },
        ] {
            assert!(file.is_of(7, 1));
            assert!(!file.is_of(7, 0) && !file.is_of(8, 1));
        }
        assert!(!LogFile::IdRun { first: 7, last: 7 }.is_of(7, 1));
        assert_eq!(LogFile::IdRun { first: 7, last: 8 }.path(), "log/0000000007-0000000008.ids");
    }
}
