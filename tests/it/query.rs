//! Queries against a filter over everything, in every tier of the index.

use std::collections::BTreeMap;

use annals::{Durability, Event, ExpectedVersion, NewEvent, Position, Query, Store, Timestamp};
use proptest::prelude::*;

use crate::support::{Place, all_events, small_segments};

/// What one event of the test is made of; everything is a small number.
#[derive(Clone, Debug)]
struct Made {
    category: u8,
    stream: u8,
    event_type: u8,
    tags: Vec<u8>,
    correlation: Option<u8>,
    causation: Option<u8>,
    time: Option<u8>,
    bytes: u16,
}

fn made() -> impl Strategy<Value = Made> {
    (
        (0..4_u8, 0..6_u8, 0..5_u8),
        prop::collection::vec(0..12_u8, 0..4),
        prop::option::weighted(0.5, 0..9_u8),
        prop::option::weighted(0.3, 0..9_u8),
        prop::option::weighted(0.7, 0..50_u8),
        prop_oneof![4 => 0..64_u16, 1 => 1000..9000_u16],
    )
        .prop_map(
            |((category, stream, event_type), tags, correlation, causation, time, bytes)| Made {
                category,
                stream,
                event_type,
                tags,
                correlation,
                causation,
                time,
                bytes,
            },
        )
}

impl Made {
    fn stream(&self) -> String {
        // Category 3 is a stream without a dash; category 2 begins like category 1.
        match self.category {
            0 => format!("Order-{}", self.stream),
            1 => format!("Cart-{}", self.stream),
            2 => format!("Carton-{}-{}", self.stream % 2, self.stream),
            _ => "Ledger".into(),
        }
    }

    fn event(&self) -> NewEvent {
        let mut event =
            NewEvent::new(format!("Type{}", self.event_type), vec![b'x'; self.bytes.into()])
                .tags(self.tags.iter().map(|tag| format!("tag:{tag}")))
                .schema_version(u32::from(self.bytes % 4));
        if let Some(id) = self.correlation {
            event = event.correlation(format!("c{id}"));
        }
        if let Some(id) = self.causation {
            // The same texts as those of correlations and tags, which must not be mixed up.
            event =
                event.causation(if id % 2 == 0 { format!("c{id}") } else { format!("tag:{id}") });
        }
        if let Some(time) = self.time {
            event = event.created_at(at(time));
        }
        event
    }
}

fn at(time: u8) -> Timestamp {
    Timestamp::from_micros(i64::from(time) * 1000)
}

/// One part of a query, and whether an event has it.
#[derive(Clone, Debug)]
enum Part {
    Streams(Vec<u8>),
    Prefix(u8),
    Categories(Vec<u8>),
    Types(Vec<u8>),
    Tag(u8),
    AnyTag(Vec<u8>),
    Correlation(Vec<u8>),
    Causation(u8),
    Between(u8, u8),
}

const CATEGORIES: [&str; 5] = ["Order", "Cart", "Carton", "Ledger", "Nothing"];
const PREFIXES: [&str; 7] = ["Or", "Cart", "Cart-", "Carton-1", "Ledger", "Order-3", "Zzz"];
const STREAMS: [&str; 6] = ["Order-1", "Cart-2", "Carton-1-3", "Ledger", "Order-99", "Order-0"];

fn part() -> impl Strategy<Value = Part> {
    use prop::collection::vec;
    prop_oneof![
        vec(0..6_u8, 1..4).prop_map(Part::Streams),
        (0..7_u8).prop_map(Part::Prefix),
        vec(0..5_u8, 1..3).prop_map(Part::Categories),
        vec(0..6_u8, 0..3).prop_map(Part::Types),
        (0..13_u8).prop_map(Part::Tag),
        vec(0..13_u8, 0..4).prop_map(Part::AnyTag),
        vec(0..10_u8, 1..3).prop_map(Part::Correlation),
        (0..10_u8).prop_map(Part::Causation),
        (0..50_u8, 0..50_u8).prop_map(|(a, b)| Part::Between(a, b)),
    ]
}

impl Part {
    fn add(&self, query: Query) -> Query {
        let tag = |tag: &u8| format!("tag:{tag}");
        match self {
            Self::Streams(all) => query.streams(all.iter().map(|n| STREAMS[*n as usize])),
            Self::Prefix(n) => query.stream_prefix(PREFIXES[*n as usize]),
            Self::Categories(all) => query.categories(all.iter().map(|n| CATEGORIES[*n as usize])),
            Self::Types(all) => query.types(all.iter().map(|n| format!("Type{n}"))),
            Self::Tag(n) => query.tag(tag(n)),
            Self::AnyTag(all) => query.any_tag(all.iter().map(tag)),
            Self::Correlation(all) => {
                all.iter().fold(query, |query, n| query.correlation(format!("c{n}")))
            }
            Self::Causation(n) => query.causation(format!("c{n}")),
            Self::Between(a, b) => query.between(at(*a)..at(*b)),
        }
    }

