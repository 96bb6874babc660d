//! The simulated disk: a directory in memory that knows what is durable and what is not.
//!
//! [`MemoryDisk::new`] is the plain one that stores in memory live on. [`MemoryDisk::simulated`]
//! is the one that breaks, and it is stricter than any real disk:
//!
//! - Of what was not synced, a crash leaves any part: each 512-byte sector of each write, the
//!   length of each file and each change of a directory survives or not, independent of the
//!   others; a sector may also be torn or hold garbage, and what lies between the old end of a file
//!   and the new one may be stale bytes. Syncing a file makes its content durable, not its name;
//!   that takes a sync of the directory.
//! - A sync that fails loses what it should have made durable: the cache shows it and counts it as
//!   clean, so that no later sync writes it, not even after the same bytes were written again.
//!   Only [direct reads](super::File::read_direct) show the truth, and all reads once the cache
//!   was dropped. (A failed sync of a directory changes nothing: its entries are the file
//!   system's own, and nothing a program can do would tell it about the loss.)
//! - Each call has a number, and any call can be the one that fails, once or from then on, that
//!   moves half of the bytes, or at which the power goes.
//!
//! Nothing in it is random but what follows from the seed. What a crash leaves is another disk;
//! this one stays as it is, so one run has as many crashes as anybody cares to look at.
#![cfg_attr(
    not(test),
    allow(dead_code, reason = "only tests break a disk; what they break is built with the rest")
)]

mod content;
mod file;
mod page;
mod script;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use self::file::{Inode, MemoryFile};
pub(crate) use self::script::{Call, CallKind, Fault};
use self::script::{Goes, Passed, Random, Refusal, Script};
use self::tree::Tree;
use super::{Access, File, Lock, PAGE_BYTES, SharedPage, Storage, disk};
use crate::position::Timestamp;
use crate::sync::{Arc, Mutex, MutexGuard};

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct MemoryDisk {
    shared: Arc<Shared>,
}

/// Taken in this order: script, tree, inode.
struct Shared {
    /// `None` on a plain disk. Otherwise held for as long as a call lasts, so that calls have an
    /// order and a crash falls between two of them.
    script: Option<Mutex<Script>>,
    tree: Mutex<Tree>,
}

