//! Reading a file of `state/`: which writes it holds, where they end, and what cannot be known.

use super::home::Home;
use super::table::{Table, read_value};
use crate::error::{Error, Result};
use crate::format::Invalid;
use crate::format::codec::u32_at;
use crate::format::files::{STATE, StateFile};
use crate::format::state::{
    Group, GroupKind, MARK_BYTES, Parsed, STATE_ALIGN, STATE_HEADER_BYTES, StateHeader,
};
use crate::format::statewrites::Place;
use crate::storage::{Access, Dir, NamedFile};
use crate::sync::Arc;

/// How much is read at a time.
const WINDOW_BYTES: usize = 64 << 10;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) table: Table,
    /// The number of the newest file; 0 where there is none.
    pub(super) number: u32,
    /// Files that a newer one has replaced, and what interrupted replacements left.
    pub(super) leftover: Vec<String>,
    /// Where the next group goes, if the file ends in a mark with nothing behind it: then all of
    /// it is durable, and the file may be continued.
    pub(super) goes_on: Option<(StateHeader, u64)>,
    /// Up to which position the state writes of frames are in it.
    pub(super) applied: u64,
    /// Where a reader goes on, once somebody else has written more.
    pub(super) reader: Option<Reader>,
}

/// How far a reader has read the file that another process writes.
#[derive(Debug)]
pub(super) struct Reader {
    number: u32,
    file: NamedFile,
    header: StateHeader,
    /// Behind the last group that was taken in.
    end: u64,
}

impl Reader {
    /// What was written since, to be taken in. `None` where the file has to be read anew: another
    /// one has taken its place, or what is there is no whole group.
    pub(super) fn news(&mut self, dir: &Dir, of: StateFile) -> Result<Option<Vec<News>>> {
        let names = dir.list(STATE)?;
        let newest = numbers(&names, of).last().copied();
        if newest != Some(self.number) {
            return Ok(None);
        }
        let mut walk = Walk {
            file: &self.file,
            salt: self.header.salt,
            limit: self.header.len,
            window: Vec::new(),
            window_at: 0,
        };
        let mut end = self.end;
        let mut groups = Vec::new();
        while u32_at(walk.bytes(end, 8)?, 4).is_some_and(|len| len != 0) {
            let Ok(group) = walk.group(end)? else { return Ok(None) };
            if !walk.is_whole(end, &group)? {
                return Ok(None);
            }
            let len = group.len;
            groups.push(News { file: self.file.clone(), at: end, group });
            end += len;
        }
        self.end = end;
        Ok(Some(groups))
    }
}

/// A group that was not there before.
pub(super) struct News {
    file: NamedFile,
    at: u64,
    group: Group,
}

impl News {
    pub(super) fn take_in(self, table: &mut Table, applied: &mut u64) {
        take_in(table, applied, &self.file, self.at, self.group);
    }
}

/// The numbers of the files of a part, in order.
fn numbers(names: &[String], of: StateFile) -> Vec<u32> {
    let its = |name: &String| StateFile::parse(name).filter(|(file, _)| *file == of);
    let mut numbers: Vec<u32> = names.iter().filter_map(its).map(|(_, number)| number).collect();
    numbers.sort_unstable();
    numbers
}

/// The length of the newest file; 0 where there is none.
pub(super) fn file_bytes(dir: &Dir, of: StateFile) -> Result<u64> {
    let newest = numbers(&names(dir)?, of).pop();
    newest.map_or(Ok(0), |number| dir.open(&of.path(number), Access::Read)?.len())
}

/// The names of all files, none where the store has saved nothing yet.
fn names(dir: &Dir) -> Result<Vec<String>> {
    match dir.list(STATE) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(Vec::new())
        }
        listed => listed,
    }
}

