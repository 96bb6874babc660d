//! What is wrong with how events are read as what they should be today.

use std::fmt;

use crate::names::shown;
use crate::position::Position;

/// A type of event at a schema version, and where it stands, where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredAs {
    /// The event type, as it is stored (or as an upcast made it).
    pub event_type: String,
    /// Its schema version.
    pub schema_version: u32,
    /// The position of the stored event; `None` where it was not read from a store.
    pub position: Option<Position>,
}

impl StoredAs {
    /// A type at a version, wherever.
    pub fn new(event_type: impl Into<String>, schema_version: u32) -> Self {
        Self { event_type: event_type.into(), schema_version, position: None }
    }
}

impl fmt::Display for StoredAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" version {}", shown(&self.event_type), self.schema_version)?;
        match self.position {
            Some(position) => write!(f, " at position {position}"),
            None => Ok(()),
        }
    }
}

/// An event that cannot be read as a typed one, or upcasts that do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaError {
    /// None of the types that were asked for has this name.
    UnknownType {
        /// What was found.
        found: StoredAs,
    },
    /// The type is known, but at another version, and no upcast leads there.
    UnknownVersion {
        /// What was found.
        found: StoredAs,
        /// The version that the type has today.
        current: u32,
    },
    /// The bytes are not what the type's codec writes.
    Undecodable {
        /// What was found.
        found: StoredAs,
        /// What the codec says.
        why: String,
    },
    /// A step of an upcast failed.
    StepFailed {
        /// What the step was given.
        found: StoredAs,
        /// What the step says.
        why: String,
    },
    /// Upcasts that do not go together. Found when they are built, before an event is read.
    Chain {
        /// The type and version that the fault is about.
        at: StoredAs,
        /// What is wrong.
        fault: ChainFault,
    },
}

/// Why upcasts do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainFault {
    /// Two steps begin there.
    TwoSteps,
    /// The steps that begin there lead back to it.
    Cycle,
    /// A step leads there, and later versions of the type have steps, but this one has none.
    Gap,
    /// A step leads there, but it is none of the types that are current.
    DeadEnd,
    /// A step begins there, but it is a type and version that is current.
    Current,
    /// A step leads there from another version of the type than the one before.
    NotOneVersion,
    /// Schema versions count from 1.
    VersionZero,
}

impl SchemaError {
    /// The same, of the event at a position.
    pub(crate) fn at(mut self, position: Position) -> Self {
        match &mut self {
            Self::UnknownType { found }
            | Self::UnknownVersion { found, .. }
            | Self::Undecodable { found, .. }
            | Self::StepFailed { found, .. } => found.position = Some(position),
            Self::Chain { .. } => {}
        }
        self
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType { found } => {
                write!(f, "event {found}: none of the types that are read here")
            }
            Self::UnknownVersion { found, current } => write!(
                f,
                "event {found}: the type has version {current} today, and no upcast leads there"
            ),
            Self::Undecodable { found, why } => write!(f, "event {found}: {why}"),
            Self::StepFailed { found, why } => {
                write!(f, "event {found}: its upcast failed: {why}")
            }
            Self::Chain { at, fault } => write!(f, "upcasts: {at}: {fault}"),
        }
    }
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TwoSteps => "two steps begin there",
            Self::Cycle => "its steps lead back to it",
            Self::Gap => "a step leads there and later versions have steps, but it has none",
            Self::DeadEnd => "a step leads there, but it is none of the current types",
            Self::Current => "a step begins there, but it is current",
            Self::NotOneVersion => "a step leads there from another version than the one before",
            Self::VersionZero => "schema versions count from 1",
        })
    }
}
