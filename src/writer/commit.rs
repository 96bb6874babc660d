//! The commit: a state machine that one caller at a time drives, without threads and locks.
//!
//! A group is staged request by request (ids, then expectations, then numbers), written in one
//! call, synced once, indexed, and only then shown.

use smallvec::SmallVec;

use super::core::Core;
use super::request::Request;
use super::shell::{Answers, Commits};
use super::stage::{Full, Rests, Verdict};
use super::staged::Staged;
use crate::error::{Error, Result};
use crate::event::Done;
use crate::log::sync_names;
use crate::options::Durability;
use crate::position::Position;

/// In `Interval`, groups are written early once so many bytes wait.
const HELD_BYTES: u32 = 1 << 20;

impl Core {
    /// Commits a group and answers each request, in order.
    pub(crate) fn commit(&mut self, group: &[Box<Request>]) -> Answers<Self> {
        if let Err(e) = self.ready() {
            return group.iter().map(|_| Err(e.clone())).collect();
        }
        let mut answers = Answers::<Self>::with_capacity(group.len());
        let mut rests: SmallVec<[Rests; 1]> = SmallVec::with_capacity(group.len());
        let mut settled = 0;
        let mut staged = Staged::default();
        for (index, request) in group.iter().enumerate() {
            // What failed for an earlier request of the group ends it: nothing is written after.
            if let Err(e) = self.check_poison() {
                answers.push(Err(e));
                rests.push(Rests::Not);
                continue;
            }
            let Verdict { answer, rests_on } = match self.stage(group, index, &mut staged) {
                Ok(verdict) => verdict,
                Err(Full) => {
                    // The frame does not fit: what is staged goes out, then the segment is rolled.
                    let outcome = self.flush(group, &staged);
                    settle(&mut answers, &rests, &mut settled, outcome.as_ref());
                    staged = Staged::default();
                    match outcome.and_then(|()| self.roll(request.frame_bound)) {
                        Ok(()) => self
                            .stage(group, index, &mut staged)
                            .unwrap_or_else(|Full| Verdict::settled(Err(too_large(request)))),
                        Err(e) => Verdict::settled(Err(e)),
                    }
                }
            };
            answers.push(answer);
            rests.push(rests_on);
        }
        let outcome = self.flush(group, &staged);
        settle(&mut answers, &rests, &mut settled, outcome.as_ref());
        answers
    }

    /// Before a group: nothing failed earlier, and behind an earlier close the names of the files
    /// are durable and the clean mark is gone.
    fn ready(&mut self) -> Result<()> {
        self.check_poison()?;
        if self.marked_clean {
            let ordinal = self.tail.segment().ordinal();
            let names = sync_names(&self.dir);
            if let Err(e) = names.and_then(|()| self.catalog.index.mark_dirty(ordinal)) {
                // A sync that failed is not to be trusted when it is made again.
                self.poisoned_by(e.clone());
                return Err(Error::not_written(e));
            }
            self.marked_clean = false;
        }
        Ok(())
    }

    /// Sends out what is staged: one write, one sync, then index, then watermark.
    fn flush(&mut self, group: &[Box<Request>], staged: &Staged) -> Result<()> {
        if staged.frames.is_empty() {
            // A retry may ask for more than the append that it repeats.
            return match (staged.wants_sync, staged.wants_write) {
                (true, _) => self.sync().map(drop),
                (false, true) => {
                    self.write_held()?;
                    self.tell_followers();
                    Ok(())
                }
                (false, false) => Ok(()),
            };
        }
        let mode = self.settings.durability;
        let sync = mode == Durability::Sync || staged.wants_sync;
        if sync || mode == Durability::Os || staged.wants_write {
            self.write_held()?;
            let written = self.tail.write();
            written.map_err(|e| self.poisoned_by(e))?;
        } else {
            self.tail.hold();
            if self.tail.held_bytes() >= HELD_BYTES {
                self.write_held()?;
            }
        }
        if sync {
            let synced = self.tail.sync();
            synced.map_err(|e| self.poisoned_by(e))?;
        }
        if let Some(active) = &self.active {
            let hasher = self.catalog.index.hasher();
            active.add_all(staged.indexed(group, *hasher));
            let heads = staged.heads_behind_frames(group, active.ordinal());
            heads.for_each(|(stream, head)| {
                self.catalog.index.remember_head(&stream.name, stream.hash, head);
            });
        }
        let salt = self.tail.segment().header().salt;
        for (end, changes) in staged.state(group, &salt) {
            self.catalog.state.apply(&end, changes.to_vec());
        }
        let visible = Position(self.next_position() - 1);
        if sync {
            self.catalog.watermark.make_durable(visible);
        }
        self.catalog.watermark.show(visible);
        self.tell_followers();
        Ok(())
    }
}

impl Commits for Core {
    type Request = Box<Request>;
    type Answer = Result<Done>;

    fn bytes(request: &Box<Request>) -> usize {
        request.frame_bound
    }

    fn commit(&mut self, group: &[Box<Request>]) -> Answers<Self> {
        Self::commit(self, group)
    }

    fn panicked(&mut self, group: &[Box<Request>]) -> Answers<Self> {
        let e = self.poison(Error::Panicked { during: "a commit" });
        group.iter().map(|_| Err(e.clone())).collect()
    }

    fn unanswered() -> Self::Answer {
        Err(Error::Panicked { during: "a commit" })
    }

    fn closed() -> Self::Answer {
        Err(Error::Closed)
    }

    fn wants_upkeep(&self) -> bool {
        Self::wants_upkeep(self)
    }
}

/// Answers that rest on a group become what the group became.
fn settle(
    answers: &mut [Result<Done>],
    rests: &[Rests],
    settled: &mut usize,
    outcome: Result<&(), &Error>,
) {
    if let Err(e) = outcome {
        let open = answers.iter_mut().zip(rests).skip(*settled);
        for (answer, _) in open.filter(|(_, rests)| **rests == Rests::OnStaged) {
            // A refusal that rests on events that are not there now: nothing was written.
            let is_refusal = answer.is_err();
            *answer = Err(if is_refusal { Error::not_written(e.clone()) } else { e.clone() });
        }
    }
    *settled = answers.len();
}

fn too_large(request: &Request) -> Error {
    Error::limit("bytes of an append", u64::from(u32::MAX), request.frame_bound as u64)
}
