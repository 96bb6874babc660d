//! JSON lines as appends: in commits of one line or many, restartable, durable before it is said.

use std::hash::Hasher;
use std::io::{self, BufRead, Read};
use std::num::NonZeroU16;
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher24};
use uuid::Builder;

use crate::error::Error;
use crate::names::EventId;
use crate::new_event::NewEvent;
use crate::position::ExpectedVersion;
use crate::store::Store;

use super::line::parse_line;
use super::outcome::{ImportError, ImportErrorCause, Imported, LineError};

/// Lines between two syncs.
const SYNC_LINES: u64 = 8_192;
/// A commit ends early at this many bytes of lines, so that memory stays bounded.
const COMMIT_BYTES: usize = 16 << 20;
/// The most bytes of a line: an event of the default limits, as base64, with room to spare.
const LINE_BYTES: u64 = 64 << 20;
/// The keys of the hash that derives ids: `annals: ` and `import i` as numbers. Fixed for
/// ever, or an import that was interrupted under one version repeats its lines under another.
const ID_KEYS: (u64, u64) = (0x616e_6e61_6c73_3a20, 0x696d_706f_7274_2069);

/// Imports JSON lines, as the [module](super) describes them, into a store.
///
/// Each line is appended to its stream without an expectation; `global_position` and `version` of
/// a line are not used. Blank lines are passed over.
///
/// **Durability.** The store is synced every 8,192 lines and at the end, so open it with
/// [`Durability::Os`](crate::Durability): the import is much faster then, and what it reports is
/// durable all the same.
///
/// **Running it again is safe.** A line that the store holds already is skipped, one by one,
/// whatever the commits of the earlier run were. Lines are recognised by their event ids. A line
/// without one gets a `UUIDv8` of its number and its bytes (`SipHash-2-4` with 128 bits, over the
/// number in decimal digits, a line feed, and the line without its end; the keys are
/// `0x616e6e616c733a20` and `0x696d706f72742069`), so the same line at the
/// same number of a file is the same event. [`Import::new_ids`] leaves that to the store, to
/// import the same lines again on purpose.
///
/// ```
/// use annals::{Position, Store, transfer::Import};
/// let store = Store::in_memory()?;
/// let lines = br#"{"stream":"Order-1","type":"OrderPlaced","data":{"total":42}}
/// {"stream":"Order-1","type":"OrderPaid","data":{}}
/// "#;
/// let first = Import::new().run(&store, &lines[..]).unwrap();
/// let again = Import::new().run(&store, &lines[..]).unwrap();
/// assert_eq!((first.appended, again.appended, again.skipped), (2, 0, 2));
/// assert_eq!(store.head(), Position(2));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Import {
    batch: NonZeroU16,
    new_ids: bool,
}

impl Default for Import {
    fn default() -> Self {
        Self::new()
    }
}

impl Import {
    /// One commit per line, ids derived where a line has none.
    pub const fn new() -> Self {
        Self { batch: NonZeroU16::MIN, new_ids: false }
    }

    /// How many lines make one commit (one where not given). A commit ends earlier at 16 MiB, and
    /// is taken apart where it holds a line that cannot be stored or is stored already.
    pub const fn batch(mut self, lines: NonZeroU16) -> Self {
        self.batch = lines;
        self
    }

    /// Whether the store gives a new id to a line without one, so that the same lines can be
    /// imported again on purpose. An import that is interrupted then cannot be run again safely.
    pub const fn new_ids(mut self, new_ids: bool) -> Self {
        self.new_ids = new_ids;
        self
    }

    /// Imports what the reader gives.
    ///
    /// # Errors
    ///
    /// [`ImportError`] with the number of the line that cannot be read, is not an event, or is
    /// refused by the store. The lines before it are imported, those behind it are not.
    pub fn run(self, store: &Store, reader: impl BufRead) -> Result<Imported, ImportError> {
        self.run_with(store, reader, |_| ())
    }

