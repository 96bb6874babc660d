//! A JSON line as an event to append.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::JSON;
use crate::names::{EventId, shown};
use crate::new_event::NewEvent;
use crate::position::Timestamp;

use super::metadata;
use super::outcome::LineError;
use super::time::parse_time;

/// Reads one line as the [module](super) describes it: the stream, and the event to append to it.
///
/// An event without an id in the line has none; [`Import`](super::Import) derives one.
///
/// # Errors
///
/// [`LineError`] that says what is wrong with which field. Names, sizes and tags are checked when
/// the event is appended.
///
/// ```
/// use annals::transfer::parse_line;
/// let line = r#"{"stream":"Order-1","type":"OrderPlaced","data":{"total": 42.0}}"#;
/// let (stream, event) = parse_line(line)?;
/// assert_eq!((stream.as_str(), event.event_type()), ("Order-1", "OrderPlaced"));
/// assert_eq!(event.data(), br#"{"total": 42.0}"#);
/// # Ok::<(), annals::transfer::LineError>(())
/// ```
pub fn parse_line(line: &str) -> Result<(String, NewEvent), LineError> {
    let members = serde_json::from_str::<Members<'_>>(line).map_err(|e| not_an_object(&e))?;
    let mut fields = Fields::default();
    for (name, value) in members.0 {
        fields.set(&name, value)?;
    }
    fields.into_event()
}

/// Whether bytes are JSON that stands unchanged in a line: UTF-8, one value, no line's end in it
/// and no space around it.
///
/// ```
/// use annals::transfer::is_one_line_json;
/// assert!(is_one_line_json(br#"{"total": 42}"#));
/// assert!(!is_one_line_json(b"{\n}") && !is_one_line_json(b"42 ") && !is_one_line_json(b""));
/// ```
pub fn is_one_line_json(bytes: &[u8]) -> bool {
    one_line_json(bytes).is_some()
}

/// The bytes as text, where they are JSON that stands unchanged in a line.
pub(super) fn one_line_json(bytes: &[u8]) -> Option<&str> {
    let text = str::from_utf8(bytes).ok()?;
    if text.contains(['\n', '\r']) || text.trim_ascii().len() != text.len() {
        return None;
    }
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Some(text)
}

fn not_an_object(e: &serde_json::Error) -> LineError {
    // A line is one line: the reader's own "at line 1 column n" would be taken for the file's.
    let mut why = e.to_string();
    if let Some(at) = why.rfind(" at line ") {
        why.truncate(at);
    }
    LineError::NotAnObject { column: e.column(), why }
}

/// The members of a JSON object, in their order, each value as it stands in the line.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(12);
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The fields of a line, as far as they were met.
#[derive(Default)]
struct Fields<'a> {
    stream: Option<String>,
    event_type: Option<String>,
    id: Option<EventId>,
    created_at: Option<Timestamp>,
    schema_version: Option<u32>,
    content_type: Option<String>,
    data: Option<&'a RawValue>,
    data_base64: Option<Vec<u8>>,
    metadata: Option<&'a RawValue>,
    metadata_base64: Option<Vec<u8>>,
    tags: Option<Vec<String>>,
    correlation: Option<String>,
    causation: Option<String>,
    // Said by an export for its readers; where an event goes, the store alone says.
    global_position: Option<u64>,
    version: Option<u64>,
}

impl<'a> Fields<'a> {
    fn set(&mut self, name: &str, value: &'a RawValue) -> Result<(), LineError> {
        let text = |field| typed::<String>(field, value, "expected a string");
        let number = |field| typed::<u64>(field, value, "expected a whole number from 0");
        match name {
            "stream_id" => put("stream_id", &mut self.stream, text("stream_id")?),
            "stream" => put("stream", &mut self.stream, text("stream")?),
            "event_type" => put("event_type", &mut self.event_type, text("event_type")?),
            "type" => put("type", &mut self.event_type, text("type")?),
            "event_id" => put("event_id", &mut self.id, event_id("event_id", value)?),
            "id" => put("id", &mut self.id, event_id("id", value)?),
            "created_at" => put("created_at", &mut self.created_at, time("created_at", value)?),
            "time" => put("time", &mut self.created_at, time("time", value)?),
            "schema_version" => {
                let why = "expected a whole number from 0 to 4294967295";
                let version = typed("schema_version", value, why)?;
                put("schema_version", &mut self.schema_version, version)
            }
            "content_type" => put("content_type", &mut self.content_type, text("content_type")?),
            "data" => put("data", &mut self.data, value),
            "data_base64" => {
                put("data_base64", &mut self.data_base64, base64("data_base64", value)?)
            }
            "metadata" => put("metadata", &mut self.metadata, value),
            "metadata_base64" => {
                put("metadata_base64", &mut self.metadata_base64, base64("metadata_base64", value)?)
            }
            "tags" => put("tags", &mut self.tags, typed("tags", value, "expected strings")?),
            "correlation_id" => {
                put("correlation_id", &mut self.correlation, text("correlation_id")?)
            }
            "correlationId" => put("correlationId", &mut self.correlation, text("correlationId")?),
            "causation_id" => put("causation_id", &mut self.causation, text("causation_id")?),
            "causationId" => put("causationId", &mut self.causation, text("causationId")?),
            "global_position" => {
                put("global_position", &mut self.global_position, number("global_position")?)
            }
            "version" => put("version", &mut self.version, number("version")?),
            _ => Err(LineError::UnknownField { field: shown(name) }),
        }
    }

