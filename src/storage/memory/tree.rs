//! The simulated directories: which names are visible, and which are durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::content::{Content, mixed};
use super::file::Inode;
use super::script::CallKind;
use super::{Choice, Chooser, Keep};
use crate::sync::{Arc, Mutex};

type Entries = BTreeMap<String, Node>;

/// Everything on a simulated disk.
#[derive(Default)]
pub(super) struct Tree {
    /// By path; `""` is the root.
    dirs: BTreeMap<String, Directory>,
    locks: BTreeSet<String>,
    /// Whether it is known what a crash would leave.
    tracked: bool,
}

#[derive(Clone, Default)]
struct Directory {
    visible: Entries,
    /// Used only where the tree is tracked, as is `unsynced`: it would keep what was removed.
    durable: Entries,
    /// In the order in which they were made. Each may survive a crash without the others.
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Node {
    File(Arc<Mutex<Inode>>),
    Dir,
}

#[derive(Clone)]
enum Change {
    Add { name: String, node: Node },
    Rename { from: String, to: String, node: Node },
    Remove { name: String },
}

impl Tree {
    pub(super) fn new(tracked: bool) -> Self {
        Self { tracked, ..Self::default() }
    }

    pub(super) fn create_dir(&mut self, name: &str) -> io::Result<()> {
        if name.is_empty() {
            self.dirs.entry(String::new()).or_default();
            return Ok(());
        }
        let (dir, entry) = split(name);
        match self.dir(dir)?.visible.get(entry) {
            Some(Node::Dir) => return Ok(()),
            Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            None => {}
        }
        self.change(dir, Change::Add { name: entry.into(), node: Node::Dir })?;
        self.dirs.insert(name.into(), Directory::default());
        Ok(())
    }

    pub(super) fn list(&self, name: &str) -> io::Result<Vec<String>> {
        Ok(self.dir(name)?.visible.keys().cloned().collect())
    }

    pub(super) fn sync_dir(&mut self, name: &str) -> io::Result<()> {
        let directory = self.dirs.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        if self.tracked {
            directory.durable = directory.visible.clone();
            directory.unsynced.clear();
        }
        Ok(())
    }

    pub(super) fn create(&mut self, name: &str) -> io::Result<Arc<Mutex<Inode>>> {
        let (dir, entry) = split(name);
        if self.dir(dir)?.visible.contains_key(entry) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = Arc::new(Mutex::new(Inode::new(Content::default(), self.tracked)));
        let node = Node::File(Arc::clone(&inode));
        self.change(dir, Change::Add { name: entry.into(), node })?;
        Ok(inode)
    }

    pub(super) fn find(&self, name: &str) -> io::Result<&Arc<Mutex<Inode>>> {
        let (dir, entry) = split(name);
        match self.dir(dir)?.visible.get(entry).ok_or(io::ErrorKind::NotFound)? {
            Node::File(inode) => Ok(inode),
            Node::Dir => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let node = Node::File(Arc::clone(self.find(from)?));
        if let Err(e) = self.find(to)
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(e);
        }
        let ((from_dir, from), (to_dir, to)) = (split(from), split(to));
        if from_dir == to_dir {
            return self.change(to_dir, Change::Rename { from: from.into(), to: to.into(), node });
        }
        self.change(to_dir, Change::Add { name: to.into(), node })?;
        self.change(from_dir, Change::Remove { name: from.into() })
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.find(name)?;
        let (dir, entry) = split(name);
        self.change(dir, Change::Remove { name: entry.into() })
    }

    /// Whether the lock was free and is held now.
    pub(super) fn lock(&mut self, name: &str) -> io::Result<bool> {
        match self.find(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.create(name).map(drop)?,
            other => other.map(drop)?,
        }
        Ok(self.locks.insert(name.into()))
    }

    pub(super) fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.find(name).map(|_| self.locks.contains(name))
    }

    pub(super) fn unlock(&mut self, name: &str) {
        self.locks.remove(name);
    }

