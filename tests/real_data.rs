//! Real events against what is known of them: imported, closed, opened, read in every way there
//! is, and compared with answers computed without any engine (`*.truth.json`) and with answers of
//! the original sources (`*.source-truth.json`).
//!
//! The data lies beside the repository, in `../shared/data` or where `ANNALS_DATA` says; without
//! it the checks are skipped. The truth counts positions and versions from 0, the store from 1.
//! `tools/truth.py` there defines each number. Not compared, since they are properties of the file
//! and not of the events: its bytes and its longest line.
#![cfg(feature = "transfer")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use annals::transfer::{Import, export, format_time, parse_time};
use annals::{Durability, Event, Position, Query, Store, Timestamp, Version};
use flate2::bufread::MultiGzDecoder;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

type State = Map<String, Value>;

#[test]
fn incidents() {
    let Some(data) = Data::find("incidents", "incidents.jsonl") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("incidents.annals");
    let store = data.import(&path, 64 << 20, 1);
    let facts = data.compare(&store);
    data.compare_incidents(&facts);
    data.compare_imported_again(&store, &path);
}

#[test]
fn curl_history_in_many_segments() {
    let Some(data) = Data::find("curl-history", "curl-history.jsonl.gz") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("curl.annals");
    let store = data.import(&path, 4 << 20, 20);
    let segments = store.info().unwrap().segments;
    assert!(segments > 4, "{segments} segments: too few for this check to mean something");
    data.compare(&store);
    data.compare_git_trees(&store);
}

/// One data set and what is known of it.
struct Data {
    file: PathBuf,
    truth: Value,
    source: Value,
}

/// What a reader finds in the store, by the definitions of `truth.py`.
#[derive(Default)]
struct Facts {
    events: Vec<Fact>,
    /// The positions of each stream, category, type, correlation.
    streams: BTreeMap<String, Vec<u64>>,
    categories: BTreeMap<String, Vec<u64>>,
    types: BTreeMap<String, Vec<u64>>,
    correlations: BTreeMap<String, Vec<u64>>,
    states: BTreeMap<String, State>,
    /// The most bytes of data as canonical JSON, and its position.
    largest: (usize, u64),
    payload: Sha256,
}

struct Fact {
    stream: String,
    event_type: String,
    time: Timestamp,
}

impl Data {
    fn find(name: &str, file: &str) -> Option<Self> {
        let folder = match std::env::var_os("ANNALS_DATA") {
            Some(folder) => PathBuf::from(folder),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        };
        let file = folder.join(file);
        if !file.exists() {
            // Said past the harness's capture: a check that did not run must not look like one.
            let text = format!("skipped: {} is not there (set ANNALS_DATA)", file.display());
            let _ = writeln!(std::io::stderr(), "{text}");
            return None;
        }
        let read = |suffix| {
            let text = fs::read(folder.join(format!("{name}.{suffix}"))).unwrap();
            serde_json::from_slice(&text).unwrap()
        };
        Some(Self { file, truth: read("truth.json"), source: read("source-truth.json") })
    }

    /// Imports the file into a new store, closes it, opens it again.
    fn import(&self, path: &Path, segment_bytes: u64, batch: u16) -> Store {
        let options = || Store::options().segment_bytes(segment_bytes);
        let store = options().durability(Durability::Os).open(path).unwrap();
        let mut input = BufReader::new(File::open(&self.file).unwrap());
        let import = Import::new().batch(NonZeroU16::new(batch).unwrap());
        let imported = if input.fill_buf().unwrap().starts_with(&[0x1f, 0x8b]) {
            import.run(&store, BufReader::new(MultiGzDecoder::new(input))).unwrap()
        } else {
            import.run(&store, input).unwrap()
        };
        assert_eq!((&json!(imported.appended), imported.skipped), (&self.truth["events"], 0));
        // Before the last segment has an index file, and from memory.
        let facts = Facts::of(&store);
        self.compare_queries(&store, &facts);
        // And as another process sees it, beside the writer.
        self.compare_queries(&Store::open_read_only(path).unwrap(), &facts);
        store.close().unwrap();
        options().open(path).unwrap()
    }

