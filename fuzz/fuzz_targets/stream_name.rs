//! Any text as a stream's name: taken or refused, and what is taken reads back.
#![no_main]

use annals::{ExpectedVersion, NewEvent, Store};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|name: &str| {
    let store = Store::in_memory().expect("a store in memory");
    if store.append(name, ExpectedVersion::NoStream, [NewEvent::new("A", "")]).is_ok() {
        let event = store.read_stream(name).into_iter().next().expect("the event").expect("whole");
        assert_eq!(event.stream(), name);
        assert!(name.starts_with(event.category()));
    } else {
        assert_eq!(store.head().0, 0);
    }
});