    fn has(&self, event: &Event) -> bool {
        let has_tag = |n: &u8| event.tags().any(|found| found == format!("tag:{n}"));
        match self {
            Self::Streams(all) => all.iter().any(|n| event.stream() == STREAMS[*n as usize]),
            Self::Prefix(n) => event.stream().starts_with(PREFIXES[*n as usize]),
            Self::Categories(all) => {
                all.iter().any(|n| event.category() == CATEGORIES[*n as usize])
            }
            Self::Types(all) => all.iter().any(|n| event.event_type() == format!("Type{n}")),
            Self::Tag(n) => has_tag(n),
            Self::AnyTag(all) => all.iter().any(has_tag),
            Self::Correlation(all) => {
                all.iter().any(|n| event.correlation_id() == Some(&format!("c{n}")))
            }
            Self::Causation(n) => event.causation_id() == Some(&format!("c{n}")),
            Self::Between(a, b) => (at(*a)..at(*b)).contains(&event.created_at()),
        }
    }
}

/// Alternatives of parts. A part that comes twice in one alternative would add up, so each kind
/// comes once, but for tags.
#[derive(Clone, Debug)]
struct Asked {
    alternatives: Vec<Vec<Part>>,
    after: Option<u16>,
    limit: Option<u8>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let parts = prop::collection::vec(part(), 1..4).prop_map(|parts| {
        let mut kinds = Vec::new();
        let single =
            |part: &Part| !matches!(part, Part::Tag(_) | Part::AnyTag(_) | Part::Between(..));
        parts
            .into_iter()
            .filter(|part| {
                let kind = std::mem::discriminant(part);
                let is_new = !kinds.contains(&kind) || !single(part);
                kinds.push(kind);
                is_new
            })
            .collect::<Vec<_>>()
    });
    (
        prop::collection::vec(parts, 1..3),
        prop::option::of(0..400_u16),
        prop::option::weighted(0.3, 0..9_u8),
    )
        .prop_map(|(alternatives, after, limit)| Asked { alternatives, after, limit })
}

impl Asked {
    fn query(&self) -> Query {
        let mut queries = self
            .alternatives
            .iter()
            .map(|parts| parts.iter().fold(Query::new(), |query, part| part.add(query)));
        let first = queries.next().unwrap();
        queries.fold(first, Query::or)
    }

    fn has(&self, event: &Event) -> bool {
        self.alternatives.iter().any(|parts| parts.iter().all(|part| part.has(event)))
    }
}

fn positions(read: impl IntoIterator<Item = annals::Result<Event>>) -> Vec<u64> {
    read.into_iter().map(|event| event.unwrap().position().0).collect()
}

fn check(store: &Store, asked: &Asked, context: &str) {
    let all = all_events(store);
    let after = asked.after.map_or(0, u64::from);
    let limit = asked.limit.map_or(usize::MAX, usize::from);
    let query = asked.query();
    let wanted = |event: &&Event| asked.has(event);
    let expected: Vec<u64> = all
        .iter()
        .filter(wanted)
        .map(|event| event.position().0)
        .filter(|position| *position > after)
        .take(limit)
        .collect();
    let read = || store.read(query.clone()).limit(limit);
    assert_eq!(positions(read().after(Position(after))), expected, "{context}");
    let in_query = store.read(query.clone().after(Position(after))).limit(limit);
    assert_eq!(positions(in_query), expected, "with `after` in the query {context}");
    let before = asked.after.map_or(u64::MAX, u64::from);
    let expected: Vec<u64> = all
        .iter()
        .rev()
        .filter(wanted)
        .map(|event| event.position().0)
        .filter(|position| *position < before)
        .take(limit)
        .collect();
    let backwards = match asked.after {
        Some(after) => read().backwards().after(Position(after.into())),
        None => read().backwards(),
    };
    assert_eq!(positions(backwards), expected, "backwards {context}");
    for event in &all {
        assert_eq!(query.matches(event), asked.has(event), "{context}");
    }
}

fn lists(store: &Store) {
    let mut streams: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    let mut types: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    let mut categories = types.clone();
    let mut schemas = BTreeMap::<(String, u32), (u64, u64, u64)>::new();
    for event in all_events(store) {
        let position = event.position().0;
        let count = |all: &mut BTreeMap<String, (u64, u64, u64)>, name: &str| {
            let row = all.entry(name.into()).or_insert((0, position, position));
            *row = (row.0 + 1, row.1, position);
        };
        let schema = (event.event_type().to_owned(), event.schema_version());
        let row = schemas.entry(schema).or_insert((0, position, position));
        *row = (row.0 + 1, row.1, position);
        count(&mut streams, event.stream());
        count(&mut types, event.event_type());
        count(&mut categories, event.category());
    }
    let found: BTreeMap<_, _> = store
        .streams()
        .into_iter()
        .map(Result::unwrap)
        .map(|s| (s.name, (s.version.0, s.first_position.0, s.last_position.0)))
        .collect();
    assert_eq!(found, streams);
    let carts = store.streams().prefix("Cart").into_iter().count();
    assert_eq!(carts, streams.keys().filter(|name| name.starts_with("Cart")).count());
    let cart = store.streams().category("Cart").into_iter().count();
    assert_eq!(cart, streams.keys().filter(|name| name.starts_with("Cart-")).count());
    for (found, expected) in
        [(store.event_types().unwrap(), types), (store.categories().unwrap(), categories)]
    {
        let found: BTreeMap<_, _> = found
            .into_iter()
            .map(|n| (n.name, (n.events, n.first_position.0, n.last_position.0)))
            .collect();
        assert_eq!(found, expected);
    }
    let found = store.schemas().unwrap().into_iter().map(|s| {
        let row = (s.events, s.first_position.0, s.last_position.0);
        ((s.event_type, s.schema_version), row)
    });
    assert!(found.eq(schemas));
}

