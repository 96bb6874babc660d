//! umadb-core, through the writer thread that its server uses.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use umadb_core::db::UmaDb;
use umadb_core::mvcc::{Mvcc, StorageOptions};
use umadb_core::writer_thread_blocking::writer_thread_blocking;
use umadb_core::writer_thread_request::WriterThreadRequest;
use umadb_dcb::{
    DcbAppendCondition, DcbEvent, DcbEventStoreSync, DcbQuery, DcbQueryItem, DcbResult,
};
use uuid::Uuid;

use super::none_running;
use crate::Result;
use crate::store::{Follow, Kind, Peer, Setup, Store, Version, Work};
use crate::workload::{Event, Tally};

pub static PEER: Peer = Peer {
    name: "umadb-core",
    version: Version::Package("umadb-core"),
    kind: Kind::EventStore,
    open,
    lacks: &[(&[Work::Os, Work::Interval], "always syncs")],
    notes: &[
        "has no streams: the stream and the category are tags, so versions and expectations of \
         streams are missing; ids of events are stored",
        "has no index of types: a read of a type is a scan with a filter; reads hand out 10,000 \
         events at a time",
    ],
    after_kill: none_running,
};

const STREAM: &str = "s:";
const CATEGORY: &str = "c:";
/// Events of one read: it makes a list of all that it finds.
const PAGE: u32 = 10_000;
/// Appends that may wait, and events that share a commit, as its server has them.
const QUEUE: usize = 10_000;
const COMMIT: usize = 2_000;

struct Uma {
    database: UmaDb,
    requests: mpsc::Sender<WriterThreadRequest>,
    head: watch::Receiver<Option<u64>>,
    writer: JoinHandle<()>,
}

fn open(dir: &Path, _setup: Setup) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    let mvcc = Arc::new(Mvcc::new(false, StorageOptions::default().db_path(dir))?);
    let database = UmaDb::from_arc(Arc::clone(&mvcc));
    let (requests, queue) = mpsc::channel(QUEUE);
    let (shown, head) = watch::channel(database.head()?);
    let writer = std::thread::spawn(move || writer_thread_blocking(mvcc, queue, shown, COMMIT));
    Ok(Box::new(Uma { database, requests, head, writer }))
}

fn new_event(event: &Event<'_>, more: Option<&str>) -> DcbEvent {
    let tags = [format!("{STREAM}{}", event.stream), format!("{CATEGORY}{}", event.category())];
    DcbEvent::new()
        .event_type(event.event_type)
        .data(event.payload)
        .tags(tags.into_iter().chain(more.map(str::to_owned)))
        .uuid(Uuid::from_bytes(event.id))
}

fn with_tag(tag: String) -> DcbQuery {
    DcbQuery::new().item(DcbQueryItem::new().tags([tag]))
}

impl Uma {
    fn submit(
        &self,
        events: Vec<DcbEvent>,
        condition: Option<DcbAppendCondition>,
    ) -> Result<oneshot::Receiver<DcbResult<u64>>> {
        let (response_tx, response) = oneshot::channel();
        let (tracking_info, cancel) = (None, None);
        let request =
            WriterThreadRequest::Append { events, condition, tracking_info, response_tx, cancel };
        self.requests.blocking_send(request).map_err(|_| "the writer is gone")?;
        Ok(response)
    }

    fn read(&self, query: Option<&DcbQuery>, tally: &mut Tally) -> Result<()> {
        let mut start = None;
        loop {
            let page = self.database.read(query.cloned(), start, false, Some(PAGE))?;
            let (mut found, mut last) = (0, 0);
            for event in page {
                let event = event?;
                let tags = event.event.tags.iter();
                let stream = tags.filter_map(|tag| tag.strip_prefix(STREAM)).next();
                let stream = stream.ok_or("an event without a stream")?;
                tally.see(stream, &event.event.event_type, &event.event.data);
                (found, last) = (found + 1, event.position);
            }
            if found < PAGE {
                return Ok(());
            }
            start = Some(last + 1);
        }
    }
}

impl Store for Uma {
    fn append(&self, events: &[Event<'_>]) -> Result<()> {
        let events = events.iter().map(|event| new_event(event, None)).collect();
        self.submit(events, None)?.blocking_recv()??;
        Ok(())
    }

    fn read_stream(&self, stream: &str, tally: &mut Tally) -> Result<()> {
        self.read(Some(&with_tag(format!("{STREAM}{stream}"))), tally)
    }

    fn scan(&self, tally: &mut Tally) -> Result<()> {
        self.read(None, tally)
    }

    fn read_category(&self, category: &str, tally: &mut Tally) -> Result<()> {
        self.read(Some(&with_tag(format!("{CATEGORY}{category}"))), tally)
    }

    fn read_type(&self, event_type: &str, tally: &mut Tally) -> Result<()> {
        let query = DcbQuery::new().item(DcbQueryItem::new().types([event_type]));
        self.read(Some(&query), tally)
    }

    fn pipeline<'a>(
        &self,
        events: &mut dyn Iterator<Item = Event<'a>>,
        in_flight: usize,
    ) -> Result<u64> {
        let (mut waiting, mut done) = (VecDeque::with_capacity(in_flight), 0);
        for event in events {
            if waiting.len() == in_flight
                && let Some(oldest) = waiting.pop_front()
            {
                receive(oldest)?;
                done += 1;
            }
            waiting.push_back(self.submit(vec![new_event(&event, None)], None)?);
        }
        for append in waiting {
            receive(append)?;
            done += 1;
        }
        Ok(done)
    }

    fn append_if_unseen(&self, event: Event<'_>, tag: &str) -> Result<()> {
        let condition = DcbAppendCondition::new(with_tag(tag.to_owned()));
        self.submit(vec![new_event(&event, Some(tag))], Some(condition))?.blocking_recv()??;
        Ok(())
    }

    fn follow(&self) -> Result<Box<dyn Follow>> {
        let (head, database) =
            (self.head.clone(), UmaDb::from_arc(Arc::clone(&self.database.mvcc)));
        let next = self.database.head()?.unwrap_or(0) + 1;
        Ok(Box::new(Following { head, database, next }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        let _ = self.requests.blocking_send(WriterThreadRequest::Shutdown);
        drop(self.requests);
        self.writer.join().map_err(|_| "the writer panicked".into())
    }
}

fn receive(append: oneshot::Receiver<DcbResult<u64>>) -> Result<()> {
    append.blocking_recv()??;
    Ok(())
}

struct Following {
    head: watch::Receiver<Option<u64>>,
    database: UmaDb,
    next: u64,
}

impl Follow for Following {
    fn wait(&mut self, seen: &mut Vec<Instant>) -> Result<()> {
        while self.head.borrow_and_update().unwrap_or(0) < self.next {
            futures::executor::block_on(self.head.changed())?;
        }
        for event in self.database.read(None, Some(self.next), false, None)? {
            self.next = event?.position + 1;
            seen.push(Instant::now());
        }
        Ok(())
    }
}
