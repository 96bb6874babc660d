//! How steps are described, and what is checked before an event is read by them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::error::{ChainFault, Error, Result, SchemaError, StoredAs};

use super::super::typed::{EventSet, Payload, PayloadRef, Schema, TypedEvent};
use super::chains::{At, Chains, Run, Step, StepResult};

/// Steps that are being described: a builder. Made by
/// [`Upcasts::builder`](super::Upcasts::builder).
#[derive(Default)]
#[must_use = "steps do nothing until they are built"]
pub struct UpcastsBuilder {
    steps: BTreeMap<At, Step>,
    current: BTreeMap<String, u32>,
    /// The first thing that was wrong already when it was said.
    fault: Option<SchemaError>,
}

impl UpcastsBuilder {
    /// Any step: from a type at a version to what its function makes of the payload, which is of
    /// the types and versions that are named.
    ///
    /// ```
    /// use annals::kit::{Payload, Upcasts};
    /// let upcasts = Upcasts::builder()
    ///     .step(("Moved", 1), &[("Left", 1), ("Arrived", 1)], |payload| {
    ///         let part = |name| Payload { event_type: name, ..payload.to_owned() };
    ///         Ok(vec![part("Left".to_owned()), part("Arrived".to_owned())])
    ///     })
    ///     .build()?;
    /// assert_eq!(upcasts.steps(), [("Moved", 1)]);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn step(
        self,
        from: (&str, u32),
        to: &[(&str, u32)],
        run: impl Fn(PayloadRef<'_>) -> StepResult<Vec<Payload>> + Send + Sync + 'static,
    ) -> Self {
        let to = to.iter().map(|(name, version)| ((*name).into(), *version)).collect();
        self.add((from.0.into(), from.1), Step { to, run: Box::new(run) as Run })
    }

    /// From a version of a type to the next one, by changing the fields of its JSON object (feature
    /// `json`). They are written in the order of their names.
    ///
    /// ```
    /// use annals::kit::{Payload, Upcasts, codec};
    /// let upcasts = Upcasts::builder()
    ///     .change("OrderPlaced", 1, |fields| {
    ///         fields.insert("currency".into(), "EUR".into());
    ///         Ok(())
    ///     })
    ///     .build()?;
    /// let old = Payload::new("OrderPlaced", 1, codec::JSON, r#"{"total":4}"#);
    /// let lifted = upcasts.lift_payload(old.as_ref())?;
    /// assert_eq!(lifted[0].data, br#"{"currency":"EUR","total":4}"#);
    /// # Ok::<(), annals::Error>(())
    /// ```
    #[cfg(feature = "json")]
    pub fn change(
        self,
        event_type: &str,
        version: u32,
        change: impl Fn(&mut serde_json::Map<String, serde_json::Value>) -> StepResult<()>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let next = version.saturating_add(1);
        self.step((event_type, version), &[(event_type, next)], move |payload| {
            let mut fields = serde_json::from_slice(payload.data)?;
            change(&mut fields)?;
            let data = serde_json::to_vec(&fields)?;
            Ok(vec![Payload::new(payload.event_type, next, super::super::typed::codec::JSON, data)])
        })
    }

    /// From one typed event to another, by any codec.
    ///
    /// ```
    /// # #[cfg(feature = "derive")] {
    /// use annals::kit::{TypedEvent, Upcasts};
    /// use serde::{Deserialize, Serialize};
    /// #[derive(TypedEvent, Serialize, Deserialize)]
    /// #[event(name = "OrderPlaced", version = 1)]
    /// struct OrderPlacedV1 {
    ///     total: u64,
    /// }
    /// #[derive(TypedEvent, Serialize, Deserialize)]
    /// #[event(name = "OrderPlaced", version = 2)]
    /// struct OrderPlaced {
    ///     cents: u64,
    /// }
    /// let upcasts = Upcasts::builder()
    ///     .typed(|old: OrderPlacedV1| Ok(OrderPlaced { cents: old.total * 100 }))
    ///     .build()?;
    /// assert_eq!(upcasts.steps(), [("OrderPlaced", 1)]);
    /// # }
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn typed<Old: TypedEvent, New: TypedEvent>(
        self,
        lift: impl Fn(Old) -> StepResult<New> + Send + Sync + 'static,
    ) -> Self {
        let to = [(New::NAME, New::VERSION)];
        self.step((Old::NAME, Old::VERSION), &to, move |payload| {
            let old = Old::from_payload(payload)?;
            Ok(vec![lift(old)?.to_payload()?])
        })
    }

    /// The same data under another type, or at the next version.
    pub fn rename(self, from: (&str, u32), to: (&str, u32)) -> Self {
        let target: At = (to.0.into(), to.1);
        self.step(from, &[to], move |payload| {
            let (event_type, schema_version) = target.clone();
            Ok(vec![Payload { event_type, schema_version, ..payload.to_owned() }])
        })
    }

