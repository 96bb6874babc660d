//! Whole stores, decoded with the tables and rules of the page: what one small segment does not
//! show. Nothing of the crate's own code takes part.

use std::collections::BTreeMap;

use siphasher::sip::SipHasher13;
use siphasher::sip128::SipHasher13 as SipHasher13_128;

use crate::document::Document;
use crate::walk::{Walk, find, number};

/// The files of a store, by name.
type Read<'a> = &'a dyn Fn(&str) -> Vec<u8>;

fn int(value: u64) -> usize {
    usize::try_from(value).unwrap()
}

fn key_of(read: Read<'_>) -> SipHasher13 {
    let key: [u8; 16] = read("STORE")[32..48].try_into().unwrap();
    SipHasher13::new_with_key(&key)
}

fn varint(bytes: &[u8], at: &mut usize) -> usize {
    let len = 1 + bytes[*at..].iter().position(|byte| byte & 0x80 == 0).unwrap();
    let value = bytes[*at..*at + len].iter().rev();
    *at += len;
    value.fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f))
}

/// Number `index` of an array of packed numbers.
fn packed(bytes: &[u8], width: u64, index: usize) -> usize {
    let bit = |at: usize| usize::from(bytes[at / 8] >> (at % 8) & 1);
    let start = index * int(width);
    (0..int(width)).map(|n| bit(start + n) << n).sum()
}

/// The names of the streams of an event or batch frame, with their first versions.
fn streams_of(frame: &[u8]) -> BTreeMap<&[u8], usize> {
    let (mut at, streams) = match frame[15] {
        0x82 => (28, 1),
        _ => (44, number(&frame[30..32])),
    };
    (0..streams)
        .map(|_| {
            let version = varint(frame, &mut at);
            let len = varint(frame, &mut at);
            at += len;
            (&frame[at - len..at], version)
        })
        .collect()
}

/// Checks a store of ten segments: the directory's rows against the segments, its slots against the
/// names in the frames, the id run, and every index.
pub(crate) fn check_many(document: &Document, read: Read<'_>) {
    let hasher = key_of(read);
    let directory = read("directory-1");
    let (footer, _) = Walk::new(document, &directory).verify_derived(4);
    let rows = document.fields("### Directory footer");
    let value = |field: &str| find(&rows, field, &directory[footer..]);
    let row_rows = document.fields("### Segment row");
    assert_eq!(directory[footer..footer + 16], read("STORE")[16..32]);
    let (mut base, mut segments) = (1, Vec::new());
    for index in 0..int(value("Segments")) {
        let row = &directory[footer + 44 + index * 56..][..56];
        let field = |name: &str| find(&row_rows, name, row);
        let segment = read(&format!("log/{:010}.0.seg", index + 1));
        assert_eq!(row[8..24], segment[32..48]);
        assert_eq!((field("Ordinal"), field("Base")), (index as u64 + 1, base));
        assert_eq!(field("Length"), segment.len() as u64);
        base += field("Events");
        let sealed = read(&format!("log/{:010}.0.idx", index + 1));
        check_index(document, &sealed, 1, &segment, &hasher);
        segments.push(segment);
    }
    let (page_rows, slot_rows) =
        (document.fields("### Directory page"), document.fields("### Slot"));
    let (pages, mut slots) = (value("Pages"), Vec::new());
    for (page, bytes) in (0..).zip(directory[..footer].chunks(4096)) {
        for slot in bytes[16..].chunks(16).take(int(find(&page_rows, "Slots", bytes))) {
            let field = |name: &str| find(&slot_rows, name, slot);
            let frame = &segments[int(field("Segment")) - 1][int(field("Frame"))..];
            let hash = field("Hash");
            assert!(streams_of(frame).keys().any(|name| hasher.hash(name) == hash));
            assert!((u128::from(hash) * u128::from(pages)) >> 64 <= page);
            slots.push(hash);
        }
        assert_eq!(find(&page_rows, "Spills", bytes), 0);
    }
    assert!(slots.is_sorted());
    assert_eq!((pages * 4096, slots.len() as u64), (footer as u64, value("Streams")));
    assert_eq!(pages, (value("Streams") * 100).div_ceil(255 * 85).max(1));

    let run = read("log/0000000001-0000000008.ids");
    let (footer, _) = Walk::new(document, &run).verify_derived(3);
    let rows = document.fields("### Id run footer");
    let value = |field: &str| find(&rows, field, &run[footer..]);
    assert_eq!((value("First segment"), value("Last segment"), value("Base")), (1, 8, 1));
    assert_eq!(value("Events"), base - 1);
    assert_eq!(run[footer + 24..footer + 40], segments[0][32..48]);
    assert_eq!(run[footer + 40..footer + 56], segments[7][32..48]);
    let entries = id_run(&run[..footer], value("Ids"), value("Events"));
    // Every third position has an id; see `tests/format_lock.rs`.
    let mut positions: Vec<u64> = entries.iter().map(|(_, event)| event + 1).collect();
    positions.sort_unstable();
    assert!(positions.iter().copied().eq((1..base).filter(|position| position % 3 == 0)));
    for (hash, event) in entries {
        let mut id = [0xa5; 16];
        for (byte, part) in id.iter_mut().zip((event + 1).to_le_bytes().iter().rev()) {
            *byte = *part;
        }
        assert_eq!(hash, hasher.hash(&id) >> 18);
    }
}