    /// Puts a durable file in place, and the directories above it.
    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) {
        self.delete(name);
        let inode = Inode::new(bytes.into(), self.tracked);
        self.settle(name, &Node::File(Arc::new(Mutex::new(inode))));
    }

    fn settle(&mut self, name: &str, node: &Node) {
        let (dir, entry) = split(name);
        if !dir.is_empty() {
            self.settle(dir, &Node::Dir);
        }
        let directory = self.dirs.entry(dir.into()).or_default();
        directory.visible.insert(entry.into(), node.clone());
        directory.durable.insert(entry.into(), node.clone());
    }

    /// Takes a file away durably. Whether there was one.
    pub(super) fn delete(&mut self, name: &str) -> bool {
        let (dir, entry) = split(name);
        let Some(directory) = self.dirs.get_mut(dir) else { return false };
        directory.unsynced.retain(|change| change.name() != entry);
        directory.durable.remove(entry);
        directory.visible.remove(entry).is_some()
    }

    /// The visible files.
    pub(super) fn files(&self) -> impl Iterator<Item = (String, &Arc<Mutex<Inode>>)> {
        self.dirs.iter().flat_map(|(dir, directory)| {
            directory.visible.iter().filter_map(|(entry, node)| match node {
                Node::File(inode) => Some((joined(dir, entry), inode)),
                Node::Dir => None,
            })
        })
    }

    /// What the end of every process leaves: all of it, but for the locks.
    pub(super) fn killed(&self) -> Self {
        // A file that is visible and durable under some names stays one file.
        let mut copies = BTreeMap::new();
        let mut copied = |node: &Node| match node {
            Node::Dir => Node::Dir,
            Node::File(inode) => {
                let copy = copies.entry(Arc::as_ptr(inode).addr());
                let copy = copy.or_insert_with(|| Arc::new(Mutex::new(inode.lock().killed())));
                Node::File(Arc::clone(copy))
            }
        };
        let mut dirs = self.dirs.clone();
        for directory in dirs.values_mut() {
            let pending = directory.unsynced.iter_mut().filter_map(Change::node_mut);
            let entries = directory.visible.values_mut().chain(directory.durable.values_mut());
            for node in entries.chain(pending) {
                *node = copied(node);
            }
        }
        Self { dirs, locks: BTreeSet::new(), tracked: self.tracked }
    }

    /// What a power cut leaves.
    pub(super) fn crashed(&self, choose: Chooser<'_>) -> Self {
        let mut image = Self::new(self.tracked);
        self.crash_dir("", choose, &mut image);
        image
    }

    fn crash_dir(&self, dir: &str, choose: Chooser<'_>, image: &mut Self) {
        let Some(directory) = self.dirs.get(dir) else { return };
        let mut entries = directory.durable.clone();
        for change in &directory.unsynced {
            let name = &joined(dir, change.name());
            if choose(Choice::Entry { call: change.kind(), name }) != Keep::Old {
                change.apply(&mut entries);
            }
        }
        for (entry, node) in &mut entries {
            let name = joined(dir, entry);
            match node {
                Node::Dir => self.crash_dir(&name, choose, image),
                Node::File(inode) => {
                    let crashed = inode.lock().crashed(&name, choose);
                    *inode = Arc::new(Mutex::new(crashed));
                }
            }
        }
        let settled =
            Directory { visible: entries.clone(), durable: entries, unsynced: Vec::new() };
        image.dirs.insert(dir.into(), settled);
    }

    /// A number for all that decides what anybody can see of the disk, now or after a crash; two
    /// that differ hardly have the same.
    pub(super) fn digest(&self) -> u64 {
        self.dirs.iter().fold(0, |digest, (name, directory)| {
            let entries = directory.visible.iter().chain(&directory.durable);
            let digest = entries.fold(mixed(digest ^ text(name)), |digest, (entry, node)| {
                mixed(mixed(digest ^ text(entry)) ^ node.digest())
            });
            directory.unsynced.iter().fold(mixed(digest), |digest, change| {
                let node = change.node().map_or(0, Node::digest);
                mixed(mixed(digest ^ text(change.name())) ^ mixed(node) ^ change.kind() as u64)
            })
        })
    }

    fn dir(&self, name: &str) -> io::Result<&Directory> {
        self.dirs.get(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, dir: &str, change: Change) -> io::Result<()> {
        let directory = self.dirs.get_mut(dir).ok_or(io::ErrorKind::NotFound)?;
        change.apply(&mut directory.visible);
        if self.tracked {
            directory.unsynced.push(change);
        }
        Ok(())
    }
}