/// Something that a crash may keep or lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    /// A creation, rename or removal; of a rename the new name.
    Entry { call: CallKind, name: &'a str },
    /// The new length of a file.
    Length { name: &'a str, len: u64 },
    /// The part of one write that lies in one sector, where it starts.
    Sector { name: &'a str, offset: u64 },
}

/// What a crash makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Old,
    /// Half of a sector. Lengths and directory entries do not tear: there it is as `New`.
    Torn,
    /// Bytes that nobody wrote: in the place of what a write has in a sector; of a length, between
    /// the old end and the new one. Directory entries have none: there it is as `New`.
    Garbage,
    New,
}

/// Decides a crash, choice by choice, in an order that depends on the disk alone. It must not use
/// the disk.
type Chooser<'a> = &'a mut dyn FnMut(Choice<'_>) -> Keep;

impl MemoryDisk {
    /// A plain disk, with the clock and the randomness of the system.
    pub(crate) fn new() -> Self {
        Self::from_parts(None, Tree::new(false))
    }

    /// A disk that crashes and fails as asked.
    pub(crate) fn simulated(seed: u64) -> Self {
        Self::from_parts(Some(Script::new(seed)), Tree::new(true))
    }

    fn from_parts(script: Option<Script>, tree: Tree) -> Self {
        let shared = Shared { script: script.map(Mutex::new), tree: Mutex::new(tree) };
        Self { shared: Arc::new(shared) }
    }
}

/// The course of a simulation. All of it panics on a plain disk.
impl MemoryDisk {
    /// How many calls there were, which is also the number of the next one.
    pub(crate) fn calls(&self) -> u64 {
        self.script().calls()
    }

    /// Lets the call with this number fail.
    pub(crate) fn fail_at(&self, call: u64, fault: Fault) {
        self.script().fail_at(call, fault);
    }

    /// Lets the call with this number fail and all later ones.
    pub(crate) fn fail_from(&self, call: u64, fault: Fault) {
        self.script().fail_from(call, fault);
    }

    /// Ends all faults to come. Sectors that are broken stay broken.
    pub(crate) fn heal(&self) {
        self.script().heal();
    }

    /// Breaks the sector that holds this byte of a file: reading it fails with EIO for ever. Panics
    /// where there is no such file.
    pub(crate) fn break_sector(&self, name: &str, offset: usize) {
        let tree = self.shared.tree.lock();
        tree.find(name).expect("the file to break is there").lock().break_sector(offset);
    }

    /// Lets the power go before the call with this number: it fails, all later ones fail, and
    /// nothing changes any more.
    pub(crate) fn crash_at(&self, call: u64) {
        self.script().power_off_at(call);
    }

    /// Begins to record calls.
    pub(crate) fn start_trace(&self) {
        self.script().start_trace();
    }

    /// The calls since [`MemoryDisk::start_trace`], failed ones included, but for those without
    /// power.
    pub(crate) fn trace(&self) -> Vec<Call> {
        self.script().trace().to_vec()
    }

    /// Sets the clock, forwards or backwards.
    pub(crate) fn set_time(&self, time: Timestamp) {
        self.script().set_time(time);
    }

    /// The disk as a power cut leaves it, if all that is not durable goes the way it is told.
    pub(crate) fn crash(&self, choose: Chooser<'_>) -> Self {
        let script = self.script();
        let tree = self.shared.tree.lock().crashed(choose);
        Self::from_parts(Some(script.restarted()), tree)
    }

    /// The disk as a power cut leaves it in the worst case.
    pub(crate) fn crash_keeping_nothing(&self) -> Self {
        self.crash(&mut |_| Keep::Old)
    }

    /// The disk as `kill -9` leaves it: the cache survives, and with it what is visible and not
    /// durable. A power cut can still take it.
    pub(crate) fn crash_keeping_everything(&self) -> Self {
        let script = self.script();
        let tree = self.shared.tree.lock().killed();
        Self::from_parts(Some(script.restarted()), tree)
    }

    /// The disk as a power cut may leave it, for each seed another one.
    pub(crate) fn crash_seeded(&self, seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Even odds alone would hardly ever lose or keep nearly everything.
        let kept_of_8 = random.below(9);
        self.crash(&mut |_| match (random.below(8), random.below(32)) {
            (_, 0 | 1) => Keep::Torn,
            (_, 2) => Keep::Garbage,
            (drawn, _) if drawn < kept_of_8 => Keep::New,
            _ => Keep::Old,
        })
    }

    /// A number for all that decides what anybody can see of the disk, now or after a crash; two
    /// that differ hardly have the same.
    pub(crate) fn digest(&self) -> u64 {
        self.shared.tree.lock().digest()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.as_ref().expect("the disk is a simulated one").lock()
    }
}

/// What tests look at and damage behind the store's back. None of it counts as a call, all of it
/// is durable at once.
impl MemoryDisk {
    /// The visible content of every file.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let tree = self.shared.tree.lock();
        tree.files().map(|(name, inode)| (name, inode.lock().bytes())).collect()
    }

    /// Flips the bits of a byte that are set in `xor`. Panics where there is no such byte.
    pub(crate) fn corrupt(&self, name: &str, offset: usize, xor: u8) {
        let tree = self.shared.tree.lock();
        let inode = tree.find(name).map(|inode| inode.lock());
        let mut inode = inode.expect("the file to damage is there");
        assert!(offset < inode.visible().len(), "{name} has no byte {offset}");
        inode.damage(offset, xor);
    }

    /// Puts a file in place, with the directories above it.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        self.shared.tree.lock().put(name, bytes);
    }

    /// Takes a file away. Panics where there is no such file.
    pub(crate) fn delete(&self, name: &str) {
        assert!(self.shared.tree.lock().delete(name), "{name} is not there");
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryDisk")
    }
}

