//! The framework's conformance kit, on a disk and in memory, and what it does not ask.

use std::path::PathBuf;

use annals::{Position, Query, Store};
use annals_mnesis::{AnnalsPosition, AnnalsStore};
use mnesis::Version;
use tempfile::TempDir;

fn path(dir: &TempDir) -> PathBuf {
    dir.path().join("events.annals")
}

async fn open() -> (AnnalsStore, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(path(&dir)).unwrap();
    (AnnalsStore::new(&store), dir)
}

async fn reopen(events: AnnalsStore, dir: TempDir) -> (AnnalsStore, TempDir) {
    events.store().close().unwrap();
    drop(events);
    let store = Store::open(path(&dir)).unwrap();
    (AnnalsStore::new(&store), dir)
}

async fn in_memory() -> (AnnalsStore, ()) {
    (AnnalsStore::new(&Store::in_memory().unwrap()), ())
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn position(number: u64) -> AnnalsPosition {
    AnnalsPosition::new(Position(number))
}

mod on_disk {
    use super::*;

    mnesis_store_testing::conformance! { factory: open }
    mnesis_store_testing::conformance_atomic_append! { factory: open }
    mnesis_store_testing::conformance_lifecycle! { open: open, reopen: reopen }

    mod snapshots_by_version {
        use super::*;

        mnesis_store_testing::conformance_snapshot! {
            factory: open,
            positions: (version(1), version(2)),
            extremes: (Version::INITIAL, version(u64::MAX)),
        }
    }

    mod snapshots_by_position {
        use super::*;

        mnesis_store_testing::conformance_snapshot! {
            factory: open,
            positions: (position(1), position(2)),
            extremes: (position(0), position(u64::MAX)),
        }
    }
}

mod memory {
    use super::*;

    mnesis_store_testing::conformance! { factory: in_memory }
    mnesis_store_testing::conformance_atomic_append! { factory: in_memory }
}

mod beside_the_kit {
    use super::*;
    use futures::StreamExt;
    use mnesis_store::envelope::pending_envelope;
    use mnesis_store::{PendingBatch, RawEventStore, StreamKey};

    #[tokio::test]
    async fn annals_sees_what_the_framework_stores() {
        let (events, ()) = in_memory().await;
        let placed = pending_envelope(Version::INITIAL)
            .event_type("Placed")
            .payload("{\"total\":42}")
            .metadata("who")
            .build()
            .unwrap();
        let key = StreamKey::from_slice(b"Order-1");
        events.append(&key, None, PendingBatch::of(&placed)).await.unwrap();
        let query = Query::new().category("Order").event_type("Placed");
        let found = events.store().read(query).into_iter().next().unwrap().unwrap();
        assert_eq!((found.data(), found.metadata()), (&b"{\"total\":42}"[..], &b"who"[..]));
        assert_eq!((found.stream(), found.schema_version()), ("Order-1", 1));
    }

    #[tokio::test]
    async fn the_framework_sees_what_others_stored() {
        let (events, ()) = in_memory().await;
        let other = annals::NewEvent::new("Noted", "data").schema_version(3);
        events.store().append("Note-1", annals::ExpectedVersion::Any, [other]).unwrap();
        let mut all = events.read_all(None).await.unwrap();
        let (at, key, envelope) = all.next().await.unwrap().unwrap();
        assert_eq!((at, key.as_bytes()), (position(1), &b"Note-1"[..]));
        assert_eq!((envelope.event_type(), envelope.payload()), ("Noted", &b"data"[..]));
        assert_eq!((envelope.schema_version(), envelope.metadata()), (3, None));
        assert!(all.next().await.is_none());
    }

    #[tokio::test]
    async fn keys_that_are_no_names_are_streams_of_their_own() {
        let (events, ()) = in_memory().await;
        let keys: [&[u8]; 4] = [b"", b"\x00\xff", b"$all", b"plain"];
        for key in keys {
            let payload = pending_envelope(Version::INITIAL).event_type("Noted");
            let payload = payload.payload(key.to_vec()).build().unwrap();
            let key = StreamKey::from_slice(key);
            events.append(&key, None, PendingBatch::of(&payload)).await.unwrap();
        }
        for key in keys {
            let stream = events.read_stream(&StreamKey::from_slice(key), Version::INITIAL).await;
            let found: Vec<_> = stream.unwrap().collect().await;
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].as_ref().unwrap().payload(), key);
        }
        let all: Vec<_> = events.read_all(None).await.unwrap().collect().await;
        let found: Vec<_> = all.iter().map(|item| item.as_ref().unwrap().1.as_bytes()).collect();
        assert_eq!(found, keys);
    }
}
