//! Executing a command: fold, decide, append; and again, where others were faster.

use crate::error::{Error, Result};
use crate::event::Appended;
use crate::new_event::NewEvent;
use crate::position::ExpectedVersion;

use super::super::decider::Decider;
use super::super::typed::EventSet;
use super::keeper::Folded;
use super::outcome::{CommandError, CommandResult, DoneBy, Executed};
use super::request::Request;
use super::shared::{Scope, Shared, event_id};

impl<D: Decider> Shared<D> {
    pub(super) fn execute(
        &self,
        scope: Scope<'_>,
        stream: &str,
        request: &Request<D::Command>,
    ) -> CommandResult<D> {
        if let Some(done) = self.done_before(scope, stream, request.id)? {
            return Ok(done);
        }
        let mut folded = match scope {
            Scope::Stream => self.begin(stream, None),
            Scope::Query(_) => self.initial(),
        };
        let mut turn = None;
        let mut attempt = 1;
        loop {
            folded = match scope {
                Scope::Stream => self.fold_stream(folded, stream, None)?,
                Scope::Query(query) => self.fold_query(folded, query, None)?,
            };
            let events = match self.decider.decide(&folded.state, &request.command) {
                Ok(events) => events,
                // It may be refused only because another has executed the same command meanwhile.
                Err(refusal) => {
                    return match self.done_before(scope, stream, request.id)? {
                        Some(done) => Ok(done),
                        None => Err(CommandError::Refused(refusal)),
                    };
                }
            };
            if events.is_empty() {
                return Ok(executed(folded, events, attempt));
            }
            let new = prepare(&events, request)?;
            let lost = match self.append(scope, stream, &folded, new) {
                Ok(done) if !done.deduplicated => {
                    return Ok(self.finish(scope, stream, folded, events, done, attempt));
                }
                Ok(_) | Err(Error::IdConflict(_)) if request.id.is_some() => {
                    return self.lost_to_itself(scope, stream, request, attempt);
                }
                // Ids were not given, so nothing can be a repetition.
                Ok(done) => return Ok(self.finish(scope, stream, folded, events, done, attempt)),
                Err(e @ (Error::Conflict(_) | Error::ConditionFailed(_))) => e,
                Err(e) => return Err(e.into()),
            };
            if attempt >= self.attempts {
                return Err(CommandError::Exhausted { attempts: attempt, last: lost });
            }
            if turn.is_none() {
                turn = self.turns.take(stream);
            }
            attempt += 1;
        }
    }

    /// What came of the same command where another was faster with it.
    fn lost_to_itself(
        &self,
        scope: Scope<'_>,
        stream: &str,
        request: &Request<D::Command>,
        attempts: u32,
    ) -> CommandResult<D> {
        match self.done_before(scope, stream, request.id)? {
            Some(done) => Ok(Executed { attempts, ..done }),
            None => {
                let why = "ids that follow from a command's are used by events of another";
                Err(CommandError::Store(Error::InvalidOptions { why: why.into() }))
            }
        }
    }

    fn append(
        &self,
        scope: Scope<'_>,
        stream: &str,
        folded: &Folded<D::State>,
        events: Vec<NewEvent>,
    ) -> Result<Appended> {
        match scope {
            Scope::Stream => {
                self.store.append(stream, ExpectedVersion::Exact(folded.version), events)
            }
            Scope::Query(query) => {
                let stored = self.upcasts.expand(query.clone());
                let since = stored.excluded().max(folded.position);
                let batch = self.store.batch().append(stream, ExpectedVersion::Any, events);
                let done = batch.unless(stored.after(since)).commit()?;
                done.last().copied().ok_or(Error::EmptyAppend)
            }
        }
    }

    fn finish(
        &self,
        scope: Scope<'_>,
        stream: &str,
        folded: Folded<D::State>,
        events: Vec<D::Event>,
        done: Appended,
        attempts: u32,
    ) -> DoneBy<D> {
        let mut folded = events.iter().fold(folded, |folded, event| self.evolve(folded, event));
        (folded.version, folded.position) = (done.version, done.position);
        if let Scope::Stream = scope {
            self.offer(stream, &folded);
        }
        executed(folded, events, attempts)
    }
}

fn executed<S, E>(folded: Folded<S>, events: Vec<E>, attempts: u32) -> Executed<S, E> {
    let Folded { state, version, position, .. } = folded;
    Executed { state, version, position, events, is_repeated: false, attempts }
}

/// The events of a command, as they are appended.
fn prepare<C, E: EventSet>(events: &[E], request: &Request<C>) -> Result<Vec<NewEvent>> {
    let own = request.id.map(|id| id.to_string());
    let correlation = request.correlation.as_ref().or(own.as_ref());
    let causation = request.causation.as_ref().or(own.as_ref());
    let mut new = Vec::with_capacity(events.len());
    for (number, event) in events.iter().enumerate() {
        let mut event = event.to_event()?;
        if let Some(id) = request.id {
            event = event.id(event_id(id, number));
        }
        if let Some(id) = correlation {
            event = event.correlation(id);
        }
        if let Some(id) = causation {
            event = event.causation(id);
        }
        if !request.metadata.is_empty() {
            event = event.metadata(request.metadata.clone());
        }
        new.push(event);
    }
    Ok(new)
}
