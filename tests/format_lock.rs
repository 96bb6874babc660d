//! Stores that version 1 wrote, kept for ever: every later version must open them and find exactly
//! the events that are listed here. The fixtures are never written again; a new version of the
//! format gets fixtures of its own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use annals::{
    Event, EventId, ExpectedVersion, IndexCheckpoint, NewEvent, Position, Store, Timestamp, Version,
};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Everything that an event says, in a line.
fn line(event: &Event) -> String {
    let tags: Vec<_> = event.tags().collect();
    let data = event.data();
    let sum = data.iter().fold(0_u32, |sum, b| sum.wrapping_mul(31).wrapping_add(u32::from(*b)));
    format!(
        "{} {} {} {} {} {:?} {:?} v{} at {} committed {} correlation {:?} causation {:?} \
         tags {tags:?} metadata {} data {} bytes {} sum {sum:08x}",
        event.position(),
        event.stream(),
        event.version(),
        event.id(),
        if event.has_given_id() { "given" } else { "assigned" },
        event.event_type(),
        event.content_type(),
        event.schema_version(),
        event.created_at().as_micros(),
        event.committed_at().as_micros(),
        event.correlation_id(),
        event.causation_id(),
        hex(event.metadata()),
        data.len(),
        hex(&data[..data.len().min(16)]),
    )
}

fn lines(store: &Store) -> Vec<String> {
    store.read_all().into_iter().map(|event| line(&event.unwrap())).collect()
}

/// Every way to an event leads to the same one.
fn check_ways(store: &Store, expected: &[String]) {
    assert_eq!(lines(store), expected);
    let backwards: Vec<String> =
        store.read_all().backwards().into_iter().map(|event| line(&event.unwrap())).collect();
    assert!(backwards.iter().eq(expected.iter().rev()));
    assert_eq!(store.head(), Position(expected.len() as u64));
    let events: Vec<Event> = store.read_all().into_iter().map(Result::unwrap).collect();
    for event in &events {
        assert_eq!(line(&store.event(event.position()).unwrap().unwrap()), line(event));
        assert_eq!(line(&store.event_by_id(event.id()).unwrap().unwrap()), line(event));
    }
    let mut streams: Vec<&str> = events.iter().map(Event::stream).collect();
    streams.sort_unstable();
    streams.dedup();
    for stream in streams {
        let of_stream = |event: &&Event| event.stream() == stream;
        let wanted: Vec<String> = events.iter().filter(of_stream).map(line).collect();
        let found: Vec<String> =
            store.read_stream(stream).into_iter().map(|event| line(&event.unwrap())).collect();
        assert_eq!(found, wanted);
        assert_eq!(store.stream(stream).unwrap().unwrap().version, Version(wanted.len() as u64));
    }
    assert_eq!(store.stream("Nobody-1").unwrap(), None);
    let mut schemas: BTreeMap<_, u64> = BTreeMap::new();
    for event in &events {
        *schemas.entry((event.event_type().to_owned(), event.schema_version())).or_default() += 1;
    }
    let found = store.schemas().unwrap();
    assert!(found.into_iter().map(|s| ((s.event_type, s.schema_version), s.events)).eq(schemas));
}

/// Puts a fixture into a directory of its own.
fn unpacked(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("log")).unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        let packed = path.file_name().unwrap().to_str().unwrap().strip_suffix(".gz").unwrap();
        let to = directory.path().join(packed.replacen("log_", "log/", 1));
        let mut unpacked = GzDecoder::new(fs::File::open(&path).unwrap());
        std::io::copy(&mut unpacked, &mut fs::File::create(to).unwrap()).unwrap();
    }
    directory
}

