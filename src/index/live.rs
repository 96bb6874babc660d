//! The index of events that are newer than any index file: in memory, exact, growing.

use std::ops::Range;

use hashbrown::HashTable;
use smallvec::{SmallVec, smallvec};

use crate::format::sealed::{NameRow, SchemaRow, ZONE_EVENTS, Zone};
use crate::names::category_of;
use crate::position::Timestamp;

/// In the place of the segment before: not looked up yet, so that replaying a log costs no look-up
/// for each stream. It is looked up when it is needed, at the latest for the index file.
pub(crate) const UNRESOLVED: u32 = u32::MAX;

/// One event, as the index takes it in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Indexed<'a> {
    /// The offset of its frame.
    pub(crate) frame: u32,
    pub(crate) stream: &'a str,
    pub(crate) stream_hash: u64,
    pub(crate) version: u64,
    /// The segment that holds the stream's events before this one; 0 where there are none, or
    /// [`UNRESOLVED`]. Only looked at for the first event of a stream here.
    pub(crate) previous: u32,
    pub(crate) event_type: &'a str,
    pub(crate) schema_version: u32,
    pub(crate) created_at: Timestamp,
    /// The hash of its id, where the caller gave one.
    pub(crate) id_hash: Option<u64>,
    /// The hashes of its labels.
    pub(crate) labels: &'a [u64],
}

/// A growing list of ordinals; most streams have few in a part.
pub(crate) type Ordinals = SmallVec<[u32; 4]>;

/// A stream's events in one part of a segment's index.
#[derive(Clone, Debug)]
pub(crate) struct LiveStream {
    /// Its name, as a place among the names of the part.
    name_at: usize,
    name_len: u32,
    /// The segment with the events before these: this segment itself where an older part of its
    /// index has them, 0 where there are none, or [`UNRESOLVED`].
    pub(crate) previous: u32,
    pub(crate) hash: u64,
    pub(crate) first_version: u64,
    /// The ordinals of its events.
    pub(crate) events: Ordinals,
}

/// The events of a label.
#[derive(Clone, Debug)]
struct LiveLabel {
    hash: u64,
    events: Ordinals,
}

/// The types or categories of a part, with the number that each event's column holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    by_name: HashTable<u32>,
    pub(crate) rows: Vec<NameRow>,
    /// The number of the name that was counted last: events come in runs of one.
    last: u32,
}

impl Names {
    /// Counts an event of a name and returns the name's number.
    fn count(&mut self, name: &str, ordinal: u32) -> u32 {
        let is_it = |id: &u32| self.rows.get(*id as usize).is_some_and(|row| &*row.name == name);
        if !is_it(&self.last) {
            let hash = hash_of(name);
            self.last = match self.by_name.find(hash, is_it) {
                Some(id) => *id,
                None => self.add(name, hash, ordinal),
            };
        }
        if let Some(row) = self.rows.get_mut(self.last as usize) {
            row.events += 1;
            row.last = ordinal;
        }
        self.last
    }

    /// A row for a name whose first event comes now.
    fn add(&mut self, name: &str, hash: u64, first: u32) -> u32 {
        let id = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.rows.push(NameRow { name: name.into(), events: 0, first, last: first });
        self.by_name.insert_unique(hash, id, |id| {
            self.rows.get(*id as usize).map_or(0, |row| hash_of(&row.name))
        });
        id
    }
}

/// Names are few and chosen by the application, so a plain hash serves.
fn hash_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The schema versions of the types of a part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schemas {
    by_schema: HashTable<u32>,
    pub(crate) rows: Vec<SchemaRow>,
    /// The number of the row that was counted last.
    last: u32,
}

impl Schemas {
    /// Counts an event of a type, given by its number, and a version.
    fn count(&mut self, type_id: u32, version: u32, ordinal: u32) {
        let is_it = |id: &u32| {
            let row = self.rows.get(*id as usize);
            row.is_some_and(|row| (row.type_id, row.version) == (type_id, version))
        };
        if !is_it(&self.last) {
            let hash = hash_of_pair(type_id, version);
            self.last = match self.by_schema.find(hash, is_it) {
                Some(id) => *id,
                None => self.add(type_id, version, hash, ordinal),
            };
        }
        if let Some(row) = self.rows.get_mut(self.last as usize) {
            row.events += 1;
            row.last = ordinal;
        }
    }

    /// A row for a type and a version whose first event comes now.
    fn add(&mut self, type_id: u32, version: u32, hash: u64, first: u32) -> u32 {
        let id = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.rows.push(SchemaRow { type_id, version, events: 0, first, last: first });
        self.by_schema.insert_unique(hash, id, |id| {
            self.rows.get(*id as usize).map_or(0, |row| hash_of_pair(row.type_id, row.version))
        });
        id
    }
}

