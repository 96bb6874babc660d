//! What a simulated disk is to do when: faults by the number of a call, the power cut, the clock.

use std::collections::BTreeMap;
use std::io;

use crate::position::Timestamp;

/// When a simulated clock starts, for no reason but that it looks like a time.
const START: i64 = 1_700_000_000_000_000;

/// A call of the storage seam. The clock and the name of the root are no calls: they cannot fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) kind: CallKind,
    /// The file or directory; for a rename the new name.
    pub(crate) name: String,
    pub(crate) offset: u64,
    /// How many bytes were asked for, or the length of a growing file.
    pub(crate) len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    CreateDir,
    List,
    SyncDir,
    Create,
    Open,
    Rename,
    Remove,
    Lock,
    Random,
    Len,
    Read,
    ReadDirect,
    Write,
    Sync,
    Grow,
    DropCache,
    Release,
    Map,
    SharedPage,
}

impl CallKind {
    /// Whether such a call may change what is on the disk, or what a crash leaves of it.
    pub(crate) const fn may_change(self) -> bool {
        match self {
            Self::List
            | Self::Open
            | Self::Random
            | Self::Len
            | Self::Read
            | Self::ReadDirect
            | Self::Map => false,
            Self::CreateDir
            | Self::SyncDir
            | Self::Create
            | Self::Rename
            | Self::Remove
            | Self::Lock
            | Self::Write
            | Self::Sync
            | Self::Grow
            | Self::DropCache
            | Self::Release
            | Self::SharedPage => true,
        }
    }
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails and, other than a sync of a file, changes nothing.
    Error(io::ErrorKind),
    /// As `Error`, with an error number of the operating system.
    Errno(i32),
    /// A read or a write moves half of the bytes; nothing else notices.
    ShortCount,
    /// A write goes to the cache alone and counts as clean there: the medium lies. Nothing else
    /// notices.
    LostWrite,
    /// A write goes to the cache, and on the medium to the sector behind, at once: the medium lies,
    /// and what was durable there is gone. Nothing else notices.
    Misdirected,
}

/// Where a write ends up on the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    Right,
    Nowhere,
    Wrong,
}

/// A call that gets through, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) bytes: u64,
    pub(super) goes: Goes,
}

/// Why a call did not get through.
#[derive(Debug)]
pub(super) enum Refusal {
    Fault(io::Error),
    PowerOff,
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Fault(error) => error,
            Refusal::PowerOff => Self::other("the simulated power is gone"),
        }
    }
}

/// The course of a simulation. It depends on the seed alone.
pub(super) struct Script {
    calls: u64,
    once: BTreeMap<u64, Fault>,
    for_ever: Option<(u64, Fault)>,
    power_off_at: Option<u64>,
    trace: Option<Vec<Call>>,
    clock: i64,
    random: Random,
}

impl Script {
    pub(super) fn new(seed: u64) -> Self {
        Self::starting(START, Random::new(seed))
    }

    /// The script of the machine after it was started again. Time and randomness go on: a salt
    /// that came twice would hide a mistake or look like one.
    pub(super) fn restarted(&self) -> Self {
        Self::starting(self.clock, self.random.clone())
    }

    const fn starting(clock: i64, random: Random) -> Self {
        Self {
            calls: 0,
            once: BTreeMap::new(),
            for_ever: None,
            power_off_at: None,
            trace: None,
            clock,
            random,
        }
    }

    pub(super) const fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn fail_at(&mut self, call: u64, fault: Fault) {
        self.once.insert(call, fault);
    }

    pub(super) const fn fail_from(&mut self, call: u64, fault: Fault) {
        self.for_ever = Some((call, fault));
    }

    pub(super) const fn power_off_at(&mut self, call: u64) {
        self.power_off_at = Some(call);
    }

    pub(super) fn start_trace(&mut self) {
        self.trace = Some(Vec::new());
    }

    pub(super) fn trace(&self) -> &[Call] {
        self.trace.as_deref().unwrap_or_default()
    }

    pub(super) fn heal(&mut self) {
        self.once.clear();
        self.for_ever = None;
    }

