//! What comes of loading and executing.

use std::fmt;

use crate::error::Error;
use crate::names::{EventId, shown};
use crate::position::{Position, Version};

use super::super::decider::Decider;
use super::keeper::Folded;

/// What comes of a decider's commands.
pub type CommandResult<D> = Result<DoneBy<D>, CommandError<<D as Decider>::Error>>;

pub(super) type DoneBy<D> = Executed<<D as Decider>::State, <D as Decider>::Event>;

/// A state, and up to where it was folded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<S> {
    /// The state.
    pub state: S,
    /// The version of the stream; 0 where there is none.
    pub version: Version,
    /// The position of the stream's last event; of a query, up to where the store was looked at.
    pub position: Position,
    /// How many events were read for it.
    pub folded: u64,
}

impl<S> From<Folded<S>> for Loaded<S> {
    fn from(folded: Folded<S>) -> Self {
        let Folded { state, version, position, cost } = folded;
        Self { state, version, position, folded: cost.events }
    }
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Executed<S, E> {
    /// The state behind the command's events.
    pub state: S,
    /// The version of the stream behind them. Of a decision over a query without events: 0.
    pub version: Version,
    /// The position of the last of them; without events, that up to which the state was folded.
    pub position: Position,
    /// The events that the command led to.
    pub events: Vec<E>,
    /// Whether it was executed before, by its id: all this is what came of it then.
    pub is_repeated: bool,
    /// How often it was decided; 0 where it was executed before.
    pub attempts: u32,
}

/// Why a command was not executed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CommandError<E> {
    /// The decider refused it. Nothing was written.
    Refused(E),
    /// A command with this id was executed on another stream. Nothing was written.
    OtherStream {
        /// The id of the command.
        command: EventId,
        /// The stream on which it was executed.
        stream: String,
        /// Where its first event is.
        position: Position,
    },
    /// Others were faster, each time. Nothing was written; it may be tried again.
    Exhausted {
        /// How often it was decided.
        attempts: u32,
        /// What was in the way the last time.
        last: Error,
    },
    /// The store, or a stored event, did not do.
    Store(Error),
}

impl<E> CommandError<E> {
    /// Whether the same request may succeed when made again: others were faster, or the store says
    /// so. Where [`Error::Unknown`] is among it, only with a command id.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Exhausted { .. } => true,
            Self::Store(e) => e.is_retryable(),
            Self::Refused(_) | Self::OtherStream { .. } => false,
        }
    }
}

impl<E> From<Error> for CommandError<E> {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl<E: fmt::Display> fmt::Display for CommandError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::OtherStream { command, stream, position } => write!(
                f,
                "command {command} was executed on stream \"{}\" already, at position {position}",
                shown(stream)
            ),
            Self::Exhausted { attempts, last } => {
                write!(f, "others were faster {attempts} times, the last time: {last}")
            }
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for CommandError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Exhausted { last: error, .. } | Self::Store(error) => Some(error),
            Self::Refused(_) | Self::OtherStream { .. } => None,
        }
    }
}
