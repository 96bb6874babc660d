//! What a bench has found: a line for people each time, one object where JSON is asked for.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::output::{Output, grouped, rate};

/// What can be found: under which key, in which words, in which unit.
const FINDINGS: [(&str, &str, &str); 22] = [
    ("fill_per_second", "appended", "events/s"),
    ("close_ms", "close", "ms"),
    ("segments", "segments", ""),
    ("log_bytes_per_event", "bytes per event, log", ""),
    ("index_bytes_per_event", "bytes per event, indexes", ""),
    ("open_cold_ms", "open, cold", "ms"),
    ("anonymous_open_bytes", "anonymous memory, open", "bytes"),
    ("streams_cold_per_second", "random streams, cold", "streams/s"),
    ("streams_hot_per_second", "the same streams again", "streams/s"),
    ("new_stream_us", "append to a new stream (Os)", "us each"),
    ("new_id_us", "append with a new id (Os)", "us each"),
    ("category_per_second", "read a category", "events/s"),
    ("type_per_second", "read a type", "events/s"),
    ("catch_up_per_second", "a subscription catches up", "events/s"),
    ("unseen_tag_us", "look up a tag that no event has", "us each"),
    ("recent_tag_us", "look up a tag in the last 100 events", "us each"),
    ("anonymous_serving_bytes", "anonymous memory, serving", "bytes"),
    ("open_clean_ms", "open, clean, in the cache", "ms"),
    ("open_killed_ms", "open, after a kill", "ms"),
    ("verify_s", "verify everything", "s"),
    ("events", "events", ""),
    ("streams", "streams", ""),
];

pub(super) struct Report<'a> {
    output: &'a mut Output,
    found: Map<String, Value>,
}

impl<'a> Report<'a> {
    pub(super) fn new(output: &'a mut Output) -> Self {
        Self { output, found: Map::new() }
    }

    /// Takes a finding in, and says it to people.
    pub(super) fn add(&mut self, key: &str, value: Value) -> Result<(), Failure> {
        if let Some((_, words, unit)) = FINDINGS.iter().find(|(known, _, _)| *known == key) {
            let shown = match (&value, value.as_u64()) {
                (Value::Null, _) => "unknown on this system".into(),
                (_, Some(whole)) => grouped(whole),
                _ => format!("{:.2}", value.as_f64().unwrap_or(0.0)),
            };
            self.output.say(format_args!("{words:<37} {shown:>14} {unit}"))?;
        }
        self.found.insert(key.into(), value);
        Ok(())
    }

    /// Says something to people only.
    pub(super) fn say(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        self.output.say(text)
    }

    pub(super) fn note(&self, text: &str) {
        self.output.note(text);
    }

    pub(super) fn millis(&mut self, key: &str, spent: Duration) -> Result<(), Failure> {
        self.add(key, json!(spent.as_secs_f64() * 1e3))
    }

    pub(super) fn seconds(&mut self, key: &str, spent: Duration) -> Result<(), Failure> {
        self.add(key, json!(spent.as_secs_f64()))
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
    pub(super) fn micros_each(
        &mut self,
        key: &str,
        count: u64,
        spent: Duration,
    ) -> Result<(), Failure> {
        self.add(key, json!(spent.as_secs_f64() * 1e6 / count.max(1) as f64))
    }

    pub(super) fn rate(&mut self, key: &str, count: u64, spent: Duration) -> Result<(), Failure> {
        self.add(key, json!(rate(count, spent)))
    }

    /// Takes over what another process has found.
    pub(super) fn take(&mut self, mut found: Map<String, Value>) -> Result<(), Failure> {
        for (key, _, _) in FINDINGS {
            if let Some(value) = found.remove(key) {
                self.add(key, value)?;
            }
        }
        Ok(())
    }

    /// Ends: all that was found in one object, where it is asked for.
    pub(super) fn finish(self) -> Result<(), Failure> {
        if self.output.json() { self.output.line(Value::Object(self.found)) } else { Ok(()) }
    }
}
