//! Clocks that show what no frame can hold.

use super::history::{Act, Maker, Runner};
use super::oracle::{Model, check, check_disk};
use super::{MODES, seed, small};
use crate::Timestamp;
use crate::storage::memory::MemoryDisk;

#[test]
fn a_clock_before_1970_or_behind_4253_says_the_same_in_log_and_index() {
    for (_, durability) in MODES {
        for micros in [i64::MIN, -1, 1 << 56, i64::MAX] {
            let disk = MemoryDisk::simulated(seed());
            disk.set_time(Timestamp::from_micros(micros));
            let mut maker = Maker::new(seed(), 4);
            let mut runner = Runner::new(&disk, &small(), durability, Model::default());
            let acts = [9000, 40_000, 30_000, 10].map(|bytes| Act::Append(maker.one(2, bytes)));
            assert!(runner.run(&acts).is_none());
            check(runner.store.as_ref().unwrap(), &runner.model);
            check_disk(&disk.crash_keeping_everything(), &small(), &mut runner.model.clone());
            runner.close().unwrap();
            check_disk(&disk, &small(), &mut runner.model);
        }
    }
}