    fn into_event(mut self) -> Result<(String, NewEvent), LineError> {
        let metadata = self.take_metadata()?;
        let Some(stream) = self.stream else {
            return Err(LineError::MissingField { field: "stream_id" });
        };
        let Some(event_type) = self.event_type else {
            return Err(LineError::MissingField { field: "event_type" });
        };
        let mut event = match (self.data, self.data_base64) {
            (Some(_), Some(_)) => {
                return Err(LineError::invalid("data_base64", "stands beside \"data\""));
            }
            (Some(json), None) => NewEvent::new(event_type, json.get()).content_type(JSON),
            (None, bytes) => NewEvent::new(event_type, bytes.unwrap_or_default()),
        };
        event = event.metadata(metadata).tags(self.tags.unwrap_or_default());
        if let Some(id) = self.id {
            event = event.id(id);
        }
        if let Some(time) = self.created_at {
            event = event.created_at(time);
        }
        if let Some(version) = self.schema_version {
            event = event.schema_version(version);
        }
        if let Some(content_type) = self.content_type {
            event = event.content_type(content_type);
        }
        if let Some(id) = self.correlation {
            event = event.correlation(id);
        }
        if let Some(id) = self.causation {
            event = event.causation(id);
        }
        Ok((stream, event))
    }

    /// The bytes of the metadata; the ids in it become those of the event.
    fn take_metadata(&mut self) -> Result<Vec<u8>, LineError> {
        let lifted = match self.metadata {
            Some(metadata) => metadata::lift(metadata.get())?,
            None => metadata::Lifted::default(),
        };
        if let Some(id) = lifted.correlation {
            put("metadata.correlation_id", &mut self.correlation, id)?;
        }
        if let Some(id) = lifted.causation {
            put("metadata.causation_id", &mut self.causation, id)?;
        }
        match self.metadata_base64.take() {
            None => Ok(lifted.rest.into_bytes()),
            Some(bytes) if lifted.rest.is_empty() => Ok(bytes),
            Some(_) => Err(LineError::invalid(
                "metadata_base64",
                "stands beside a \"metadata\" with more than the two ids",
            )),
        }
    }
}

fn put<T>(field: &'static str, slot: &mut Option<T>, value: T) -> Result<(), LineError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(LineError::Repeated { field }),
    }
}

fn typed<'a, T: Deserialize<'a>>(
    field: &'static str,
    value: &'a RawValue,
    why: &'static str,
) -> Result<T, LineError> {
    serde_json::from_str(value.get()).map_err(|_| LineError::invalid(field, why))
}

fn event_id(field: &'static str, value: &RawValue) -> Result<EventId, LineError> {
    let why = "expected a UUID";
    typed::<String>(field, value, why)?.parse().map_err(|_| LineError::invalid(field, why))
}

fn time(field: &'static str, value: &RawValue) -> Result<Timestamp, LineError> {
    let why = "expected a time as RFC 3339, such as \"2026-01-15T10:30:00Z\"";
    // A number is what an export writes for a time that RFC 3339 cannot say.
    if let Ok(micros) = serde_json::from_str(value.get()) {
        return Ok(Timestamp::from_micros(micros));
    }
    parse_time(&typed::<String>(field, value, why)?).ok_or(LineError::invalid(field, why))
}

