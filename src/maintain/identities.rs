//! Whether any event id stands twice in the log, in bounded memory: as many ids as fit are kept,
//! chosen by their hash; for the others the log is walked again.

use crate::names::EventId;
use crate::position::Position;

/// How many ids are kept at a time: 64 MiB of them.
const ROOM: usize = 2 << 20;

/// The ids whose hashes lie in a range, with their positions.
#[derive(Debug)]
pub(super) struct Identities {
    room: usize,
    /// The hashes of this round: from here on, and before `upto` (`None`: all).
    from: u64,
    upto: Option<u64>,
    seen: Vec<(u64, EventId, Position)>,
}

impl Identities {
    pub(super) fn new() -> Self {
        Self::with_room(ROOM)
    }

    fn with_room(room: usize) -> Self {
        Self { room, from: 0, upto: None, seen: Vec::new() }
    }

    /// Takes in an id.
    pub(super) fn add(&mut self, hash: u64, id: EventId, position: Position) {
        if hash < self.from || self.upto.is_some_and(|upto| hash >= upto) {
            return;
        }
        self.seen.push((hash, id, position));
        // Half of what there is is left for a later round. Ids of one hash stay together.
        while self.seen.len() >= self.room {
            let span = self.upto.map_or(u64::MAX, |upto| upto - 1) - self.from;
            if span == 0 {
                return;
            }
            let upto = self.from + span / 2 + 1;
            self.upto = Some(upto);
            self.seen.retain(|(hash, ..)| *hash < upto);
        }
    }

    /// Ends a round: the ids that stand twice, each with the first two places.
    pub(super) fn repeated(&mut self) -> Vec<(EventId, Position, Position)> {
        let mut seen = std::mem::take(&mut self.seen);
        seen.sort_unstable_by_key(|(hash, id, position)| (*hash, *id, *position));
        let mut found: Vec<(EventId, Position, Position)> = seen
            .windows(2)
            .filter_map(|pair| match pair {
                [(_, a, first), (_, b, second)] if a == b => Some((*a, *first, *second)),
                _ => None,
            })
            .collect();
        found.dedup_by_key(|(id, ..)| *id);
        found
    }

    /// Begins the next round; `false` where none is needed.
    pub(super) fn next_round(&mut self) -> bool {
        let Some(from) = self.upto.take() else { return false };
        self.from = from;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> EventId {
        let mut bytes = [7; 16];
        for (byte, digit) in bytes.iter_mut().zip(format!("{n:016}").bytes()) {
            *byte = digit;
        }
        EventId::from_bytes(bytes)
    }

    #[test]
    fn every_repeated_id_is_found_once_whatever_the_room() {
        for room in [2, 3, 7, 64, 10_000] {
            let mut ids = Identities::with_room(room);
            let (mut found, mut rounds) = (Vec::new(), 0);
            loop {
                rounds += 1;
                for n in 0..1_000_u64 {
                    // Spread as a hash spreads; three numbers come again, one of them twice.
                    for (copy, _) in [n, n, n].iter().enumerate().filter(|(copy, _)| {
                        *copy == 0 || [3, 500].contains(&n) || (n == 999 && *copy == 1)
                    }) {
                        let hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                        ids.add(hash, id(n), Position(n + 1_000 * copy as u64));
                    }
                }
                found.extend(ids.repeated().into_iter().map(|(id, a, b)| (id, a.0, b.0)));
                if !ids.next_round() {
                    break;
                }
            }
            found.sort_unstable();
            let expected = [(id(3), 3, 1_003), (id(500), 500, 1_500), (id(999), 999, 1_999)];
            assert_eq!(found, expected, "room for {room}");
            assert!(room < 1_000 || rounds == 1);
            assert!(room > 64 || rounds > 1);
        }
    }

    #[test]
    fn ids_of_one_hash_are_kept_together() {
        let mut ids = Identities::with_room(4);
        let mut found = Vec::new();
        loop {
            for n in 0..10 {
                ids.add(5, id(n % 9), Position(n));
            }
            found.extend(ids.repeated());
            if !ids.next_round() {
                break;
            }
        }
        assert_eq!(found, [(id(0), Position(0), Position(9))]);
    }
}
