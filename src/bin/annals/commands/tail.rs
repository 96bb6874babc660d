//! `annals tail`: events as they come, also while another process writes them.

use annals::{Position, Result};

use super::cat;
use super::open::open_to_read;
use crate::args::{Global, Tail};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(global: &Global, args: &Tail, output: &mut Output) -> Result<(), Failure> {
    let store = open_to_read(global)?;
    let after = args.after.map_or_else(|| store.head(), Position);
    let mut events = store.subscribe().matching(args.filter.query()).after(after).start()?;
    let mut left = args.limit.unwrap_or(usize::MAX);
    while left > 0 {
        let event = match events.try_next()? {
            Some(event) => event,
            None => {
                // Nothing more for now: whoever reads shall have what there is.
                output.flush()?;
                match events.next() {
                    Some(event) => event?,
                    None => break,
                }
            }
        };
        cat::write(&event, output)?;
        left -= 1;
    }
    output.flush()
}