/// Reads the newest file. For a writer, from the medium: what the cache alone has is written out
/// or, where that failed before, not shown.
pub(super) fn load(home: &Home, of: StateFile) -> Result<Loaded> {
    let Home { dir, store, writable, .. } = home;
    let mut loaded = Loaded::default();
    let names = names(dir)?;
    let mut numbers = numbers(&names, of);
    let temporary = names.iter().filter(|name| StateFile::parse_temporary(name) == Some(of));
    loaded.leftover = temporary.map(|name| format!("{STATE}/{name}")).collect();
    let Some(newest) = numbers.pop() else { return Ok(loaded) };
    loaded.leftover.extend(numbers.into_iter().map(|number| of.path(number)));
    loaded.number = newest;
    let access = if *writable { Access::ReadWrite } else { Access::Read };
    let file = dir.open(&of.path(newest), access)?;
    if *writable {
        // The name may be one that only the cache has, and so may be the content.
        dir.sync_dir(STATE)?;
        file.sync()?;
        file.drop_cache(file.len()?)?;
    }
    read(&mut loaded, &file, *store)?;
    loaded.table.file = Some(file);
    Ok(loaded)
}

fn read(loaded: &mut Loaded, file: &NamedFile, store: [u8; 16]) -> Result<()> {
    let mut page = vec![0; 64];
    let filled = file.read_at(&mut page, 0)?;
    page.truncate(filled);
    let header = match StateHeader::decode(&page) {
        Ok(header) => header,
        Err(invalid) if invalid.unsupported => return Err(invalid.at(file.path(), 0)),
        Err(invalid) => {
            loaded.table.hole(invalid.at(file.path(), 0));
            return Ok(());
        }
    };
    if (header.store, header.number) != (store, loaded.number) {
        let (expected, found) = ("the header of this store's file", "another file's");
        loaded.table.hole(Error::corrupt(file.path(), 0, expected, found));
        return Ok(());
    }
    let len = file.len()?;
    let mut walk = Walk {
        file,
        salt: header.salt,
        limit: len.min(header.len),
        window: Vec::new(),
        window_at: 0,
    };
    let (read_to, end) = walk.groups(loaded)?;
    if len < header.len {
        let (expected, found) = (format!("{} bytes", header.len), format!("{len} bytes"));
        loaded.table.hole(Error::corrupt(file.path(), len, expected, found));
        return Ok(());
    }
    loaded.goes_on = end.map(|end| (header, end));
    if loaded.table.doubt.is_none() {
        let (number, file) = (loaded.number, file.clone());
        loaded.reader = Some(Reader { number, file, header, end: read_to });
    }
    Ok(())
}

struct Walk<'a> {
    file: &'a NamedFile,
    salt: [u8; 16],
    limit: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// What stands at an offset, or behind it.
enum Next {
    Group(u64, Group),
    /// No group follows; whether there is anything but zeros.
    End(bool),
}

