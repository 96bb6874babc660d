//! What the bench takes, and the processes that it starts.

use std::num::NonZeroU64;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// How many events
    #[arg(long, value_name = "N", default_value = "1000000")]
    pub(crate) events: NonZeroU64,
    /// In how many streams; a tenth of the events unless said otherwise
    #[arg(long, value_name = "N")]
    pub(crate) streams: Option<NonZeroU64>,
    /// Where the store is made: a directory on the disk that is to be measured
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: PathBuf,
    /// Leave the store there
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// What events a bench appends, and how.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    /// Bytes of data in each event
    #[arg(long, value_name = "BYTES", default_value = "238")]
    pub(crate) size: usize,
    /// When an append answers while the store is filled
    #[arg(long, value_enum, value_name = "MODE", default_value = "os")]
    pub(crate) durability: Mode,
    /// Give each event an id of the caller
    #[arg(long)]
    pub(crate) ids: bool,
    /// Give each event a tag
    #[arg(long)]
    pub(crate) tags: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Mode {
    /// When it survives a power cut
    Sync,
    /// At once; written and synced each 10 ms
    Interval,
    /// When it survives the end of the process
    Os,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BenchPart {
    /// What is done
    #[arg(value_enum)]
    pub(crate) part: Part,
    /// How many streams the store was filled with
    #[arg(long)]
    pub(crate) streams: u64,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Open, read and append
    Serve,
    /// Append until killed
    Append,
}
