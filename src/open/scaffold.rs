//! Around the log: the directory itself, its identity, and its locks.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::format::files::{LOCK, LOG, LogFile, STORE, TEMPORARY};
use crate::format::store::{STORE_BYTES, StoreHeader};
use crate::storage::{Dir, Lock};

/// How long the writer waits for readers that look whether a writer is alive.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// Takes the writer's lock on a store, creating the store if there is none and that is wanted.
/// Returns whether it is new. A directory that is something else is left as it is.
pub(super) fn claim(dir: &Dir, create: bool) -> Result<(StoreHeader, Box<dyn Lock>, bool)> {
    match state(dir)? {
        State::Store => {}
        State::Other(why) => return Err(Error::NotAStore { path: dir.path(""), why }),
        State::Nothing if !create => return Err(Error::NotFound { path: dir.path("") }),
        State::Nothing => dir.create_dir("")?,
    }
    let lock = dir.lock(LOCK)?.ok_or_else(|| Error::Locked { path: dir.path(LOCK) })?;
    // Another process may have created the store, or something else, before the lock was taken.
    match state(dir)? {
        State::Store => Ok((read_header(dir)?, lock, false)),
        State::Other(why) => Err(Error::NotAStore { path: dir.path(""), why }),
        State::Nothing => Ok((create_store(dir)?, lock, true)),
    }
}

/// Reads the identity of a store.
pub(crate) fn read_header(dir: &Dir) -> Result<StoreHeader> {
    let file = match state(dir)? {
        State::Store => dir.open(STORE, crate::storage::Access::Read)?,
        State::Nothing => return Err(Error::NotFound { path: dir.path("") }),
        State::Other(why) => return Err(Error::NotAStore { path: dir.path(""), why }),
    };
    // One byte more than there may be, so that a longer file is noticed.
    let mut bytes = vec![0; STORE_BYTES + 1];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    StoreHeader::decode(&bytes).map_err(|invalid| invalid.at(file.path(), 0))
}

/// Lets readers see that a writer is alive, for as long as the lock is held.
pub(super) fn say_alive(dir: &Dir) -> Result<Box<dyn Lock>> {
    let started = Instant::now();
    loop {
        if let Some(lock) = dir.lock(STORE)? {
            return Ok(lock);
        }
        // A reader holds it only for a moment.
        if started.elapsed() > PROBE_PATIENCE {
            return Err(Error::Locked { path: dir.path(STORE) });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a writer is alive.
pub(crate) fn writer_is_alive(dir: &Dir) -> Result<bool> {
    dir.is_locked(STORE)
}

/// Whether there is nothing, or what an interrupted creation left.
pub(super) fn is_vacant(dir: &Dir) -> Result<bool> {
    Ok(matches!(state(dir)?, State::Nothing))
}

enum State {
    Store,
    /// No directory, or one that an interrupted creation left.
    Nothing,
    /// Something else.
    Other(String),
}

fn state(dir: &Dir) -> Result<State> {
    match state_at_a_look(dir)? {
        // A look is not of one moment: a writer may have created the store under it. Everything
        // else is created behind the file, so it must be there at a second look.
        State::Other(_) => state_at_a_look(dir),
        state => Ok(state),
    }
}

fn state_at_a_look(dir: &Dir) -> Result<State> {
    let names = match dir.list("") {
        Ok(names) => names,
        Err(e) if is_not_found(&e) => return Ok(State::Nothing),
        Err(e) => return Err(e),
    };
    if names.iter().any(|name| name == STORE) {
        return Ok(State::Store);
    }
    let temporary = format!("{STORE}{TEMPORARY}");
    let known = |name: &String| [LOCK, LOG, &temporary].contains(&name.as_str());
    if let Some(other) = names.iter().find(|name| !known(name)) {
        let other = crate::names::shown(other);
        return Ok(State::Other(format!("it has no file {STORE}, but holds \"{other}\"")));
    }
    // A log is created after the STORE file that names it, so one without it lost it.
    if names.iter().any(|name| name == LOG)
        && dir.list(LOG)?.iter().any(|name| LogFile::parse(name).is_some())
    {
        return Ok(State::Other(format!("it has a log, but no file {STORE}")));
    }
    Ok(State::Nothing)
}

fn create_store(dir: &Dir) -> Result<StoreHeader> {
    dir.create_dir(LOG)?;
    dir.sync_dir("")?;
    let header = StoreHeader { id: store_id(dir)?, hash_key: dir.random()?, created_at: dir.now() };
    dir.replace("", STORE, &header.encode())?;
    Ok(header)
}

/// A random UUID.
fn store_id(dir: &Dir) -> Result<[u8; 16]> {
    Ok(uuid::Builder::from_random_bytes(dir.random()?).into_uuid().into_bytes())
}

fn is_not_found(e: &Error) -> bool {
    matches!(e, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}