/// A call that got through. The next one begins when it is dropped.
struct Turn<'a> {
    passed: Passed,
    _script: Option<MutexGuard<'a, Script>>,
}

impl Turn<'_> {
    /// How many bytes of a read or a write get through.
    fn bytes(&self) -> usize {
        usize::try_from(self.passed.bytes).unwrap_or(usize::MAX)
    }
}

impl Shared {
    fn admit(
        &self,
        kind: CallKind,
        name: &str,
        offset: u64,
        len: u64,
    ) -> Result<Turn<'_>, Refusal> {
        let Some(script) = &self.script else {
            let passed = Passed { bytes: len, goes: Goes::Right };
            return Ok(Turn { passed, _script: None });
        };
        let mut script = script.lock();
        let passed = script.admit(kind, name, offset, len)?;
        Ok(Turn { passed, _script: Some(script) })
    }
}

impl MemoryDisk {
    fn admit(&self, kind: CallKind, name: &str) -> Result<Turn<'_>, Refusal> {
        self.shared.admit(kind, name, 0, 0)
    }

    fn opened(&self, name: &str, inode: Arc<Mutex<Inode>>, access: Access) -> Arc<dyn File> {
        Arc::new(MemoryFile {
            shared: Arc::clone(&self.shared),
            name: name.into(),
            inode,
            writable: access == Access::ReadWrite,
        })
    }
}

impl Storage for MemoryDisk {
    fn root(&self) -> &Path {
        Path::new("(in memory)")
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let _turn = self.admit(CallKind::CreateDir, dir)?;
        self.shared.tree.lock().create_dir(dir)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let _turn = self.admit(CallKind::List, dir)?;
        self.shared.tree.lock().list(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let _turn = self.admit(CallKind::SyncDir, dir)?;
        self.shared.tree.lock().sync_dir(dir)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let _turn = self.admit(CallKind::Create, name)?;
        let inode = self.shared.tree.lock().create(name)?;
        Ok(self.opened(name, inode, Access::ReadWrite))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let _turn = self.admit(CallKind::Open, name)?;
        let inode = Arc::clone(self.shared.tree.lock().find(name)?);
        Ok(self.opened(name, inode, access))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let _turn = self.admit(CallKind::Rename, to)?;
        self.shared.tree.lock().rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let _turn = self.admit(CallKind::Remove, name)?;
        self.shared.tree.lock().remove(name)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let _turn = self.admit(CallKind::Lock, name)?;
        let free = self.shared.tree.lock().lock(name)?;
        Ok(free.then(|| {
            let shared = Arc::clone(&self.shared);
            Box::new(MemoryLock { shared, name: name.into() }) as Box<dyn Lock>
        }))
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        let _turn = self.admit(CallKind::Lock, name)?;
        self.shared.tree.lock().is_locked(name)
    }

    fn shared_page(&self, name: &str, access: Access) -> io::Result<Arc<dyn SharedPage>> {
        let _turn = self.admit(CallKind::SharedPage, name)?;
        let mut tree = self.shared.tree.lock();
        let is_short = |tree: &Tree| match tree.find(name) {
            Ok(inode) => Ok(inode.lock().visible().len() < PAGE_BYTES),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(e) => Err(e),
        };
        if access == Access::ReadWrite && is_short(&tree)? {
            // Nobody may rely on it, so whether a crash leaves it is no choice of its own.
            tree.put(name, &[0; PAGE_BYTES]);
        }
        let page = tree.find(name)?.lock().shared_page()?;
        Ok(page)
    }

    fn now(&self) -> Timestamp {
        match &self.shared.script {
            Some(script) => script.lock().tick(),
            None => SystemTime::now().into(),
        }
    }

    fn fill_random(&self, buffer: &mut [u8]) -> io::Result<()> {
        let Some(script) = &self.shared.script else { return disk::fill_random(buffer) };
        let mut script = script.lock();
        script.admit(CallKind::Random, "", 0, buffer.len() as u64)?;
        script.random().fill(buffer);
        Ok(())
    }
}

struct MemoryLock {
    shared: Arc<Shared>,
    name: Box<str>,
}

impl Lock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.shared.tree.lock().unlock(&self.name);
    }
}