    /// Compares everything that `truth.py` knows.
    fn compare(&self, store: &Store) -> Facts {
        let facts = Facts::of(store);
        self.compare_counts(&facts);
        self.compare_streams(store, &facts);
        self.compare_positions(store, &facts);
        self.compare_reads(&facts);
        self.compare_queries(store, &facts);
        let truth = &self.truth;
        for expected in array(&truth["stream_table_after"]) {
            assert_eq!(&facts.stream_table(expected["events"].as_u64().unwrap()), expected);
        }
        assert_eq!(facts.payload_digest(), truth["payload_sha256"]);
        let (streams, digest) = facts.state_digest("");
        assert_eq!(
            (&json!(streams), &json!(digest)),
            (&truth["streams"], &truth["final_state_sha256"])
        );
        facts
    }

    fn compare_counts(&self, facts: &Facts) {
        let truth = &self.truth;
        assert_eq!(facts.events.len(), truth["events"]);
        assert_eq!(facts.streams.len(), truth["streams"]);
        assert_eq!(facts.categories.len(), truth["categories"]);
        assert_eq!(facts.types.len(), truth["types"]);
        let lengths = |positions: &BTreeMap<String, Vec<u64>>| -> BTreeMap<String, usize> {
            positions.iter().map(|(name, positions)| (name.clone(), positions.len())).collect()
        };
        assert_eq!(json!(lengths(&facts.types)), truth["events_per_type"]);
        let per_category: Map<String, Value> = facts
            .categories
            .iter()
            .map(|(category, positions)| {
                let mut types = BTreeMap::<&str, u64>::new();
                let mut streams = BTreeSet::new();
                for fact in positions.iter().map(|position| facts.at(*position)) {
                    *types.entry(&fact.event_type).or_default() += 1;
                    streams.insert(&fact.stream);
                }
                let (events, streams) = (positions.len(), streams.len());
                let counts = json!({"events": events, "streams": streams, "types": types});
                (category.clone(), counts)
            })
            .collect();
        assert_eq!(Value::Object(per_category), truth["per_category"]);
        let mut histogram = BTreeMap::<String, u64>::new();
        for positions in facts.streams.values() {
            *histogram.entry(positions.len().to_string()).or_default() += 1;
        }
        assert_eq!(json!(histogram), truth["stream_length_histogram"]);
        let (bytes, position) = facts.largest;
        let largest = json!({"canonical_bytes": bytes, "position": position});
        assert_eq!(largest, truth["largest_data"]);
    }

    fn compare_streams(&self, store: &Store, facts: &Facts) {
        let mut longest: Vec<_> = facts.streams.iter().collect();
        longest.sort_by_key(|(name, positions)| (std::cmp::Reverse(positions.len()), *name));
        let longest: Vec<_> = longest
            .iter()
            .take(20)
            .map(|(name, positions)| json!({"stream": name, "events": positions.len()}))
            .collect();
        assert_eq!(json!(longest), self.truth["longest_streams"]);
        for (name, positions) in &facts.streams {
            let info = store.stream(name).unwrap().unwrap();
            assert_eq!(info.version, Version(positions.len() as u64), "{name}");
            assert_eq!(info.last_position.0 - 1, *positions.last().unwrap(), "{name}");
        }
        for expected in array(&self.truth["stream_samples"]) {
            let name = text(&expected["stream"]);
            assert_eq!(&stream_sample(store, name), expected, "{name}");
            let forwards = stream_positions(store.read_stream(name));
            let mut backwards = stream_positions(store.read_stream(name).backwards());
            backwards.reverse();
            assert_eq!(forwards, backwards, "{name}");
            let behind = forwards.len() / 2;
            let after = store.read_stream(name).after(Version(behind as u64));
            assert_eq!(stream_positions(after), forwards[behind..], "{name}");
            assert_eq!(forwards, facts.streams[name], "{name}");
        }
    }

