//! Operations on a store whose disk fails and loses power, against the plainest model.

use super::input::Input;
use super::read::Written;
use crate::error::{Error, Result};
use crate::new_event::NewEvent;
use crate::options::Durability;
use crate::position::{ExpectedVersion, Position, Version};
use crate::storage::Dir;
use crate::storage::memory::{Fault, MemoryDisk};
use crate::store::Store;
use crate::sync::Arc;

/// An append that may be there, and must be if it was acknowledged durably.
struct Append {
    events: Written,
    is_kept: bool,
}

struct World {
    disk: MemoryDisk,
    durability: Durability,
    /// Missing where opening failed because of a fault.
    store: Option<Store>,
    appends: Vec<Append>,
    made: u64,
    /// Something may fail since a fault was asked for.
    is_faulty: bool,
}

/// Does what the input says.
pub(super) fn operations(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.u8();
    let durability = match how % 4 {
        0 => Durability::Os,
        1 => Durability::Interval(std::time::Duration::from_secs(3600)),
        _ => Durability::Sync,
    };
    let mut world = World {
        disk: MemoryDisk::simulated(u64::from(how)),
        durability,
        store: None,
        appends: Vec::new(),
        made: 0,
        is_faulty: false,
    };
    world.open();
    for _ in 0..40 {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
    }
    world.restart(world.disk.crash_keeping_everything());
    world.check();
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 16 {
            0..=4 => self.append(input, 1),
            5 | 6 => self.append(input, 3),
            7 => {
                let done = self.store.as_ref().map(Store::sync);
                self.note(done);
            }
            8 => {
                let done = self.store.as_ref().map(Store::close);
                self.note(done);
                self.open();
            }
            9 => self.restart(self.disk.crash_seeded(input.u64())),
            10 => self.restart(self.disk.crash_keeping_nothing()),
            11 => self.restart(self.disk.crash_keeping_everything()),
            12 => {
                let call = self.disk.calls() + u64::from(input.u8());
                self.disk.fail_at(call, fault(input));
                self.is_faulty = true;
            }
            13 => {
                let call = self.disk.calls() + u64::from(input.u8());
                self.disk.fail_from(call, fault(input));
                self.is_faulty = true;
            }
            14 => {
                let call = self.disk.calls() + u64::from(input.u8());
                self.disk.crash_at(call);
                self.is_faulty = true;
            }
            _ => self.check(),
        }
        if let Some(store) = &self.store {
            keep_up_to(&mut self.appends, store.durable());
        }
    }

    fn append(&mut self, input: &mut Input<'_>, parts: usize) {
        let Some(store) = &self.store else { return };
        let mut batch = store.batch();
        let mut events = Vec::new();
        for _ in 0..parts {
            let stream = format!("Stream-{}", input.u8() % 5);
            let bytes = usize::from(input.u8()) * usize::from(input.u8() % 32);
            self.made += 1;
            let data = [self.made.to_string().into_bytes(), vec![b'x'; bytes]].concat();
            let mut event = NewEvent::new("Made", data.clone());
            if self.made.is_multiple_of(3) {
                event = event.id(uuid::Uuid::from_u64_pair(self.made, 1));
            }
            let known = self.appends.iter().flat_map(|append| &append.events).chain(&events);
            let version = known.filter(|(of, _)| *of == stream).count() as u64;
            let is_exact = input.u8().is_multiple_of(4) && !self.is_faulty;
            let expected: ExpectedVersion =
                if is_exact { Version(version).into() } else { ExpectedVersion::Any };
            batch = batch.append(&stream, expected, [event]);
            events.push((stream, data));
        }
        match batch.commit() {
            Ok(answer) => {
                let behind = self.len() + events.len() as u64;
                assert_eq!(answer.last().map(|last| last.position), Some(Position(behind)));
                let is_kept = self.durability == Durability::Sync;
                self.appends.push(Append { events, is_kept });
            }
            Err(Error::Unknown { .. }) if self.is_faulty => {
                self.appends.push(Append { events, is_kept: false });
            }
            Err(Error::NotWritten { .. } | Error::Poisoned { .. }) if self.is_faulty => {}
            Err(e) => panic!("an append fails with {e:?}"),
        }
    }

    fn len(&self) -> u64 {
        self.appends.iter().map(|append| append.events.len() as u64).sum()
    }

    /// Without a fault nothing fails.
    fn note<T>(&self, done: Option<Result<T>>) {
        if let Some(Err(e)) = done {
            assert!(self.is_faulty, "{e:?}");
            assert!(!e.is_corruption(), "{e:?}");
        }
    }

    fn restart(&mut self, disk: MemoryDisk) {
        self.store = None;
        self.disk = disk;
        self.is_faulty = false;
        self.open();
    }

    fn open(&mut self) {
        self.store = None;
        let options = Store::options().segment_bytes(64 << 10).checkpoint_bytes(4 << 10);
        let options = options.upkeep_thread(false).durability(self.durability);
        match options.open_in(Dir::new(Arc::new(self.disk.clone()))) {
            Ok(store) => {
                self.settle(&store);
                self.store = Some(store);
            }
            Err(e) => assert!(self.is_faulty && matches!(e, Error::Io { .. }), "{e:?}"),
        }
    }

    /// What is there is a prefix with everything that must be, and must be from now on.
    fn settle(&mut self, store: &Store) {
        let head = store.head().0;
        assert!(head <= self.len(), "{head} of {} events", self.len());
        while self.len() > head {
            let gone = self.appends.pop().expect("an append behind the head");
            assert!(!gone.is_kept, "an acknowledged append is gone");
        }
        assert_eq!(self.len(), head, "a part of an append is there");
        keep_up_to(&mut self.appends, Position(head));
    }

    /// Everything visible is what was appended. A read may fail only because of a fault.
    fn check(&self) {
        let Some(store) = &self.store else { return };
        let visible = usize::try_from(store.head().0).unwrap();
        let expected = self.appends.iter().flat_map(|append| &append.events).take(visible);
        let mut read = store.read_all().into_iter();
        for (stream, data) in expected {
            match read.next().expect("an event, or why there is none") {
                Ok(event) => assert!(event.stream() == stream && event.data() == data),
                Err(e) => {
                    assert!(self.is_faulty && !e.is_corruption(), "{e:?}");
                    return;
                }
            }
        }
        assert!(read.next().is_none(), "more than was appended");
    }
}

fn keep_up_to(appends: &mut [Append], position: Position) {
    let mut behind = 0;
    for append in appends {
        behind += append.events.len() as u64;
        append.is_kept |= behind <= position.0;
    }
}

fn fault(input: &mut Input<'_>) -> Fault {
    use std::io::ErrorKind;
    match input.u8() % 5 {
        0 => Fault::Error(ErrorKind::StorageFull),
        1 => Fault::Error(ErrorKind::Interrupted),
        2 => Fault::Error(ErrorKind::PermissionDenied),
        3 => Fault::ShortCount,
        _ => Fault::Errno(5),
    }
}