fn base64(field: &'static str, value: &RawValue) -> Result<Vec<u8>, LineError> {
    let why = "expected bytes as base64, with padding";
    let text = typed::<String>(field, value, why)?;
    BASE64.decode(text).map_err(|_| LineError::invalid(field, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BINARY;

    fn event(fields: &str) -> NewEvent {
        let line = format!(r#"{{"stream":"S-1","type":"T",{fields}}}"#);
        parse_line(&line).unwrap_or_else(|e| panic!("{line}: {e}")).1
    }

    fn refused(fields: &str) -> LineError {
        parse_line(&format!(r#"{{"stream":"S-1","type":"T",{fields}}}"#)).unwrap_err()
    }

    #[test]
    fn both_names_of_a_field_mean_the_same() {
        let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        let short = format!(
            r#"{{"stream":"S-1","type":"T","id":"{id}","time":"2016-02-29T02:23:00+01:00"}}"#
        );
        let long = format!(
            r#"{{"created_at":"2016-02-29T01:23:00.000000Z","event_id":"{id}","version":9,
                "event_type":"T","stream_id":"S-1","global_position":7,"tags":[]}}"#
        );
        assert_eq!(parse_line(&short).unwrap(), parse_line(&long).unwrap());
    }

    #[test]
    fn data_keeps_its_bytes_and_says_what_it_is() {
        for json in [r#"{"a": 1.00 , "a":2}"#, "null", r#""\ud83d\u0061""#, "-0.0e99"] {
            let event = event(&format!("\"data\": {json} "));
            assert_eq!(event.data(), json.as_bytes());
            assert_eq!(event.content_type, JSON);
        }
        let bytes = event(r#""data_base64":"AP8=""#);
        assert_eq!((bytes.data(), bytes.content_type.as_ref()), (&[0, 255][..], BINARY));
        assert_eq!(event(r#""data":1,"content_type":"text/x""#).content_type, "text/x");
        assert_eq!(event(r#""tags":["a"]"#).data(), b"");
    }

    #[test]
    fn the_ids_leave_the_metadata() {
        let lifted = event(r#""metadata":{"correlationId":"c","row":0,"causation_id":"d"}"#);
        assert_eq!(lifted.metadata, br#"{"row":0}"#);
        assert_eq!(
            (lifted.correlation.as_deref(), lifted.causation.as_deref()),
            (Some("c"), Some("d"))
        );
        let beside = event(r#""correlationId":"c","metadata":null"#);
        assert_eq!(
            (beside.correlation.as_deref(), &beside.metadata[..]),
            (Some("c"), &b"null"[..])
        );
        let bytes = event(r#""metadata":{"causation_id":"d"},"metadata_base64":"e30=""#);
        assert_eq!((bytes.causation.as_deref(), &bytes.metadata[..]), (Some("d"), &b"{}"[..]));
        assert_eq!(event(r#""metadata":{}"#).metadata, b"");
    }

    #[test]
    fn what_is_not_an_event_is_named() {
        for line in ["", "{", "[]", "7", r#"{"stream":"S"} x"#, r#"{"stream":nope}"#] {
            let error = parse_line(line).unwrap_err();
            let LineError::NotAnObject { why, .. } = error else { panic!("{line}: {error}") };
            assert!(!why.contains("at line"), "{why}");
        }
        let unknown = LineError::UnknownField { field: "strem".into() };
        assert_eq!(refused(r#""strem":1"#), unknown);
        assert_eq!(refused(r#""stream_id":"S""#), LineError::Repeated { field: "stream_id" });
        for (line, field) in [(r#"{"type":"T"}"#, "stream_id"), (r#"{"stream":"S"}"#, "event_type")]
        {
            assert_eq!(parse_line(line).unwrap_err(), LineError::MissingField { field });
        }
    }

    #[test]
    fn fields_of_the_wrong_kind_are_named() {
        for (fields, field) in [
            (r#""time":"now""#, "time"),
            (r#""created_at":null"#, "created_at"),
            (r#""id":"7""#, "id"),
            (r#""event_id":7"#, "event_id"),
            (r#""schema_version":-1"#, "schema_version"),
            (r#""content_type":1"#, "content_type"),
            (r#""tags":["a",1]"#, "tags"),
            (r#""data_base64":"A""#, "data_base64"),
            (r#""data":1,"data_base64":"""#, "data_base64"),
            (r#""metadata":{"a":1},"metadata_base64":"""#, "metadata_base64"),
            (r#""metadata":{"correlationId":1}"#, "metadata.correlationId"),
            (r#""correlation_id":null"#, "correlation_id"),
            (r#""version":1.5"#, "version"),
            (r#""global_position":"1""#, "global_position"),
        ] {
            let error = refused(fields);
            let LineError::Invalid { field: found, .. } = error else { panic!("{error}") };
            assert_eq!(found, field, "{fields}");
        }
        let twice = refused(r#""correlationId":"c","metadata":{"correlation_id":"c"}"#);
        assert_eq!(twice, LineError::Repeated { field: "metadata.correlation_id" });
    }
}
