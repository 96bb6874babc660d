//! What the command line takes.

mod bench;

use std::num::NonZeroU16;
use std::path::PathBuf;

use annals::transfer::parse_time;
use annals::{EventId, ExpectedVersion, Query, Timestamp, Version};
use clap::{Parser, Subcommand};

pub(crate) use bench::{Bench, BenchPart, Load, Mode, Part};

const AFTER_HELP: &str = "\
Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 conflict, 5 corruption, 6 locked, \
7 unsupported format.";

/// An embedded event store: one directory, an append-only log of events.
#[derive(Debug, Parser)]
#[command(name = "annals", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// The directory of the store
    #[arg(long, global = true, env = "ANNALS_STORE", value_name = "PATH")]
    pub(crate) store: Option<PathBuf>,
    /// Print results as JSON, one object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results and errors only: no notes, no progress
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run an order desk in a temporary store: concurrent commands, a live projection, SIGKILL in
    /// mid-load, a check of everything
    Demo,
    /// Write one end of the demo's crash: append until killed
    #[command(hide = true)]
    DemoWriter,
    /// Import events from JSON lines
    Import(Import),
    /// Write every event as a JSON line, ready to be imported
    Export(Export),
    /// Append one event, or one per line of standard input
    Append(Append),
    /// Print events
    Cat(Cat),
    /// Print events as they come, also from a writer in another process; never ends by itself
    Tail(Tail),
    /// Say what it costs to find events, and by which means
    Explain(Filter),
    /// List streams with their number of events
    Streams(Streams),
    /// List event types with their number of events
    Types,
    /// List categories with their number of events
    Categories,
    /// List every event type and schema version that the store has ever held, or check them
    Schema(Schema),
    /// List named cursors, or change one
    #[command(subcommand)]
    Cursors(Cursors),
    /// List views (read models that the store keeps), or look into one
    #[command(subcommand)]
    View(View),
    /// Say what the store holds
    Info,
    /// Check everything on disk; exit code 5 where the log is damaged
    Verify,
    /// Make a new store of every event that survives damage; the old one is only read
    Repair(Repair),
    /// Measure a store of a size of your choice: fill, kill, open, read, verify, and remove it
    Bench(Bench),
    /// Be a part of the bench that needs a process of its own
    #[command(hide = true)]
    BenchPart(BenchPart),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cursors {
    /// Print each cursor's position, how many events come after it, and its name
    List,
    /// Put a cursor at a position, also one that has diverged or cannot be read
    Reset {
        /// The cursor
        name: String,
        /// Up to where everything counts as processed
        #[arg(default_value = "0")]
        position: u64,
    },
    /// Delete a cursor
    Delete {
        /// The cursor
        name: String,
    },
    /// Give a cursor another name
    Rename {
        /// The cursor
        old: String,
        /// Its new name
        new: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum View {
    /// Print each view's position, how many events come after it, its entries, schema and name
    List,
    /// Print the value of a key
    Get {
        /// The view
        name: String,
        /// The key
        key: String,
        /// The key is given in hexadecimal digits
        #[arg(long)]
        hex: bool,
    },
    /// Print keys and values, in the order of the keys
    Scan {
        /// The view
        name: String,
        /// Only keys that begin with this
        #[arg(long, value_name = "PREFIX")]
        prefix: Option<String>,
        /// Only keys behind this one (exclusive)
        #[arg(long, value_name = "KEY")]
        after: Option<String>,
        /// Only keys before this one (exclusive)
        #[arg(long, value_name = "KEY")]
        before: Option<String>,
        /// From the last key to the first
        #[arg(long)]
        backwards: bool,
        /// At most this many entries
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Keys are given in hexadecimal digits
        #[arg(long)]
        hex: bool,
    },
    /// Delete a view; whoever folds it builds it again
    Delete {
        /// The view
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// Files of JSON lines, plain or gzip; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Lines per commit
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) batch: NonZeroU16,
    /// Give new ids to lines without one, to import the same lines again on purpose
    #[arg(long)]
    pub(crate) new_ids: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// Write events as they read today, by the steps in this JSON file; stored bytes stay
    #[arg(long, value_name = "FILE")]
    pub(crate) upcast: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Schema {
    #[command(subcommand)]
    pub(crate) command: Option<SchemaCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Check that events of every type and version can be read today; exit code 1 where not
    Check(SchemaCheck),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SchemaCheck {
    /// The steps that lift events, and the types that are current, as a JSON file
    #[arg(long, value_name = "FILE")]
    pub(crate) upcast: PathBuf,
    /// Look at every event, not only at the first and last 256 of each type and version
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Append {
    /// The stream; `-` alone for events as JSON lines from standard input
    pub(crate) stream: String,
    /// The event type
    #[arg(value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
    /// The data, as JSON; `{}` where not given; `-` for one event per line of standard input
    #[arg(allow_negative_numbers = true)]
    pub(crate) data: Option<String>,
    /// What the stream must be like: any, none, exists, or the version of its last event
    #[arg(long, value_name = "any|none|exists|N", value_parser = expected)]
    pub(crate) expect: Option<ExpectedVersion>,
    /// The id of the event, a UUID, which makes the append safe to repeat
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<EventId>,
    /// The metadata, as JSON; `correlation_id` and `causation_id` in it become those of the event
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
}

/// Which events. All that is said must hold; of several values of one option, one.
#[derive(Debug, clap::Args)]
pub(crate) struct Filter {
    /// Only this stream
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// Only streams whose names begin with this
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// Only streams of this category
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Vec<String>,
    /// Only events of these types
    #[arg(long = "type", value_name = "TYPE", num_args = 1..)]
    pub(crate) types: Vec<String>,
    /// Only events with this tag; given twice, with both
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Only events with this correlation id
    #[arg(long, value_name = "ID")]
    pub(crate) correlation: Option<String>,
    /// Only events with this causation id
    #[arg(long, value_name = "ID")]
    pub(crate) causation: Option<String>,
    /// Only events created at this time or later
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Only events created before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<Timestamp>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Cat {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Begin behind this position, or with --stream behind this version (exclusive)
    #[arg(long, value_name = "N")]
    pub(crate) after: Option<u64>,
    /// From the end towards the beginning
    #[arg(long)]
    pub(crate) backwards: bool,
    /// At most this many events
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Begin behind this position (exclusive); without it, behind what is there now
    #[arg(long, value_name = "N")]
    pub(crate) after: Option<u64>,
    /// End after this many events
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Repair {
    /// The directory of the damaged store
    pub(crate) from: PathBuf,
    /// The directory of the new store; nothing may be there
    pub(crate) to: PathBuf,
    /// Only say what survives and what is lost
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Streams {
    /// Only streams of this category
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Option<String>,
    /// Only streams whose names begin with this
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
}

impl Filter {
    /// The query that it says.
    pub(crate) fn query(&self) -> Query {
        let mut query = Query::new();
        if let Some(stream) = &self.stream {
            query = query.stream(stream);
        }
        if let Some(prefix) = &self.prefix {
            query = query.stream_prefix(prefix);
        }
        if !self.category.is_empty() {
            query = query.categories(&self.category);
        }
        if !self.types.is_empty() {
            query = query.types(&self.types);
        }
        query = self.tag.iter().fold(query, Query::tag);
        if let Some(id) = &self.correlation {
            query = query.correlation(id);
        }
        if let Some(id) = &self.causation {
            query = query.causation(id);
        }
        if let Some(time) = self.since {
            query = query.since(time);
        }
        if let Some(time) = self.until {
            query = query.until(time);
        }
        query
    }
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    parse_time(text).ok_or("expected a time such as 2026-01-15T10:30:00Z")
}

fn expected(text: &str) -> Result<ExpectedVersion, &'static str> {
    match text {
        "any" => Ok(ExpectedVersion::Any),
        "none" => Ok(ExpectedVersion::NoStream),
        "exists" => Ok(ExpectedVersion::Exists),
        number => number
            .parse()
            .map(|version| ExpectedVersion::Exact(Version(version)))
            .map_err(|_| "expected any, none, exists or a version"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn expectations_are_read() {
        assert_eq!(expected("none"), Ok(ExpectedVersion::NoStream));
        assert_eq!(expected("7"), Ok(ExpectedVersion::Exact(Version(7))));
        assert!(expected("-1").is_err() && expected("some").is_err());
    }
}
