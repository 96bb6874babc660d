//! Any bytes laid over a segment: the store opens with a prefix of what it held, or is refused with
//! a typed error; it never panics and never shows what was not written.
#![no_main]

use std::os::unix::fs::FileExt;

use annals::{ExpectedVersion, NewEvent, Store};
use libfuzzer_sys::fuzz_target;

const EVENTS: u8 = 20;

fuzz_target!(|input: (u16, &[u8])| {
    let (offset, bytes) = input;
    let dir = tempfile::tempdir().expect("a directory");
    let options = || Store::options().segment_bytes(64 << 10);
    let store = options().open(dir.path()).expect("a new store");
    for n in 0..EVENTS {
        let done = store.append("A-1", ExpectedVersion::Any, [NewEvent::new("A", [n; 9])]);
        done.expect("an append");
    }
    drop(store);
    let segment = dir.path().join("log/0000000001.0.seg");
    let file = std::fs::File::options().write(true).open(segment).expect("the first segment");
    let room = (64_usize << 10).saturating_sub(usize::from(offset)).min(bytes.len());
    file.write_all_at(&bytes[..room], u64::from(offset)).expect("a write");
    if let Ok(store) = options().open(dir.path()) {
        for (n, event) in (0..EVENTS).zip(store.read_all()) {
            match event {
                Ok(event) => assert_eq!(event.data(), [n; 9]),
                Err(_) => return,
            }
        }
    }
});
