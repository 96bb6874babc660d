//! A simulated file: what reads see, and what the medium has of it.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use super::content::{Content, mixed, parts};
use super::page::MemoryPage;
use super::script::{CallKind, Goes, Random, Refusal};
use super::{Choice, Chooser, Keep, Shared, Turn};
use crate::bytes::Region;
use crate::storage::{File, PAGE_BYTES};
use crate::sync::{Arc, Mutex};

/// What a medium writes as a whole, or tears.
const SECTOR: usize = 512;

/// EIO.
const DISK_ERROR: i32 = 5;

/// A file without its name.
#[derive(Clone)]
pub(super) struct Inode {
    visible: Content,
    /// `None` where nobody asks what a crash would leave.
    medium: Option<Medium>,
    /// Sectors that no read gets through.
    broken: BTreeSet<usize>,
    /// What is shared of it, once somebody asked for that. It stands over `visible` and is never
    /// synced.
    page: Option<Arc<MemoryPage>>,
}

/// What is durable, and what separates it from what is visible.
#[derive(Clone, Default)]
struct Medium {
    content: Content,
    /// In the order in which they were made.
    unsynced: Vec<Write>,
    /// Whether the length changed since the last sync.
    grown: bool,
    /// Sectors that a failed sync left clean in the cache and absent on the medium. As on ext4, not
    /// even writing them again helps before the cache was dropped.
    lost: BTreeSet<usize>,
}

#[derive(Clone)]
struct Write {
    offset: usize,
    bytes: Arc<[u8]>,
}

impl Inode {
    /// A file with this durable content.
    pub(super) fn new(content: Content, tracked: bool) -> Self {
        let medium = || Medium { content: content.clone(), ..Medium::default() };
        Self { medium: tracked.then(medium), visible: content, broken: BTreeSet::new(), page: None }
    }

