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

/// Maps outlive their files: what was read through one keeps no file open.
#[cfg(target_os = "linux")]
#[test]
fn segments_that_were_read_keep_no_file_open() {
    let place = crate::support::Place::new();
    let store = crate::support::small_segments().open(place.path()).unwrap();
    crate::support::seal_segments(&store, 20);
    store.close().unwrap();
    let store = crate::support::small_segments().open(place.path()).unwrap();
    assert!(store.info().unwrap().segments > 20);
    for event in store.read_all() {
        // By its stream too, so that its segment's index is read.
        let event = event.unwrap();
        assert!(store.read_stream(event.stream()).limit(1).into_iter().all(|event| event.is_ok()));
    }
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let of_store = open
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .filter(|target| target.starts_with(place.path()))
        .count();
    assert!(of_store < 12, "{of_store} files are open");
}
