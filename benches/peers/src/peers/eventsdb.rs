//! eventsdb, on SQLite.

use std::path::Path;
use std::time::Instant;

use eventsdb::sqlite::SqliteEventLog;
use eventsdb::{EventLog, EventStore, Filter, Position, Recorded};
use futures::stream::{BoxStream, StreamExt};
use serde_json::{Map, Value, json};
use tokio::runtime::{Handle, Runtime};

use super::none_running;
use crate::Result;
use crate::store::{Follow, Kind, Peer, Setup, Store, Version, Work};
use crate::workload::{Event, Tally};

pub static PEER: Peer = Peer {
    name: "eventsdb",
    version: Version::Package("eventsdb"),
    kind: Kind::EventStore,
    open,
    lacks: &[
        (
            &[Work::Durable1, Work::Durable16, Work::Durable100, Work::Pipeline],
            "does not sync (`synchronous=NORMAL`, which cannot be changed)",
        ),
        (&[Work::Interval], "does not answer before it has written"),
        (&[Work::Conditional], "has no conditions across streams"),
    ],
    notes: &[
        "gives less: what it acknowledges may be gone after a power cut, so it is in the relaxed \
         tables only, and its subscription is told of events that are not durable; no checksums",
        "events are JSON objects: the payload is a string in one",
    ],
    after_kill: none_running,
};

struct Log {
    log: SqliteEventLog,
    runtime: Runtime,
}

fn open(dir: &Path, _setup: Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let log = runtime.block_on(SqliteEventLog::open(dir.join("events.db")))?;
    Ok(Box::new(Log { log, runtime }))
}

fn object(event: &Event<'_>) -> Result<Map<String, Value>> {
    let data = json!({ "p": std::str::from_utf8(event.payload)? });
    let mut object = Map::new();
    object.insert("kind".into(), event.event_type.into());
    object.insert("data".into(), data);
    Ok(object)
}

fn payload(event: &Map<String, Value>) -> &str {
    event.get("data").and_then(|data| data.get("p")).and_then(Value::as_str).unwrap_or("")
}

fn tell(found: &Recorded, tally: &mut Tally) {
    tally.see(&found.stream, found.kind(), payload(&found.event).as_bytes());
}

impl Log {
    fn read(&self, filter: &Filter, tally: &mut Tally) -> Result<()> {
        const PAGE: usize = 1000;
        let mut from = Position::BEGINNING;
        loop {
            let page = self.runtime.block_on(self.log.read_all(from, filter, PAGE))?;
            page.iter().for_each(|found| tell(found, tally));
            match page.last() {
                Some(last) if page.len() == PAGE => from = last.position,
                _ => return Ok(()),
            }
        }
    }
}

impl Store for Log {
    fn append(&self, events: &[Event<'_>]) -> Result<()> {
        let first = events.first().ok_or("an empty commit")?.stream;
        let mut objects = Vec::with_capacity(events.len());
        for event in events {
            objects.push((event.stream.to_owned(), object(event)?));
        }
        if events.iter().all(|event| event.stream == first) {
            let mut stream = self.log.stream_handle(first);
            let objects = objects.into_iter().map(|(_, object)| object).collect();
            self.runtime.block_on(stream.append_many(objects))?;
            return Ok(());
        }
        self.runtime.block_on(self.log.with_transaction(move |transaction| {
            for (stream, object) in objects {
                transaction.append(&stream, object)?;
            }
            Ok(())
        }))?;
        Ok(())
    }

    fn read_stream(&self, stream: &str, tally: &mut Tally) -> Result<()> {
        let handle = self.log.stream_handle(stream);
        let events = self.runtime.block_on(handle.read(0, usize::MAX >> 1))?;
        for event in &events {
            tally.see(stream, event.kind(), payload(event).as_bytes());
        }
        Ok(())
    }

    fn scan(&self, tally: &mut Tally) -> Result<()> {
        self.read(&Filter::all(), tally)
    }

    fn read_category(&self, category: &str, tally: &mut Tally) -> Result<()> {
        self.read(&Filter::all().stream_prefix(format!("{category}-")), tally)
    }

    fn read_type(&self, event_type: &str, tally: &mut Tally) -> Result<()> {
        self.read(&Filter::kinds([event_type]), tally)
    }

    fn follow(&self) -> Result<Box<dyn Follow>> {
        let from = self.runtime.block_on(self.log.head_position())?;
        let _inside = self.runtime.enter();
        let events = self.log.subscribe(from, Filter::all())?;
        Ok(Box::new(Following { events, runtime: self.runtime.handle().clone() }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.runtime.block_on(self.log.close())?)
    }
}

struct Following {
    events: BoxStream<'static, eventsdb::Result<Recorded>>,
    runtime: Handle,
}

impl Follow for Following {
    fn wait(&mut self, seen: &mut Vec<Instant>) -> Result<()> {
        if let Some(event) = self.runtime.block_on(self.events.next()) {
            event?;
            seen.push(Instant::now());
        }
        Ok(())
    }
}
