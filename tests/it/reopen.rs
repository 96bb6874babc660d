use annals::{ExpectedVersion, NewEvent, Position, Store};

#[test]
fn everything_is_there_after_close_and_open_across_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let open = || Store::options().segment_bytes(64 << 10).checkpoint_bytes(16 << 10).open(&path);
    let mut expected = Vec::new();
    for round in 0..6 {
        let store = open().unwrap();
        assert!(store.recovery().clean, "{:?}", store.recovery());
        assert_eq!(store.head(), Position(expected.len() as u64));
        for n in 0..400 {
            let stream = format!("Order-{}", n % 13);
            let data = format!("{round} {n} {}", "x".repeat(n % 300));
            let event = NewEvent::new("Counted", data.clone());
            store.append(&stream, ExpectedVersion::Any, [event]).unwrap();
            expected.push((stream, data));
        }
        store.close().unwrap();
    }
    let store = open().unwrap();
    let found: Vec<_> = store
        .read_all()
        .into_iter()
        .map(|e| e.unwrap())
        .map(|e| (e.stream().to_owned(), String::from_utf8(e.data().to_vec()).unwrap()))
        .collect();
    assert_eq!(found, expected);
    for n in 0..13 {
        let name = format!("Order-{n}");
        let wanted: Vec<_> =
            expected.iter().filter(|(s, _)| *s == name).map(|(_, d)| d.clone()).collect();
        let read = |backwards: bool| {
            let read = store.read_stream(&name);
            let read = if backwards { read.backwards() } else { read };
            read.into_iter()
                .map(|e| String::from_utf8(e.unwrap().data().to_vec()).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(read(false), wanted);
        assert!(read(true).iter().eq(wanted.iter().rev()));
    }
    assert!(store.info().unwrap().segments > 5);
}
