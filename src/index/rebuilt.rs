//! For tests of the whole store: the index as it was loaded and has grown, against the one that
//! the log gives.

use std::collections::BTreeMap;

use super::save::{Covers, describe};
use super::segment::Unit;
use super::{Index, Slot, Tiers};
use crate::format::directory::Slot as DirectorySlot;
use crate::format::idruns::kept;
use crate::format::sealed::SealedFooter;
use crate::format::segment::Chain;
use crate::place::LoggedEvent;
use crate::position::Timestamp;
use crate::sync::Arc;

impl Index {
    /// Panics where anything in the index is not what the log gives: the bytes of every segment's
    /// index file, the slots of the directory, the entries of the runs of ids.
    pub(crate) fn assert_follows_from_log(&self) {
        let tiers = self.tiers();
        for slot in &tiers.segments {
            self.assert_segment_follows_from_log(slot);
        }
        self.assert_directory_follows_from_log(&tiers);
        self.assert_id_runs_follow_from_log(&tiers);
    }

    /// How many sealed segments the directory covers, and how many each run of ids covers.
    pub(crate) fn folded(&self) -> (u32, Vec<u32>) {
        let tiers = self.tiers();
        let covered = tiers.directory.as_ref().map_or(0, |directory| directory.covered());
        (covered, tiers.runs.iter().map(|run| run.segments()).collect())
    }

    fn assert_segment_follows_from_log(&self, slot: &Slot) {
        let index = self.segment_of(slot).unwrap();
        let events = index.events();
        if let Some(row) = slot.row.get() {
            assert_eq!(events, row.events, "events of segment {}", slot.ordinal);
        }
        let rebuilt = self.replay(slot.ordinal, 0, 0, events).unwrap();
        assert_eq!(rebuilt.end(), events, "events in the log of segment {}", slot.ordinal);
        let file = |units: &[Unit]| {
            let describes = nothing_but(slot.ordinal);
            self.build(units, describes).unwrap()
        };
        let loaded = index.all_units();
        let rebuilt = if events == 0 { Vec::new() } else { vec![Unit::Live(Arc::new(rebuilt))] };
        assert!(
            file(&loaded) == file(&rebuilt),
            "the index of segment {} with {} parts is not the one that the log gives",
            slot.ordinal,
            loaded.len()
        );
    }

    fn assert_directory_follows_from_log(&self, tiers: &Tiers) {
        let Some(directory) = &tiers.directory else { return };
        let mut newest = BTreeMap::new();
        for slot in tiers.segments.iter().filter(|slot| slot.ordinal <= directory.covered()) {
            self.each_of(slot, &mut |_, event| {
                let hash = self.hasher().stream(event.stream);
                let last = DirectorySlot { hash, segment: slot.ordinal, frame: event.frame };
                newest.insert(event.stream.to_owned(), last);
            });
        }
        let mut expected: Vec<_> = newest.into_values().collect();
        expected.sort_unstable();
        assert_eq!(directory.all().unwrap(), expected, "the slots of the directory");
    }

    fn assert_id_runs_follow_from_log(&self, tiers: &Tiers) {
        for run in &tiers.runs {
            let mut expected = Vec::new();
            let covered = run.first()..=run.last();
            for slot in tiers.segments.iter().filter(|slot| covered.contains(&slot.ordinal)) {
                self.each_of(slot, &mut |ordinal, event| {
                    if let Some(id) = event.id {
                        let position = slot.base + u64::from(ordinal);
                        expected.push((kept(self.hasher().id(id)), position));
                    }
                    let position = slot.base + u64::from(ordinal);
                    let mut labels = self.hasher().labels(event);
                    labels.sort_unstable();
                    labels.dedup();
                    expected.extend(labels.into_iter().map(|hash| (kept(hash), position)));
                });
            }
            expected.sort_unstable();
            let mut found = run.all().unwrap();
            found.sort_unstable();
            assert_eq!(found, expected, "the ids of segments {covered:?}");
        }
    }

    /// Hands over the events of a segment with their ordinals, as the log has them.
    fn each_of(&self, slot: &Slot, each: &mut dyn FnMut(u32, &LoggedEvent<'_>)) {
        let events = self.segment_of(slot).unwrap().events();
        if events == 0 {
            return;
        }
        let mut ordinal = 0;
        let handed = self.context.frames.replay(slot.ordinal, 0, events, &mut |event| {
            if ordinal < events {
                each(ordinal, event);
            }
            ordinal += 1;
            Ok(())
        });
        handed.unwrap();
    }
}

/// A footer that says nothing but whose it is.
fn nothing_but(ordinal: u32) -> SealedFooter {
    let covers = Covers {
        salt: [0; 16],
        generation: 0,
        base: 0,
        frames: 0,
        end: 0,
        last_crc: 0,
        chain: Chain::EMPTY,
        first_time: Timestamp::default(),
        last_time: Timestamp::default(),
    };
    describe([0; 16], ordinal, &covers)
}