/// The files of a store, by their names from its directory.
fn content(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for part in ["", "log"] {
        for entry in fs::read_dir(store.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(store).unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn copied(from: &Path) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("log")).unwrap();
    for (name, bytes) in content(from) {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    directory
}

fn remove_derived(store: &Path) -> usize {
    let is_derived = |name: &&PathBuf| {
        let name = name.to_str().unwrap();
        name.starts_with("directory-")
            || [".idx", ".part", ".ids"].iter().any(|end| name.ends_with(end))
    };
    let derived = content(store).into_keys().filter(|name| is_derived(&name));
    derived.map(|name| fs::remove_file(store.join(name)).unwrap()).count()
}

fn listed() -> Vec<String> {
    fs::read_to_string(fixture("v1/events.txt")).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_store_of_version_1_opens_for_reading_and_is_left_as_it_is() {
    let path = fixture("v1/store");
    let before = content(&path);
    let store = Store::open_read_only(&path).unwrap();
    // Its derived files are of an older version, which knew no labels, and are passed over.
    assert_eq!(store.recovery().bytes_cut, 0);
    assert!(!matches!(store.recovery().index_checkpoint, IndexCheckpoint::Used { .. }));
    check_ways(&store, &listed());
    check_labels(&store);
    drop(store);
    assert!(content(&path) == before);
}

#[test]
fn a_store_of_version_1_goes_on() {
    let directory = copied(&fixture("v1/store"));
    let mut expected = listed();
    for n in 0..2 {
        let store = Store::open(directory.path()).unwrap();
        assert_eq!((store.recovery().clean, store.recovery().bytes_cut), (n > 0, 0));
        check_labels(&store);
        assert_eq!(lines(&store), expected);
        let event = NewEvent::new("Added", format!("{n}"));
        store.append("Order-1", ExpectedVersion::Exists, [event]).unwrap();
        expected = lines(&store);
        store.close().unwrap();
    }
    assert_eq!(expected.len(), listed().len() + 2);
    assert_eq!(expected[..listed().len()], listed());
}

#[test]
fn the_index_of_version_1_can_be_built_again() {
    let directory = copied(&fixture("v1/store"));
    assert_eq!(remove_derived(directory.path()), 2);
    let store = Store::open_read_only(directory.path()).unwrap();
    check_ways(&store, &listed());
}

#[test]
fn ids_of_version_1_are_known_for_ever() {
    let directory = copied(&fixture("v1/store"));
    let store = Store::open(directory.path()).unwrap();
    for append in history().into_iter().take(WITH_IDS) {
        assert!(append.make(&store).iter().all(|done| done.deduplicated));
    }
    assert_eq!(lines(&store), listed());
}

/// Every label of an event leads to it.
fn check_labels(store: &Store) {
    let mut labels = 0;
    for event in store.read_all() {
        let event = event.unwrap();
        let tags = event.tags().map(|tag| store.read_all().tag(tag));
        let correlated = event.correlation_id().map(|id| store.read_all().correlation(id));
        let caused = event.causation_id().map(|id| store.read_all().causation(id));
        for read in tags.chain(correlated).chain(caused) {
            labels += 1;
            let mut found = read.into_iter().map(|found| found.unwrap().position());
            assert!(found.any(|position| position == event.position()), "{event:?}");
        }
    }
    assert!(labels > 3, "the fixture has labels");
}

/// An append of the history of `v1`.
struct Append(Vec<(&'static str, Vec<NewEvent>)>);

impl Append {
    fn make(self, store: &Store) -> Vec<annals::Appended> {
        let batch = self.0.into_iter().fold(store.batch(), |batch, (stream, events)| {
            batch.append(stream, ExpectedVersion::Any, events)
        });
        batch.commit().unwrap()
    }
}

/// So many of the first appends have ids of the caller.
const WITH_IDS: usize = 4;

/// What was appended to `v1`, in this order.
fn history() -> Vec<Append> {
    let id = |n: u8| EventId::from_bytes([n; 16]);
    let full = NewEvent::new("Everything", "\u{e9}")
        .id(id(2))
        .content_type("text/plain")
        .schema_version(7)
        .created_at(Timestamp::from_micros(-1_000_001))
        .correlation("request-1")
        .causation("command-1")
        .tags(["customer:7", "region:\u{6771}"])
        .metadata([0, 255]);
    let pair = vec![NewEvent::new("Given", "1").id(id(3)), NewEvent::new("Derived", "2")];
    let late = vec![NewEvent::new("Derived", "1"), NewEvent::new("Given", "2").id(id(4))];
    let json = NewEvent::new("OrderPlaced", r#"{"total":42}"#).content_type("application/json");
    let named = NewEvent::new("T".repeat(255), []);
    let mut history = vec![
        Append(vec![("Order-1", vec![json.clone().id(id(1))])]),
        Append(vec![("Order-1", vec![full])]),
        Append(vec![("Order-2", pair)]),
        Append(vec![("Order-3", late)]),
        Append(vec![("Order-1", vec![json])]),
        Append(vec![
            ("Account-a", vec![NewEvent::new("Withdrawn", "5"), NewEvent::new("Closed", "")]),
            ("Account-b", vec![NewEvent::new("Deposited", "5")]),
            ("Account-a", vec![NewEvent::new("Reopened", "")]),
        ]),
        Append(vec![("\u{6771}\u{4eac}", vec![named])]),
    ];
    // Two segments, and a stream with more than 128 events in the second.
    for n in 0..7_u8 {
        history.push(Append(vec![("Large-1", vec![NewEvent::new("Filled", vec![n; 9000])])]));
    }
    let counted = (0..130).map(|n| NewEvent::new("Counted", [n])).collect();
    history.push(Append(vec![("Order-2", counted)]));
    history
}

/// The event of `v1-many` at a position: its stream, its id where one was given, its data.
fn of_many(position: u64) -> (String, Option<EventId>, Vec<u8>) {
    let stream = format!("Order-{}", position * position % 101);
    let id = position.is_multiple_of(3).then(|| {
        let mut bytes = [0xa5; 16];
        for (byte, number) in bytes.iter_mut().zip(position.to_le_bytes().into_iter().rev()) {
            *byte = number;
        }
        EventId::from_bytes(bytes)
    });
    (stream, id, vec![u8::try_from(position % 251).unwrap(); 900])
}

const MANY: u64 = 620;

#[test]
fn a_store_of_many_segments_of_version_1_opens() {
    let directory = unpacked("v1-many");
    let rebuilt = copied(directory.path());
    assert!(directory.path().join("directory-1").exists());
    assert!(directory.path().join("log/0000000001-0000000008.ids").exists());
    assert_eq!(remove_derived(rebuilt.path()), 12);
    let mut found = Vec::new();
    for path in [directory.path(), rebuilt.path()] {
        let store = Store::open_read_only(path).unwrap();
        let all = lines(&store);
        check_ways(&store, &all);
        for (position, event) in (1..).zip(store.read_all()) {
            let event = event.unwrap();
            let (stream, id, data) = of_many(position);
            assert_eq!((event.stream(), event.data()), (stream.as_str(), data.as_slice()));
            assert_eq!(event.has_given_id().then(|| event.id()), id);
        }
        assert_eq!(all.len() as u64, MANY);
        found.push(all);
    }
    assert_eq!(found[0], found[1]);
}

/// How the fixtures were made. Never again for version 1.
#[test]
#[ignore = "writes fixtures, which are written once for each version of the format"]
fn write_the_fixtures() {
    let open = |path: &Path| Store::options().segment_bytes(64 << 10).open(path).unwrap();
    let root = PathBuf::from(std::env::var_os("FIXTURES").unwrap());
    let store = open(&root.join("v1/store"));
    for append in history() {
        append.make(&store);
    }
    fs::write(root.join("v1/events.txt"), lines(&store).join("\n") + "\n").unwrap();
    store.close().unwrap();

    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for position in 1..=MANY {
        let (stream, id, data) = of_many(position);
        let event = NewEvent::new("Counted", data);
        let event = id.into_iter().fold(event, NewEvent::id);
        store.append(stream, ExpectedVersion::Any, [event]).unwrap();
    }
    store.close().unwrap();
    fs::create_dir_all(root.join("v1-many")).unwrap();
    for (name, bytes) in content(directory.path()) {
        let name = name.to_str().unwrap().replace('/', "_");
        let to = fs::File::create(root.join("v1-many").join(name + ".gz")).unwrap();
        let mut packed = GzEncoder::new(to, Compression::best());
        packed.write_all(&bytes).unwrap();
        packed.finish().unwrap();
    }
}
