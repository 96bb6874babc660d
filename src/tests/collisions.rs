//! Hashes of few bits: hundreds of streams and ids share each, in every tier of the index, and all
//! answers stay exact.

use super::history::Maker;
use super::oracle::{Model, check, check_disk};
use super::{Scene, open, scaled, seed, small};
use crate::storage::memory::MemoryDisk;
use crate::{ExpectedVersion, Store, Version};

/// A store whose hashes have few bits, and what it holds.
struct Colliding {
    disk: MemoryDisk,
    options: crate::StoreOptions,
    store: Store,
    model: Model,
    maker: Maker,
}

impl Colliding {
    fn new(bits: u32, streams: usize) -> Self {
        let disk = MemoryDisk::simulated(seed());
        let options = small().hash_bits(bits);
        let store = open(&disk, &options).unwrap();
        let maker = Maker::new(seed() + u64::from(bits), streams);
        Self { disk, options, store, model: Model::default(), maker }
    }

    /// Appends with the one expectation that holds, after others were refused.
    fn append(&mut self, parts: usize, bytes: usize) {
        let batch = self.maker.batch(parts, bytes);
        let (append, expected) = self.model.plan(&batch);
        let stream = &batch[0].0;
        let version = self.model.version(stream);
        let refused = self.store.append(stream, Version(version + 1), batch[0].1.clone());
        assert!(refused.unwrap_err().is_conflict());
        let mut commit = self.store.batch();
        let mut known = std::collections::HashMap::new();
        for (stream, events) in &batch {
            let version = known.entry(stream).or_insert_with(|| self.model.version(stream));
            let exact = ExpectedVersion::Exact(Version(*version));
            *version += events.len() as u64;
            commit = commit.append(stream, exact, events.iter().cloned());
        }
        commit = commit.expect("Absent-1", ExpectedVersion::NoStream);
        assert_eq!(commit.commit().unwrap(), expected);
        self.model.push(append, true);
    }

    /// Makes an append again whose events have ids.
    fn retry(&self) {
        let appends = self.model.appends();
        let has_ids = |event: &super::oracle::Recorded| event.event.id.is_some();
        for append in appends.iter().filter(|append| append.events.iter().all(has_ids)).take(9) {
            let mut commit = self.store.batch();
            for recorded in &append.events {
                let event = [recorded.event.clone()];
                commit = commit.append(&recorded.stream, ExpectedVersion::NoStream, event);
            }
            assert!(commit.commit().unwrap().iter().all(|done| done.deduplicated));
        }
    }

    fn segments(&self) -> u64 {
        self.store.info().unwrap().segments
    }

    fn reopen(&mut self) {
        self.store.close().unwrap();
        self.store = open(&self.disk, &self.options).unwrap();
    }
}

#[test]
fn hundreds_of_streams_under_one_hash_stay_apart() {
    for (bits, streams) in [(8, 400), (1, 90)] {
        let _scene = Scene(move || format!("seed {}, {bits} bits, {streams} streams", seed()));
        let mut world = Colliding::new(bits, streams);
        // Short events first: many streams in each segment, then long ones to fill segments.
        for round in 0..scaled(150, 600) {
            world.append(1 + round % 4, 40);
        }
        check(&world.store, &world.model);
        while world.segments() < 11 {
            world.append(3, 4000);
        }
        let (covered, runs) = world.store.catalog().index.folded();
        assert!(covered >= 8 && runs == [8], "{covered} in the directory, runs of {runs:?}");
        check(&world.store, &world.model);
        world.retry();
        world.reopen();
        world.append(2, 40);
        world.retry();
        world.store.close().unwrap();
        check_disk(&world.disk, &world.options, &mut world.model);
        // Killed, and with its newest index to be read from the log.
        world.store = open(&world.disk, &world.options).unwrap();
        world.append(3, 40);
        let killed = world.disk.crash_keeping_everything();
        check_disk(&killed, &world.options, &mut world.model);
    }
}

#[test]
fn ids_under_one_hash_stay_apart_in_merged_runs() {
    for bits in [8, 1] {
        let _scene = Scene(move || format!("seed {}, {bits} bits", seed()));
        let mut world = Colliding::new(bits, 30);
        // More than 64 segments are a run of runs.
        while world.segments() < 67 {
            world.append(4, 10_000);
        }
        let (covered, runs) = world.store.catalog().index.folded();
        assert!(covered >= 64, "{covered} segments in the directory");
        assert_eq!(runs.first(), Some(&64), "runs of {runs:?}");
        world.retry();
        world.reopen();
        assert_eq!(world.store.catalog().index.folded().1.first(), Some(&64));
        world.append(4, 10_000);
        world.retry();
        world.store.close().unwrap();
        check_disk(&world.disk, &world.options, &mut world.model);
    }
}
