//! Text that comes from outside.

#[cfg(feature = "transfer")]
use crate::event::Event;
use crate::new_event::NewEvent;
use crate::position::ExpectedVersion;
use crate::store::Store;

fn store() -> Store {
    Store::options().segment_bytes(64 << 10).in_memory().expect("a store in memory")
}

/// Any text as a stream's name: taken or refused, and what is taken reads back.
pub(super) fn stream_name(bytes: &[u8]) {
    let Ok(name) = str::from_utf8(bytes) else { return };
    let store = store();
    if store.append(name, ExpectedVersion::NoStream, [NewEvent::new("A", "")]).is_ok() {
        let event = store.read_stream(name).into_iter().next().expect("the event").expect("whole");
        assert_eq!(event.stream(), name);
        assert!(name.starts_with(event.category()));
        assert!(store.stream(name).expect("a name that was taken").is_some());
    } else {
        assert_eq!(store.head().0, 0);
        assert!(store.stream(name).is_err());
    }
}

/// Any text as a line to import: refused, or the same after a way out and in again.
#[cfg(feature = "transfer")]
pub(super) fn import_line(bytes: &[u8]) {
    use crate::transfer::{Import, parse_line, write_event};
    let Ok(line) = str::from_utf8(bytes) else { return };
    // Whatever the lines: what is counted is there.
    let imported = store();
    if let Ok(done) = Import::new().run(&imported, bytes) {
        assert_eq!(done.appended, imported.head().0);
        let again = Import::new().run(&imported, bytes).expect("the same lines again");
        assert_eq!((again.appended, again.skipped), (0, done.appended + done.skipped));
    }
    let Ok((stream, event)) = parse_line(line) else { return };
    let first = store();
    if first.append(&stream, ExpectedVersion::Any, [event]).is_err() {
        return;
    }
    let one = only(&first);
    let mut out = Vec::new();
    write_event(&one, &mut out).expect("a line in memory");
    let text = str::from_utf8(&out).expect("a line is text");
    assert!(!text.contains('\n'), "{text}");
    let (stream, event) = parse_line(text).expect("an exported line");
    let second = store();
    second.append(&stream, ExpectedVersion::Any, [event]).expect("an exported event");
    let other = only(&second);
    let parts = |event: &Event| {
        let tags: Vec<String> = event.tags().map(str::to_owned).collect();
        let labels = [event.correlation_id(), event.causation_id()].map(|l| l.map(str::to_owned));
        let names = [event.stream(), event.event_type(), event.content_type()].map(str::to_owned);
        (names, labels, tags, event.data().to_vec(), event.metadata().to_vec(), event.id())
    };
    assert_eq!(parts(&one), parts(&other));
}

#[cfg(feature = "transfer")]
fn only(store: &Store) -> Event {
    store.read_all().into_iter().next().expect("the event").expect("whole")
}