fn times(store: &Store) {
    let all = all_events(store);
    for time in (0..52).step_by(5).map(at) {
        let later = all.iter().find(|event| event.created_at() > time);
        let expected = later.map_or(all.len() as u64, |event| event.position().0 - 1);
        assert_eq!(store.position_at(time).unwrap(), Position(expected));
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Random events and random queries: in memory, behind checkpoints, sealed, folded, reopened,
    /// with hashes that collide.
    #[test]
    fn a_query_is_a_filter_over_everything(
        events in prop::collection::vec(made(), 1..350),
        asked in prop::collection::vec(asked(), 12),
        bits in prop_oneof![Just(64_u32), Just(6)],
    ) {
        let place = Place::new();
        let options = small_segments().checkpoint_bytes(16 << 10).hash_bits(bits);
        let store = options.clone().open(place.path()).unwrap();
        let third = events.len() / 3;
        for (n, made) in events.iter().enumerate() {
            store.append(made.stream(), ExpectedVersion::Any, [made.event()]).unwrap();
            if n == third {
                store.sync().unwrap();
            }
        }
        let live = asked.len() / 2;
        for asked in &asked[..live] {
            check(&store, asked, &format!("before a reopen: {asked:?}"));
        }
        lists(&store);
        store.close().unwrap();
        let store = options.clone().open(place.path()).unwrap();
        for asked in &asked {
            check(&store, asked, &format!("after a reopen: {asked:?}"));
        }
        lists(&store);
        times(&store);
        let reader = options.open_read_only(place.path());
        let reader = reader.unwrap();
        for asked in &asked[live..] {
            check(&reader, asked, &format!("in a reader: {asked:?}"));
        }
    }
}

/// 600 segments' worth of events in folded runs: labels that many, few and no events have.
#[test]
fn labels_are_found_across_merged_runs() {
    let place = Place::new();
    let options = small_segments();
    let store = options.clone().open(place.path()).unwrap();
    for n in 0..2_000_u64 {
        let mut event = NewEvent::new("Filled", vec![b'x'; 2000]).tag("all").tag(format!("n:{n}"));
        if n % 500 == 7 {
            event = event.tag("rare").correlation("r");
        }
        store.append(format!("S-{}", n % 10), ExpectedVersion::Any, [event]).unwrap();
    }
    let check = |store: &Store| {
        let rare = [8, 508, 1008, 1508];
        assert_eq!(positions(store.read_all().tag("rare")), rare);
        assert_eq!(positions(store.read_all().tag("all").tag("rare")), rare);
        assert_eq!(positions(store.read_all().correlation("r").backwards()), [1508, 1008, 508, 8]);
        assert_eq!(positions(store.read_all().tag("all")).len(), 2000);
        assert_eq!(positions(store.read_all().tag("n:1999")), [2000]);
        assert!(positions(store.read_all().tag("none")).is_empty());
        let cost = store.read_all().tag("all").tag("rare").explain().unwrap();
        assert_eq!((cost.matched, cost.decoded), (4, 4), "{cost:?}");
        assert!(cost.segments_skipped > cost.segments_touched, "{cost:?}");
        let cost = store.read_all().tag("none").explain().unwrap();
        assert_eq!((cost.decoded, cost.segments_touched), (0, 0), "{cost:?}");
        assert!(cost.lists_read <= 1, "{cost:?}");
        let newest = store.read_all().tag("all").backwards().limit(3);
        assert_eq!(positions(newest.clone()), [2000, 1999, 1998]);
        assert!(newest.explain().unwrap().decoded <= 3);
    };
    check(&store);
    store.close().unwrap();
    check(&options.open(place.path()).unwrap());
}

#[test]
fn names_out_of_bounds_are_refused_by_a_read() {
    let store = Store::options().durability(Durability::Os).in_memory().unwrap();
    for query in [
        Query::new().stream(""),
        Query::new().stream("$x"),
        Query::new().tag(""),
        Query::new().tag("x".repeat(256)),
        Query::new().event_type("a\nb"),
        Query::new().category("x".repeat(513)),
        Query::new().correlation(""),
        Query::new().tag("fine").or(Query::new().causation("\u{7}")),
    ] {
        let mut read = store.read(query.clone()).into_iter();
        let refused = read.next().unwrap().unwrap_err();
        assert!(
            matches!(
                refused,
                annals::Error::InvalidName { .. } | annals::Error::LimitExceeded { .. }
            ),
            "{query:?}: {refused:?}"
        );
        assert!(read.next().is_none());
    }
}