impl Walk<'_> {
    /// Takes all groups in. Says where they end, and the same again if that is behind a mark and
    /// only zeros follow.
    fn groups(&mut self, loaded: &mut Loaded) -> Result<(u64, Option<u64>)> {
        let mut offset = STATE_HEADER_BYTES;
        // The last group is taken in once something behind it proves it durable, or once all of
        // it is verified: a write that was never finished is whole or does not exist.
        let mut last: Option<(u64, Group)> = None;
        let Loaded { table, applied, .. } = loaded;
        let torn = loop {
            let found = match self.group(offset)? {
                Ok(group) => Next::Group(offset, group),
                Err(invalid) => {
                    let next = self.search(offset)?;
                    if let Next::Group(..) = next {
                        if let Some((at, group)) = last.take() {
                            take_in(table, applied, self.file, at, group);
                        }
                        // Whatever a later group follows was durable: this is damage.
                        table.hole(invalid.at(self.file.path(), offset));
                    }
                    next
                }
            };
            match found {
                Next::Group(at, group) => {
                    offset = at + group.len;
                    if let Some((at, group)) = last.replace((at, group)) {
                        take_in(table, applied, self.file, at, group);
                    }
                }
                Next::End(torn) => break torn,
            }
        };
        let Some((at, group)) = last else { return Ok((STATE_HEADER_BYTES, None)) };
        let is_mark = group.kind == GroupKind::Mark;
        if !self.is_whole(at, &group)? {
            return Ok((at, None));
        }
        let end = at + group.len;
        take_in(table, applied, self.file, at, group);
        Ok((end, (is_mark && !torn).then_some(offset)))
    }

    /// Whether the values of a group are what its head says.
    fn is_whole(&self, at: u64, group: &Group) -> Result<bool> {
        for (_, place) in &group.writes {
            if let Place::Value { start, len, crc } = place {
                match read_value(self.file, at + start, *len, *crc) {
                    Ok(_) => {}
                    Err(e) if e.is_corruption() => return Ok(false),
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(true)
    }

    /// The group at an offset.
    fn group(&mut self, offset: u64) -> Result<Result<Group, Invalid>> {
        let (salt, room) = (self.salt, self.limit.saturating_sub(offset));
        let mut wanted = GROUP_AT_ONCE;
        loop {
            let bytes = self.bytes(offset, wanted)?;
            match Group::parse(bytes, salt, offset, room) {
                Parsed::Group(group) => return Ok(Ok(group)),
                Parsed::Needs(more) if more > wanted && bytes.len() >= wanted => wanted = more,
                Parsed::Needs(_) => {
                    return Ok(Err(Invalid::new("a group", "the end of the file")));
                }
                Parsed::Invalid(invalid) if invalid.unsupported => {
                    return Err(invalid.at(self.file.path(), offset));
                }
                Parsed::Invalid(invalid) => return Ok(Err(invalid)),
            }
        }
    }

    /// The next group behind an offset at which there is none.
    fn search(&mut self, from: u64) -> Result<Next> {
        let mut used = false;
        let mut offset = from;
        while offset < self.limit {
            let room = self.limit - offset;
            let bytes = self.bytes(offset, GROUP_AT_ONCE)?;
            let head = bytes.get(..8.min(bytes.len())).unwrap_or_default();
            used |= head.iter().any(|byte| *byte != 0);
            let len = u64::from(u32_at(head, 4).unwrap_or(0) & !7);
            if offset > from
                && (MARK_BYTES..=room).contains(&len)
                && let Ok(group) = self.group(offset)?
            {
                return Ok(Next::Group(offset, group));
            }
            offset += STATE_ALIGN;
        }
        Ok(Next::End(used))
    }

    /// Bytes from an offset on: so many, or up to the end.
    fn bytes(&mut self, offset: u64, wanted: usize) -> Result<&[u8]> {
        let left = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = wanted.min(left);
        let start =
            offset.checked_sub(self.window_at).and_then(|start| usize::try_from(start).ok());
        let is_there = start
            .is_some_and(|start| self.window.get(start..).is_some_and(|rest| rest.len() >= wanted));
        if !is_there {
            self.window.resize(wanted.max(WINDOW_BYTES).min(left), 0);
            let filled = self.file.read_at(&mut self.window, offset)?;
            self.window.truncate(filled);
            self.window_at = offset;
        }
        let start = usize::try_from(offset - self.window_at).unwrap_or(usize::MAX);
        Ok(self.window.get(start..).unwrap_or_default())
    }
}

/// What is asked for to read the head of a group.
const GROUP_AT_ONCE: usize = 512;

fn take_in(table: &mut Table, applied: &mut u64, file: &NamedFile, at: u64, group: Group) {
    if group.kind == GroupKind::Doubt {
        let (expected, found) = ("everything that was saved", "what an earlier damage left");
        table.doubt.get_or_insert(Error::corrupt(file.path(), at, expected, found));
    }
    *applied = group.applied;
    for (key, place) in group.writes {
        table.set(Arc::from(key), place, at);
    }
}
