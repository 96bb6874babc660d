//! `docs/format.md` against the bytes. The tables of the page decode a fresh store, and the dump in
//! the page must be what they give, but for what differs from store to store (`~`); and the dump
//! must verify by itself, with checksums that are computed here.
//!
//! To see what the page should say after a change of the format:
//! `cargo test --test format_doc -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "format_doc/document.rs"]
mod document;
#[path = "format_doc/many.rs"]
mod many;
#[path = "format_doc/walk.rs"]
mod walk;

use std::fs;
use std::io::Read;
use std::path::Path;

use annals::{EventId, ExpectedVersion, NewEvent, Store};
use document::{Document, Line};
use flate2::read::GzDecoder;
use walk::{Walk, crc32};

const STORE: &str = "STORE";
const SEGMENT: &str = "log/0000000001.0.seg";
const CHECKPOINT: &str = "log/0000000001.0.part";
const DUMPED: [&str; 3] = [STORE, SEGMENT, CHECKPOINT];

/// The program of the page, word for word.
#[rustfmt::skip]
fn make_store(path: &Path) -> annals::Result<()> {
let store = Store::options().segment_bytes(64 << 10).open(path)?;
let id: EventId = "01234567-89ab-4def-8123-456789abcdef".parse()?;
let placed = NewEvent::new("OrderPlaced", r#"{"total":42}"#)
    .content_type("application/json")
    .tag("customer:7")
    .id(id);
store.append("Order-1", ExpectedVersion::NoStream, [placed])?;
store
    .batch()
    .append("Account-a", ExpectedVersion::NoStream, [NewEvent::new("Withdrawn", "5")])
    .append(
        "Account-b",
        ExpectedVersion::NoStream,
        [NewEvent::new("Opened", ""), NewEvent::new("Deposited", "5")],
    )
    .commit()?;
store.close()?;
    Ok(())
}

/// The lines of a file of the store, decoded with the tables of the page.
fn decode(document: &Document, file: &str, bytes: &[u8], salt: &[u8]) -> Vec<Line> {
    let mut walk = Walk::new(document, bytes);
    match file {
        STORE => walk.store(),
        SEGMENT => walk.segment(),
        _ => walk.index(salt),
    }
    walk.lines
}

/// The files of a fresh store, decoded.
fn fresh(document: &Document) -> Vec<Vec<Line>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    make_store(&path).unwrap();
    let read = |name: &str| fs::read(path.join(name)).unwrap();
    let salt = read(SEGMENT)[32..48].to_vec();
    DUMPED.map(|file| decode(document, file, &read(file), &salt)).into()
}

#[test]
fn a_fresh_store_has_the_bytes_of_the_page() {
    let document = Document::read();
    for (file, found) in DUMPED.iter().zip(fresh(&document)) {
        let documented = document.dump(file);
        for (documented, found) in documented.iter().zip(&found) {
            assert!(
                documented.agrees(found),
                "{file}: the page says\n{documented}\nand a fresh store has\n{found}"
            );
        }
        assert_eq!(documented.len(), found.len(), "{file}: lines of the page and of the store");
    }
}

#[test]
fn the_dump_of_the_page_verifies_by_itself() {
    let document = Document::read();
    let bytes = |file: &str| -> Vec<u8> {
        document.dump(file).into_iter().flat_map(|line| line.bytes).collect()
    };
    let salt = bytes(SEGMENT)[32..48].to_vec();
    for file in DUMPED {
        let documented = document.dump(file);
        assert_eq!(documented, decode(&document, file, &bytes(file), &salt), "{file}");
    }
}

#[test]
fn every_byte_of_the_dump_counts() {
    // A flipped bit fails a checksum, or shows in a line; so the test above would see it.
    let document = Document::read();
    let file = document.dump(SEGMENT);
    let bytes: Vec<u8> = file.iter().flat_map(|line| line.bytes.clone()).collect();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for at in (64..4096).step_by(640).chain(4096..=used) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let found = std::panic::catch_unwind(|| decode(&document, SEGMENT, &damaged, &[]));
        assert!(found.is_err() || found.unwrap() != file, "byte {at}");
    }
}

#[test]
fn the_program_of_the_page_is_the_one_that_runs_here() {
    let document = Document::read();
    let program = document.block("rust");
    assert!(include_str!("format_doc.rs").contains(&program), "\n{program}");
}

#[test]
fn the_test_vectors_of_the_page_hold() {
    let document = Document::read();
    let cell = |heading: &str, row: usize, column: usize| {
        document.cells(heading)[row][column].trim_matches('`').to_owned()
    };
    for (row, input) in [&b""[..], b"123456789", &[0; 32]].into_iter().enumerate() {
        assert_eq!(cell("### Checksums", row, 1), format!("{:08x}", crc32(&[input])));
    }
    for row in 0..3_u32 {
        let crcs: Vec<u32> = (1..=row).collect();
        assert_eq!(cell("### Chain", row as usize, 1), format!("{:016x}", walk::chain(&crcs)));
    }
    let key: [u8; 16] = std::array::from_fn(|n| u8::try_from(n).unwrap());
    let hash = siphasher::sip::SipHasher13::new_with_key(&key).hash(b"Order-1");
    assert_eq!(cell("### Keyed hashes", 0, 2), format!("{hash:016x}"));
}

#[test]
fn the_stores_that_are_kept_have_the_layout_of_the_page() {
    let document = Document::read();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    many::check_many(&document, &|name| {
        let packed = format!("v1-many/{}.gz", name.replace('/', "_"));
        let mut file = GzDecoder::new(fs::File::open(fixtures.join(packed)).unwrap());
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let events = fs::read_to_string(fixtures.join("v1/events.txt")).unwrap();
    let few = |name: &str| fs::read(fixtures.join("v1/store").join(name)).unwrap();
    many::check_few(&document, &few, &events);
}

#[test]
#[ignore = "prints what the page should say"]
fn print_the_dump() {
    let document = Document::read();
    for (file, lines) in DUMPED.iter().zip(fresh(&document)) {
        println!("`{file}`:\n\n```hexdump {file}");
        for line in lines {
            println!("{line}");
        }
        println!("```\n");
    }
}