    fn compare_positions(&self, store: &Store, facts: &Facts) {
        let head = store.head();
        assert_eq!(head.0, facts.events.len() as u64);
        assert!(store.event(Position::START).unwrap().is_none());
        assert!(store.event(Position(head.0 + 1)).unwrap().is_none());
        for expected in array(&self.truth["position_samples"]) {
            let position = Position(expected["position"].as_u64().unwrap() + 1);
            let event = store.event(position).unwrap().unwrap();
            let found = json!({
                "position": event.position().0 - 1,
                "stream": event.stream(),
                "version": event.version().0 - 1,
                "type": event.event_type(),
                "time": short_time(event.created_at()),
            });
            assert_eq!(&found, expected);
            let by_id = store.event_by_id(event.id()).unwrap().unwrap();
            assert_eq!(by_id.position(), position);
            let next = store.read_all().after(position).into_iter().next();
            assert_eq!(next.map(|event| event.unwrap().position()), {
                position.next().filter(|next| *next <= head)
            });
        }
        let mut expected = head.0;
        for event in store.read_all().backwards() {
            assert_eq!(event.unwrap().position().0, expected);
            expected -= 1;
        }
        assert_eq!(expected, 0);
    }

    /// Every category, type and time range, and samples of streams and correlation ids, by queries
    /// in both directions, against what a read of everything has found.
    fn compare_queries(&self, store: &Store, facts: &Facts) {
        let check = |query: Query, expected: &[u64]| {
            let positions = |read: annals::ReadAll| -> Vec<u64> {
                read.into_iter().map(|event| event.unwrap().position().0 - 1).collect()
            };
            assert_eq!(positions(store.read(query.clone())), expected, "{query:?}");
            let mut backwards = positions(store.read(query.clone()).backwards());
            backwards.reverse();
            assert_eq!(backwards, expected, "backwards: {query:?}");
        };
        for (category, positions) in &facts.categories {
            check(Query::new().category(category), positions);
        }
        for (event_type, positions) in &facts.types {
            check(Query::new().event_type(event_type), positions);
            let of_category: Vec<u64> = positions
                .iter()
                .copied()
                .filter(|position| facts.at(*position).stream.starts_with("File-"))
                .collect();
            check(Query::new().event_type(event_type).stream_prefix("File-"), &of_category);
        }
        for (stream, positions) in facts.streams.iter().step_by(101) {
            check(Query::new().stream(stream), positions);
        }
        for (id, positions) in facts.correlations.iter().step_by(101) {
            check(Query::new().correlation(id), positions);
        }
        for expected in array(&self.truth["correlations"]["samples"]) {
            let id = text(&expected["correlationId"]);
            check(Query::new().correlation(id), &facts.correlations[id]);
        }
        for expected in array(&self.truth["time_ranges"]) {
            let [from, to] = ["from", "to"].map(|key| parse_time(text(&expected[key])).unwrap());
            let inside: Vec<u64> = (0..)
                .zip(&facts.events)
                .filter(|(_, fact)| (from..to).contains(&fact.time))
                .map(|(position, _)| position)
                .collect();
            assert_eq!(json!(inside.len()), expected["events"]);
            check(Query::new().between(from..to), &inside);
            let later = facts.events.iter().position(|fact| fact.time > from);
            let before = later.unwrap_or(facts.events.len()) as u64;
            assert_eq!(store.position_at(from).unwrap().0, before);
        }
    }

    fn compare_reads(&self, facts: &Facts) {
        let truth = &self.truth;
        for (reads, key, found) in [
            ("category_reads", "category", &facts.categories),
            ("type_reads", "type", &facts.types),
        ] {
            for expected in array(&truth[reads]) {
                let name = text(&expected[key]);
                let positions = &found[name];
                let mut found = json!({
                    "events": positions.len(),
                    "first_position": positions[0],
                    "middle_position": positions[positions.len() / 2],
                    "last_position": positions[positions.len() - 1],
                    "positions_sha256": positions_digest(positions),
                });
                found[key] = name.into();
                assert_eq!(&found, expected);
            }
        }
        let times: Vec<_> = facts.events.iter().map(|fact| fact.time).collect();
        let millis = |time: &Timestamp| format_time(*time).unwrap().replace("000Z", "Z");
        assert_eq!(millis(times.iter().min().unwrap()), truth["first_time"]);
        assert_eq!(millis(times.iter().max().unwrap()), truth["last_time"]);
        let inversions = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert_eq!(inversions, truth["time_goes_backwards_between_neighbours"]);
        for expected in array(&truth["time_ranges"]) {
            let [from, to] = ["from", "to"].map(|key| parse_time(text(&expected[key])).unwrap());
            let chosen: Vec<_> = (0..)
                .zip(&times)
                .filter(|(_, time)| (from..to).contains(time))
                .map(|(position, _)| position)
                .collect();
            assert_eq!(json!(chosen.len()), expected["events"]);
            assert_eq!(json!(chosen.first()), expected["first_position"]);
            assert_eq!(json!(chosen.last()), expected["last_position"]);
            assert_eq!(positions_digest(&chosen), expected["positions_sha256"]);
        }
        assert_eq!(facts.correlations.len(), truth["correlations"]["distinct"]);
        for expected in array(&truth["correlations"]["samples"]) {
            let positions = &facts.correlations[text(&expected["correlationId"])];
            assert_eq!(positions.len(), expected["events"]);
            assert_eq!(positions_digest(positions), expected["positions_sha256"]);
        }
    }