    /// The bytes that anybody sees, what is shared of them included.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.visible.to_vec();
        if let Some(page) = &self.page {
            bytes.iter_mut().zip(page.bytes()).for_each(|(byte, shared)| *byte = shared);
        }
        bytes
    }

    /// What the end of every process leaves of it.
    pub(super) fn killed(&self) -> Self {
        let mut copy = self.clone();
        if copy.page.take().is_some() {
            copy.visible = Content::from(&*self.bytes());
        }
        copy
    }

    /// The page that it begins with, shared.
    pub(super) fn shared_page(&mut self) -> io::Result<Arc<MemoryPage>> {
        if self.visible.len() < PAGE_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = self.visible.to_vec();
        let page = self.page.get_or_insert_with(|| Arc::new(MemoryPage::new(&bytes)));
        Ok(Arc::clone(page))
    }

    pub(super) const fn visible(&self) -> &Content {
        &self.visible
    }

    /// What the medium holds.
    const fn durable(&self) -> &Content {
        match &self.medium {
            Some(medium) => &medium.content,
            None => &self.visible,
        }
    }

    pub(super) fn break_sector(&mut self, offset: usize) {
        self.broken.insert(offset / SECTOR);
    }

    /// Fails where a read would touch a broken sector.
    fn check_readable(&self, offset: usize, len: usize) -> io::Result<()> {
        let end = self.visible.len().min(offset.saturating_add(len));
        if end <= offset || self.broken.range(offset / SECTOR..=(end - 1) / SECTOR).count() == 0 {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(DISK_ERROR))
    }

    /// A write that the medium never gets, though the cache counts it as written.
    fn write_in_vain(&mut self, offset: usize, bytes: &[u8]) {
        self.visible.write(offset, bytes);
        if let Some(medium) = &mut self.medium {
            medium.lost.extend(parts(offset, bytes.len(), SECTOR).map(|(at, _)| at / SECTOR));
        }
    }

    /// A write that the medium puts into the sector behind, as far as the file goes there.
    fn write_elsewhere(&mut self, offset: usize, bytes: &[u8]) {
        self.write_in_vain(offset, bytes);
        if let Some(medium) = &mut self.medium {
            let room = medium.content.len().saturating_sub(offset + SECTOR);
            medium.content.write(offset + SECTOR, bytes.get(..room).unwrap_or(bytes));
        }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let before = self.visible.len();
        self.visible.write(offset, bytes);
        if let Some(medium) = &mut self.medium {
            medium.grown |= self.visible.len() > before;
            medium.note(offset, bytes);
        }
    }

    fn grow(&mut self, len: usize) {
        if let Some(medium) = &mut self.medium {
            medium.grown |= len > self.visible.len();
        }
        self.visible.grow(len);
    }

    fn sync(&mut self) {
        let Some(medium) = &mut self.medium else { return };
        let len = medium.pending_len(&self.visible);
        for write in medium.unsynced.drain(..) {
            for (sector, at, piece) in write.sectors() {
                if !medium.lost.contains(&sector) {
                    medium.content.write(at, piece);
                }
            }
        }
        medium.content.grow(len);
        medium.grown = false;
    }

    /// What a sync does that fails: nothing is durable, and nothing will be, since the cache counts
    /// as clean now.
    fn fail_sync(&mut self) {
        let Some(medium) = &mut self.medium else { return };
        for write in medium.unsynced.drain(..) {
            medium.lost.extend(write.sectors().map(|(sector, ..)| sector));
        }
        medium.grown = false;
    }

    /// Of the first bytes, to the end of a sector. What was lost behind them stays hidden.
    fn drop_cache(&mut self, bytes: usize) {
        let Some(medium) = &mut self.medium else { return };
        let len = medium.pending_len(&self.visible);
        let cached = std::mem::replace(&mut self.visible, medium.content.clone());
        medium.unsynced.iter().for_each(|write| self.visible.write(write.offset, &write.bytes));
        self.visible.grow(len);
        medium.lost = medium.lost.split_off(&bytes.div_ceil(SECTOR));
        for sector in &medium.lost {
            let (at, mut bytes) = (sector * SECTOR, [0; SECTOR]);
            let there = cached.read(&mut bytes, at).min(self.visible.len().saturating_sub(at));
            self.visible.write(at, bytes.get(..there).unwrap_or_default());
        }
    }

    /// What a power cut leaves of the file.
    pub(super) fn crashed(&self, name: &str, choose: Chooser<'_>) -> Self {
        let mut content = self.durable().clone();
        let Some(medium) = &self.medium else { return Self::new(content, false) };
        let len = medium.pending_len(&self.visible);
        let end = content.len();
        if len > end {
            match choose(Choice::Length { name, len: len as u64 }) {
                Keep::Old => {}
                Keep::Torn | Keep::New => content.grow(len),
                Keep::Garbage => content.write(end, &garbage(end, len - end)),
            }
        }
        for (_, at, piece) in medium.unsynced.iter().flat_map(Write::sectors) {
            // Nobody sees what lies behind the end, nor what changes nothing.
            let room = content.len().saturating_sub(at);
            let seen = piece.get(..room).unwrap_or(piece);
            if content.holds(at, seen) {
                continue;
            }
            let kept = match choose(Choice::Sector { name, offset: at as u64 }) {
                Keep::Old => 0,
                Keep::Torn => seen.len() / 2,
                Keep::New => seen.len(),
                Keep::Garbage => {
                    content.write(at, &garbage(at, seen.len()));
                    continue;
                }
            };
            content.write(at, seen.get(..kept).unwrap_or_default());
        }
        Self { broken: self.broken.clone(), ..Self::new(content, true) }
    }

    /// A number for all that decides what anybody can see of it, now or after a crash.
    pub(super) fn digest(&self) -> u64 {
        let visible = self.visible.digest();
        let Some(medium) = &self.medium else { return visible };
        let mut digest = mixed(visible) ^ medium.content.digest();
        for write in &medium.unsynced {
            let sum = u64::from(crc32fast::hash(&write.bytes)) << 32 | write.bytes.len() as u64;
            digest = mixed(mixed(digest ^ write.offset as u64) ^ sum);
        }
        let lost = medium.lost.iter().fold(0, |lost, sector| mixed(lost ^ *sector as u64));
        mixed(mixed(digest ^ u64::from(medium.grown)) ^ lost)
    }

    /// Changes a byte everywhere, also in what a later sync will write.
    pub(super) fn damage(&mut self, offset: usize, xor: u8) {
        self.visible.flip(offset, xor);
        if let Some(page) = &self.page {
            page.flip(offset, xor);
        }
        if let Some(medium) = &mut self.medium {
            medium.content.flip(offset, xor);
            for write in &mut medium.unsynced {
                let within = offset.checked_sub(write.offset);
                let bytes = Arc::make_mut(&mut write.bytes);
                if let Some(byte) = within.and_then(|within| bytes.get_mut(within)) {
                    *byte ^= xor;
                }
            }
        }
    }
}