impl fmt::Debug for MemoryLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryLock").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn disk() -> MemoryDisk {
        let disk = MemoryDisk::simulated(7);
        disk.create_dir("").unwrap();
        disk
    }

    fn random(disk: &MemoryDisk) -> [u8; 16] {
        let mut bytes = [0; 16];
        disk.fill_random(&mut bytes).unwrap();
        bytes
    }

    /// Makes every call there is once, and says which failed.
    fn every_call(disk: &MemoryDisk, file: &dyn File) -> Vec<bool> {
        vec![
            disk.create_dir("d").is_err(),
            disk.list("").is_err(),
            disk.sync_dir("").is_err(),
            disk.create("a").is_err(),
            disk.open("a", Access::Read).is_err(),
            disk.rename("a", "b").is_err(),
            disk.remove("b").is_err(),
            disk.lock("LOCK").is_err(),
            disk.fill_random(&mut [0; 3]).is_err(),
            file.len().is_err(),
            file.read_at(&mut [0; 5], 1).is_err(),
            file.read_direct(&mut [0; 6], 2).is_err(),
            file.write_at(b"1234567", 3).is_err(),
            file.sync().is_err(),
            file.grow(100).is_err(),
            file.drop_cache(1).is_err(),
            file.release(4, 8).is_err(),
            file.map(9).is_err(),
            disk.shared_page("page", Access::ReadWrite).is_err(),
        ]
    }

    #[test]
    fn a_shared_page_survives_the_process_and_not_the_power() {
        let disk = disk();
        let missing = disk.shared_page("page", Access::Read).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let writer = disk.shared_page("page", Access::ReadWrite).unwrap();
        let reader = disk.shared_page("page", Access::Read).unwrap();
        let digest = disk.digest();
        writer.store(3, 0x0102);
        assert_eq!((reader.load(3), reader.load(512)), (0x0102, 0));
        assert_eq!(disk.files()["page"][24..26], [2, 1]);
        assert_eq!(disk.digest(), digest, "a page makes no other disk");
        let load = |disk: &MemoryDisk| disk.shared_page("page", Access::Read).unwrap().load(3);
        assert_eq!(load(&disk.crash_keeping_everything()), 0x0102);
        assert_eq!(load(&disk.crash_keeping_nothing()), 0);
        disk.corrupt("page", 25, 0xFF);
        assert_eq!(reader.load(3), 0xFE02);
        disk.put("short", b"1234");
        let short = disk.shared_page("short", Access::Read).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn every_call_counts_once_and_is_traced() {
        let disk = disk();
        let file = disk.create("f").unwrap();
        let before = disk.calls();
        disk.start_trace();
        assert!(every_call(&disk, &*file).iter().all(|failed| !failed));
        let calls: Vec<_> = disk
            .trace()
            .into_iter()
            .map(|Call { kind, name, offset, len }| (kind, name, offset, len))
            .collect();
        let expected = [
            (CallKind::CreateDir, "d", 0, 0),
            (CallKind::List, "", 0, 0),
            (CallKind::SyncDir, "", 0, 0),
            (CallKind::Create, "a", 0, 0),
            (CallKind::Open, "a", 0, 0),
            (CallKind::Rename, "b", 0, 0),
            (CallKind::Remove, "b", 0, 0),
            (CallKind::Lock, "LOCK", 0, 0),
            (CallKind::Random, "", 0, 3),
            (CallKind::Len, "f", 0, 0),
            (CallKind::Read, "f", 1, 5),
            (CallKind::ReadDirect, "f", 2, 6),
            (CallKind::Write, "f", 3, 7),
            (CallKind::Sync, "f", 0, 0),
            (CallKind::Grow, "f", 0, 100),
            (CallKind::DropCache, "f", 0, 1),
            (CallKind::Release, "f", 4, 8),
            (CallKind::Map, "f", 0, 9),
            (CallKind::SharedPage, "page", 0, 0),
        ];
        assert_eq!(calls, expected.map(|(kind, name, o, l)| (kind, name.to_owned(), o, l)));
        assert_eq!(disk.calls(), before + expected.len() as u64);
    }

    #[test]
    fn any_call_can_fail_and_then_changes_nothing() {
        let clean = disk();
        let calls = every_call(&clean, &*clean.create("f").unwrap()).len();
        for failing in 0..calls {
            let disk = disk();
            let file = disk.create("f").unwrap();
            disk.fail_at(disk.calls() + failing as u64, Fault::Error(io::ErrorKind::StorageFull));
            let failed = every_call(&disk, &*file);
            assert!(failed[failing], "call {failing}");
        }
        let disk = disk();
        let file = disk.create("f").unwrap();
        let before = disk.files();
        disk.fail_from(disk.calls(), Fault::Errno(5));
        assert!(every_call(&disk, &*file).iter().all(|failed| *failed));
        assert_eq!(disk.files(), before);
    }

    #[test]
    fn short_counts_move_half() {
        let disk = disk();
        let file = disk.create("f").unwrap();
        disk.fail_from(disk.calls(), Fault::ShortCount);
        assert_eq!(file.write_at(b"12345", 0).unwrap(), 3);
        assert_eq!(disk.files()["f"], b"123");
        let mut buffer = [0; 3];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 2);
        assert_eq!(file.read_direct(&mut buffer, 0).unwrap(), Some(0));
        file.sync().unwrap();
        assert_eq!(file.read_direct(&mut buffer, 0).unwrap(), Some(2));
        assert_eq!(file.write_at(b"1", 0).unwrap(), 1, "nothing is shorter and still something");
        assert_eq!(file.write_at(b"", 0).unwrap(), 0);
    }

    #[test]
    fn without_power_nothing_changes() {
        let disk = disk();
        let file = disk.create("f").unwrap();
        disk.sync_dir("").unwrap();
        file.write_at(b"unsynced", 0).unwrap();
        disk.crash_at(disk.calls() + 1);
        file.write_at(b"last one", 0).unwrap();
        let before = disk.files();
        assert!(every_call(&disk, &*file).iter().all(|failed| *failed));
        assert_eq!(disk.files(), before);
        // The sync that came too late neither kept the writes nor lost them for good.
        assert_eq!(disk.crash_keeping_nothing().files()["f"], b"");
        assert_eq!(disk.crash(&mut |_| Keep::New).files()["f"], b"last one");
        let image = disk.crash_keeping_everything();
        let reopened = image.open("f", Access::ReadWrite).unwrap();
        reopened.sync().unwrap();
        assert_eq!(image.crash_keeping_nothing().files()["f"], b"last one");
    }

    #[test]
    fn a_lock_keeps_others_out_until_it_is_dropped() {
        let disk = disk();
        let lock = disk.lock("LOCK").unwrap().unwrap();
        assert!(disk.clone().lock("LOCK").unwrap().is_none());
        assert!(disk.lock("STORE").unwrap().is_some());
        assert!(disk.files().contains_key("LOCK"));
        for image in [disk.crash_keeping_everything(), disk.crash_keeping_nothing()] {
            assert!(image.lock("LOCK").unwrap().is_some());
        }
        assert!(disk.lock("LOCK").unwrap().is_none());
        drop(lock);
        assert!(disk.lock("LOCK").unwrap().is_some());
    }

    #[test]
    fn a_lock_needs_a_file() {
        let disk = MemoryDisk::simulated(0);
        assert_eq!(disk.lock("LOCK").unwrap_err().kind(), io::ErrorKind::NotFound);
        disk.create_dir("").unwrap();
        disk.create_dir("LOCK").unwrap();
        assert_eq!(disk.lock("LOCK").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        disk.put("other", b"content");
        assert!(disk.lock("other").unwrap().is_some());
        assert_eq!(disk.files()["other"], b"content");
    }

    #[test]
    fn simulated_time_and_randomness_follow_from_the_seed() {
        let (one, other) = (MemoryDisk::simulated(1), MemoryDisk::simulated(1));
        assert_eq!(one.now(), other.now());
        let (first, second) = (one.now(), one.now());
        assert_eq!(second.as_micros(), first.as_micros() + 1);
        one.set_time(Timestamp::from_micros(-5));
        assert_eq!(one.now(), Timestamp::from_micros(-5));
        assert_eq!(random(&one), random(&other));
        assert_ne!(random(&one), random(&MemoryDisk::simulated(2)));
        let image = one.crash_keeping_nothing();
        assert_eq!(image.now(), Timestamp::from_micros(-4));
        assert_eq!(random(&image), random(&one));
        assert_eq!(image.calls(), 1);
    }

    #[test]
    fn a_plain_disk_has_the_time_and_the_randomness_of_the_system() {
        let disk = MemoryDisk::new();
        let time = SystemTime::from(disk.now());
        let distance = SystemTime::now().duration_since(time);
        assert!(distance.is_ok_and(|d| d < Duration::from_secs(60)));
        assert_ne!(random(&disk), random(&disk));
    }

    #[test]
    #[should_panic(expected = "the disk is a simulated one")]
    fn a_plain_disk_does_not_crash() {
        MemoryDisk::new().crash_keeping_nothing();
    }

    #[test]
    fn damage_is_durable_and_no_call() {
        let disk = disk();
        disk.create("created").unwrap().write_at(b"1", 0).unwrap();
        let calls = disk.calls();
        disk.put("new/dir/put", b"123");
        disk.put("created", b"replaced");
        disk.put("gone", b"");
        disk.delete("gone");
        disk.corrupt("new/dir/put", 1, 0x80);
        let expected: BTreeMap<_, _> = [
            ("created".to_owned(), b"replaced".to_vec()),
            ("new/dir/put".to_owned(), b"1\xB23".to_vec()),
        ]
        .into();
        assert_eq!(disk.files(), expected);
        assert_eq!(disk.calls(), calls);
        assert_eq!(disk.crash_keeping_nothing().files(), expected);
        assert_eq!(disk.crash(&mut |_| Keep::New).files(), expected);
        disk.delete("created");
        assert_eq!(disk.crash(&mut |_| Keep::New).files().len(), 1);
    }

    #[test]
    #[should_panic(expected = "has no byte 3")]
    fn damage_that_hits_nothing_is_a_mistake() {
        let disk = disk();
        disk.put("f", b"123");
        disk.corrupt("f", 3, 1);
    }

    #[test]
    fn seeds_leave_different_things_and_each_the_same() {
        let disk = disk();
        disk.put("f", &[]);
        let file = disk.open("f", Access::ReadWrite).unwrap();
        file.write_at(&[1; 2048], 0).unwrap();
        let left: Vec<_> = (0..200).map(|seed| disk.crash_seeded(seed).files()).collect();
        let again: Vec<_> = (0..200).map(|seed| disk.crash_seeded(seed).files()).collect();
        assert_eq!(left, again);
        let count =
            |of: &dyn Fn(&[u8]) -> bool| left.iter().filter(|files| of(&files["f"])).count();
        assert!(count(&|f| f.is_empty()) > 20, "nothing");
        assert!(count(&|f| f == [1; 2048]) > 10, "everything");
        assert!(count(&|f| f.len() == 2048 && f.contains(&0) && f.contains(&1)) > 50, "a part");
        assert!(count(&|f| f.len() == 2048 && f[511] == 0 && f[0] == 1) > 5, "torn");
        assert_eq!(disk.files()["f"], [1; 2048], "the disk itself stays as it is");
    }

    #[test]
    fn what_is_shown_of_a_disk_is_no_content() {
        let disk = disk();
        let (file, lock) = (disk.create("f").unwrap(), disk.lock("L").unwrap().unwrap());
        let shown = format!("{disk:?} {file:?} {lock:?} {}", disk.root().display());
        assert_eq!(shown, "MemoryDisk MemoryFile(\"f\") MemoryLock(\"L\") (in memory)");
    }
}
