//! How the commands come to their store.

use std::path::Path;

use annals::{Durability, Store};

use crate::args::Global;
use crate::failure::Failure;
use crate::output::Output;

/// Where the store is.
pub(super) fn store_path(global: &Global) -> Result<&Path, Failure> {
    global.store.as_deref().ok_or_else(|| {
        Failure::Usage("no store given: use --store PATH or set ANNALS_STORE".into())
    })
}

/// Opens the store for a command that only reads: takes no lock, creates nothing.
pub(super) fn open_to_read(global: &Global) -> Result<Store, Failure> {
    Ok(Store::open_read_only(store_path(global)?)?)
}

/// Opens or creates the store for a command that writes.
pub(super) fn open_to_write(
    global: &Global,
    durability: Durability,
    output: &Output,
) -> Result<Store, Failure> {
    let store = Store::options().durability(durability).open(store_path(global)?)?;
    let recovery = store.recovery();
    if recovery.bytes_cut > 0 {
        output.note(format_args!(
            "the store was not closed: {} bytes behind the last whole append, never \
             acknowledged, were cut",
            recovery.bytes_cut
        ));
    }
    if !recovery.cursors.diverged.is_empty() {
        output.note(format_args!("cursors: {}", recovery.cursors));
    }
    Ok(store)
}