/// Checks a store with a stream of many events in one segment, a stream that goes on from the
/// segment before, and ids that are assigned and derived.
pub(crate) fn check_few(document: &Document, read: Read<'_>, events: &str) {
    let hasher = key_of(read);
    let first = read("log/0000000001.0.seg");
    check_index(document, &read("log/0000000001.0.idx"), 1, &first, &hasher);
    let second = read("log/0000000002.0.seg");
    check_index(document, &read("log/0000000002.0.part"), 2, &second, &hasher);

    let id_at = |position: usize| events.lines().nth(position - 1).unwrap().split(' ').nth(3);
    let uuid = |high: u64, low: u64| {
        let low = 0b10 << 62 | low >> 2;
        let text = format!("{high:016x}{low:016x}");
        [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
    };
    let salt: [u8; 16] = first[32..48].try_into().unwrap();
    for position in [7_u64, 8, 18] {
        let high = position >> 12 << 16 | 0x8000 | position & 0xfff;
        let low = SipHasher13::new_with_key(&salt).hash(&position.to_le_bytes());
        assert_eq!(id_at(int(position)), Some(uuid(high, low).as_str()));
    }
    for (given, distance, position) in [(3, 1_i64, 4), (4, -1, 5)] {
        let input = [&[given; 16][..], &distance.to_le_bytes()].concat();
        let hash = SipHasher13_128::new_with_key(b"annals derived 1").hash(&input);
        let high = hash.h1 & !0xf000 | 0x8000;
        assert_eq!(id_at(position), Some(uuid(high, hash.h2).as_str()));
    }
}

/// Checks the offsets, terms and posting lists of an index against the frames of its segment.
fn check_index(document: &Document, file: &[u8], kind: u64, segment: &[u8], key: &SipHasher13) {
    let walk = Walk::new(document, file);
    let (footer, _) = walk.verify_derived(kind);
    let rows = document.fields("### Index footer");
    let value = |field: &str| find(&rows, field, &file[footer..]);
    assert_eq!(file[footer + 16..footer + 32], segment[32..48]);
    let mut at = 0;
    let sections: BTreeMap<String, &[u8]> = walk
        .sections(footer)
        .into_iter()
        .map(|(name, len)| {
            at += len;
            (name, &file[at - len..at])
        })
        .collect();
    let events = int(value("Events"));
    let frame_of = |event: usize| {
        let base = int(number(&sections["Offset bases"][event / 128 * 4..][..4]));
        (base + packed(sections["Offsets"], value("Offset width"), event)) * 4
    };
    let first_in = |frame: usize| int(number(&segment[frame + 24..frame + 28]));
    let offsets: Vec<usize> = (0..events).map(frame_of).collect();
    assert!(offsets.iter().enumerate().all(|(event, frame)| first_in(*frame) <= event));
    let (mut seen, mut hashes) = (0, Vec::new());
    for term in sections["Terms"].chunks(12) {
        hashes.push(number(&term[..8]));
        let list = &sections["Postings"][int(number(&term[8..]))..];
        let mut at = 0;
        let (count, version) = (varint(list, &mut at), varint(list, &mut at));
        let back = varint(list, &mut at);
        assert_eq!(count & 1, 0);
        // A stream that begins here has nothing before; one that goes on has.
        assert_eq!(back == 0, version == 1);
        let count = count / 2;
        let ways_in = &list[at..at + 8 * ((count - 1) / 128)];
        at += ways_in.len();
        let (gaps, mut event) = (at, 0);
        for index in 0..count {
            if index > 0 && index % 128 == 0 {
                let way_in = &ways_in[(index / 128 - 1) * 8..][..8];
                let expected = (event as u64, (at - gaps) as u64);
                assert_eq!((number(&way_in[..4]), number(&way_in[4..])), expected);
            }
            event += varint(list, &mut at);
            let found = streams_of(&segment[offsets[event]..]);
            let (_, first) =
                found.iter().find(|(name, _)| key.hash(name) == hashes[hashes.len() - 1]).unwrap();
            assert!((*first..).contains(&(version + index)));
        }
        seen += count;
    }
    assert!(hashes.is_sorted());
    assert_eq!((seen, hashes.len() as u64), (events, value("Terms")));
    if value("Ids") > 0 {
        id_run(sections["Ids"], value("Ids"), value("Events"));
    }
}

/// The entries of a run: kept hash and event.
fn id_run(run: &[u8], ids: u64, events: u64) -> Vec<(u64, u64)> {
    let bits = |n: u64| u64::BITS - n.leading_zeros();
    let e = bits(events).max(1);
    let b = bits(ids / 16).clamp((46 + e).saturating_sub(57), 46);
    let buckets = 4 * ((1 << b) + 1);
    let width = u64::from(46 - b + e);
    assert_eq!(run.len(), buckets + int((ids * width).div_ceil(8)) + 8);
    let table: Vec<u64> = run[..buckets].chunks(4).map(number).collect();
    let mut entries = Vec::new();
    for (bucket, ends) in (0_u64..).zip(table.windows(2)) {
        for index in ends[0]..ends[1] {
            let entry = packed(&run[buckets..], width, int(index)) as u64;
            entries.push((bucket << (46 - b) | entry >> e, entry & ((1 << e) - 1)));
        }
    }
    assert_eq!(entries.len() as u64, ids);
    assert!(entries.is_sorted());
    entries
}