/// Bytes that nobody wrote, for a place in a file always the same.
fn garbage(offset: usize, len: usize) -> Vec<u8> {
    let mut random = Random::new(offset as u64);
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}

impl Medium {
    fn note(&mut self, offset: usize, bytes: &[u8]) {
        let overlaps = |write: &Write| write.offset < offset + bytes.len() && offset < write.end();
        // A write that no crash can show, the zeros of a new file first of all, need not be kept.
        if !self.content.holds(offset, bytes) || self.unsynced.iter().any(overlaps) {
            self.unsynced.push(Write { offset, bytes: bytes.into() });
        }
    }

    /// The length that a sync makes durable. A length that a failed sync lost comes back only as
    /// far as something is written later.
    fn pending_len(&self, visible: &Content) -> usize {
        if self.grown {
            return visible.len();
        }
        self.unsynced.iter().map(Write::end).fold(self.content.len(), usize::max)
    }
}

impl Write {
    fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }

    /// The sectors it touches: number, where in the file, and bytes.
    fn sectors(&self) -> impl Iterator<Item = (usize, usize, &[u8])> {
        parts(self.offset, self.bytes.len(), SECTOR)
            .filter_map(|(at, range)| Some((at / SECTOR, at, self.bytes.get(range)?)))
    }
}

/// An open simulated file.
pub(super) struct MemoryFile {
    pub(super) shared: Arc<Shared>,
    pub(super) name: Box<str>,
    pub(super) inode: Arc<Mutex<Inode>>,
    pub(super) writable: bool,
}

impl MemoryFile {
    fn admit(&self, kind: CallKind, offset: u64, len: usize) -> Result<Turn<'_>, Refusal> {
        self.shared.admit(kind, &self.name, offset, len as u64)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryFile").field(&self.name).finish()
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        let _turn = self.admit(CallKind::Len, 0, 0)?;
        Ok(self.inode.lock().visible.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let turn = self.admit(CallKind::Read, offset, buffer.len())?;
        let buffer = buffer.get_mut(..turn.bytes()).unwrap_or_default();
        let (inode, offset) = (self.inode.lock(), place(offset)?);
        inode.check_readable(offset, buffer.len())?;
        Ok(inode.visible.read(buffer, offset))
    }

    fn read_direct(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let turn = self.admit(CallKind::ReadDirect, offset, buffer.len())?;
        let buffer = buffer.get_mut(..turn.bytes()).unwrap_or_default();
        let (inode, offset) = (self.inode.lock(), place(offset)?);
        inode.check_readable(offset, buffer.len())?;
        Ok(Some(inode.durable().read(buffer, offset)))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let turn = self.admit(CallKind::Write, offset, bytes.len())?;
        self.check_writable()?;
        let bytes = bytes.get(..turn.bytes()).unwrap_or_default();
        let offset = place(offset)?;
        offset.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut inode = self.inode.lock();
        match turn.passed.goes {
            Goes::Right => inode.write(offset, bytes),
            Goes::Nowhere => inode.write_in_vain(offset, bytes),
            Goes::Wrong => inode.write_elsewhere(offset, bytes),
        }
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        match self.admit(CallKind::Sync, 0, 0) {
            Ok(_turn) => {
                self.inode.lock().sync();
                Ok(())
            }
            Err(refusal) => {
                if matches!(refusal, Refusal::Fault(_)) {
                    self.inode.lock().fail_sync();
                }
                Err(refusal.into())
            }
        }
    }

    fn grow(&self, len: u64) -> io::Result<()> {
        let _turn = self.shared.admit(CallKind::Grow, &self.name, 0, len)?;
        self.check_writable()?;
        self.inode.lock().grow(place(len)?);
        Ok(())
    }

    fn drop_cache(&self, len: u64) -> io::Result<()> {
        let _turn = self.shared.admit(CallKind::DropCache, &self.name, 0, len)?;
        self.inode.lock().drop_cache(place(len)?);
        Ok(())
    }

    fn release(&self, offset: u64, len: u64) -> io::Result<()> {
        let _turn = self.shared.admit(CallKind::Release, &self.name, offset, len)?;
        self.check_writable()?;
        let mut inode = self.inode.lock();
        let offset = place(offset)?;
        let room = inode.visible.len().saturating_sub(offset);
        let zeros = vec![0; usize::try_from(len).unwrap_or(room).min(room)];
        if !zeros.is_empty() {
            inode.write(offset, &zeros);
        }
        Ok(())
    }

