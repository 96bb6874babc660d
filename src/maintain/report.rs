//! What verify says.

use std::fmt;
use std::path::PathBuf;

use crate::error::Error;
use crate::position::Position;

/// How many findings a report holds; more are counted.
const MOST_FINDINGS: usize = 10_000;

/// What a check has found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Events that were read and are what was written.
    pub events: u64,
    /// Streams that these events belong to.
    pub streams: u64,
    /// Frames that were read whole.
    pub frames: u64,
    /// Segments that were walked.
    pub segments: u64,
    /// Derived files that were compared with the log.
    pub index_files: u64,
    /// Bytes of the log that were walked.
    pub bytes: u64,
    /// The position of the last event that is there.
    pub last_position: Position,
    /// What is wrong, in the order in which it was found; at most 10,000.
    pub findings: Vec<Finding>,
    /// How many more findings there were.
    pub more_findings: u64,
    /// Derived files were not compared where the log before them is damaged: there is nothing left
    /// to compare them with.
    pub uncompared: bool,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// An unfinished write at the end, that nobody was told about. The next opening cuts it.
    TornTail,
    /// A derived file is not what the log gives. No event is affected: it is passed over, and
    /// built again.
    Derived,
    /// The log is damaged: opening, or some read, fails.
    Log,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TornTail => "torn tail",
            Self::Derived => "derived damage",
            Self::Log => "log damage",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, file, offset, expected, found } = self;
        let file = file.display();
        write!(f, "{severity}: {file}, byte {offset}: expected {expected}, found {found}")
    }
}

impl VerifyReport {
    /// Neither the log nor a derived file is damaged. (A torn tail is no damage.)
    pub fn is_clean(&self) -> bool {
        self.worst().is_none_or(|worst| worst == Severity::TornTail)
    }

    /// The log is damaged.
    pub fn has_log_damage(&self) -> bool {
        self.worst() == Some(Severity::Log)
    }

    fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    pub(super) fn add(&mut self, severity: Severity, error: Error) {
        let (file, offset, expected, found) = match error {
            Error::Corrupt { path, offset, expected, found } => (path, offset, expected, found),
            Error::UnsupportedFormat { path, expected, found } => (path, 0, expected, found),
            other => (PathBuf::new(), 0, "no error".into(), other.to_string()),
        };
        let finding = Finding { severity, file, offset, expected, found };
        let same = |known: &Finding| (&known.file, known.offset) == (&finding.file, finding.offset);
        if self.findings.iter().rev().take(64).any(same) {
            return;
        }
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }
}