    /// Imports what the reader gives, and says after each sync what is durable by then.
    ///
    /// # Errors
    ///
    /// As for [`Import::run`].
    pub fn run_with(
        self,
        store: &Store,
        mut reader: impl BufRead,
        progress: impl FnMut(&Imported),
    ) -> Result<Imported, ImportError> {
        let mut run = Run {
            store,
            options: self,
            progress,
            pending: Vec::new(),
            pending_bytes: 0,
            done: Imported::default(),
            durable: Imported::default(),
        };
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            number += 1;
            let step = match next_line(&mut reader, &mut line) {
                Ok(false) => break,
                Ok(true) => run.take(number, &line),
                Err(cause) => Err(Stop { line: number, cause }),
            };
            if let Err(stop) = step {
                return Err(run.stopped(stop));
            }
        }
        let end = run.commit().and_then(|()| {
            run.done.lines = number - 1;
            run.sync(number - 1)
        });
        end.map_err(|stop| run.stopped(stop))?;
        Ok(run.durable)
    }
}

/// Where an import stops, and why.
struct Stop {
    line: u64,
    cause: ImportErrorCause,
}

/// A line that waits for its commit.
struct Pending {
    line: u64,
    stream: String,
    event: NewEvent,
}

struct Run<'a, P> {
    store: &'a Store,
    options: Import,
    progress: P,
    pending: Vec<Pending>,
    pending_bytes: usize,
    done: Imported,
    /// What was done when the store was last synced.
    durable: Imported,
}

impl<P: FnMut(&Imported)> Run<'_, P> {
    /// Takes one line, and commits and syncs where it is time to.
    fn take(&mut self, line: u64, bytes: &[u8]) -> Result<(), Stop> {
        if !bytes.trim_ascii().is_empty() {
            let (stream, event) =
                self.event(line, bytes).map_err(|e| stop(line, ImportErrorCause::Line(e)))?;
            self.pending.push(Pending { line, stream, event });
            self.pending_bytes += bytes.len();
        }
        if self.pending.len() >= usize::from(self.options.batch.get())
            || self.pending_bytes >= COMMIT_BYTES
        {
            self.commit()?;
        }
        if self.done.lines - self.durable.lines >= SYNC_LINES {
            self.sync(line)?;
        }
        Ok(())
    }

    fn event(&self, line: u64, bytes: &[u8]) -> Result<(String, NewEvent), LineError> {
        let text = str::from_utf8(bytes)
            .map_err(|e| LineError::NotUtf8 { valid_bytes: e.valid_up_to() })?;
        let (stream, event) = parse_line(text)?;
        if event.id.is_some() || self.options.new_ids {
            return Ok((stream, event));
        }
        Ok((stream, event.id(line_id(line, bytes))))
    }

    fn commit(&mut self) -> Result<(), Stop> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        if pending.len() > 1 && self.commit_together(&pending)? {
            return Ok(());
        }
        for Pending { line, stream, event } in pending {
            let appended = self
                .store
                .append(&stream, ExpectedVersion::Any, [event])
                .map_err(|e| stop(line, ImportErrorCause::Store(e)))?;
            self.count(line, 1, appended.deduplicated);
        }
        Ok(())
    }

    /// Commits lines as one batch. `false` means that nothing was stored, because of something
    /// that concerns single lines, which then have to be committed one by one.
    fn commit_together(&mut self, pending: &[Pending]) -> Result<bool, Stop> {
        let (Some(first), Some(last)) = (pending.first(), pending.last()) else {
            return Ok(true);
        };
        let batch = pending.iter().fold(self.store.batch(), |batch, one| {
            batch.append(&one.stream, ExpectedVersion::Any, [one.event.clone()])
        });
        match batch.commit() {
            Ok(appended) => {
                // A batch is known as a whole or not at all.
                let deduplicated = appended.iter().all(|one| one.deduplicated);
                self.count(last.line, pending.len() as u64, deduplicated);
                Ok(true)
            }
            Err(Error::IdConflict(_) | Error::InvalidName { .. } | Error::LimitExceeded { .. }) => {
                Ok(false)
            }
            Err(e) => Err(stop(first.line, ImportErrorCause::Store(e))),
        }
    }

    fn count(&mut self, line: u64, events: u64, deduplicated: bool) {
        self.done.lines = line;
        if deduplicated {
            self.done.skipped += events;
        } else {
            self.done.appended += events;
        }
    }

    fn sync(&mut self, line: u64) -> Result<(), Stop> {
        self.store.sync().map_err(|e| stop(line, ImportErrorCause::Store(e)))?;
        self.durable = self.done;
        (self.progress)(&self.durable);
        Ok(())
    }

    /// Makes what stands before the stop durable, and says so. What stops that earlier is the
    /// answer then.
    fn stopped(&mut self, stop: Stop) -> ImportError {
        let Stop { line, cause } = match self.commit() {
            Ok(()) => stop,
            Err(earlier) => earlier,
        };
        // The first cause is the one to tell; without this sync less is known to be durable.
        let _ = self.sync(line);
        ImportError { line, cause, imported: self.durable }
    }
}

