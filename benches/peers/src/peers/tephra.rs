//! tephra.

use std::path::Path;
use std::time::Instant;

use tephra::{
    AppendCondition, Event as Packed, EventRef, EventType, Position, Query, QueryItem, ReadHandle,
    SegmentConfig, SegmentSet, Subscription, Tag, Tags, WriteCoordinator, WriteHandle,
    WriterConfig,
};

use tephra::writer::AppendReply;

use super::none_running;
use crate::Result;
use crate::store::{Follow, Kind, Peer, Setup, Store, Version, Work};
use crate::workload::{Event, Tally};

pub static PEER: Peer = Peer {
    name: "tephra",
    version: Version::Package("tephra"),
    kind: Kind::EventStore,
    open,
    lacks: &[(&[Work::Os, Work::Interval], "always syncs")],
    notes: &[
        "has no streams: the stream and the category are tags, so versions and expectations of \
         streams are missing; has no ids of events",
        "segments of 256 MiB",
    ],
    after_kill: none_running,
};

const STREAM: &str = "s:";
const CATEGORY: &str = "c:";

struct Tephra {
    coordinator: WriteCoordinator,
    handle: WriteHandle,
    reader: ReadHandle,
}

fn open(dir: &Path, _setup: Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let set = SegmentSet::open(dir, SegmentConfig::new(256 << 20))?;
    let (coordinator, handle) = WriteCoordinator::start(set, WriterConfig::default())?;
    let reader = handle.reader();
    Ok(Box::new(Tephra { coordinator, handle, reader }))
}

fn tag(kind: &str, name: &str) -> Result<Tag> {
    let mut text = String::with_capacity(kind.len() + name.len());
    text.push_str(kind);
    text.push_str(name);
    Ok(Tag::new(text)?)
}

fn packed(event: &Event<'_>, more: Option<Tag>) -> Result<Packed> {
    let tags = [tag(STREAM, event.stream)?, tag(CATEGORY, event.category())?];
    let tags = Tags::new(tags.into_iter().chain(more))?;
    Ok(Packed::new(&EventType::new(event.event_type)?, &tags, event.payload)?)
}

fn with_tag(tag: Tag) -> Result<Query> {
    Ok(Query::item(QueryItem::with_tags(Tags::new([tag])?)))
}

fn tell(event: EventRef<'_>, tally: &mut Tally) -> Result<()> {
    let stream = event.tags().find_map(|tag| tag.strip_prefix(STREAM));
    tally.see(stream.ok_or("an event without a stream")?, event.event_type(), event.data());
    Ok(())
}

impl Tephra {
    fn read(&self, query: &Query, tally: &mut Tally) -> Result<()> {
        let mut reads = self.reader.read(query, Position::ZERO, None);
        while let Some(found) = reads.next() {
            tell(found?.event, tally)?;
        }
        Ok(())
    }
}

impl Store for Tephra {
    fn append(&self, events: &[Event<'_>]) -> Result<()> {
        let events = events.iter().map(|event| packed(event, None)).collect::<Result<_>>()?;
        self.handle.append(events, None)?;
        Ok(())
    }

    fn read_stream(&self, stream: &str, tally: &mut Tally) -> Result<()> {
        self.read(&with_tag(tag(STREAM, stream)?)?, tally)
    }

    fn scan(&self, tally: &mut Tally) -> Result<()> {
        self.read(&Query::all(), tally)
    }

    fn read_category(&self, category: &str, tally: &mut Tally) -> Result<()> {
        self.read(&with_tag(tag(CATEGORY, category)?)?, tally)
    }

    fn read_type(&self, event_type: &str, tally: &mut Tally) -> Result<()> {
        let types = QueryItem::of_types(vec![EventType::new(event_type)?]);
        self.read(&Query::item(types), tally)
    }

    fn pipeline<'a>(
        &self,
        events: &mut dyn Iterator<Item = Event<'a>>,
        in_flight: usize,
    ) -> Result<u64> {
        let (reply, replies): (AppendReply, _) = flume::unbounded();
        let (mut sent, mut done) = (0, 0);
        for event in events {
            if sent - done >= in_flight as u64 {
                replies.recv()?.1?;
                done += 1;
            }
            self.handle.append_submit(vec![packed(&event, None)?], None, sent, reply.clone())?;
            sent += 1;
        }
        while done < sent {
            replies.recv()?.1?;
            done += 1;
        }
        Ok(done)
    }

    fn append_if_unseen(&self, event: Event<'_>, unseen: &str) -> Result<()> {
        let unseen = Tag::new(unseen)?;
        let condition = AppendCondition::new(with_tag(unseen.clone())?);
        self.handle.append(vec![packed(&event, Some(unseen))?], Some(condition))?;
        Ok(())
    }

    fn follow(&self) -> Result<Box<dyn Follow>> {
        let from = self.handle.head();
        Ok(Box::new(Following(self.handle.subscribe(Query::all(), from))))
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.coordinator.shutdown());
        Ok(())
    }
}

struct Following(Subscription);

impl Follow for Following {
    fn wait(&mut self, seen: &mut Vec<Instant>) -> Result<()> {
        if let Some(batch) = self.0.next_batch() {
            seen.extend(batch?.iter().map(|_| Instant::now()));
        }
        Ok(())
    }
}
