//! Events of the framework as events of annals, and back.

use annals::{Event, MAX_EVENT_TYPE, NewEvent};
use bytes::Bytes;
use mnesis::Version;
use mnesis_store::envelope::{PendingEnvelope, PersistedEnvelope};
use mnesis_store::value::{EventType, Metadata, Payload, SchemaVersion};
use mnesis_store::wire::encode_frame;

use crate::error::Error;

/// The content type of events whose type annals does not take as one. It stands in front of the
/// data: its length in two bytes, little-endian, then itself.
const TYPE_INSIDE: &str = "application/vnd.annals-mnesis.type-inside";
/// What such events have as their type.
const STAND_IN: &str = "mnesis-type-inside";

/// Type, data, metadata and schema version are those of annals, so that its queries, its catalogue
/// and its command line see them.
pub(crate) fn to_annals(envelope: &PendingEnvelope) -> Result<NewEvent, Error> {
    let (name, data) = (envelope.event_type(), envelope.payload());
    let is_type = (1..=MAX_EVENT_TYPE).contains(&name.len()) && !name.contains(char::is_control);
    let new = if is_type {
        NewEvent::new(name, data)
    } else {
        let too_long = |_| Error::Foreign("a type of more than 65,535 bytes");
        let length = u16::try_from(name.len()).map_err(too_long)?;
        let inside = [&length.to_le_bytes(), name.as_bytes(), data].concat();
        NewEvent::new(STAND_IN, inside).content_type(TYPE_INSIDE)
    };
    let new = new.schema_version(envelope.schema_version());
    // There is no metadata of no bytes: the framework cannot say it.
    Ok(new.metadata(envelope.metadata().unwrap_or_default()))
}

pub(crate) fn from_annals(event: &Event) -> Result<PersistedEnvelope, Error> {
    let (name, data) = type_and_data(event)?;
    let name = EventType::from_bytes(Bytes::copy_from_slice(name))?;
    let payload = Payload::from_bytes(Bytes::copy_from_slice(data))?;
    let schema = SchemaVersion::from_u32(event.schema_version())?;
    let metadata = match event.metadata() {
        [] => None,
        bytes => Some(Metadata::from_bytes(Bytes::copy_from_slice(bytes))?),
    };
    let frame = encode_frame(schema, &name, &payload, metadata.as_ref())?;
    let version = Version::new(event.version().0).ok_or(Error::Foreign("an event of version 0"))?;
    let offsets = frame.offsets;
    Ok(PersistedEnvelope::try_new(
        version,
        frame.value,
        schema,
        offsets.event_type,
        offsets.payload,
        offsets.metadata,
    )?)
}

fn type_and_data(event: &Event) -> Result<(&[u8], &[u8]), Error> {
    if event.content_type() != TYPE_INSIDE {
        return Ok((event.event_type().as_bytes(), event.data()));
    }
    let cut = || Error::Foreign("an event with its type inside ends within it");
    let (length, rest) = event.data().split_first_chunk::<2>().ok_or_else(cut)?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length))).ok_or_else(cut)
}
