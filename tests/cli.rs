//! The binary `annals` from the outside: what it prints, how it ends, what it leaves behind.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use annals::{ExpectedVersion, NewEvent, Position, Store};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory with room for a store and for files.
struct Desk {
    directory: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("test.annals")
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().into()
    }

    fn run(&self, args: &[&str]) -> Done {
        self.run_with(args, "")
    }

    fn run_with(&self, args: &[&str], input: &str) -> Done {
        let mut child = spawn(&self.store(), args);
        // A command that reads no input closes it; that is not what is tested.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Done(child.wait_with_output().unwrap())
    }
}

fn command(store: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.env_remove("ANNALS_STORE").args(args).arg("--store").arg(store);
    command
}

fn spawn(store: &Path, args: &[&str]) -> Child {
    command(store, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How a command ended.
struct Done(Output);

impl Done {
    fn code(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    fn out(&self) -> &str {
        str::from_utf8(&self.0.stdout).unwrap()
    }

    fn err(&self) -> &str {
        str::from_utf8(&self.0.stderr).unwrap()
    }

    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code(), 0, "{}", self.err());
        self
    }

    #[track_caller]
    fn fails(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code(), code, "{}", self.err());
        assert!(self.err().contains(says), "{:?} in {:?}", says, self.err());
        self
    }

    fn json(&self) -> Vec<Value> {
        self.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

const LINES: &str = concat!(
    r#"{"stream":"Order-1","type":"OrderPlaced","time":"2026-01-15T11:30:00+01:00","#,
    r#""data":{"total": 42.0},"metadata":{"correlationId":"r-1","by":"x"},"#,
    "\"tags\":[\"customer:7\"]}\n",
    r#"{"stream":"Order-2","type":"OrderPlaced","time":"2026-01-15T10:31:00Z","data":{}}"#,
    "\n",
    r#"{"stream":"Cart-1","type":"CartEmptied","time":"2026-01-15T10:29:00Z","data":null}"#,
    "\n",
    r#"{"stream":"Order-1","type":"OrderPaid","time":"2026-01-15T10:32:00Z","#,
    "\"data_base64\":\"AAH/\"}\n",
);

fn filled() -> Desk {
    let desk = Desk::new();
    desk.run_with(&["import", "-"], LINES).ok();
    desk
}

/// A large number of lines, the same every time.
fn many_lines(count: usize) -> String {
    let mut lines = String::new();
    for n in 0..count {
        let (stream, event_type) = (n * n % 97, n % 5);
        let (stream, data) = (format!("S-{stream}"), json!({ "n": n }));
        let line = json!({"stream": stream, "type": format!("T{event_type}"), "data": data});
        lines += &line.to_string();
        lines.push('\n');
    }
    lines
}

#[test]
fn what_cannot_be_understood_is_a_usage_error() {
    let desk = Desk::new();
    for args in [
        &["frobnicate"][..],
        &["import"],
        &["import", "-", "--batch", "0"],
        &["import", "-", "--batch", "65536"],
        &["append", "A-1"],
        &["append", "A-1", "T", "not json"],
        &["append", "A-1", "T", "1,\"tags\":[]"],
        &["append", "A-1", "T", "{}", "--expect", "maybe"],
        &["append", "A-1", "T", "{}", "--id", "7"],
        &["append", "A-1", "T", "{}", "--metadata", "{"],
        &["append", "A-1", "T", "{}", "--metadata", "{\"correlation_id\":7}"],
        &["append", "A-1", "T", "-", "--id", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"],
        &["append", "-", "--expect", "any"],
    ] {
        let done = desk.run(args);
        assert_eq!(done.code(), 2, "{args:?}: {}", done.err());
        assert!(!desk.store().exists(), "{args:?} made a store");
    }
    desk.run(&["append", "$A", "T"]).fails(2, "reserved");
    let alone = Command::new(env!("CARGO_BIN_EXE_annals"))
        .env_remove("ANNALS_STORE")
        .arg("info")
        .output()
        .unwrap();
    Done(alone).fails(2, "ANNALS_STORE");
}

#[test]
fn the_store_can_be_named_by_the_environment() {
    let desk = filled();
    let done = Command::new(env!("CARGO_BIN_EXE_annals"))
        .env("ANNALS_STORE", desk.store())
        .args(["cat", "--limit", "1"])
        .output()
        .unwrap();
    assert_eq!(
        Done(done).ok().out(),
        "1\tOrder-1\t1\tOrderPlaced\t2026-01-15T10:30:00.000000Z\t{\"total\": 42.0}\n"
    );
}

#[test]
fn reading_commands_find_a_store_or_say_so_and_make_none() {
    let desk = Desk::new();
    for command in ["cat", "info", "streams", "export"] {
        desk.run(&[command]).fails(3, "no store");
        assert!(!desk.store().exists());
    }
    desk.run(&["import", "absent.jsonl"]).fails(3, "absent.jsonl");
    assert!(!desk.store().exists());
    filled().run(&["cat", "--stream", "Order-9"]).fails(3, "Order-9");
}

#[test]
fn a_failed_expectation_is_a_conflict() {
    let desk = filled();
    desk.run(&["append", "Order-1", "T", "{}", "--expect", "none"]).fails(4, "found version 2");
    desk.run(&["append", "Order-1", "T", "{}", "--expect", "7"]).fails(4, "expected version 7");
    desk.run(&["append", "Order-9", "T", "{}", "--expect", "exists"]).fails(4, "Order-9");
    desk.run(&["append", "Order-1", "T", "{}", "--expect", "2"]).ok();
    let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    let first = desk.run(&["append", "Order-1", "T", "1", "--id", id, "--json"]).ok().json();
    let again = desk.run(&["append", "Order-1", "T", "1", "--id", id, "--json"]).ok().json();
    assert_eq!(first[0]["deduplicated"], false);
    assert_eq!(again[0]["deduplicated"], true);
    assert_eq!(first[0]["global_position"], again[0]["global_position"]);
    desk.run(&["append", "Order-1", "T", "2", "--id", id]).fails(4, "data");
}

#[test]
fn a_writer_locks_writers_out_and_readers_not() {
    let desk = filled();
    let store = Store::open(desk.store()).unwrap();
    desk.run(&["append", "Order-1", "T"]).fails(6, "open for writing");
    desk.run_with(&["import", "-"], LINES).fails(6, "open for writing");
    assert_eq!(desk.run(&["cat"]).ok().out().lines().count(), 4);
    desk.run(&["info"]).ok();
    store.close().unwrap();
    desk.run(&["append", "Order-1", "T"]).ok();
}

#[test]
fn damage_is_named_behind_what_is_good() {
    let desk = Desk::new();
    desk.run_with(&["import", "-", "--batch", "1"], &many_lines(100)).ok();
    let (file, mut bytes, at) = find(&desk.store(), br#"{"n":50}"#);
    bytes[at + 5] ^= 1;
    fs::write(&file, bytes).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let done = desk.run(&["cat"]).fails(5, name);
    assert!(done.out().lines().count() <= 50);
    desk.run(&["export"]).fails(5, "corrupt");
}

#[test]
fn verify_names_what_is_wrong_and_its_code_says_whether_events_are_lost() {
    let desk = Desk::new();
    desk.run_with(&["import", "-", "--batch", "1"], &many_lines(100)).ok();
    let done = desk.run(&["verify"]).ok();
    assert!(done.out().contains("whole: 100 events of") && done.err().is_empty(), "{}", done.out());
    let summary = desk.run(&["verify", "--json"]).ok().json().pop().unwrap();
    assert_eq!(summary["clean"], true);
    assert_eq!((&summary["events"], &summary["findings"]), (&json!(100), &json!(0)));

    let part = desk.store().join("log/0000000001.0.part");
    let whole = fs::read(&part).unwrap();
    let mut bytes = whole.clone();
    bytes[20] ^= 4;
    fs::write(&part, bytes).unwrap();
    let done = desk.run(&["verify", "--json"]).ok();
    assert!(done.err().contains("no event is affected"), "{}", done.err());
    let lines = done.json();
    assert_eq!(lines[0]["severity"], "derived");
    assert!(lines[0]["file"].as_str().unwrap().ends_with("0000000001.0.part"));
    assert_eq!((&lines[1]["clean"], &lines[1]["log_damage"]), (&json!(false), &json!(false)));
    fs::write(&part, whole).unwrap();

    let (file, mut bytes, at) = find(&desk.store(), br#"{"n":50}"#);
    bytes[at + 5] ^= 1;
    fs::write(&file, bytes).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let done = desk.run(&["verify"]).fails(5, "damaged");
    assert!(done.out().contains("log damage") && done.out().contains(name), "{}", done.out());
    assert_eq!(desk.run(&["verify", "--json"]).json()[0]["severity"], "log");
    desk.run(&["verify", "--quiet", "--json"]).fails(5, "1 damaged places");
}

#[test]
fn repair_says_before_and_after_what_survives() {
    let desk = Desk::new();
    desk.run_with(&["import", "-", "--batch", "1"], &many_lines(100)).ok();
    let store = Store::open(desk.store()).unwrap();
    let totals = store.create_view("totals", 1).unwrap();
    totals.commit(totals.update(Position::START).put("all", "30"), Position(30)).unwrap();
    for (name, position) in [("billing", 50), ("mails", 80)] {
        store.save_cursor(name, Position(position)).unwrap();
    }
    store.close().unwrap();
    drop((totals, store));
    let (file, mut bytes, at) = find(&desk.store(), br#"{"n":50}"#);
    bytes[at + 5] ^= 1;
    fs::write(&file, bytes).unwrap();
    let from = desk.store();
    let to = desk.directory.path().join("new.annals");
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    let before = desk.run(&["repair", from, to, "--dry-run", "--json"]).ok().json();
    assert!(!Path::new(to).exists());
    let said = desk.run(&["repair", from, to]).ok();
    assert!(said.out().contains("kept    1 to 50\nkept    52 to 100, now from 51 on\nlost    51"));
    assert!(said.out().contains("99 events in "), "{}", said.out());
    let state = "cursor  \"billing\"\nview    \"totals\"\nleft    cursor \"mails\", at position 80";
    assert!(said.out().contains(state), "{}", said.out());
    assert_eq!(before[0], json!({"kind": "kept", "first": 1, "last": 50, "new_first": 1}));
    assert_eq!(before[1], json!({"kind": "kept", "first": 52, "last": 100, "new_first": 51}));
    assert_eq!(before[2], json!({"kind": "lost", "first": 51, "last": 51}));
    assert_eq!(before[3], json!({"kind": "cursor", "name": "billing"}));
    assert_eq!(before[4], json!({"kind": "view", "name": "totals"}));
    let left = json!({"kind": "left", "what": "cursor", "name": "mails", "position": 80});
    assert_eq!(before[5], left);
    let summary = before.last().unwrap();
    assert_eq!((&summary["dry_run"], &summary["events"]), (&json!(true), &json!(99)));
    assert_eq!(summary["complete"], false);
    desk.run(&["repair", from, to]).fails(2, "needs a new directory");
    desk.run(&["repair", "/nowhere/at/all", "/nowhere/else"]).fails(3, "no store");

    let read = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(args)
            .env("ANNALS_STORE", to)
            .output()
            .unwrap();
        Done(output)
    };
    assert_eq!(read(&["cat"]).ok().out().lines().count(), 99);
    read(&["verify"]).ok();
}

/// Finds bytes in a file of a directory.
fn find(directory: &Path, needle: &[u8]) -> (PathBuf, Vec<u8>, usize) {
    let mut open = vec![directory.to_path_buf()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
            return (path, bytes, at);
        }
    }
    panic!("no file holds it");
}

#[test]
fn a_store_of_a_later_version_is_unsupported() {
    // As docs/format.md has it: magic, version, oldest reader (2 bytes each), ..., CRC-32 at 56.
    let desk = filled();
    let path = desk.store().join("STORE");
    let mut bytes = fs::read(&path).unwrap();
    bytes[10..12].copy_from_slice(&u16::MAX.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..56]);
    bytes[56..60].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    desk.run(&["cat"]).fails(7, "STORE");
    desk.run(&["append", "A-1", "T"]).fails(7, "STORE");
}

#[test]
fn events_have_the_documented_json() {
    let desk = filled();
    let done = desk.run(&["cat", "--json", "-q"]).ok();
    assert_eq!(done.err(), "");
    let lines = done.json();
    let id = lines[0]["event_id"].as_str().unwrap();
    assert_eq!(
        done.out().lines().next().unwrap(),
        format!(
            concat!(
                r#"{{"global_position":1,"stream_id":"Order-1","version":1,"event_id":"{}","#,
                r#""event_type":"OrderPlaced","schema_version":1,"#,
                r#""created_at":"2026-01-15T10:30:00.000000Z","data":{{"total": 42.0}},"#,
                r#""metadata":{{"correlation_id":"r-1","by":"x"}},"tags":["customer:7"]}}"#
            ),
            id
        )
    );
    assert_eq!(lines[2]["data"], Value::Null);
    assert_eq!(lines[3]["data_base64"], "AAH/");
    assert_eq!((&lines[3]["metadata"], &lines[3]["tags"]), (&json!({}), &json!([])));
}

#[test]
fn cat_chooses_events() {
    let desk = filled();
    let positions = |args: &[&str]| -> Vec<u64> {
        let done = desk.run(&[&["cat", "--json"], args].concat()).ok();
        done.json().iter().map(|event| event["global_position"].as_u64().unwrap()).collect()
    };
    assert_eq!(positions(&[]), [1, 2, 3, 4]);
    assert_eq!(positions(&["--backwards"]), [4, 3, 2, 1]);
    assert_eq!(positions(&["--after", "1", "--limit", "2"]), [2, 3]);
    assert_eq!(positions(&["--after", "3", "--backwards"]), [2, 1]);
    assert_eq!(positions(&["--stream", "Order-1"]), [1, 4]);
    assert_eq!(positions(&["--stream", "Order-1", "--after", "1"]), [4]);
    assert_eq!(positions(&["--stream", "Order-1", "--backwards", "--limit", "1"]), [4]);
    assert_eq!(positions(&["--category", "Order", "--limit", "2"]), [1, 2]);
    assert_eq!(positions(&["--type", "OrderPaid", "CartEmptied"]), [3, 4]);
    assert_eq!(positions(&["--category", "Order", "--type", "CartEmptied"]), [0; 0]);
}

#[test]
fn cat_and_explain_take_every_filter() {
    let desk = Desk::new();
    let lines = (1..=40)
        .map(|n| {
            json!({
                "stream_id": format!("Order-{}", n % 4), "event_type": "Counted",
                "created_at": format!("2026-01-{:02}T00:00:00Z", n % 28 + 1),
                "data": {}, "tags": [format!("n:{n}"), format!("mod:{}", n % 5)],
                "metadata": {"correlation_id": format!("c{}", n % 8), "causation_id": "start"},
            })
            .to_string()
        })
        .collect::<Vec<_>>()
        .join("\n");
    desk.run_with(&["import", "-"], &lines).ok();
    let positions = |args: &[&str]| -> Vec<u64> {
        let done = desk.run(&[&["cat", "--json"], args].concat()).ok();
        done.json().iter().map(|event| event["global_position"].as_u64().unwrap()).collect()
    };
    let every = |step: usize, first: u64| (first..=40).step_by(step).collect::<Vec<u64>>();
    assert_eq!(positions(&["--tag", "n:7"]), [7]);
    assert_eq!(positions(&["--tag", "mod:0"]), every(5, 5));
    assert_eq!(positions(&["--tag", "mod:0", "--tag", "n:15"]), [15]);
    assert_eq!(positions(&["--correlation", "c1"]), every(8, 1));
    assert_eq!(positions(&["--causation", "start", "--limit", "1", "--backwards"]), [40]);
    assert_eq!(positions(&["--prefix", "Order-3"]), every(4, 3));
    assert_eq!(positions(&["--stream", "Order-3", "--tag", "mod:0"]), [15, 35]);
    let time = ["--since", "2026-01-10T00:00:00Z", "--until", "2026-01-12T00:00:00Z"];
    assert_eq!(positions(&time), [9, 10, 37, 38]);
    desk.run(&["cat", "--since", "yesterday"]).fails(2, "expected a time");
    desk.run(&["cat", "--tag", ""]).fails(2, "invalid tag");
    let cost = &desk.run(&["explain", "--json", "--tag", "n:7"]).ok().json()[0];
    assert_eq!((&cost["matched"], &cost["decoded"]), (&json!(1), &json!(1)));
    assert!(desk.run(&["explain", "--tag", "none"]).ok().out().contains("decoded\t0"));
}

#[test]
fn lists_and_numbers_have_the_documented_json() {
    let desk = filled();
    assert_eq!(desk.run(&["streams"]).ok().out(), "1\tCart-1\n2\tOrder-1\n1\tOrder-2\n");
    assert_eq!(
        desk.run(&["streams", "--json", "--category", "Order"]).ok().json(),
        [
            json!({
                "stream_id": "Order-1", "category": "Order", "events": 2,
                "first_position": 1, "last_position": 4,
            }),
            json!({
                "stream_id": "Order-2", "category": "Order", "events": 1,
                "first_position": 2, "last_position": 2,
            }),
        ]
    );
    assert_eq!(desk.run(&["streams", "--prefix", "Cart"]).ok().out(), "1\tCart-1\n");
    assert_eq!(desk.run(&["categories"]).ok().out(), "1\tCart\n3\tOrder\n");
    assert_eq!(
        desk.run(&["types", "--json"]).ok().json()[1],
        json!({
            "event_type": "OrderPaid", "events": 1, "first_position": 4, "last_position": 4,
        })
    );
    let info = &desk.run(&["info", "--json"]).ok().json()[0];
    for (key, value) in [("events", 4), ("streams", 3), ("first_position", 1), ("last_position", 4)]
    {
        assert_eq!(info[key], value, "{key}");
    }
    assert!(info["segments"].as_u64() >= Some(1) && info["bytes"].as_u64() > Some(100));
    assert!(desk.run(&["info"]).ok().out().contains("events     4 (positions 1 to 4)"));
}

#[test]
fn append_takes_arguments_data_lines_and_event_lines() {
    let desk = Desk::new();
    let done = desk.run(&["append", "A-1", "T"]).ok();
    assert_eq!(done.out(), "A-1 version 1 position 1\n");
    let metadata = r#"{"correlationId":"c","by":"x"}"#;
    desk.run(&["append", "A-1", "T", "-5", "--metadata", metadata]).ok();
    let lines = "{\"n\":1}\n\n\"text\"\n";
    let done = desk.run_with(&["append", "A-1", "T", "-", "--expect", "2", "--json"], lines).ok();
    let versions: Vec<_> = done.json().iter().map(|line| line["version"].clone()).collect();
    assert_eq!(versions, [3, 4]);
    desk.run_with(&["append", "-"], LINES).ok();
    desk.run_with(&["append", "-"], "{}\n").fails(1, "line 1: field \"stream_id\" is missing");
    desk.run_with(&["append", "A-1", "T", "-"], "1\n{,}\n").fails(1, "line 2");
    let events = desk.run(&["cat", "--json"]).ok().json();
    assert_eq!(events.len(), 9);
    assert_eq!((&events[0]["data"], &events[1]["data"]), (&json!({}), &json!(-5)));
    assert_eq!(events[1]["metadata"], json!({"correlation_id": "c", "by": "x"}));
    assert_eq!(events[3]["data"], "text");
}

#[test]
fn an_export_imports_to_the_same_store() {
    let desk = filled();
    desk.run(&["append", "A-1", "T", "{}"]).ok();
    let store = Store::open(desk.store()).unwrap();
    let event = NewEvent::new("T", "{\n}").metadata("{}").correlation("c").content_type("text/x");
    store.append("B-1", ExpectedVersion::Any, [event]).unwrap();
    store.close().unwrap();
    let first = desk.run(&["export"]).ok();
    assert_eq!(first.out().lines().count(), 6);
    for batch in ["1", "4", "65535"] {
        let other = Desk::new();
        let file = other.file("export.jsonl", first.out());
        other.run(&["import", &file, "--batch", batch]).ok();
        assert_eq!(other.run(&["export"]).ok().out(), first.out());
    }
    let file = desk.file("export.jsonl", first.out());
    let again = desk.run(&["import", &file, "--json"]).ok().json();
    assert_eq!((&again[0]["appended"], &again[0]["skipped"]), (&json!(0), &json!(6)));
}

#[test]
fn import_reads_files_gzip_and_standard_input() {
    let desk = Desk::new();
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let (first, second) = LINES.split_at(LINES.find("{\"stream\":\"Cart").unwrap());
    let plain = desk.file("first.jsonl", first);
    // By content, whatever the name says; and in more than one gzip member.
    let members = [gzip(&second[..20]), gzip(&second[20..])].concat();
    let zipped = desk.file("second.jsonl", members);
    let done = desk.run(&["import", &plain, &zipped, "--json"]).ok();
    let [report] = &done.json()[..] else { panic!("{}", done.out()) };
    assert_eq!((&report["lines"], &report["appended"]), (&json!(4), &json!(4)));
    assert_eq!(report["last_position"], 4);
    let cut = gzip(LINES);
    let cut = desk.file("cut.jsonl.gz", &cut[..cut.len() - 12]);
    desk.run(&["import", &cut]).fails(1, "cut.jsonl.gz: line ");
    let text = desk.file("text.jsonl.gz", LINES);
    desk.run(&["import", &text]).fails(1, "text.jsonl.gz: line 1: cannot read it");
    let again = desk.run_with(&["import", "-", "--new-ids"], LINES).ok();
    assert!(again.out().starts_with("4 lines: 4 events appended, 0 there already;"));
}

#[test]
fn a_bad_line_is_named_and_what_stands_before_it_is_stored() {
    let good = r#"{"stream":"A-1","type":"T","data":1}"#;
    for (bad, says) in [
        ("nonsense", "not an event as a JSON object"),
        ("[1]", "expected an object"),
        (r#"{"stream":"A-1","type":"T"} {}"#, "trailing"),
        (r#"{"type":"T"}"#, "field \"stream_id\" is missing"),
        (r#"{"stream":"A-1"}"#, "field \"event_type\" is missing"),
        (r#"{"stream":"A-1","type":"T","dato":1}"#, "unknown field \"dato\""),
        (r#"{"stream":"A-1","type":"T","event_type":"T"}"#, "\"event_type\" stands there a second"),
        (r#"{"stream":"A-1","type":"T","time":"now"}"#, "field \"time\": expected a time"),
        (r#"{"stream":"A-1","type":"T","id":"x"}"#, "field \"id\": expected a UUID"),
        (r#"{"stream":"A-1","type":"T","data_base64":"?"}"#, "expected bytes as base64"),
        (r#"{"stream":"$A","type":"T"}"#, "reserved"),
        (r#"{"stream":"A-1","type":""}"#, "invalid event type"),
        (r#"{"stream":"A-1","type":"T","metadata":{"correlationId":""}}"#, "invalid correlation"),
    ] {
        for batch in ["1", "2", "100"] {
            let desk = Desk::new();
            let file = desk.file("bad.jsonl", format!("{good}\n\n{good}\n{bad}\n{good}\n"));
            let done = desk.run(&["import", &file, "--batch", batch]).fails(1, says);
            assert!(done.err().contains("bad.jsonl: line 4: "), "{}", done.err());
            assert_eq!(desk.run(&["cat"]).ok().out().lines().count(), 2, "{bad}");
        }
    }
    let desk = Desk::new();
    let file = desk.file("bytes.jsonl", [good.as_bytes(), b"\n\xff\xfe\n"].concat());
    desk.run(&["import", &file]).fails(1, "bytes.jsonl: line 2: not UTF-8");
}

#[test]
fn an_id_with_other_content_stops_an_import_as_a_conflict() {
    let desk = Desk::new();
    let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    let line = |data| format!(r#"{{"stream":"A-1","type":"T","id":"{id}","data":{data}}}"#);
    let file = desk.file("ids.jsonl", format!("{}\n{}\n{}\n", line(1), line(1), line(2)));
    desk.run(&["import", &file, "--batch", "3"]).fails(4, "ids.jsonl: line 3: ");
    assert_eq!(desk.run(&["cat"]).ok().out().lines().count(), 1);
}

#[test]
fn an_import_killed_at_any_moment_and_run_again_is_the_same() {
    const LINE_COUNT: usize = 20_000;
    let lines = many_lines(LINE_COUNT);
    let reference = Desk::new();
    reference.run_with(&["import", "-"], &lines).ok();
    let expected = reference.run(&["export"]).ok();
    let desk = Desk::new();
    // A fixed seed: which lines are fed before a kill is the same in every run, when they are
    // reached is not.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for round in 0..12 {
        let batch = ["1", "7", "1000"][usize::try_from(next(3)).unwrap()];
        let fed = usize::try_from(next(lines.len() as u64)).unwrap();
        let mut child = spawn(&desk.store(), &["import", "-", "--batch", batch]);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&lines.as_bytes()[..fed]).unwrap();
        thread::sleep(Duration::from_millis(next(30)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        drop(stdin);
        assert_eq!(status.code(), None, "round {round}: the kill came too late");
        if desk.store().exists() && round % 4 == 0 {
            let there = desk.run(&["export"]);
            // A kill before the store was made whole leaves none.
            assert!([0, 3].contains(&there.code()), "{}", there.err());
        }
    }
    desk.run_with(&["import", "-", "--batch", "100"], &lines).ok();
    let found = desk.run(&["export"]).ok();
    let identical = without_commit_times(found.out()) == without_commit_times(expected.out());
    assert!(identical, "{} and {} bytes", found.out().len(), expected.out().len());
    let again = desk.run_with(&["import", "-", "--json"], &lines).ok().json();
    assert_eq!((&again[0]["appended"], &again[0]["skipped"]), (&json!(0), &json!(LINE_COUNT)));
}

/// Lines that give no time get that of their commit, which two imports do not share.
fn without_commit_times(lines: &str) -> Vec<String> {
    lines
        .lines()
        .map(|line| {
            let (before, behind) = line.split_once("\"created_at\":\"").unwrap();
            format!("{before}{}", behind.split_once('"').unwrap().1)
        })
        .collect()
}

#[test]
fn a_reader_that_leaves_early_is_a_quiet_end() {
    let desk = Desk::new();
    desk.run_with(&["import", "-", "--batch", "1000"], &many_lines(20_000)).ok();
    for args in [&["cat"][..], &["cat", "--json"], &["export"]] {
        let mut child = spawn(&desk.store(), args);
        drop(child.stdout.take());
        let done = Done(child.wait_with_output().unwrap());
        assert_eq!((done.code(), done.err()), (0, ""), "{args:?}");
    }
}

/// A running `annals tail`, and its output line by line.
struct Tailing {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Tailing {
    fn start(desk: &Desk, args: &[&str]) -> Self {
        let mut child = spawn(&desk.store(), &[&["tail", "--json"], args].concat());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn position(&mut self) -> u64 {
        let line = self.lines.next().expect("another line").unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        event["global_position"].as_u64().unwrap()
    }

    fn ends_well(mut self) {
        assert!(self.lines.next().is_none(), "more than was asked for");
        let done = Done(self.child.wait_with_output().unwrap());
        assert_eq!((done.code(), done.err()), (0, ""));
    }
}

fn append_to(store: &Store, stream: &str) -> u64 {
    let event = NewEvent::new("OrderPaid", "{}").tag("late");
    store.append(stream, ExpectedVersion::Any, [event]).unwrap().position.0
}

#[test]
fn tail_goes_on_with_what_another_process_writes() {
    let desk = filled();
    let mut tail = Tailing::start(&desk, &["--after", "1", "--category", "Order", "--limit", "5"]);
    assert_eq!([tail.position(), tail.position()], [2, 4]);
    for _ in 0..2 {
        // A writer that begins and ends, twice.
        let store = Store::open(desk.store()).unwrap();
        append_to(&store, "Cart-1");
        let position = append_to(&store, "Order-9");
        assert_eq!(tail.position(), position);
        store.close().unwrap();
    }
    let store = Store::open(desk.store()).unwrap();
    let last = append_to(&store, "Order-9");
    append_to(&store, "Order-9");
    assert_eq!(tail.position(), last);
    tail.ends_well();
    Tailing::start(&desk, &["--limit", "0"]).ends_well();
}

#[test]
fn tail_begins_at_the_end_and_takes_every_filter() {
    let desk = filled();
    let store = Store::open(desk.store()).unwrap();
    let filter = ["--tag", "late", "--type", "OrderPaid", "--prefix", "Order-", "--limit", "1"];
    let mut tail = Tailing::start(&desk, &filter);
    // It has begun once it shows something; nothing of what was there before.
    let appended = thread::scope(|scope| {
        let shown = scope.spawn(|| tail.position());
        let mut appended = Vec::new();
        while !shown.is_finished() {
            append_to(&store, "Cart-1");
            appended.push(append_to(&store, "Order-7"));
            thread::sleep(Duration::from_millis(2));
        }
        assert!(appended.contains(&shown.join().unwrap()));
        appended
    });
    assert!(appended[0] > 4);
    tail.ends_well();
}

#[test]
fn tail_ends_quietly_when_nobody_reads_it() {
    let desk = filled();
    let mut tail = Tailing::start(&desk, &["--after", "0"]);
    assert_eq!(tail.position(), 1);
    let Tailing { mut child, lines } = tail;
    drop(lines);
    let store = Store::open(desk.store()).unwrap();
    let status = loop {
        append_to(&store, "Order-1");
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::sleep(Duration::from_millis(2));
    };
    assert_eq!(status.code(), Some(0));
    Desk::new().run(&["tail"]).fails(3, "no store");
    desk.run(&["tail", "--after", "x"]).fails(2, "--after");
}

#[test]
fn quiet_leaves_results_and_errors() {
    let desk = Desk::new();
    let done = desk.run_with(&["import", "-", "-q"], LINES).ok();
    assert_eq!(done.err(), "");
    assert!(done.out().starts_with("4 lines"));
    let done = desk.run_with(&["import", "-", "-q"], "x\n");
    assert_eq!(done.err().lines().count(), 1, "{}", done.err());
}

#[test]
fn the_demo_checks_itself() {
    let directory = tempfile::tempdir().unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_annals"))
        .env("TMPDIR", directory.path())
        .env("ANNALS_STORE", directory.path().join("not-touched"))
        .args(["demo", "--json"])
        .output()
        .unwrap();
    let done = Done(done).ok();
    let report = &done.json()[0];
    assert_eq!(report["ok"], true);
    assert_eq!(report["kills"], 3);
    assert!(report["events"].as_u64() > Some(2_000));
    assert!(report["acknowledged_before_kills"].as_u64() >= Some(900));
    assert_eq!(report["cancelled"], 40, "of 80 orders for 40 units");
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(15));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "it cleans up");
}

#[test]
fn cursors_are_listed_reset_renamed_and_deleted() {
    let desk = Desk::new();
    let store = Store::open(desk.store()).unwrap();
    let events = [NewEvent::new("Noted", "1"), NewEvent::new("Noted", "2")];
    let done = store.append("Note-1", ExpectedVersion::Any, events).unwrap();
    store.save_cursor("billing", done.position).unwrap();
    store.save_cursor("mail", done.position).unwrap();
    store.close().unwrap();
    assert_eq!(desk.run(&["cursors", "list"]).out(), "2\t0\tbilling\n2\t0\tmail\n");
    assert_eq!(desk.run(&["cursors", "reset", "billing"]).code(), 0);
    assert_eq!(desk.run(&["cursors", "reset", "billing", "3"]).code(), 4);
    assert_eq!(desk.run(&["cursors", "rename", "mail", "post"]).code(), 0);
    assert_eq!(desk.run(&["cursors", "rename", "mail", "post"]).code(), 3);
    assert_eq!(desk.run(&["cursors", "list"]).out(), "0\t2\tbilling\n2\t0\tpost\n");
    let listed = desk.run(&["cursors", "list", "--json"]);
    let first: Value = serde_json::from_str(listed.out().lines().next().unwrap()).unwrap();
    assert_eq!((&first["name"], &first["lag"]), (&json!("billing"), &json!(2)));
    assert_eq!(desk.run(&["cursors", "delete", "post"]).code(), 0);
    assert_eq!(desk.run(&["cursors", "delete", "post"]).code(), 3);
    assert_eq!(desk.run(&["cursors", "delete", ""]).code(), 2);
    assert_eq!(desk.run(&["cursors", "list"]).out(), "0\t2\tbilling\n");
}

#[test]
fn schema_versions_are_listed_and_checked_through_the_steps_of_a_file() {
    let desk = Desk::new();
    let store = Store::open(desk.store()).unwrap();
    for (name, version, data) in [
        ("Placed", 1, r#"{"total":4}"#),
        ("Placed", 2, r#"{"cents":4}"#),
        ("Placed", 1, r#"{"total":5}"#),
        ("Sent", 1, "{}"),
    ] {
        let event = NewEvent::new(name, data).schema_version(version);
        store.append("Order-1", ExpectedVersion::Any, [event]).unwrap();
    }
    store.close().unwrap();
    let listed = desk.run(&["schema"]).ok();
    assert_eq!(listed.out(), "2\t1\tPlaced\n1\t2\tPlaced\n1\t1\tSent\n");
    let listed = desk.run(&["schema", "--json"]).ok();
    let first: Value = serde_json::from_str(listed.out().lines().next().unwrap()).unwrap();
    let expected = json!({"event_type": "Placed", "schema_version": 1, "events": 2,
        "first_position": 1, "last_position": 3});
    assert_eq!(first, expected);

    let steps = json!({
        "current": {"Placed": 2, "Shipped": 1},
        "steps": [{"type": "Placed", "rename": {"total": "cents"}},
                  {"type": "Sent", "to": {"type": "Shipped"}}],
    });
    let good = desk.file("good.json", steps.to_string());
    let checked = desk.run(&["schema", "check", "--upcast", &good]).ok();
    assert_eq!(checked.out(), "ok\t2\t1\tPlaced\nok\t1\t2\tPlaced\nok\t1\t1\tSent\n");

    let steps = json!({"current": {"Placed": 2}, "steps": [{"type": "Placed"}]});
    let bad = desk.file("bad.json", steps.to_string());
    let checked = desk.run(&["schema", "check", "--all", "--upcast", &bad]);
    let checked = checked.fails(1, "events of 1 of 3 types and versions cannot be read today");
    assert!(
        checked.out().contains("FAILED\t1 of 1\t1\tSent\tevent \"Sent\" version 1 at position 4")
    );
    let broken = desk.file("broken.json", r#"{"steps":[{"type":"A"},{"type":"A"}]}"#);
    desk.run(&["schema", "check", "--upcast", &broken]).fails(2, "two steps begin there");
    desk.run(&["schema", "check", "--upcast", "nowhere.json"]).fails(1, "nowhere.json");
}

#[test]
fn export_writes_events_as_they_read_today_and_what_it_writes_imports() {
    let desk = Desk::new();
    let store = Store::open(desk.store()).unwrap();
    for (name, data) in [("Placed", r#"{"total":4}"#), ("Viewed", "{}"), ("Sent", "\u{ff}")] {
        store.append("Order-1", ExpectedVersion::Any, [NewEvent::new(name, data)]).unwrap();
    }
    store.close().unwrap();
    let steps = json!({"steps": [
        {"type": "Placed", "rename": {"total": "cents"}, "set": {"currency": "EUR"}},
        {"type": "Viewed", "drop": true},
    ]});
    let steps = desk.file("steps.json", steps.to_string());
    let exported = desk.run(&["export", "--upcast", &steps]).ok();
    let lines: Vec<Value> =
        exported.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["schema_version"], 2);
    assert_eq!(lines[0]["data"], json!({"cents": 4, "currency": "EUR"}));
    assert_eq!(
        (&lines[1]["event_type"], &lines[1]["global_position"]),
        (&json!("Sent"), &json!(3))
    );
    // Stored bytes are what they were.
    let plain = desk.run(&["export"]).ok();
    assert!(plain.out().contains(r#""data":{"total":4}"#) && plain.out().lines().count() == 3);

    let file = desk.file("today.jsonl", exported.out());
    let other = Desk::new();
    other.run(&["import", &file]).ok();
    let again = other.run(&["export"]).ok();
    assert!(again.out().contains(r#""data":{"cents":4,"currency":"EUR"}"#));
    assert_eq!(again.out().lines().count(), 2);
}

#[test]
fn a_file_of_steps_splits_events_and_what_is_exported_imports() {
    let desk = Desk::new();
    let store = Store::open(desk.store()).unwrap();
    for (name, data) in [("Moved", r#"{"from":"Bonn","to":"Rome"}"#), ("Viewed", "{}")] {
        store.append("Parcel-1", ExpectedVersion::Any, [NewEvent::new(name, data)]).unwrap();
    }
    store.close().unwrap();
    let steps = json!({
        "current": {"Left": 1, "Arrived": 1},
        "steps": [
            {"type": "Moved", "split": [
                {"to": {"type": "Left"}, "keep": ["from"]},
                {"to": {"type": "Arrived"}, "keep": ["to"], "rename": {"to": "at"}},
            ]},
            {"type": "Viewed", "drop": true},
        ],
    });
    let steps = desk.file("steps.json", steps.to_string());
    let checked = desk.run(&["schema", "check", "--upcast", &steps]).ok();
    assert_eq!(checked.out(), "ok\t1\t1\tMoved\nok\t1\t1\tViewed\n");
    let exported = desk.run(&["export", "--upcast", &steps]).ok();
    let file = desk.file("today.jsonl", exported.out());
    let other = Desk::new();
    // The parts have ids of their own, so the second import adds nothing.
    for _ in 0..2 {
        other.run(&["import", &file]).ok();
    }
    let store = Store::open_read_only(other.store()).unwrap();
    let events: Vec<_> = store.read_stream("Parcel-1").into_iter().map(Result::unwrap).collect();
    let told: Vec<_> = events.iter().map(|e| (e.event_type(), e.data())).collect();
    let expected: [(&str, &[u8]); 2] =
        [("Left", br#"{"from":"Bonn"}"#), ("Arrived", br#"{"at":"Rome"}"#)];
    assert_eq!(told, expected);

    let empty = desk.file("empty.json", r#"{"steps":[{"type":"Moved","split":[]}]}"#);
    let refused = desk.run(&["export", "--upcast", &empty]);
    refused.fails(2, "step 1: `split` is a list of at least one part");
}

#[test]
fn views_are_listed_looked_into_and_deleted() {
    let desk = Desk::new();
    let store = Store::open(desk.store()).unwrap();
    let events = [NewEvent::new("Noted", "1"), NewEvent::new("Noted", "2")];
    let done = store.append("Note-1", ExpectedVersion::Any, events).unwrap();
    let view = store.create_view("notes", 3).unwrap();
    let update = view
        .update(Position::START)
        .put("a/1", r#"{"n":1}"#)
        .put("a/2", "text")
        .put("b/1", [0xff])
        .put([0, 1], "2");
    view.commit(update, done.position).unwrap();
    store.create_view("other", 1).unwrap();
    // Beside the writer, and behind it.
    for is_closed in [false, true] {
        if is_closed {
            store.close().unwrap();
        }
        assert_eq!(desk.run(&["view", "list"]).out(), "2\t0\t4\t3\tnotes\n0\t2\t0\t1\tother\n");
        assert_eq!(desk.run(&["view", "get", "notes", "a/1"]).out(), "{\"n\":1}\n");
        assert_eq!(desk.run(&["view", "get", "notes", "0001", "--hex"]).out(), "2\n");
        let all = desk.run(&["view", "scan", "notes"]);
        assert_eq!(all.out(), "0x0001\t2\na/1\t{\"n\":1}\na/2\ttext\nb/1\t0xff\n");
        let some = ["view", "scan", "notes", "--prefix", "a/", "--backwards", "--limit", "1"];
        assert_eq!(desk.run(&some).out(), "a/2\ttext\n");
        let some = ["view", "scan", "notes", "--after", "a/1", "--before", "b/1"];
        assert_eq!(desk.run(&some).out(), "a/2\ttext\n");
    }
    let listed = desk.run(&["view", "list", "--json"]).json();
    assert_eq!((&listed[0]["entries"], &listed[0]["lag"]), (&json!(4), &json!(0)));
    let scanned = desk.run(&["view", "scan", "notes", "--json"]).json();
    assert_eq!(scanned[0], json!({ "key": { "hex": "0001" }, "value": 2 }));
    assert_eq!(scanned[1], json!({ "key": "a/1", "value": { "n": 1 } }));
    assert_eq!(scanned[3], json!({ "key": "b/1", "value": { "base64": "/w==" } }));
    for (args, code) in [
        (["view", "get", "notes", "none"], 3),
        (["view", "get", "none", "a"], 3),
        (["view", "get", "", "a"], 2),
    ] {
        assert_eq!(desk.run(&args).code(), code, "{args:?}");
    }
    assert_eq!(desk.run(&["view", "get", "notes", "0g", "--hex"]).code(), 2);
    assert_eq!(desk.run(&["view", "delete", "other"]).code(), 0);
    assert_eq!(desk.run(&["view", "delete", "other"]).code(), 3);
    assert_eq!(desk.run(&["view", "list"]).out(), "2\t0\t4\t3\tnotes\n");
    // A view of another history, and one that is damaged.
    let files = fs::read_dir(desk.store().join("state")).unwrap();
    let names = files.map(|file| file.unwrap().path());
    let file = names.filter(|path| path.to_string_lossy().contains("view-")).last().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[4096 + 40] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_eq!(desk.run(&["view", "scan", "notes"]).code(), 5);
    assert_eq!(desk.run(&["view", "get", "notes", "a/1"]).code(), 5);
}

#[test]
fn the_bench_measures_a_store_and_removes_it() {
    let directory = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
        command.args(["bench", "--events", "2000", "--streams", "150", "--dir"]);
        Done(command.arg(directory.path()).args(more).output().unwrap()).ok()
    };
    let done = run(&["--json", "--ids", "--tags", "--size", "100"]);
    let found = &done.json()[0];
    assert_eq!((&found["events"], &found["streams"]), (&json!(2000), &json!(150)));
    let rates = found["fill"].as_array().unwrap();
    assert_eq!(rates.len(), 20);
    assert_eq!(rates[19]["events"], 2000);
    for key in [
        "fill_per_second",
        "close_ms",
        "log_bytes_per_event",
        "index_bytes_per_event",
        "segments",
        "open_cold_ms",
        "open_clean_ms",
        "open_killed_ms",
        "streams_cold_per_second",
        "streams_hot_per_second",
        "new_stream_us",
        "new_id_us",
        "category_per_second",
        "type_per_second",
        "catch_up_per_second",
        "unseen_tag_us",
        "recent_tag_us",
        "verify_s",
    ] {
        assert!(found[key].as_f64() > Some(0.0), "{key}: {found}");
    }
    assert_eq!(found["anonymous_open_bytes"].is_u64(), cfg!(target_os = "linux"));
    assert_eq!(found["anonymous_serving_bytes"].is_u64(), cfg!(target_os = "linux"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "it cleans up");

    let kept = run(&["--keep", "--durability", "interval"]);
    assert!(kept.out().contains("open, after a kill"), "{}", kept.out());
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
    let store = Store::open_read_only(left[0].as_ref().unwrap().path()).unwrap();
    // 1,000 to new streams, 1,000 with new ids, and what was appended until the kill.
    assert!(store.head().0 >= 2000 + 2000, "{}", store.head());
    let streams = store
        .streams()
        .into_iter()
        .filter(|stream| !stream.as_ref().unwrap().name.starts_with("Fresh-"));
    assert_eq!(streams.count(), 150);
}
