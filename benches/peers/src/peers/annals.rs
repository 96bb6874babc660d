//! annals.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use annals::{AppendFuture, Durability, ExpectedVersion, NewEvent, Query, Subscription};

use super::none_running;
use crate::Result;
use crate::store::{Follow, INTERVAL, Kind, Mode, Peer, Setup, Store, Version};
use crate::workload::{Event, Tally};

pub static PEER: Peer = Peer {
    name: "annals",
    version: Version::Package("annals"),
    kind: Kind::EventStore,
    open,
    lacks: &[],
    notes: &[
        "gives more: every event can be found by its id, for ever, and ids make appends safe to \
         repeat; the index of tags is there; every read checks checksums",
        "fills segments of up to 256 MiB with zeros ahead of their use: that is in the blocks \
         taken, not in the bytes used",
    ],
    after_kill: none_running,
};

struct Annals(annals::Store);

fn open(dir: &Path, setup: Setup) -> Result<Box<dyn Store>> {
    let durability = match setup.mode {
        Mode::Sync => Durability::Sync,
        Mode::Os => Durability::Os,
        Mode::Interval => Durability::Interval(INTERVAL),
    };
    Ok(Box::new(Annals(annals::Store::options().durability(durability).open(dir)?)))
}

fn new_event(event: &Event<'_>) -> NewEvent {
    NewEvent::new(event.event_type, event.payload)
}

fn tell(
    tally: &mut Tally,
    events: impl Iterator<Item = annals::Result<annals::Event>>,
) -> Result<()> {
    for event in events {
        let event = event?;
        tally.see(event.stream(), event.event_type(), event.data());
    }
    Ok(())
}

impl Store for Annals {
    fn append(&self, events: &[Event<'_>]) -> Result<()> {
        let stream = events.first().ok_or("an empty commit")?.stream;
        if events.iter().all(|event| event.stream == stream) {
            self.0.append(stream, ExpectedVersion::Any, events.iter().map(new_event))?;
            return Ok(());
        }
        let batch = events.iter().fold(self.0.batch(), |batch, event| {
            batch.append(event.stream, ExpectedVersion::Any, [new_event(event)])
        });
        batch.commit()?;
        Ok(())
    }

    fn read_stream(&self, stream: &str, tally: &mut Tally) -> Result<()> {
        tell(tally, self.0.read_stream(stream).into_iter())
    }

    fn scan(&self, tally: &mut Tally) -> Result<()> {
        tell(tally, self.0.read_all().into_iter())
    }

    fn read_category(&self, category: &str, tally: &mut Tally) -> Result<()> {
        tell(tally, self.0.read_all().category(category).into_iter())
    }

    fn read_type(&self, event_type: &str, tally: &mut Tally) -> Result<()> {
        tell(tally, self.0.read_all().event_type(event_type).into_iter())
    }

    fn pipeline<'a>(
        &self,
        events: &mut dyn Iterator<Item = Event<'a>>,
        in_flight: usize,
    ) -> Result<u64> {
        let mut waiting: VecDeque<AppendFuture> = VecDeque::with_capacity(in_flight);
        let mut done = 0;
        for event in events {
            if waiting.len() == in_flight
                && let Some(oldest) = waiting.pop_front()
            {
                futures::executor::block_on(oldest)?;
                done += 1;
            }
            let append = [new_event(&event)];
            waiting.push_back(self.0.append_async(event.stream, ExpectedVersion::Any, append));
        }
        for append in waiting {
            futures::executor::block_on(append)?;
            done += 1;
        }
        Ok(done)
    }

    fn append_if_unseen(&self, event: Event<'_>, tag: &str) -> Result<()> {
        self.0
            .batch()
            .append(event.stream, ExpectedVersion::Any, [new_event(&event).tag(tag)])
            .unless(Query::new().tag(tag))
            .commit()?;
        Ok(())
    }

    fn follow(&self) -> Result<Box<dyn Follow>> {
        Ok(Box::new(Following(self.0.subscribe().after(self.0.head()).start()?)))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}

struct Following(Subscription);

impl Follow for Following {
    fn wait(&mut self, seen: &mut Vec<Instant>) -> Result<()> {
        if let Some(event) = self.0.next() {
            event?;
            seen.push(Instant::now());
        }
        Ok(())
    }
}
