//! Random subscriptions with cursors: stopped, saved, crashed and begun again at random, compared
//! with the log.

use super::{MODES, Random, Scene, open, scaled, seed, small};
use crate::storage::memory::MemoryDisk;
use crate::{Durability, Event, ExpectedVersion, NewEvent, Position, Query, Result, Store};

/// What is subscribed to, each under a cursor of its name.
fn queries() -> [(&'static str, Query); 4] {
    [
        ("all", Query::new()),
        ("tagged", Query::new().tag("t:1")),
        ("typed", Query::new().types(["A", "C"]).category("S1")),
        ("either", Query::new().tag("t:2").or(Query::new().stream("S0-1"))),
    ]
}

/// One store, and what its consumers know.
struct Consumers {
    disk: MemoryDisk,
    durability: Durability,
    store: Store,
    random: Random,
    /// Where each cursor was last saved.
    saved: [u64; 4],
    delivered: usize,
    resumed: usize,
}

impl Consumers {
    fn new(seed: u64, durability: Durability) -> Self {
        let disk = MemoryDisk::simulated(seed);
        let store = open(&disk, &small().durability(durability)).unwrap();
        let random = Random(seed);
        Self { disk, durability, store, random, saved: [0; 4], delivered: 0, resumed: 0 }
    }

    fn append(&mut self) {
        for _ in 0..=self.random.below(9) {
            let stream = format!("S{}-{}", self.random.below(3), self.random.below(4));
            let kind = ["A", "B", "C"][self.random.below(3)];
            let bytes = if self.random.below(8) == 0 { 3000 } else { 20 };
            let tag = format!("t:{}", self.random.below(4));
            let event = NewEvent::new(kind, vec![b'x'; bytes]).tag(tag);
            self.store.append(stream, ExpectedVersion::Any, [event]).unwrap();
        }
    }

    /// One run of one consumer: what it is given is what a read gives, from where it was saved on.
    fn consume(&mut self) {
        let which = self.random.below(4);
        let (name, query) = &queries()[which];
        let begin = self.saved[which];
        let subscribe = self.store.subscribe().matching(query.clone()).cursor(*name);
        let every = self.random.below(3) == 0;
        let subscribe = if every { subscribe.save_every(3) } else { subscribe };
        let mut run = subscribe.start().unwrap();
        assert_eq!(run.position(), Position(begin), "{name} begins where it was saved");
        self.resumed += usize::from(begin > 0);
        let mut given = Vec::new();
        for _ in 0..self.random.below(30) {
            if self.random.below(6) == 0 {
                self.append();
            }
            let Some(event) = run.try_next().unwrap() else { break };
            given.push(event.position());
            if self.random.below(5) == 0 {
                run.save().unwrap();
                self.saved[which] = run.position().0;
            }
        }
        self.delivered += given.len();
        let read = self.store.read(query.clone()).after(Position(begin)).limit(given.len());
        let wanted: Vec<Event> = read.into_iter().collect::<Result<_>>().unwrap();
        assert!(wanted.iter().map(Event::position).eq(given), "{name} after {begin}");
        drop(run);
        let saved = self.store.cursor(name).unwrap().map_or(0, |cursor| cursor.position.0);
        assert!(saved >= self.saved[which], "{name}: {saved} is before {}", self.saved[which]);
        assert!(every || saved == self.saved[which], "{name} is saved where it was told to");
        self.saved[which] = saved;
        assert!(self.store.durable() >= Position(saved), "never beyond what is durable");
    }

    /// The end of the process or of the power, and a new beginning.
    fn crash(&mut self) {
        let draw = self.random.next();
        let disk = match draw % 3 {
            0 => self.disk.crash_keeping_everything(),
            1 => self.disk.crash_keeping_nothing(),
            _ => self.disk.crash_seeded(draw),
        };
        let _ = self.store.close();
        self.disk = disk;
        self.store = open(&self.disk, &small().durability(self.durability)).unwrap();
        for ((name, _), saved) in queries().iter().zip(self.saved) {
            let found = self.store.cursor(name).unwrap();
            assert_eq!(found.as_ref().map_or(0, |cursor| cursor.position.0), saved, "{name}");
            assert!(found.is_none_or(|cursor| !cursor.has_diverged), "{name} has diverged");
        }
    }
}

#[test]
fn random_subscriptions_go_on_where_they_were_saved() {
    let (mut delivered, mut resumed) = (0, 0);
    for history in 0..scaled(60, 5000) as u64 {
        let (mode, durability) = MODES[usize::try_from(history).unwrap() % MODES.len()];
        let _scene = Scene(move || format!("history {history}, {mode}, seed {}", seed()));
        let mut consumers = Consumers::new(seed() ^ history, durability);
        for _ in 0..40 {
            match consumers.random.below(8) {
                0..3 => consumers.append(),
                3..7 => consumers.consume(),
                _ => consumers.crash(),
            }
        }
        delivered += consumers.delivered;
        resumed += consumers.resumed;
    }
    // Neither a thread nor a queue: this and the query's text is all that an idle one takes.
    assert!(size_of::<crate::Subscription>() <= 1024);
    println!("{delivered} events delivered, {resumed} runs that went on from a cursor");
    assert!(delivered > 5000 && resumed > 300);
}