    /// The last row of each incident in the original table.
    fn compare_incidents(&self, facts: &Facts) {
        let source = &self.source;
        let (streams, digest) = facts.state_digest("Incident-");
        assert_eq!(
            (&json!(streams), &json!(digest)),
            (&source["streams"], &source["final_state_sha256"])
        );
        for (stream, state) in source["samples"].as_object().unwrap() {
            assert_eq!(Some(&facts.states[stream]), state.as_object(), "{stream}");
        }
        let mut per_state = BTreeMap::<&str, u64>::new();
        let (mut reassignments, mut reopened) = (0, 0);
        for (_, state) in facts.states.iter().filter(|(name, _)| name.starts_with("Incident-")) {
            *per_state.entry(text(&state["incident_state"])).or_default() += 1;
            reassignments += state["reassignment_count"].as_u64().unwrap();
            reopened += u64::from(state["reopen_count"].as_u64() > Some(0));
        }
        assert_eq!(json!(per_state), source["incidents_per_final_state"]);
        assert_eq!(json!(reassignments), source["reassignments_total"]);
        assert_eq!(json!(reopened), source["reopened_incidents"]);
    }

    /// What `git ls-tree` says at twelve commits: the state of all files up to a position.
    fn compare_git_trees(&self, store: &Store) {
        let mut trees = array(&self.source["checkpoints"]).iter().peekable();
        let mut facts = Facts::default();
        for event in store.read_all() {
            let event = event.unwrap();
            facts.fold(&event);
            while let Some(tree) = trees.next_if(|tree| tree["after_events"] == event.position().0)
            {
                let (files, digest) = facts.state_digest("File-");
                let found = (&json!(files), &json!(digest));
                assert_eq!(found, (&tree["files"], &tree["sha256"]), "{}", tree["tag"]);
            }
        }
        assert!(trees.peek().is_none(), "not all commits were reached");
    }

    /// The export of the store makes the same store, and adds nothing to its own.
    fn compare_imported_again(&self, store: &Store, path: &Path) {
        let mut first = Vec::new();
        assert_eq!(export(store, &mut first).unwrap(), self.truth["events"]);
        let same = Import::new().run(store, &first[..]).unwrap();
        assert_eq!((same.appended, &json!(same.skipped)), (0, &self.truth["events"]));
        let other = Store::in_memory().unwrap();
        let batch = NonZeroU16::new(500).unwrap();
        Import::new().batch(batch).run(&other, &first[..]).unwrap();
        let mut second = Vec::new();
        export(&other, &mut second).unwrap();
        assert!(first == second, "{} and {} bytes", first.len(), second.len());
        let reader = Store::open_read_only(path).unwrap();
        let mut third = Vec::new();
        export(&reader, &mut third).unwrap();
        assert!(first == third, "{} and {} bytes", first.len(), third.len());
    }
}

impl Facts {
    fn of(store: &Store) -> Self {
        let mut facts = Self::default();
        for (position, event) in (0..).zip(store.read_all()) {
            let event = event.unwrap();
            assert_eq!(event.position().0, position + 1);
            facts.add(position, &event);
        }
        facts
    }

