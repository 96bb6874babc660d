//! A panic inside a commit poisons the store and leaves nobody waiting.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::small;
use crate::position::Timestamp;
use crate::storage::memory::MemoryDisk;
use crate::storage::{Access, Dir, File, Lock, SharedPage, Storage};
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::{Error, ExpectedVersion, NewEvent};

/// A disk whose clock, which only commits look at, can be made to panic.
#[derive(Debug)]
struct PanickingClock {
    disk: MemoryDisk,
    panics: Arc<AtomicBool>,
}

impl Storage for PanickingClock {
    fn root(&self) -> &Path {
        self.disk.root()
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.create(name)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.disk.open(name, access)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.lock(name)
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.disk.is_locked(name)
    }

    fn shared_page(&self, name: &str, access: Access) -> io::Result<Arc<dyn SharedPage>> {
        self.disk.shared_page(name, access)
    }

    fn now(&self) -> Timestamp {
        if self.panics.load(Ordering::Relaxed) {
            // Long enough for other callers to queue behind the one that panics.
            std::thread::sleep(Duration::from_millis(50));
            panic!("a panic inside a commit, on purpose");
        }
        self.disk.now()
    }

    fn fill_random(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.fill_random(buffer)
    }
}

#[test]
fn a_panic_inside_a_commit_poisons_and_leaves_nobody_waiting() {
    let disk = MemoryDisk::new();
    let panics = Arc::new(AtomicBool::new(false));
    let clock = PanickingClock { disk: disk.clone(), panics: Arc::clone(&panics) };
    let store = small().open_in(Dir::new(Arc::new(clock))).unwrap();
    let event = || NewEvent::new("Counted", "1");
    store.append("A-1", ExpectedVersion::Any, [event()]).unwrap();

    panics.store(true, Ordering::Relaxed);
    let outcomes: Vec<Error> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| store.append("A-1", ExpectedVersion::Any, [event()])))
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap().unwrap_err()).collect()
    });
    panics.store(false, Ordering::Relaxed);

    assert!(outcomes.iter().any(|e| matches!(e, Error::Unknown { .. })), "{outcomes:?}");
    for e in &outcomes {
        assert!(matches!(e, Error::Unknown { .. } | Error::Poisoned { .. }), "{e:?}");
    }
    let later = store.append("A-1", ExpectedVersion::Any, [event()]);
    assert!(matches!(later, Err(Error::Poisoned { .. })), "{later:?}");
    assert_eq!(store.read_all().into_iter().flatten().count(), 1, "reads go on");
    assert!(store.close().is_err(), "closing says so too");

    let store = small().open_in(Dir::new(Arc::new(disk))).unwrap();
    let again = store.append("A-1", ExpectedVersion::Exists, [event()]).unwrap();
    assert_eq!(again.position.0, store.head().0, "a reopen goes on");
}