    fn map(&self, len: u64) -> io::Result<Option<Arc<dyn Region>>> {
        let _turn = self.shared.admit(CallKind::Map, &self.name, 0, len)?;
        Ok(None)
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

#[cfg(test)]
mod tests {
    use super::super::{Fault, MemoryDisk};
    use super::*;
    use crate::storage::{Access, Storage};

    const DISK_ERROR: Fault = Fault::Errno(super::DISK_ERROR);

    /// A disk with one file whose name and content are durable.
    fn disk(content: &[u8]) -> (MemoryDisk, Arc<dyn File>) {
        let disk = MemoryDisk::simulated(0);
        disk.put("f", content);
        let file = disk.open("f", Access::ReadWrite).unwrap();
        (disk, file)
    }

    fn content(disk: &MemoryDisk) -> Vec<u8> {
        disk.files().remove("f").unwrap()
    }

    fn durable(disk: &MemoryDisk) -> Vec<u8> {
        content(&disk.crash_keeping_nothing())
    }

    fn direct(file: &dyn File) -> Vec<u8> {
        let mut buffer = [0; 64];
        let read = file.read_direct(&mut buffer, 0).unwrap().unwrap();
        buffer[..read].to_vec()
    }

    fn sync_in_vain(disk: &MemoryDisk, file: &dyn File) {
        disk.fail_at(disk.calls(), DISK_ERROR);
        assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    }

    /// The crash that makes of each sector what it is told, by the offsets at which writes begin
    /// in them; of a length always the new one.
    fn crash_with(disk: &MemoryDisk, sectors: &[(u64, Keep)]) -> Vec<u8> {
        let mut rest = sectors.iter();
        let image = disk.crash(&mut |choice| match choice {
            Choice::Sector { name: "f", offset } => {
                let (expected, keep) = rest.next().expect("no more sectors");
                assert_eq!(offset, *expected);
                *keep
            }
            Choice::Length { name: "f", .. } => Keep::New,
            other => panic!("{other:?}"),
        });
        assert_eq!(rest.next(), None);
        content(&image)
    }

    #[test]
    fn only_a_sync_makes_writes_durable() {
        let (disk, file) = disk(b"old");
        assert_eq!(file.write_at(b"new and longer", 0).unwrap(), 14);
        assert_eq!(content(&disk), b"new and longer");
        assert_eq!(direct(&*file), b"old");
        assert_eq!(durable(&disk), b"old");
        file.sync().unwrap();
        assert_eq!(direct(&*file), b"new and longer");
        assert_eq!(durable(&disk), b"new and longer");
    }

    #[test]
    fn each_sector_survives_or_tears_by_itself() {
        let (disk, file) = disk(&[1; 2048]);
        file.write_at(&[2; 1024], 500).unwrap();
        let mut expected = [1; 2048];
        expected[512..1024].fill(2);
        let offsets = [500, 512, 1024];
        let pick = |keeps: [Keep; 3]| offsets.into_iter().zip(keeps).collect::<Vec<_>>();
        assert_eq!(crash_with(&disk, &pick([Keep::Old, Keep::New, Keep::Old])), expected);
        expected[512 + 256..1024].fill(1);
        assert_eq!(crash_with(&disk, &pick([Keep::Old, Keep::Torn, Keep::Old])), expected);
        assert_eq!(crash_with(&disk, &pick([Keep::New; 3])), content(&disk));
        assert_eq!(crash_with(&disk, &pick([Keep::Old; 3])), [1; 2048]);
    }

    #[test]
    fn each_write_to_a_sector_survives_by_itself() {
        let (disk, file) = disk(b"....");
        file.write_at(b"aaa", 0).unwrap();
        file.write_at(b"bbb", 1).unwrap();
        assert_eq!(crash_with(&disk, &[(0, Keep::New), (1, Keep::New)]), b"abbb");
        assert_eq!(crash_with(&disk, &[(0, Keep::Old), (1, Keep::New)]), b".bbb");
        assert_eq!(crash_with(&disk, &[(0, Keep::New), (1, Keep::Old)]), b"aaa.");
    }

    #[test]
    fn the_length_survives_without_the_data_and_the_other_way_round() {
        let (disk, file) = disk(b"old");
        file.write_at(b"NEW!", 0).unwrap();
        let keep = |length, sector| {
            content(&disk.crash(&mut |choice| match choice {
                Choice::Length { len: 4, .. } => length,
                _ => sector,
            }))
        };
        assert_eq!(keep(Keep::New, Keep::Old), b"old\0");
        assert_eq!(keep(Keep::Old, Keep::New), b"NEW");
    }

    #[test]
    fn what_a_crash_cannot_change_is_no_choice() {
        let (disk, file) = disk(b"same");
        file.write_at(&[0; 8192], 4).unwrap();
        file.write_at(b"same", 0).unwrap();
        let mut choices = 0;
        disk.crash(&mut |choice| {
            assert_eq!(choice, Choice::Length { name: "f", len: 8196 });
            choices += 1;
            Keep::New
        });
        assert_eq!(choices, 1);
        file.sync().unwrap();
        assert_eq!(durable(&disk).len(), 8196);
    }

    #[test]
    fn filling_with_zeros_takes_no_memory() {
        let mut inode = Inode::new(Content::default(), true);
        inode.write(0, &[0; 8192]);
        assert!(inode.medium.unwrap().unsynced.is_empty());
    }

    #[test]
    fn writing_the_durable_bytes_over_unsynced_ones_is_a_write() {
        let (disk, file) = disk(b"aaa");
        file.write_at(b"bbb", 0).unwrap();
        file.write_at(b"aaa", 0).unwrap();
        assert_eq!(crash_with(&disk, &[(0, Keep::New), (0, Keep::Old)]), b"bbb");
        file.sync().unwrap();
        assert_eq!(durable(&disk), b"aaa");
    }

    #[test]
    fn a_failed_sync_loses_what_it_was_for_and_hides_it() {
        let (disk, file) = disk(b"old");
        file.write_at(b"new", 0).unwrap();
        sync_in_vain(&disk, &*file);
        file.sync().unwrap();
        assert_eq!(content(&disk), b"new");
        assert_eq!(direct(&*file), b"old");
        assert_eq!(durable(&disk), b"old");
        file.drop_cache(1 << 20).unwrap();
        assert_eq!(content(&disk), b"old");
    }

    #[test]
    fn a_cache_is_dropped_as_far_as_is_asked_for() {
        let (disk, file) = disk(&[1; 1536]);
        file.write_at(&[2; 1536], 0).unwrap();
        sync_in_vain(&disk, &*file);
        file.drop_cache(513).unwrap();
        assert_eq!(content(&disk), [[1; 512], [1; 512], [2; 512]].concat());
        // What is hidden stays lost, whatever is written elsewhere.
        file.write_at(&[3; 1536], 0).unwrap();
        file.sync().unwrap();
        assert_eq!(durable(&disk), [[3; 512], [3; 512], [1; 512]].concat());
        file.drop_cache(1536).unwrap();
        assert_eq!(content(&disk), durable(&disk));
    }

    #[test]
    fn writing_again_after_a_failed_sync_helps_only_without_the_cache() {
        let (disk, file) = disk(b"old");
        file.write_at(b"new", 0).unwrap();
        sync_in_vain(&disk, &*file);
        file.write_at(b"new", 0).unwrap();
        file.sync().unwrap();
        assert_eq!(durable(&disk), b"old");
        file.drop_cache(1 << 20).unwrap();
        file.write_at(b"new", 0).unwrap();
        file.sync().unwrap();
        assert_eq!(durable(&disk), b"new");
    }

    #[test]
    fn a_failed_sync_loses_no_other_sector() {
        let (disk, file) = disk(&[1; 1024]);
        file.write_at(&[2; 512], 0).unwrap();
        sync_in_vain(&disk, &*file);
        file.write_at(&[3; 512], 512).unwrap();
        file.sync().unwrap();
        assert_eq!(durable(&disk), [[1; 512], [3; 512]].concat());
    }

    #[test]
    fn a_failed_sync_loses_the_length() {
        let (disk, file) = disk(b"old");
        file.grow(1000).unwrap();
        sync_in_vain(&disk, &*file);
        file.sync().unwrap();
        assert_eq!((content(&disk).len(), durable(&disk).len()), (1000, 3));
        file.write_at(b"!", 600).unwrap();
        assert_eq!(content(&disk.crash(&mut |_| Keep::New)).len(), 601);
        file.sync().unwrap();
        assert_eq!(durable(&disk).len(), 601);
        file.drop_cache(1 << 20).unwrap();
        assert_eq!(content(&disk).len(), 601);
    }

    #[test]
    fn a_lost_write_is_in_the_cache_and_never_on_the_medium() {
        let (disk, file) = disk(&[1; 1024]);
        disk.fail_at(disk.calls(), Fault::LostWrite);
        assert_eq!(file.write_at(&[2; 512], 0).unwrap(), 512);
        file.write_at(&[2; 512], 512).unwrap();
        file.sync().unwrap();
        assert_eq!(content(&disk), [2; 1024]);
        assert_eq!(durable(&disk), [[1; 512], [2; 512]].concat());
        file.drop_cache(1 << 20).unwrap();
        assert_eq!(content(&disk), durable(&disk));
    }

    #[test]
    fn a_misdirected_write_is_in_the_cache_and_on_the_medium_in_the_sector_behind() {
        let (disk, file) = disk(&[0; 3 * SECTOR]);
        disk.fail_at(disk.calls(), Fault::Misdirected);
        assert_eq!(file.write_at(&[1; SECTOR], 0).unwrap(), SECTOR);
        assert_eq!(content(&disk), [[1; SECTOR], [0; SECTOR], [0; SECTOR]].concat());
        file.sync().unwrap();
        assert_eq!(durable(&disk), [[0; SECTOR], [1; SECTOR], [0; SECTOR]].concat());
        // It moves nothing beyond the end.
        disk.fail_at(disk.calls(), Fault::Misdirected);
        file.write_at(&[2; SECTOR], 2 * SECTOR as u64).unwrap();
        file.sync().unwrap();
        assert_eq!(durable(&disk).len(), 3 * SECTOR);
    }

    #[test]
    fn what_was_not_synced_may_be_garbage_and_nothing_else() {
        let (disk, file) = disk(&[7; 2 * SECTOR]);
        file.write_at(&[8; 100], SECTOR as u64 + 50).unwrap();
        let left = content(&disk.crash(&mut |_| Keep::Garbage));
        let (before, behind) = (SECTOR + 50, SECTOR + 150);
        assert!(left[..before].iter().chain(&left[behind..]).all(|byte| *byte == 7));
        assert!(left[before..behind].iter().any(|byte| *byte != 7 && *byte != 8));
        file.sync().unwrap();
        assert_eq!(content(&disk.crash(&mut |_| Keep::Garbage)), content(&disk));
    }

    #[test]
    fn what_a_file_grew_by_may_be_stale_until_it_is_synced() {
        let (disk, file) = disk(b"abc");
        file.grow(2000).unwrap();
        file.write_at(b"def", 1000).unwrap();
        let stale = content(&disk.crash(&mut |choice| match choice {
            Choice::Length { .. } => Keep::Garbage,
            _ => Keep::New,
        }));
        assert_eq!(
            (stale.len(), &stale[..3], &stale[1000..1003]),
            (2000, &b"abc"[..], &b"def"[..])
        );
        assert!(stale[3..1000].iter().any(|byte| *byte != 0));
        file.sync().unwrap();
        assert_eq!(content(&disk.crash(&mut |_| Keep::Garbage)), content(&disk));
    }

    #[test]
    fn a_broken_sector_cannot_be_read_for_ever() {
        let (disk, file) = disk(&[1; 1200]);
        disk.break_sector("f", 600);
        let mut buffer = [0; 512];
        for file in [file, disk.crash_keeping_nothing().open("f", Access::Read).unwrap()] {
            assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 512);
            assert_eq!(file.read_at(&mut buffer, 1024).unwrap(), 176);
            for offset in [1, 512, 1023] {
                let error = Some(super::DISK_ERROR);
                assert_eq!(file.read_at(&mut buffer, offset).unwrap_err().raw_os_error(), error);
                let direct = file.read_direct(&mut buffer, offset);
                assert_eq!(direct.unwrap_err().raw_os_error(), error);
            }
        }
    }

    #[test]
    fn dropping_the_cache_keeps_what_is_still_to_be_written() {
        let (disk, file) = disk(b"old");
        file.write_at(b"new and longer", 0).unwrap();
        file.grow(20).unwrap();
        file.drop_cache(1 << 20).unwrap();
        assert_eq!(content(&disk), b"new and longer\0\0\0\0\0\0");
        file.sync().unwrap();
        assert_eq!(durable(&disk), b"new and longer\0\0\0\0\0\0");
    }

    #[test]
    fn the_cache_survives_the_process_but_not_the_power() {
        let (disk, file) = disk(b"old");
        file.write_at(b"new", 0).unwrap();
        let killed = disk.crash_keeping_everything();
        assert_eq!(content(&killed), b"new");
        assert_eq!(durable(&killed), b"old");
        let reopened = killed.open("f", Access::Read).unwrap();
        reopened.sync().unwrap();
        assert_eq!(durable(&killed), b"new");
        assert_eq!(durable(&disk), b"old", "the image is another disk");
    }

    #[test]
    fn the_cache_still_hides_a_failed_sync_after_the_end_of_the_process() {
        let (disk, file) = disk(b"old");
        file.write_at(b"new", 0).unwrap();
        sync_in_vain(&disk, &*file);
        let killed = disk.crash_keeping_everything();
        let reopened = killed.open("f", Access::ReadWrite).unwrap();
        reopened.sync().unwrap();
        assert_eq!(content(&killed), b"new");
        assert_eq!(direct(&*reopened), b"old");
        reopened.drop_cache(1 << 20).unwrap();
        assert_eq!(content(&killed), b"old");
    }

    #[test]
    fn releasing_leaves_zeros_and_the_length_once_it_is_synced() {
        let (disk, file) = disk(b"0123456789");
        file.release(4, 3).unwrap();
        file.release(9, 1 << 40).unwrap();
        file.release(1 << 40, 1).unwrap();
        assert_eq!(content(&disk), [b"0123\0\0\0".as_slice(), b"78\0"].concat());
        assert_eq!(durable(&disk), b"0123456789");
        file.sync().unwrap();
        assert_eq!(durable(&disk), content(&disk));
    }

    #[test]
    fn growing_never_shortens() {
        let (disk, file) = disk(b"data");
        file.grow(2).unwrap();
        assert_eq!(file.len().unwrap(), 4);
        file.grow(6).unwrap();
        assert_eq!(content(&disk), b"data\0\0");
        assert_eq!(durable(&disk), b"data");
        file.sync().unwrap();
        assert_eq!(durable(&disk), b"data\0\0");
    }

    #[test]
    fn reads_end_where_the_file_ends() {
        let (_disk, file) = disk(b"data");
        let mut buffer = [0xEE; 8];
        assert_eq!(file.read_at(&mut buffer, 1).unwrap(), 3);
        assert_eq!(&buffer, b"ata\xEE\xEE\xEE\xEE\xEE");
        assert_eq!(file.read_at(&mut buffer, 4).unwrap(), 0);
        assert_eq!(file.read_at(&mut buffer, u64::MAX).unwrap(), 0);
        assert_eq!(file.write_at(b"x", u64::MAX).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(file.map(4).unwrap().is_none());
    }

    #[test]
    fn a_file_opened_for_reading_takes_no_writes() {
        let (disk, _) = disk(b"data");
        let file = disk.open("f", Access::Read).unwrap();
        let refused = io::ErrorKind::PermissionDenied;
        assert_eq!(file.write_at(b"x", 0).unwrap_err().kind(), refused);
        assert_eq!(file.grow(9).unwrap_err().kind(), refused);
        assert_eq!(file.release(0, 1).unwrap_err().kind(), refused);
        assert_eq!(content(&disk), b"data");
    }

    #[test]
    fn a_plain_disk_has_nothing_but_the_visible_content() {
        let disk = MemoryDisk::new();
        disk.create_dir("").unwrap();
        let file = disk.create("f").unwrap();
        file.write_at(b"new", 0).unwrap();
        assert_eq!(direct(&*file), b"new");
        file.drop_cache(1 << 20).unwrap();
        file.sync().unwrap();
        file.release(0, 1).unwrap();
        assert_eq!(content(&disk), b"\0ew");
    }

    #[test]
    fn damage_is_everywhere() {
        let (disk, file) = disk(b"ab");
        file.write_at(b"c", 1).unwrap();
        disk.corrupt("f", 0, 1);
        disk.corrupt("f", 1, 1);
        assert_eq!(content(&disk), b"`b");
        assert_eq!(durable(&disk), b"`c");
        file.sync().unwrap();
        assert_eq!(durable(&disk), b"`b");
    }
}
