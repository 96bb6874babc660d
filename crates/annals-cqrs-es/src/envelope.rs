//! An event of the framework as one of annals, and back.

use annals::{Event, MAX_LABEL, NewEvent};
use cqrs_es::persist::{PersistenceError, SerializedEvent};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{persistence, refused};

/// What of an event has no place of its own in annals, as its metadata.
#[derive(Serialize, Deserialize)]
struct Beside {
    /// The framework's version is a text, such as `1.0`.
    event_version: String,
    metadata: Value,
}

/// The stream of an aggregate: `Type-id`. A type with a `-` would share streams with another one.
pub(crate) fn stream_of(aggregate_type: &str, id: &str) -> Result<String, PersistenceError> {
    if aggregate_type.contains('-') {
        return Err(refused("the type of an aggregate holds a `-`"));
    }
    Ok(format!("{aggregate_type}-{id}"))
}

pub(crate) fn to_annals(event: &SerializedEvent) -> Result<NewEvent, PersistenceError> {
    let beside =
        Beside { event_version: event.event_version.clone(), metadata: event.metadata.clone() };
    let mut new = NewEvent::json(&event.event_type, &event.payload)
        .and_then(|new| new.metadata_json(&beside))
        .map_err(persistence)?
        .schema_version(schema_version(&event.event_version));
    if let Some(id) = label(&event.metadata, "correlation_id") {
        new = new.correlation(id);
    }
    if let Some(id) = label(&event.metadata, "causation_id") {
        new = new.causation(id);
    }
    Ok(new)
}

pub(crate) fn from_annals(event: &Event) -> Result<SerializedEvent, PersistenceError> {
    let beside: Beside = event.metadata_json().map_err(persistence)?;
    let (aggregate_type, aggregate_id) = event
        .stream()
        .split_once('-')
        .ok_or_else(|| refused("the stream has no `-` between type and id"))?;
    let too_many = |_| refused("a version that a usize does not hold");
    Ok(SerializedEvent {
        aggregate_id: aggregate_id.into(),
        sequence: usize::try_from(event.version().0).map_err(too_many)?,
        aggregate_type: aggregate_type.into(),
        event_type: event.event_type().into(),
        event_version: beside.event_version,
        payload: event.json().map_err(persistence)?,
        metadata: beside.metadata,
    })
}

/// The number that a version begins with, so that annals' catalogue of schemas tells major versions
/// apart; 1 where it begins with none or with 0.
fn schema_version(version: &str) -> u32 {
    let digits = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(1).max(1)
}

/// An id that annals can index: what it could not keep as a label stays in the metadata only.
fn label<'a>(metadata: &'a Value, name: &str) -> Option<&'a str> {
    let is_label =
        |id: &&str| (1..=MAX_LABEL).contains(&id.len()) && !id.contains(char::is_control);
    metadata.get(name).and_then(Value::as_str).filter(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_gives_its_leading_number() {
        let cases = [("1.0", 1), ("2", 2), ("0.1.0", 1), ("v3", 1), ("", 1), ("12-beta", 12)];
        for (version, number) in cases {
            assert_eq!(schema_version(version), number, "{version}");
        }
    }

    #[test]
    fn a_type_with_a_dash_is_refused() {
        assert_eq!(stream_of("Account", "a-1").unwrap(), "Account-a-1");
        assert!(stream_of("Bank-Account", "1").is_err());
    }
}