/// The finalizer of `SplitMix64`, so that versions in any steps are spread over the table.
const fn hash_of_pair(type_id: u32, version: u32) -> u64 {
    let mut hash = (type_id as u64) << 32 | version as u64;
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

/// The index of a run of events of one segment.
#[derive(Clone, Debug)]
pub(crate) struct LiveIndex {
    /// The ordinal of the first event.
    pub(crate) first: u32,
    /// For each event the offset of its frame.
    pub(crate) offsets: Vec<u32>,
    pub(crate) types: Vec<u32>,
    pub(crate) categories: Vec<u32>,
    pub(crate) type_names: Names,
    pub(crate) category_names: Names,
    pub(crate) schemas: Schemas,
    /// For each zone of the segment that these events touch, the earliest and latest time.
    pub(crate) zones: Vec<Zone>,
    streams: Vec<LiveStream>,
    /// The streams by their hashes, as places among them: so the table stays in the cache, and a
    /// stream that is new here is written behind the last one.
    by_hash: HashTable<u32>,
    /// The names of the streams, one behind the other: a part has many thousand of them, which
    /// another thread lets go.
    stream_names: String,
    ids: HashTable<(u64, u32)>,
    labels: HashTable<LiveLabel>,
}

impl LiveIndex {
    /// An index for the events from an ordinal on.
    pub(crate) fn new(first: u32) -> Self {
        Self {
            first,
            offsets: Vec::new(),
            types: Vec::new(),
            categories: Vec::new(),
            type_names: Names::default(),
            category_names: Names::default(),
            schemas: Schemas::default(),
            zones: Vec::new(),
            streams: Vec::new(),
            by_hash: HashTable::new(),
            stream_names: String::new(),
            ids: HashTable::new(),
            labels: HashTable::new(),
        }
    }

    /// An empty index behind this one, with room for as much.
    pub(crate) fn next(&self) -> Self {
        Self {
            offsets: Vec::with_capacity(self.offsets.len()),
            types: Vec::with_capacity(self.types.len()),
            categories: Vec::with_capacity(self.categories.len()),
            streams: Vec::with_capacity(self.streams.len()),
            by_hash: HashTable::with_capacity(self.streams.len()),
            stream_names: String::with_capacity(self.stream_names.len()),
            ids: HashTable::with_capacity(self.ids.len()),
            labels: HashTable::with_capacity(self.labels.len()),
            ..Self::new(self.end())
        }
    }

    /// The ordinal behind the last event.
    pub(crate) fn end(&self) -> u32 {
        self.first + u32::try_from(self.offsets.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Takes in the next event.
    pub(crate) fn add(&mut self, event: &Indexed<'_>) {
        let ordinal = self.end();
        self.offsets.push(event.frame);
        let type_id = self.type_names.count(event.event_type, ordinal);
        self.types.push(type_id);
        self.schemas.count(type_id, event.schema_version, ordinal);
        let category = category_of(event.stream);
        self.categories.push(self.category_names.count(category, ordinal));
        let zone = (ordinal / ZONE_EVENTS - self.first / ZONE_EVENTS) as usize;
        if zone >= self.zones.len() {
            self.zones.push(Zone::EMPTY);
        }
        if let Some(zone) = self.zones.get_mut(zone) {
            zone.add(event.created_at, 0, 0);
        }
        let known = self.place_of(event.stream, event.stream_hash);
        if let Some(stream) = known.and_then(|place| self.streams.get_mut(place as usize)) {
            stream.events.push(ordinal);
        } else {
            self.add_stream(event, ordinal);
        }
        if let Some(hash) = event.id_hash {
            self.ids.insert_unique(hash, (hash, ordinal), |(hash, _)| *hash);
        }
        for hash in event.labels.iter().copied() {
            match self.labels.find_mut(hash, |label| label.hash == hash) {
                // Two labels of one event may share a hash.
                Some(label) if label.events.as_slice().last() == Some(&ordinal) => {}
                Some(label) => label.events.push(ordinal),
                None => {
                    let label = LiveLabel { hash, events: smallvec![ordinal] };
                    self.labels.insert_unique(hash, label, |label| label.hash);
                }
            }
        }
    }

    /// A stream whose first event here comes now.
    fn add_stream(&mut self, event: &Indexed<'_>, ordinal: u32) {
        // There are no more of them than events.
        let place = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        self.streams.push(LiveStream {
            name_at: self.stream_names.len(),
            name_len: u32::try_from(event.stream.len()).unwrap_or(u32::MAX),
            previous: event.previous,
            hash: event.stream_hash,
            first_version: event.version,
            events: smallvec![ordinal],
        });
        self.stream_names.push_str(event.stream);
        let streams = &self.streams;
        let hash_of = |place: &u32| streams.get(*place as usize).map_or(0, |stream| stream.hash);
        self.by_hash.insert_unique(event.stream_hash, place, hash_of);
    }

    fn place_of(&self, name: &str, hash: u64) -> Option<u32> {
        let is = |place: &u32| {
            let stream = self.streams.get(*place as usize);
            stream.is_some_and(|stream| stream.hash == hash && self.name(stream) == name)
        };
        self.by_hash.find(hash, is).copied()
    }

    /// The ordinals of the events of a range that have an id or a label with a hash, in order.
    pub(crate) fn keyed(&self, hash: u64, range: &Range<u64>) -> Vec<u64> {
        let label = self.labels.find(hash, |label| label.hash == hash);
        let labelled = label.map_or(&[][..], |label| label.events.as_slice());
        let at = |bound: u64| labelled.partition_point(|event| u64::from(*event) < bound);
        let labelled = labelled.get(at(range.start)..at(range.end)).unwrap_or_default();
        let with_id = self.ids.iter_hash(hash).filter(|(h, _)| *h == hash);
        let with_id = with_id.map(|(_, event)| u64::from(*event));
        let mut events: Vec<u64> = labelled.iter().map(|event| u64::from(*event)).collect();
        let labelled = events.len();
        events.extend(with_id.filter(|event| range.contains(event)));
        if events.len() > labelled && events.len() > 1 {
            events.sort_unstable();
        }
        events
    }

    pub(crate) fn stream(&self, name: &str, hash: u64) -> Option<&LiveStream> {
        self.streams.get(self.place_of(name, hash)? as usize)
    }

    /// The name of one of its streams.
    pub(crate) fn name(&self, stream: &LiveStream) -> &str {
        let range = stream.name_at..stream.name_at + stream.name_len as usize;
        self.stream_names.get(range).unwrap_or_default()
    }

    /// The offset of an event's frame.
    pub(crate) fn offset(&self, ordinal: u32) -> Option<u32> {
        let index = ordinal.checked_sub(self.first)?;
        self.offsets.get(index as usize).copied()
    }

    pub(crate) fn all_streams(&self) -> impl Iterator<Item = &LiveStream> {
        self.streams.iter()
    }

    /// The hashes of all ids and labels, each with its event.
    pub(crate) fn all_ids(&self) -> impl Iterator<Item = (u64, u32)> {
        let labels = self
            .labels
            .iter()
            .flat_map(|label| label.events.as_slice().iter().map(|ordinal| (label.hash, *ordinal)));
        self.ids.iter().copied().chain(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'a>(stream: &'a str, version: u64, event_type: &'a str) -> Indexed<'a> {
        Indexed {
            frame: 100,
            stream,
            stream_hash: hash_of(stream),
            version,
            previous: 3,
            event_type,
            schema_version: 1,
            created_at: Timestamp::from_micros(5),
            id_hash: Some(version),
            labels: &[70, 71],
        }
    }

    #[test]
    fn events_are_found_by_stream_ordinal_and_id() {
        let mut live = LiveIndex::new(10);
        live.add(&event("A-1", 7, "X"));
        live.add(&event("B-1", 1, "Y"));
        live.add(&event("A-1", 8, "X"));
        let stream = live.stream("A-1", hash_of("A-1")).unwrap();
        assert_eq!((stream.first_version, stream.previous), (7, 3));
        assert_eq!(stream.events.as_slice(), [10, 12]);
        assert_eq!((live.offset(12), live.offset(13), live.offset(9)), (Some(100), None, None));
        assert_eq!(live.keyed(8, &(0..99)), [12]);
        assert_eq!(live.keyed(71, &(0..99)), [10, 11, 12]);
        assert_eq!((live.keyed(71, &(11..12)), live.keyed(9, &(0..99))), (vec![11], vec![]));
        assert_eq!(live.type_names.rows[0].events, 2);
        assert_eq!((live.types, live.categories), (vec![0, 1, 0], vec![0, 1, 0]));
    }

    #[test]
    fn versions_of_a_type_are_counted_apart() {
        let mut live = LiveIndex::new(5);
        for (version, event_type) in [(1, "X"), (2, "X"), (1, "Y"), (2, "X"), (u32::MAX, "X")] {
            live.add(&Indexed { schema_version: version, ..event("A-1", 1, event_type) });
        }
        let rows = live.schemas.rows.iter();
        let rows: Vec<_> =
            rows.map(|r| (r.type_id, r.version, r.events, r.first, r.last)).collect();
        let expected = [(0, 1, 1, 5, 5), (0, 2, 2, 6, 8), (1, 1, 1, 7, 7), (0, u32::MAX, 1, 9, 9)];
        assert_eq!(rows, expected);
    }

    /// Names are short where the store wrote them; what is read is taken as it is.
    #[test]
    fn a_stream_of_any_name_is_one() {
        let mut live = LiveIndex::new(0);
        let name = "\u{e9}".repeat(70_000);
        for version in 1..=3 {
            live.add(&event(&name, version, "X"));
        }
        let stream = live.stream(&name, hash_of(&name)).unwrap();
        assert_eq!((stream.events.as_slice(), live.name(stream)), (&[0, 1, 2][..], &name[..]));
        assert_eq!(live.all_streams().count(), 1);
    }

    #[test]
    fn streams_of_one_hash_stay_apart() {
        let mut live = LiveIndex::new(0);
        for (version, name) in [(1, "A"), (1, "B"), (2, "A")] {
            live.add(&Indexed { stream_hash: 7, ..event(name, version, "X") });
        }
        assert_eq!(live.stream("A", 7).unwrap().events.as_slice(), [0, 2]);
        assert_eq!(live.stream("B", 7).unwrap().events.as_slice(), [1]);
        assert!(live.stream("C", 7).is_none());
    }
}