impl Change {
    fn apply(&self, entries: &mut Entries) {
        match self {
            Self::Add { name, node } => {
                entries.insert(name.clone(), node.clone());
            }
            Self::Remove { name } => {
                entries.remove(name);
            }
            Self::Rename { from, to, node } => {
                // After a crash another file may have the old name, or none.
                if entries.get(from).is_some_and(|found| found.is(node)) {
                    entries.remove(from);
                }
                entries.insert(to.clone(), node.clone());
            }
        }
    }

    /// The name that the change is about; of a rename the new one.
    fn name(&self) -> &str {
        match self {
            Self::Add { name, .. } | Self::Remove { name } => name,
            Self::Rename { to, .. } => to,
        }
    }

    const fn kind(&self) -> CallKind {
        match self {
            Self::Add { node: Node::File(_), .. } => CallKind::Create,
            Self::Add { node: Node::Dir, .. } => CallKind::CreateDir,
            Self::Rename { .. } => CallKind::Rename,
            Self::Remove { .. } => CallKind::Remove,
        }
    }

    const fn node(&self) -> Option<&Node> {
        match self {
            Self::Add { node, .. } | Self::Rename { node, .. } => Some(node),
            Self::Remove { .. } => None,
        }
    }

    const fn node_mut(&mut self) -> Option<&mut Node> {
        match self {
            Self::Add { node, .. } | Self::Rename { node, .. } => Some(node),
            Self::Remove { .. } => None,
        }
    }
}