    /// One event as several, in order: as [`step`](Self::step), said by name. All steps together
    /// make at most 65,536 of one; more is a failure of the step.
    pub fn split(
        self,
        from: (&str, u32),
        to: &[(&str, u32)],
        split: impl Fn(PayloadRef<'_>) -> StepResult<Vec<Payload>> + Send + Sync + 'static,
    ) -> Self {
        self.step(from, to, split)
    }

    /// An event that nothing is made of any more.
    pub fn drop_event(self, event_type: &str, version: u32) -> Self {
        self.step((event_type, version), &[], |_| Ok(Vec::new()))
    }

    /// The types that are current: every chain has to end at one of them (or drop the event). To be
    /// said of all sets that are read with these upcasts, or of none.
    pub fn current<E: EventSet>(self) -> Self {
        let add = |builder: Self, schema: &Schema| {
            builder.current_type(schema.event_type, schema.version)
        };
        E::SCHEMAS.iter().fold(self, add)
    }

    /// One more type that is current, at its version of today. See [`current`](Self::current).
    pub fn current_type(mut self, event_type: impl Into<String>, version: u32) -> Self {
        self.current.insert(event_type.into(), version);
        self
    }

    /// The chains, once it is checked that they go together.
    pub(super) fn checked(self) -> Result<Chains> {
        match self.fault.clone().or_else(|| self.find_fault()) {
            Some(fault) => Err(Error::Schema(fault)),
            None => Ok(Chains::new(self.steps, self.current)),
        }
    }

    fn add(mut self, from: At, step: Step) -> Self {
        match self.steps.entry(from) {
            Entry::Vacant(place) => {
                place.insert(step);
            }
            Entry::Occupied(place) => {
                self.fault.get_or_insert_with(|| fault(place.key(), ChainFault::TwoSteps));
            }
        }
        self
    }

    fn find_fault(&self) -> Option<SchemaError> {
        for (from, step) in &self.steps {
            if self.current.get(from.0.as_str()) == Some(&from.1) {
                return Some(fault(from, ChainFault::Current));
            }
            for at in std::iter::once(from).chain(&step.to) {
                if at.1 == 0 {
                    return Some(fault(at, ChainFault::VersionZero));
                }
            }
            if self.leads_back(from) {
                return Some(fault(from, ChainFault::Cycle));
            }
            for to in &step.to {
                if to.0 == from.0 && from.1.checked_add(1) != Some(to.1) {
                    return Some(fault(to, ChainFault::NotOneVersion));
                }
                if let Some(why) = self.fault_of_target(to) {
                    return Some(fault(to, why));
                }
            }
        }
        None
    }

    fn fault_of_target(&self, to: &At) -> Option<ChainFault> {
        if self.steps.contains_key(to) {
            return None;
        }
        let later = (to.0.clone(), to.1)..=(to.0.clone(), u32::MAX);
        if self.steps.range(later).next().is_some() {
            return Some(ChainFault::Gap);
        }
        let is_end = self.current.is_empty() || self.current.get(to.0.as_str()) == Some(&to.1);
        (!is_end).then_some(ChainFault::DeadEnd)
    }

    fn leads_back(&self, start: &At) -> bool {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&At> = self.steps.get(start).into_iter().flat_map(|s| &s.to).collect();
        while let Some(at) = next.pop() {
            if at == start {
                return true;
            }
            if seen.insert(at) {
                next.extend(self.steps.get(at).into_iter().flat_map(|step| &step.to));
            }
        }
        false
    }
}

fn fault(at: &At, fault: ChainFault) -> SchemaError {
    SchemaError::Chain { at: StoredAs::new(at.0.clone(), at.1), fault }
}

impl fmt::Debug for UpcastsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.steps.keys().collect();
        f.debug_struct("UpcastsBuilder").field("steps", &steps).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Upcasts;
    use super::*;

    fn fault_of(builder: UpcastsBuilder) -> Option<(String, u32, ChainFault)> {
        match builder.build() {
            Ok(_) => None,
            Err(Error::Schema(SchemaError::Chain { at, fault })) => {
                Some((at.event_type, at.schema_version, fault))
            }
            Err(e) => panic!("{e}"),
        }
    }

    struct Current;

    impl TypedEvent for Current {
        const NAME: &'static str = "A";
        const VERSION: u32 = 3;
        const CONTENT_TYPE: &'static str = "";
        fn encode(&self) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }
        fn decode(_: PayloadRef<'_>) -> Result<Self> {
            Ok(Self)
        }
    }

    #[test]
    fn chains_that_do_not_go_together_are_refused() {
        use ChainFault::{
            Current as IsCurrent, Cycle, DeadEnd, Gap, NotOneVersion, TwoSteps, VersionZero,
        };
        let new = Upcasts::builder;
        let up = |b: UpcastsBuilder, v: u32| b.rename(("A", v), ("A", v + 1));
        let cases = [
            (up(up(new(), 1), 1), ("A", 1, TwoSteps)),
            (up(new(), 1).drop_event("A", 1), ("A", 1, TwoSteps)),
            (new().rename(("A", 1), ("A", 1)), ("A", 1, Cycle)),
            (
                new()
                    .rename(("A", 1), ("B", 1))
                    .split(("B", 1), &[("D", 1), ("C", 1)], |_| Ok(Vec::new()))
                    .rename(("C", 1), ("A", 1)),
                ("A", 1, Cycle),
            ),
            (up(up(new(), 1), 3), ("A", 2, Gap)),
            (up(new(), 2).rename(("B", 1), ("A", 1)), ("A", 1, Gap)),
            (new().rename(("A", 1), ("A", 3)), ("A", 3, NotOneVersion)),
            (new().rename(("A", 2), ("A", 1)), ("A", 1, NotOneVersion)),
            (new().drop_event("A", 0), ("A", 0, VersionZero)),
            (new().rename(("A", 1), ("B", 0)), ("B", 0, VersionZero)),
            (up(new().current::<Current>(), 1), ("A", 2, DeadEnd)),
            (new().current::<Current>().rename(("B", 1), ("C", 1)), ("C", 1, DeadEnd)),
            (up(new().current::<Current>(), 3), ("A", 3, IsCurrent)),
        ];
        for (number, (builder, (name, version, why))) in cases.into_iter().enumerate() {
            assert_eq!(fault_of(builder), Some((name.into(), version, why)), "case {number}");
        }
        let whole = up(up(new().current::<Current>(), 1), 2).rename(("B", 7), ("A", 1));
        assert_eq!(fault_of(whole.drop_event("C", 1)), None);
    }
}