    /// Counts a call and says how much of it gets through.
    pub(super) fn admit(
        &mut self,
        kind: CallKind,
        name: &str,
        offset: u64,
        len: u64,
    ) -> Result<Passed, Refusal> {
        let number = self.calls;
        self.calls += 1;
        if self.power_off_at.is_some_and(|at| number >= at) {
            return Err(Refusal::PowerOff);
        }
        if let Some(trace) = &mut self.trace {
            trace.push(Call { kind, name: name.into(), offset, len });
        }
        let for_ever = self.for_ever.filter(|(from, _)| number >= *from).map(|(_, fault)| fault);
        match self.once.remove(&number).or(for_ever) {
            None => Ok(Passed { bytes: len, goes: Goes::Right }),
            Some(Fault::ShortCount) => Ok(Passed { bytes: len.div_ceil(2), goes: Goes::Right }),
            Some(Fault::LostWrite) => Ok(Passed { bytes: len, goes: Goes::Nowhere }),
            Some(Fault::Misdirected) => Ok(Passed { bytes: len, goes: Goes::Wrong }),
            Some(Fault::Error(kind)) => Err(Refusal::Fault(kind.into())),
            Some(Fault::Errno(number)) => Err(Refusal::Fault(io::Error::from_raw_os_error(number))),
        }
    }

    /// The time, which moves on by a microsecond whenever someone looks.
    pub(super) const fn tick(&mut self) -> Timestamp {
        let now = self.clock;
        self.clock = now.saturating_add(1);
        Timestamp::from_micros(now)
    }

    pub(super) const fn set_time(&mut self, time: Timestamp) {
        self.clock = time.as_micros();
    }

    pub(super) const fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

/// Splitmix64: small, seeded, the same everywhere.
#[derive(Clone)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below a small bound, which cannot be 0.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn fill(&mut self, buffer: &mut [u8]) {
        buffer.fill_with(|| u8::try_from(self.below(256)).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(script: &mut Script) -> Result<u64, Refusal> {
        script.admit(CallKind::Write, "file", 7, 9).map(|passed| passed.bytes)
    }

    #[test]
    fn a_fault_hits_its_call_and_no_other() {
        let mut script = Script::new(0);
        script.fail_at(1, Fault::Error(io::ErrorKind::StorageFull));
        script.fail_at(3, Fault::ShortCount);
        assert_eq!(admit(&mut script).unwrap(), 9);
        let Err(Refusal::Fault(error)) = admit(&mut script) else { panic!("call 1 fails") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(admit(&mut script).unwrap(), 9);
        assert_eq!(admit(&mut script).unwrap(), 5);
        assert_eq!(admit(&mut script).unwrap(), 9);
        assert_eq!(script.calls(), 5);
    }

    #[test]
    fn a_permanent_fault_stays() {
        let mut script = Script::new(0);
        script.fail_from(1, Fault::Errno(5));
        assert!(admit(&mut script).is_ok());
        for _ in 0..3 {
            let Err(Refusal::Fault(error)) = admit(&mut script) else { panic!("it fails") };
            assert_eq!(error.raw_os_error(), Some(5));
        }
    }

    #[test]
    fn healing_ends_every_fault_to_come() {
        let mut script = Script::new(0);
        script.fail_at(0, Fault::Errno(5));
        script.fail_from(1, Fault::Errno(5));
        script.heal();
        assert_eq!(admit(&mut script).unwrap(), 9);
        assert_eq!(admit(&mut script).unwrap(), 9);
    }

    #[test]
    fn without_power_nothing_gets_through() {
        let mut script = Script::new(0);
        script.start_trace();
        script.power_off_at(1);
        assert!(admit(&mut script).is_ok());
        assert!(matches!(admit(&mut script), Err(Refusal::PowerOff)));
        assert!(matches!(admit(&mut script), Err(Refusal::PowerOff)));
        assert_eq!(script.trace().len(), 1);
    }

    #[test]
    fn the_trace_has_what_was_asked_for() {
        let mut script = Script::new(0);
        assert!(admit(&mut script).is_ok());
        script.start_trace();
        script.fail_at(1, Fault::Errno(5));
        assert!(admit(&mut script).is_err());
        let call = Call { kind: CallKind::Write, name: "file".into(), offset: 7, len: 9 };
        assert_eq!(script.trace(), [call]);
    }

    #[test]
    fn a_restart_keeps_time_and_randomness_going_and_forgets_the_faults() {
        let mut script = Script::new(7);
        script.fail_from(0, Fault::Errno(5));
        script.power_off_at(0);
        let (time, drawn) = (script.tick(), script.random().next());
        let mut restarted = script.restarted();
        assert_eq!(restarted.tick().as_micros(), time.as_micros() + 1);
        assert_ne!(restarted.random().next(), drawn);
        assert!(admit(&mut restarted).is_ok());
        assert_eq!(restarted.calls(), 1);
    }

    #[test]
    fn the_seed_decides() {
        let drawn = |seed| {
            let mut bytes = [0; 16];
            Random::new(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        // The reference implementation's first value for this seed.
        assert_eq!(Random::new(1_234_567).next(), 6_457_827_717_110_365_317);
    }
}
