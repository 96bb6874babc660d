//! The command line `annals`: reads its arguments, runs one command, says how it went.
//!
//! Results go to standard output, everything else to standard error. A reader of the output that
//! leaves early (`annals cat | head`) is a quiet end, not a failure.

mod args;
mod bench;
mod commands;
mod demo;
mod failure;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use args::Args;
use output::Output;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut output = Output::new(args.global.json, args.global.quiet);
    let done = commands::run(&args, &mut output).and_then(|()| output.flush());
    match done {
        Err(failure) if !failure.is_closed_output() => {
            output.error(&failure);
            ExitCode::from(failure.exit_code())
        }
        _ => ExitCode::SUCCESS,
    }
}