impl Node {
    fn digest(&self) -> u64 {
        match self {
            Self::File(inode) => inode.lock().digest(),
            Self::Dir => 1,
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

fn text(name: &str) -> u64 {
    name.bytes().fold(name.len() as u64, |digest, byte| mixed(digest ^ u64::from(byte)))
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

fn joined(dir: &str, entry: &str) -> String {
    if dir.is_empty() { entry.into() } else { format!("{dir}/{entry}") }
}

#[cfg(test)]
mod tests {
    use super::super::{Fault, MemoryDisk};
    use super::*;
    use crate::storage::{Access, Storage};

    fn disk() -> MemoryDisk {
        let disk = MemoryDisk::simulated(0);
        disk.create_dir("").unwrap();
        disk
    }

    /// Creates a file whose content is durable and whose name is not.
    fn create(disk: &MemoryDisk, name: &str, content: &str) {
        let file = disk.create(name).unwrap();
        file.write_at(content.as_bytes(), 0).unwrap();
        file.sync().unwrap();
    }

    /// The files of a disk as text, `name=content`.
    fn files(disk: &MemoryDisk) -> Vec<String> {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        disk.files().into_iter().map(|(name, bytes)| format!("{name}={}", text(bytes))).collect()
    }

    /// What is left when only these changes survive, of all there are, in their order.
    fn crash_with(disk: &MemoryDisk, changes: &[(CallKind, &str, Keep)]) -> Vec<String> {
        let mut rest = changes.iter();
        let image = disk.crash(&mut |choice| {
            let (call, name, keep) = *rest.next().expect("no more changes");
            assert_eq!(choice, Choice::Entry { call, name });
            keep
        });
        assert_eq!(rest.next(), None);
        files(&image)
    }

    fn kind<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
        result.err().map(|e| e.kind())
    }

    #[test]
    fn a_name_needs_a_sync_of_its_directory() {
        let disk = disk();
        create(&disk, "a", "1");
        assert!(files(&disk.crash_keeping_nothing()).is_empty());
        disk.sync_dir("").unwrap();
        assert_eq!(files(&disk.crash_keeping_nothing()), ["a=1"]);
    }

    #[test]
    fn each_change_survives_by_itself() {
        let disk = disk();
        create(&disk, "a", "1");
        create(&disk, "b", "2");
        let [a, b] = [(CallKind::Create, "a"), (CallKind::Create, "b")];
        let keep = |(kind, name), keep| (kind, name, keep);
        assert_eq!(crash_with(&disk, &[keep(a, Keep::Old), keep(b, Keep::New)]), ["b=2"]);
        assert_eq!(crash_with(&disk, &[keep(a, Keep::New), keep(b, Keep::Old)]), ["a=1"]);
    }

    #[test]
    fn a_rename_and_a_removal_survive_without_each_other() {
        let disk = disk();
        disk.put("old", b"1");
        create(&disk, "new.tmp", "2");
        disk.rename("new.tmp", "new").unwrap();
        disk.remove("old").unwrap();
        assert_eq!(files(&disk), ["new=2"]);
        let crash = |create, rename, remove| {
            crash_with(
                &disk,
                &[
                    (CallKind::Create, "new.tmp", create),
                    (CallKind::Rename, "new", rename),
                    (CallKind::Remove, "old", remove),
                ],
            )
        };
        let (old, new) = (Keep::Old, Keep::New);
        assert_eq!(crash(old, old, old), ["old=1"]);
        assert_eq!(crash(new, old, old), ["new.tmp=2", "old=1"]);
        assert_eq!(crash(old, new, old), ["new=2", "old=1"]);
        assert_eq!(crash(new, old, new), ["new.tmp=2"]);
        assert!(crash(old, old, new).is_empty());
    }

    #[test]
    fn a_rename_replaces_and_takes_only_its_own_file_along() {
        let disk = disk();
        disk.put("a", b"old");
        create(&disk, "tmp", "1");
        disk.rename("tmp", "a").unwrap();
        create(&disk, "tmp", "2");
        assert_eq!(files(&disk), ["a=1", "tmp=2"]);
        let left = crash_with(
            &disk,
            &[
                (CallKind::Create, "tmp", Keep::Old),
                (CallKind::Rename, "a", Keep::New),
                (CallKind::Create, "tmp", Keep::New),
            ],
        );
        assert_eq!(left, ["a=1", "tmp=2"]);
        disk.rename("tmp", "a").unwrap();
        let left = crash_with(
            &disk,
            &[
                (CallKind::Create, "tmp", Keep::New),
                (CallKind::Rename, "a", Keep::Old),
                (CallKind::Create, "tmp", Keep::Old),
                (CallKind::Rename, "a", Keep::New),
            ],
        );
        assert_eq!(left, ["a=2", "tmp=1"], "the first temporary file was not the one renamed");
    }

    #[test]
    fn a_rename_to_another_directory_is_two_changes() {
        let disk = disk();
        disk.put("x/a", b"1");
        disk.put("y/b", b"2");
        disk.rename("x/a", "y/a").unwrap();
        assert_eq!(files(&disk), ["y/a=1", "y/b=2"]);
        let left = crash_with(
            &disk,
            &[(CallKind::Remove, "x/a", Keep::Old), (CallKind::Create, "y/a", Keep::New)],
        );
        assert_eq!(left, ["x/a=1", "y/a=1", "y/b=2"]);
    }

    #[test]
    fn a_directory_that_is_lost_takes_its_files_along() {
        let disk = disk();
        disk.create_dir("log").unwrap();
        create(&disk, "log/1", "1");
        disk.sync_dir("log").unwrap();
        assert!(crash_with(&disk, &[(CallKind::CreateDir, "log", Keep::Old)]).is_empty());
        assert_eq!(crash_with(&disk, &[(CallKind::CreateDir, "log", Keep::New)]), ["log/1=1"]);
        disk.sync_dir("").unwrap();
        let image = disk.crash_keeping_nothing();
        assert_eq!(files(&image), ["log/1=1"]);
        assert_eq!(image.list("").unwrap(), ["log"]);
    }

    #[test]
    fn a_failed_sync_of_a_directory_loses_nothing() {
        let disk = disk();
        create(&disk, "a", "1");
        disk.fail_at(disk.calls(), Fault::Errno(5));
        assert!(disk.sync_dir("").is_err());
        assert!(files(&disk.crash_keeping_nothing()).is_empty());
        disk.sync_dir("").unwrap();
        assert_eq!(files(&disk.crash_keeping_nothing()), ["a=1"]);
    }

    #[test]
    fn the_end_of_the_process_keeps_names_that_are_not_durable() {
        let disk = disk();
        create(&disk, "a", "1");
        disk.sync_dir("").unwrap();
        disk.rename("a", "b").unwrap();
        let killed = disk.crash_keeping_everything();
        assert_eq!(files(&killed), ["b=1"]);
        assert_eq!(files(&killed.crash_keeping_nothing()), ["a=1"]);
        // The two names are one file: what is synced under one is durable under both.
        let file = killed.open("b", Access::ReadWrite).unwrap();
        file.write_at(b"2", 0).unwrap();
        file.sync().unwrap();
        assert_eq!(files(&killed.crash_keeping_nothing()), ["a=2"]);
        assert_eq!(crash_with(&killed, &[(CallKind::Rename, "b", Keep::New)]), ["b=2"]);
        assert_eq!(files(&disk), ["b=1"], "the image is another disk");
    }

    #[test]
    fn without_a_root_there_is_nothing() {
        let disk = MemoryDisk::simulated(0);
        assert_eq!(kind(disk.list("")), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(disk.create("a")), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(disk.crash_keeping_nothing().list("")), Some(io::ErrorKind::NotFound));
        disk.create_dir("").unwrap();
        disk.create_dir("").unwrap();
        assert!(disk.crash_keeping_nothing().list("").unwrap().is_empty());
    }

    #[test]
    fn names_are_as_they_are_on_a_real_disk() {
        let disk = disk();
        assert_eq!(kind(disk.create_dir("a/b")), Some(io::ErrorKind::NotFound));
        disk.create_dir("a").unwrap();
        disk.create_dir("a").unwrap();
        create(&disk, "a/f", "1");
        assert_eq!(kind(disk.create("a/f")), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(kind(disk.create("a")), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(kind(disk.create_dir("a/f")), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(kind(disk.open("a", Access::Read)), Some(io::ErrorKind::InvalidInput));
        assert_eq!(kind(disk.open("b", Access::Read)), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(disk.remove("b")), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(disk.remove("a")), Some(io::ErrorKind::InvalidInput));
        assert_eq!(kind(disk.rename("b", "c")), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(disk.rename("a/f", "a")), Some(io::ErrorKind::InvalidInput));
        assert_eq!(kind(disk.sync_dir("b")), Some(io::ErrorKind::NotFound));
        assert_eq!(disk.list("a").unwrap(), ["f"]);
        assert_eq!(disk.list("").unwrap(), ["a"]);
    }

    #[test]
    fn a_removed_file_lives_as_long_as_it_is_open() {
        let disk = disk();
        let file = disk.create("a").unwrap();
        disk.remove("a").unwrap();
        create(&disk, "a", "new");
        file.write_at(b"old", 0).unwrap();
        assert_eq!(files(&disk), ["a=new"]);
    }

    #[test]
    fn on_a_plain_disk_nothing_is_kept_that_is_gone() {
        let mut tree = Tree::new(false);
        tree.create_dir("").unwrap();
        let inode = tree.create("a").unwrap();
        tree.sync_dir("").unwrap();
        tree.remove("a").unwrap();
        assert_eq!(Arc::strong_count(&inode), 1);
    }
}
