//! The steps, by where they begin, and what runs them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::error::{Error, Result, SchemaError, StoredAs};
use crate::event::Event;
use crate::query::Query;

use super::super::typed::{Payload, PayloadRef};
use super::lifted::Lifted;

/// What a step returns; its error is any text or error.
pub type StepResult<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A type and a schema version of it.
pub(super) type At = (String, u32);

pub(super) type Run = Box<dyn Fn(PayloadRef<'_>) -> StepResult<Vec<Payload>> + Send + Sync>;

pub(super) struct Step {
    /// What it can make.
    pub(super) to: Vec<At>,
    pub(super) run: Run,
}

/// An event becomes at most so many. Steps that each split what the one before has made could
/// otherwise fill the memory, for one event.
const MOST_PARTS: usize = 65_536;

/// Without circles, so that lifting ends.
#[derive(Default)]
pub(super) struct Chains {
    steps: BTreeMap<String, BTreeMap<u32, Step>>,
    /// For each type the other types of which one version can become it.
    sources: BTreeMap<String, BTreeSet<String>>,
    /// The types that chains were checked to end at, with their versions, where they were said.
    pub(super) current: BTreeMap<String, u32>,
}

impl Chains {
    pub(super) fn new(given: BTreeMap<At, Step>, current: BTreeMap<String, u32>) -> Self {
        let mut chains = Self { current, ..Self::default() };
        for ((name, version), step) in given {
            chains.steps.entry(name).or_default().insert(version, step);
        }
        let mut sources = BTreeMap::<String, BTreeSet<String>>::new();
        for (name, steps) in &chains.steps {
            let mut reached = BTreeSet::new();
            let mut next: Vec<&At> = steps.values().flat_map(|step| &step.to).collect();
            while let Some(at) = next.pop() {
                if reached.insert(at) {
                    next.extend(chains.step(&at.0, at.1).into_iter().flat_map(|step| &step.to));
                }
            }
            for (reached, _) in reached {
                sources.entry(reached.clone()).or_default().insert(name.clone());
            }
        }
        chains.sources = sources;
        chains
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn steps(&self) -> Vec<(&str, u32)> {
        self.steps
            .iter()
            .flat_map(|(name, steps)| steps.keys().map(move |version| (name.as_str(), *version)))
            .collect()
    }

    fn step(&self, name: &str, version: u32) -> Option<&Step> {
        self.steps.get(name)?.get(&version)
    }

    /// A type and all that can become it, in order.
    fn sources(&self, event_type: &str) -> Vec<String> {
        let mut names = self.sources.get(event_type).cloned().unwrap_or_default();
        names.insert(event_type.into());
        names.into_iter().collect()
    }

    /// Whether an event is what it was when it was stored.
    pub(super) fn is_current(&self, event: &Event) -> bool {
        self.step(event.event_type(), event.schema_version()).is_none()
    }

    /// What an event becomes.
    pub(super) fn lift_event(&self, event: &Event) -> Result<Vec<Lifted>> {
        match self.lift(PayloadRef::of(event)) {
            Ok(None) => Ok(vec![Lifted::unchanged(event.clone())]),
            Ok(Some(parts)) => Ok(Lifted::parts(event, parts)),
            Err(Error::Schema(schema)) => Err(Error::Schema(schema.at(event.position()))),
            Err(e) => Err(e),
        }
    }

    /// A query that finds whatever can match the given one once it is lifted.
    pub(super) fn expand(&self, query: Query) -> Query {
        if self.is_empty() {
            return query;
        }
        query.replace_types(|event_type| self.sources(event_type))
    }

    /// What a payload becomes; `None` where it is current already.
    pub(super) fn lift(&self, payload: PayloadRef<'_>) -> Result<Option<Vec<Payload>>> {
        let Some(step) = self.step(payload.event_type, payload.schema_version) else {
            return Ok(None);
        };
        let mut done = Vec::new();
        // What is left to lift, the next one last.
        let mut left = run(step, payload)?;
        left.reverse();
        while let Some(part) = left.pop() {
            if done.len() + left.len() >= MOST_PARTS {
                let found = StoredAs::new(payload.event_type, payload.schema_version);
                let why = format!("it becomes more than {MOST_PARTS} events");
                return Err(Error::Schema(SchemaError::StepFailed { found, why }));
            }
            match self.step(&part.event_type, part.schema_version) {
                None => done.push(part),
                Some(step) => left.extend(run(step, part.as_ref())?.into_iter().rev()),
            }
        }
        Ok(Some(done))
    }
}

fn run(step: &Step, payload: PayloadRef<'_>) -> Result<Vec<Payload>> {
    let failed = |why: String| {
        Error::Schema(SchemaError::StepFailed {
            found: StoredAs::new(payload.event_type, payload.schema_version),
            why,
        })
    };
    let parts = (step.run)(payload).map_err(|e| failed(e.to_string()))?;
    for part in &parts {
        let (name, version) = (&part.event_type, part.schema_version);
        if !step.to.iter().any(|(n, v)| n == name && *v == version) {
            return Err(failed(format!(
                "it made \"{name}\" version {version}, which it did not say"
            )));
        }
    }
    Ok(parts)
}

impl fmt::Debug for Chains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chains").field("steps", &self.steps()).finish_non_exhaustive()
    }
}