    fn add(&mut self, position: u64, event: &Event) {
        let (stream, event_type) = (event.stream(), event.event_type());
        let versions = self.streams.entry(stream.into()).or_default();
        assert_eq!(event.version().0, versions.len() as u64 + 1, "{stream}");
        versions.push(position);
        self.categories.entry(event.category().into()).or_default().push(position);
        self.types.entry(event_type.into()).or_default().push(position);
        let mut metadata = State::new();
        if !event.metadata().is_empty() {
            metadata = event.metadata_json().unwrap();
        }
        // The store keeps the id beside the metadata; the truth has it where the file has it.
        if let Some(id) = event.correlation_id() {
            self.correlations.entry(id.into()).or_default().push(position);
            metadata.insert("correlationId".into(), id.into());
        }
        let data = canonical(&event.json().unwrap());
        if data.len() > self.largest.0 {
            self.largest = (data.len(), position);
        }
        let time = short_time(event.created_at());
        let version = event.version().0 - 1;
        let metadata = canonical(&metadata);
        self.payload.update(format!(
            "{position}\t{stream}\t{version}\t{event_type}\t{time}\t{data}\t{metadata}\n"
        ));
        self.fold(event);
        self.events.push(Fact {
            stream: stream.into(),
            event_type: event_type.into(),
            time: event.created_at(),
        });
    }

    fn fold(&mut self, event: &Event) {
        fold(self.states.entry(event.stream().into()).or_default(), event);
    }

    fn at(&self, position: u64) -> &Fact {
        &self.events[usize::try_from(position).unwrap()]
    }

    fn payload_digest(&self) -> String {
        hex(self.payload.clone())
    }

    /// The streams below a prefix that have a state at the moment (all, where there is no prefix),
    /// and the digest of their states.
    fn state_digest(&self, prefix: &str) -> (usize, String) {
        let mut digest = Sha256::new();
        let mut streams = 0;
        for (stream, state) in &self.states {
            if prefix.is_empty() || (stream.starts_with(prefix) && !state.is_empty()) {
                digest.update(format!("{stream}\t{}\n", canonical(state)));
                streams += 1;
            }
        }
        (streams, hex(digest))
    }

    /// The table of streams after so many events.
    fn stream_table(&self, events: u64) -> Value {
        let mut digest = Sha256::new();
        let mut streams = 0;
        for (stream, positions) in &self.streams {
            let count = positions.partition_point(|position| *position < events);
            let Some(last) = positions[..count].last() else {
                continue;
            };
            let Fact { event_type, time, .. } = self.at(*last);
            let time = short_time(*time);
            digest.update(format!("{stream}\t{count}\t{last}\t{event_type}\t{time}\n"));
            streams += 1;
        }
        json!({"events": events, "streams": streams, "sha256": hex(digest)})
    }
}

/// A stream as `truth.py` describes it, from a read of that stream alone.
fn stream_sample(store: &Store, stream: &str) -> Value {
    let events: Vec<_> = store.read_stream(stream).into_iter().map(Result::unwrap).collect();
    let mut state = State::new();
    for (version, event) in (1..).zip(&events) {
        assert_eq!((event.stream(), event.version()), (stream, Version(version)));
        fold(&mut state, event);
    }
    let positions: Vec<_> = events.iter().map(|event| event.position().0 - 1).collect();
    let last = events.last().unwrap();
    json!({
        "stream": stream,
        "events": events.len(),
        "first_position": positions[0],
        "last_position": last.position().0 - 1,
        "last_type": last.event_type(),
        "last_time": short_time(last.created_at()),
        "positions_sha256": positions_digest(&positions),
        "state": state,
    })
}

fn stream_positions(events: impl IntoIterator<Item = annals::Result<Event>>) -> Vec<u64> {
    events.into_iter().map(|event| event.unwrap().position().0 - 1).collect()
}

/// Shallow merge; null removes the key.
fn fold(state: &mut State, event: &Event) {
    for (key, value) in event.json::<State>().unwrap() {
        if value.is_null() {
            state.remove(&key);
        } else {
            state.insert(key, value);
        }
    }
}

/// Sorted keys, no spaces.
fn canonical(object: &State) -> String {
    assert!(object.keys().is_sorted(), "serde_json keeps keys sorted unless told otherwise");
    serde_json::to_string(object).unwrap()
}

/// As the files have it: without a fraction of a second, where there is none.
fn short_time(time: Timestamp) -> String {
    format_time(time).unwrap().replace(".000000Z", "Z")
}

fn positions_digest(positions: &[u64]) -> String {
    let mut digest = Sha256::new();
    for position in positions {
        digest.update(format!("{position}\n"));
    }
    hex(digest)
}

fn hex(digest: Sha256) -> String {
    format!("{:x}", digest.finalize())
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
