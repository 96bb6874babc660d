//! Given these events, when this command, then those events: tests of a decider without a store.

use std::fmt::{Debug, Write};

use super::decider::Decider;
use super::typed::EventSet;

/// A test of a decider, without a store: given events, when a command, then events or a refusal.
///
/// Where something else comes out it panics with all of it, so it is for tests alone. Every event
/// of a scenario is also encoded and decoded, so what would not come back from a store as it was is
/// found here.
///
/// ```
/// # #[cfg(all(feature = "derive", feature = "json"))] {
/// use annals::kit::{Decider, EventSet, Scenario};
///
/// #[derive(EventSet, Debug, PartialEq)]
/// enum Door {
///     #[event(name = "DoorOpened")]
///     Opened,
///     #[event(name = "DoorClosed")]
///     Closed,
/// }
///
/// #[derive(Debug)]
/// struct Open;
///
/// struct Doors;
///
/// impl Decider for Doors {
///     type State = bool;
///     type Command = Open;
///     type Event = Door;
///     type Error = &'static str;
///     fn initial(&self) -> bool {
///         false
///     }
///     fn decide(&self, is_open: &bool, _: &Open) -> Result<Vec<Door>, &'static str> {
///         if *is_open { Err("it is open") } else { Ok(vec![Door::Opened]) }
///     }
///     fn evolve(&self, _: bool, event: &Door) -> bool {
///         *event == Door::Opened
///     }
/// }
///
/// Scenario::new(Doors).given([]).when(Open).then([Door::Opened]).then_state(|is_open| *is_open);
/// Scenario::new(Doors).given([Door::Opened]).when(Open).then_refused("it is open");
/// Scenario::new(Doors).given([Door::Opened, Door::Closed]).when(Open).then([Door::Opened]);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a scenario tests nothing until it says what should happen"]
pub struct Scenario<D: Decider> {
    decider: D,
    given: Vec<D::Event>,
}

/// A scenario whose command was decided.
pub struct Decided<D: Decider> {
    given: Vec<D::Event>,
    command: D::Command,
    outcome: Result<Vec<D::Event>, D::Error>,
    /// After the events that were decided.
    state: D::State,
}

impl<D: Decider> Scenario<D> {
    /// A scenario of a decider, in which nothing has happened.
    pub fn new(decider: D) -> Self {
        Self { decider, given: Vec::new() }
    }

    /// What has happened; behind what was given before.
    pub fn given(mut self, events: impl IntoIterator<Item = D::Event>) -> Self {
        self.given.extend(events);
        self
    }

    /// What is asked for.
    #[must_use = "a scenario tests nothing until it says what should happen"]
    pub fn when(self, command: D::Command) -> Decided<D> {
        let Self { decider, given } = self;
        let evolve = |state, event: &D::Event| decider.evolve(state, event);
        let state = given.iter().fold(decider.initial(), evolve);
        let outcome = decider.decide(&state, &command);
        let state = outcome.iter().flatten().fold(state, evolve);
        Decided { given, command, outcome, state }
    }
}

impl<D: Decider> Decided<D>
where
    D::Event: Debug + PartialEq,
    D::Command: Debug,
    D::Error: Debug,
{
    /// These events, and no others, are decided.
    ///
    /// # Panics
    ///
    /// Where that is not so, or an event does not come back from its encoding as it was.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = D::Event>) -> Self {
        let expected: Vec<_> = events.into_iter().collect();
        self.check_codec();
        if !matches!(&self.outcome, Ok(decided) if *decided == expected) {
            let lines = expected.iter().map(|event| format!("{event:?}")).collect();
            self.fail(lines);
        }
        self
    }

    /// Nothing is decided.
    ///
    /// # Panics
    ///
    /// Where something is, or the command is refused.
    #[track_caller]
    pub fn then_nothing(self) -> Self {
        self.then([])
    }

    /// The command is refused, with this error.
    ///
    /// # Panics
    ///
    /// Where it is not, or with another.
    #[track_caller]
    pub fn then_refused(self, error: D::Error) -> Self
    where
        D::Error: PartialEq,
    {
        self.check_codec();
        if !matches!(&self.outcome, Err(found) if *found == error) {
            self.fail(vec![format!("refused: {error:?}")]);
        }
        self
    }

    /// The state behind it all is as it should be.
    ///
    /// # Panics
    ///
    /// Where it is not.
    #[track_caller]
    pub fn then_state(self, is_right: impl FnOnce(&D::State) -> bool) -> Self {
        assert!(is_right(&self.state), "{}the state behind it is not as expected\n", self.told());
        self
    }

    #[track_caller]
    fn check_codec(&self) {
        for event in self.given.iter().chain(self.outcome.iter().flatten()) {
            let payload = event.to_payload();
            let back = payload.and_then(|payload| D::Event::from_payload(payload.as_ref()));
            match back {
                Ok(back) if back == *event => {}
                Ok(back) => panic!(
                    "an event is not what comes back from its encoding:\n  {event:?}\n  {back:?}\n"
                ),
                Err(e) => {
                    panic!("an event does not come back from its encoding: {e}\n  {event:?}\n")
                }
            }
        }
    }

    fn told(&self) -> String {
        let mut text = String::from("\ngiven\n");
        list(&mut text, &self.given.iter().map(|event| format!("{event:?}")).collect::<Vec<_>>());
        let _ = write!(text, "when\n  {:?}\n", self.command);
        text
    }

    #[track_caller]
    fn fail(&self, expected: Vec<String>) -> ! {
        let decided = match &self.outcome {
            Ok(events) => events.iter().map(|event| format!("{event:?}")).collect(),
            Err(error) => vec![format!("refused: {error:?}")],
        };
        let mut text = self.told();
        text.push_str("then, expected\n");
        list(&mut text, &expected);
        text.push_str("but decided\n");
        list(&mut text, &decided);
        let same = expected.iter().zip(&decided).take_while(|(a, b)| a == b).count();
        let _ = writeln!(text, "they differ from number {} on", same + 1);
        panic!("{text}");
    }
}

fn list(text: &mut String, lines: &[String]) {
    if lines.is_empty() {
        text.push_str("  nothing\n");
    }
    for (number, line) in (1..).zip(lines) {
        let _ = writeln!(text, "  {number}. {line}");
    }
}

impl<D: Decider> Debug for Decided<D>
where
    D::Event: Debug,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decided").field("given", &self.given).finish_non_exhaustive()
    }
}
