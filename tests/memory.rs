//! How much memory damaged stores take: lengths and counts of any size, with right checksums around
//! them, are not believed. By default a sample of them, with `ANNALS_LONG=1` all.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(missing_docs, clippy::print_stderr, reason = "a test, that says what it measured")]
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "names are exactly what the store makes them"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use annals::{ExpectedVersion, NewEvent, ReadMode, Store, StoreOptions};

/// What opening and reading may take at most, whatever the files say: a window of 1 MiB for the
/// scan of a segment or the filling of one, and as much again for indexes and events in hand.
const BOUND: usize = 2 << 20;
/// What may be added for the checksums of a derived file: one of 4 bytes for each 4,096 of its
/// length, as a number and as a list.
const PER_BYTE_OF_A_FILE: usize = 512;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    MOST.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises are those of `System.alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises are those of `System.alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks exist for a moment.
        add(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are those of `System.realloc`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are those of `System.dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that were allocated at once while something was done, beyond what was before.
fn peak(work: impl FnOnce()) -> usize {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    work();
    MOST.load(Relaxed) - before
}

type Files = BTreeMap<String, Vec<u8>>;

fn options() -> StoreOptions {
    Store::options().segment_bytes(64 << 10).checkpoint_bytes(8 << 10).upkeep_thread(false)
}

fn read_files(dir: &Path) -> Files {
    let mut files = Files::new();
    for folder in ["", "log"] {
        for entry in fs::read_dir(dir.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

/// The files of a store with ten segments, as a kill leaves them and closed in good order.
fn stores() -> (Files, Files) {
    let dir = tempfile::tempdir().unwrap();
    let store = options().open(dir.path()).unwrap();
    let mut n = 0_u64;
    while store.info().unwrap().segments < 10 {
        n += 1;
        let event = |bytes| NewEvent::new("Made", vec![b'x'; bytes]);
        let id = uuid::Uuid::from_u64_pair(n, 5);
        store.append(format!("A-{}", n % 9), ExpectedVersion::Any, [event(9000).id(id)]).unwrap();
        let batch = store.batch().append("B-1", ExpectedVersion::Any, [event(20), event(30)]);
        batch.append("B-2", ExpectedVersion::Any, [event(3000)]).commit().unwrap();
    }
    for _ in 0..3 {
        store.append("C-1", ExpectedVersion::Any, [NewEvent::new("Made", "short")]).unwrap();
    }
    let killed = read_files(dir.path());
    store.close().unwrap();
    (killed, read_files(dir.path()))
}

/// A store that is damaged in one way after the other, and the worst that was seen.
struct Damaged {
    dir: tempfile::TempDir,
    base: Files,
    opened: usize,
    refused: usize,
    worst: (usize, String),
}

impl Damaged {
    fn new(base: Files) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        let mut new = Self { dir, base, opened: 0, refused: 0, worst: (0, String::new()) };
        new.restore();
        new
    }

    /// Puts all files back that are not as they were.
    fn restore(&mut self) {
        let root = self.dir.path();
        for (name, bytes) in read_files(root) {
            if self.base.get(&name) != Some(&bytes) {
                fs::remove_file(root.join(name)).unwrap();
            }
        }
        for (name, bytes) in &self.base {
            if !root.join(name).exists() {
                fs::write(root.join(name), bytes).unwrap();
            }
        }
    }

    /// Opens and reads, for reading only or for writing, with other bytes in a file, or with its
    /// length set.
    fn look(&mut self, name: &str, bytes: &[u8], len: Option<u64>, writes: bool, what: &str) {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        if let Some(len) = len {
            fs::File::options().write(true).open(&path).unwrap().set_len(len).unwrap();
        }
        let len = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        let mode = if what.len().is_multiple_of(2) { ReadMode::Mmap } else { ReadMode::Positional };
        let options = options().read_mode(mode);
        let mut opened = false;
        let taken = peak(|| {
            let root = self.dir.path();
            let store = if writes { options.open(root) } else { options.open_read_only(root) };
            let Ok(store) = store else { return };
            opened = true;
            read(&store, writes);
        });
        if opened {
            self.opened += 1;
        } else {
            self.refused += 1;
        }
        let bound = BOUND + len / PER_BYTE_OF_A_FILE;
        assert!(taken <= bound, "{taken} bytes, at most {bound}: {name}, {what}");
        if taken > self.worst.0 {
            self.worst = (taken, format!("{name}, {what}"));
        }
        if writes || len != bytes.len() {
            // Opening for writing may have removed it already.
            drop(fs::remove_file(&path));
            self.restore();
        } else {
            fs::write(&path, &self.base[name]).unwrap();
        }
    }

    fn report(&self, what: &str) {
        let (opened, refused) = (self.opened, self.refused);
        eprintln!("{what}: {opened} opened, {refused} refused; at most {:?} bytes", self.worst);
    }
}

/// Everything there is, as far as it can be read.
fn read(store: &Store, writes: bool) {
    let most = 200;
    let ids: Vec<_> = store
        .read_all()
        .limit(most)
        .into_iter()
        .map_while(Result::ok)
        .map(|event| event.id())
        .collect();
    for id in ids.into_iter().step_by(17) {
        drop(store.event_by_id(id));
    }
    drop(store.event_by_id(uuid::Uuid::from_u64_pair(77, 77)));
    for stream in ["A-1", "A-8", "B-1", "B-2", "C-1", "Absent-1"] {
        let backwards = store.read_stream(stream).backwards().limit(most);
        drop(backwards.into_iter().find(Result::is_err));
        drop(store.stream(stream));
    }
    if writes {
        drop(store.append("A-1", ExpectedVersion::Any, [NewEvent::new("Made", "behind")]));
        drop(store.close());
    }
}

fn extremes(len: usize) -> [u64; 8] {
    let len = len as u64;
    [0, 1, len, len + 1, 0x7fff_ffff, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX]
}

fn put(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn long(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap()
}

fn seal_trailer(bytes: &mut [u8]) {
    let end = bytes.len();
    let crc = crc32fast::hash(&bytes[end - 48..end - 4]);
    put(bytes, end - 4, 4, u64::from(crc));
}

/// Right checksums for a derived file whose body was changed.
fn seal_derived(bytes: &mut [u8]) {
    let trailer = bytes.len() - 48;
    let body = long(bytes, trailer + 24);
    for (block, start) in (0..body).step_by(4096).enumerate() {
        let crc = crc32fast::hash(&bytes[start..(start + 4096).min(body)]);
        put(bytes, body + block * 4, 4, u64::from(crc));
    }
    let table = crc32fast::hash(&bytes[body..trailer]);
    put(bytes, trailer + 40, 4, u64::from(table));
    seal_trailer(bytes);
}

fn one_in(by_default: usize) -> usize {
    let is_long = std::env::var_os("ANNALS_LONG").is_some_and(|long| long != "0");
    if is_long { 1 } else { by_default }
}

fn derived_files(damaged: &mut Damaged) {
    let is_derived = |name: &&String| {
        name.starts_with("directory")
            || [".ids", "01.0.idx", ".part"].iter().any(|end| name.ends_with(end))
    };
    let names: Vec<String> = damaged.base.keys().filter(is_derived).cloned().collect();
    assert!(names.len() >= 4, "{names:?}");
    let mut count = 0_usize;
    for name in names {
        let bytes = damaged.base[&name].clone();
        let trailer = bytes.len() - 48;
        let (body, footer) = (long(&bytes, trailer + 24), long(&bytes, trailer + 32));
        let places = (0..64.min(footer)).chain(footer..body).step_by(4);
        for at in places {
            for (width, value) in [4, 8].iter().flat_map(|w| extremes(body).map(|v| (*w, v))) {
                count += 1;
                if at + width > body || !count.is_multiple_of(one_in(17)) {
                    continue;
                }
                let mut changed = bytes.clone();
                put(&mut changed, at, width, value);
                seal_derived(&mut changed);
                let what = format!("{value:#x} in {width} bytes at {at}");
                damaged.look(&name, &changed, None, count.is_multiple_of(one_in(17) * 13), &what);
            }
        }
        for (at, value) in [24, 32].iter().flat_map(|at| extremes(body).map(|v| (*at, v))) {
            let mut changed = bytes.clone();
            put(&mut changed, trailer + at, 8, value);
            seal_trailer(&mut changed);
            damaged.look(&name, &changed, None, false, &format!("{value:#x} in the trailer"));
        }
        // A body that is not there, on a disk that says it is, and a right table for it.
        let len = 8 << 30;
        let table = vec![0; len / 4096 * 4];
        let mut end = bytes[trailer..].to_vec();
        put(&mut end, 24, 8, len as u64);
        put(&mut end, 32, 8, 0);
        put(&mut end, 40, 4, u64::from(crc32fast::hash(&table)));
        seal_trailer(&mut end);
        drop(table);
        sparse(damaged, &name, &end, (len + len / 4096 * 4) as u64);
    }
}

/// A file that is a hole but for its end.
fn sparse(damaged: &mut Damaged, name: &str, end: &[u8], hole: u64) {
    use std::os::unix::fs::FileExt;
    let path = damaged.dir.path().join(name);
    let file = fs::File::create(&path).unwrap();
    file.write_all_at(end, hole).unwrap();
    let root = damaged.dir.path().to_owned();
    let taken = peak(|| {
        if let Ok(store) = options().open_read_only(root) {
            read(&store, false);
        }
    });
    fs::remove_file(path).unwrap();
    let bound = BOUND + usize::try_from(hole).unwrap() / PER_BYTE_OF_A_FILE;
    assert!(taken <= bound, "{taken} bytes, at most {bound}: {name} is a hole");
    damaged.restore();
}

/// The frames of a segment: offset and length.
fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 4096;
    while bytes.get(at + 15).is_some_and(|kind| kind & 0x80 != 0) {
        let len = word(bytes, at + 4) & !3;
        found.push((at, len));
        at += len;
    }
    found
}

/// Where a frame's head ends, which its checksum covers.
fn head_end(frame: &[u8]) -> usize {
    match frame[15] {
        // The version and the name's length take a byte each in these stores.
        0x82 => 30 + usize::from(frame[29]) + 4,
        0x83 => 44 + word(frame, 32),
        _ => word(frame, 4) & !3,
    }
}

fn seal_frame(bytes: &mut [u8], at: usize, head_end: usize) {
    let salt = crc32fast::hash(&bytes[32..48]);
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(&u32::try_from(at).unwrap().to_le_bytes());
    hasher.update(&bytes[at + 4..at + head_end]);
    put(bytes, at, 4, u64::from(hasher.finalize()));
}

fn segments(damaged: &mut Damaged) {
    let names: Vec<String> =
        damaged.base.keys().filter(|name| name.ends_with(".seg")).cloned().collect();
    // A sealed one, and the unsealed one with all that a kill leaves behind it.
    let mut count = 0_usize;
    for name in [&names[1], &names[names.len() - 2], &names[names.len() - 1]] {
        let bytes = damaged.base[name].clone();
        for (at, len) in frames(&bytes) {
            let frame = &bytes[at..at + len];
            let end = head_end(frame);
            for field in (4..end.min(80)).step_by(2) {
                for (width, value) in [2, 4].iter().flat_map(|w| extremes(len).map(|v| (*w, v))) {
                    count += 1;
                    if field + width > end || !count.is_multiple_of(one_in(41)) {
                        continue;
                    }
                    let mut changed = bytes.clone();
                    put(&mut changed, at + field, width, value);
                    seal_frame(&mut changed, at, end);
                    let what = format!("{value:#x} at {field} of the frame at {at}");
                    let writes = count.is_multiple_of(one_in(41) * 5);
                    damaged.look(name, &changed, None, writes, &what);
                }
            }
        }
        for value in extremes(bytes.len()) {
            let mut changed = bytes.clone();
            put(&mut changed, 56, 4, value);
            let crc = crc32fast::hash(&changed[..60]);
            put(&mut changed, 60, 4, u64::from(crc));
            damaged.look(name, &changed, None, true, &format!("{value:#x} as the length"));
        }
        for len in [1 << 32, 1 << 40] {
            damaged.look(name, &bytes, Some(len), false, "a hole behind it");
        }
    }
    for name in ["STORE", "LOCK"] {
        let bytes = damaged.base[name].clone();
        damaged.look(name, &bytes, Some(1 << 40), true, "a hole behind it");
    }
}

#[test]
fn no_length_or_count_on_disk_decides_how_much_memory_is_taken() {
    let (killed, closed) = stores();
    let mut damaged = Damaged::new(closed);
    derived_files(&mut damaged);
    damaged.report("derived files of a closed store");
    for (what, is_kept) in [("with its checkpoint", true), ("without a checkpoint", false)] {
        let mut files = killed.clone();
        files.retain(|name, _| is_kept || !name.ends_with(".part"));
        let mut damaged = Damaged::new(files);
        segments(&mut damaged);
        damaged.report(&format!("segments of a killed store {what}"));
    }
}