const fn stop(line: u64, cause: ImportErrorCause) -> Stop {
    Stop { line, cause }
}

/// Reads the next line without its end; `false` at the end of the input.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, ImportErrorCause> {
    line.clear();
    let read = reader.by_ref().take(LINE_BYTES + 1).read_until(b'\n', line);
    read.map_err(|e: io::Error| ImportErrorCause::Read(Arc::new(e)))?;
    if line.is_empty() {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() as u64 > LINE_BYTES {
        return Err(ImportErrorCause::Line(LineError::TooLong { limit: LINE_BYTES }));
    }
    Ok(true)
}

/// The id of a line that has none.
fn line_id(line: u64, bytes: &[u8]) -> EventId {
    let mut hasher = SipHasher24::new_with_keys(ID_KEYS.0, ID_KEYS.1);
    hasher.write(line.to_string().as_bytes());
    hasher.write(b"\n");
    hasher.write(bytes);
    Builder::from_custom_bytes(hasher.finish128().as_bytes()).into_uuid().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::IdConflict;
    use crate::position::Position;

    const LINES: &str = concat!(
        "{\"stream\":\"A-1\",\"type\":\"T\",\"data\":1}\n",
        "\n",
        "{\"stream\":\"B-1\",\"type\":\"T\",\"data\":1}\r\n",
        "{\"stream\":\"A-1\",\"type\":\"T\",\"data\":1}\n",
        "{\"stream\":\"A-1\",\"type\":\"T\",\"data\":1}",
    );

    fn import(store: &Store, batch: u16, lines: &str) -> Result<Imported, ImportError> {
        let batch = NonZeroU16::new(batch).unwrap();
        Import::new().batch(batch).run(store, lines.as_bytes())
    }

    fn streams(store: &Store) -> Vec<String> {
        store.read_all().into_iter().map(|event| event.unwrap().stream().into()).collect()
    }

    #[test]
    fn lines_are_stored_in_order_whatever_the_commits() {
        for batch in [1, 2, 3, 100] {
            let store = Store::in_memory().unwrap();
            let imported = import(&store, batch, LINES).unwrap();
            assert_eq!(imported, Imported { lines: 5, appended: 4, skipped: 0 });
            assert_eq!(streams(&store), ["A-1", "B-1", "A-1", "A-1"]);
        }
    }

    #[test]
    fn lines_already_there_are_skipped_whatever_the_commits() {
        let lines: Vec<_> = LINES.split_inclusive('\n').collect();
        for before in 0..=lines.len() {
            for (first, second) in [(1, 100), (100, 1), (2, 3), (3, 2)] {
                let store = Store::in_memory().unwrap();
                import(&store, first, &lines[..before].concat()).unwrap();
                let there = store.head().0;
                let imported = import(&store, second, LINES).unwrap();
                assert_eq!((imported.skipped, imported.appended), (there, 4 - there));
                assert_eq!(streams(&store), ["A-1", "B-1", "A-1", "A-1"]);
            }
        }
    }

    #[test]
    fn new_ids_store_the_same_lines_again() {
        let store = Store::in_memory().unwrap();
        for _ in 0..2 {
            Import::new().new_ids(true).run(&store, LINES.as_bytes()).unwrap();
        }
        assert_eq!(store.head(), Position(8));
    }

    #[test]
    fn what_stands_before_a_bad_line_is_stored() {
        for batch in [1, 2, 100] {
            let store = Store::in_memory().unwrap();
            let lines = format!("{LINES}\n{{\"stream\":\"$a\",\"type\":\"T\"}}\n{LINES}");
            let error = import(&store, batch, &lines).unwrap_err();
            assert_eq!((error.line, error.imported.appended), (6, 4));
            let refused = ImportErrorCause::Store(Error::InvalidName {
                what: "stream name",
                name: "$a".into(),
                why: "names beginning with `$` are reserved",
            });
            assert_eq!(format!("{:?}", error.cause), format!("{refused:?}"));
            let error = import(&store, batch, &format!("{LINES}\nnonsense\n")).unwrap_err();
            assert_eq!((error.line, error.imported.skipped), (6, 4));
            assert!(matches!(error.cause, ImportErrorCause::Line(LineError::NotAnObject { .. })));
            assert_eq!(streams(&store).len(), 4);
        }
    }

    #[test]
    fn the_same_id_with_other_content_is_said_with_its_line() {
        let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        let line = |data| {
            format!("{{\"stream\":\"A-1\",\"type\":\"T\",\"id\":\"{id}\",\"data\":{data}}}\n")
        };
        for batch in [1, 2, 4] {
            let store = Store::in_memory().unwrap();
            let imported = import(&store, batch, &(line(1) + &line(1))).unwrap();
            assert_eq!((imported.appended, imported.skipped), (1, 1));
            let error = import(&store, batch, &(line(1) + &line(2))).unwrap_err();
            assert_eq!(error.line, 2);
            assert!(matches!(
                error.cause,
                ImportErrorCause::Store(Error::IdConflict(IdConflict::OtherContent { .. }))
            ));
        }
    }

    #[test]
    fn derived_ids_never_change() {
        // Locked: an import that was interrupted may be run again by a later version.
        assert_eq!(line_id(1, b"{}").to_string(), "8c311a30-4aad-82d2-bdd7-8ed6b9bb3e7b");
        assert_ne!(line_id(1, b"1{}"), line_id(11, b"{}"));
    }

    #[test]
    fn bytes_that_are_no_text_and_failing_readers_are_named() {
        let store = Store::in_memory().unwrap();
        let error = Import::new().run(&store, &b"\n{\"\xff\"}\n"[..]).unwrap_err();
        let ImportErrorCause::Line(LineError::NotUtf8 { valid_bytes: 2 }) = error.cause else {
            panic!("{error}");
        };
        assert_eq!(error.line, 2);
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let reader = io::BufReader::new(LINES.as_bytes().chain(&b"\n"[..]).chain(Failing));
        let error = Import::new().run(&store, reader).unwrap_err();
        assert_eq!((error.line, error.imported.appended), (6, 4));
        assert_eq!(error.to_string(), "line 6: cannot read it: gone");
    }

    #[test]
    fn what_is_reported_is_synced() {
        let store = Store::in_memory().unwrap();
        let lines = "{\"stream\":\"A-1\",\"type\":\"T\",\"data\":1}\n".repeat(20_000);
        let mut said = Vec::new();
        let batch = NonZeroU16::new(100).unwrap();
        let import = Import::new().batch(batch);
        import
            .run_with(&store, lines.as_bytes(), |imported| {
                said.push(imported.lines);
            })
            .unwrap();
        assert_eq!(said, [8_200, 16_400, 20_000]);
    }
}
