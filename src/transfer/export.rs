//! Events as JSON lines.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::event::{BINARY, Event, JSON};
use crate::names::EventId;
use crate::new_event::NewEvent;
use crate::store::Store;

use super::line::one_line_json;
use super::metadata;
use super::outcome::ExportError;
use super::time::format_time;

/// Writes every event of the store as one JSON line, in the order of their positions, up to the
/// last one that was visible when it began. Returns how many events it wrote.
///
/// # Errors
///
/// [`ExportError`] where an event cannot be read or a line cannot be written. What stands before
/// it was written.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Store, transfer};
/// let store = Store::in_memory()?;
/// store.append("Order-1", ExpectedVersion::NoStream, [NewEvent::json("OrderPlaced", &42)?])?;
/// let mut lines = Vec::new();
/// assert_eq!(transfer::export(&store, &mut lines).unwrap(), 1);
/// assert!(lines.starts_with(br#"{"global_position":1,"stream_id":"Order-1","version":1,"#));
/// # Ok::<(), annals::Error>(())
/// ```
pub fn export(store: &Store, mut writer: impl Write) -> Result<u64, ExportError> {
    let mut line = Vec::new();
    let mut events = 0;
    for event in store.read_all() {
        let event = event.map_err(ExportError::Store)?;
        line.clear();
        write_event(&event, &mut line).map_err(ExportError::Write)?;
        line.push(b'\n');
        writer.write_all(&line).map_err(ExportError::Write)?;
        events += 1;
    }
    writer.flush().map_err(ExportError::Write)?;
    Ok(events)
}

/// Writes one event as the JSON of the [module's](super) description, without a line's end.
///
/// # Errors
///
/// What the writer says.
pub fn write_event(event: &Event, out: impl Write) -> io::Result<()> {
    let line = Line {
        id: event.id(),
        event_type: event.event_type(),
        schema_version: event.schema_version(),
        content_type: event.content_type(),
        data: event.data(),
    };
    write(event, &line, out)
}

/// Writes a stored event with the type, schema version, content type and data of a new one, and its
/// id where it has one: an event as it reads today, through [`kit::Upcasts`](crate::kit::Upcasts).
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Position, Store, transfer};
/// let store = Store::in_memory()?;
/// store.append("Order-1", ExpectedVersion::Any, [NewEvent::json("Sent", &42)?])?;
/// let sent = store.event(Position(1))?.unwrap();
/// let mut line = Vec::new();
/// transfer::write_event_as(&sent, &NewEvent::json("Shipped", &42)?, &mut line).unwrap();
/// assert!(String::from_utf8(line).unwrap().contains(r#""event_type":"Shipped""#));
/// # Ok::<(), annals::Error>(())
/// ```
///
/// # Errors
///
/// What the writer says.
pub fn write_event_as(event: &Event, content: &NewEvent, out: impl Write) -> io::Result<()> {
    let line = Line {
        id: content.id.unwrap_or_else(|| event.id()),
        event_type: &content.event_type,
        schema_version: content.schema_version,
        content_type: &content.content_type,
        data: &content.data,
    };
    write(event, &line, out)
}

/// What of a line may be another than what is stored.
struct Line<'a> {
    id: EventId,
    event_type: &'a str,
    schema_version: u32,
    content_type: &'a str,
    data: &'a [u8],
}

fn write(event: &Event, line: &Line<'_>, mut out: impl Write) -> io::Result<()> {
    write!(out, "{{\"global_position\":{},\"stream_id\":", event.position())?;
    serde_json::to_writer(&mut out, event.stream())?;
    write!(out, ",\"version\":{},\"event_id\":\"{}\"", event.version(), line.id)?;
    out.write_all(b",\"event_type\":")?;
    serde_json::to_writer(&mut out, line.event_type)?;
    write!(out, ",\"schema_version\":{},\"created_at\":", line.schema_version)?;
    match format_time(event.created_at()) {
        Some(time) => write!(out, "\"{time}\"")?,
        // Rather an unusual line than a store that cannot be exported.
        None => write!(out, "{}", event.created_at().as_micros())?,
    }
    write_data(line, &mut out)?;
    write_metadata(event, &mut out)?;
    out.write_all(b",\"tags\":[")?;
    for (i, tag) in event.tags().enumerate() {
        if i > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut out, tag)?;
    }
    out.write_all(b"]}")
}

fn write_data(line: &Line<'_>, out: &mut impl Write) -> io::Result<()> {
    let json = one_line_json(line.data);
    let implied = if json.is_some() { JSON } else { BINARY };
    if line.content_type != implied {
        out.write_all(b",\"content_type\":")?;
        serde_json::to_writer(&mut *out, line.content_type)?;
    }
    match json {
        Some(json) => write!(out, ",\"data\":{json}"),
        None => write!(out, ",\"data_base64\":\"{}\"", BASE64.encode(line.data)),
    }
}

fn write_metadata(event: &Event, out: &mut impl Write) -> io::Result<()> {
    let (correlation, causation) = (event.correlation_id(), event.causation_id());
    let rest = event.metadata();
    let text = if rest.is_empty() { Some("") } else { one_line_json(rest) };
    let merged = match text {
        Some(text) => metadata::merge(text, correlation, causation)?,
        None => None,
    };
    if let Some(merged) = merged {
        return write!(out, ",\"metadata\":{merged}");
    }
    let ids = metadata::id_members(correlation, causation)?;
    write!(out, ",\"metadata\":{{{ids}}},\"metadata_base64\":\"{}\"", BASE64.encode(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{ExpectedVersion, Timestamp};
    use crate::transfer::Import;

    fn lines(store: &Store) -> String {
        let mut lines = Vec::new();
        export(store, &mut lines).unwrap();
        String::from_utf8(lines).unwrap()
    }

    fn store_of(events: impl IntoIterator<Item = NewEvent>) -> Store {
        let store = Store::in_memory().unwrap();
        for event in events {
            store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
        }
        store
    }

    #[test]
    fn an_event_has_the_documented_shape() {
        let event = NewEvent::new("T\u{e9}", r#"{"a": 1.50}"#)
            .content_type(JSON)
            .id(EventId::from_bytes([0x11; 16]))
            .created_at(Timestamp::from_micros(1_768_473_000_000_000))
            .schema_version(2)
            .correlation("c\"")
            .causation("d")
            .metadata(r#"{"n":1}"#)
            .tags(["k:v", "w"]);
        assert_eq!(
            lines(&store_of([event])),
            concat!(
                r#"{"global_position":1,"stream_id":"A-1","version":1,"#,
                r#""event_id":"11111111-1111-1111-1111-111111111111","event_type":"T"#,
                "\u{e9}",
                r#"","schema_version":2,"created_at":"2026-01-15T10:30:00.000000Z","#,
                r#""data":{"a": 1.50},"metadata":{"correlation_id":"c\"","causation_id":"d","#,
                r#""n":1},"tags":["k:v","w"]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn every_content_comes_back_as_it_was() {
        let payloads: [&[u8]; 12] = [
            b"",
            b"{}",
            b"null",
            b"{ \"a\" : [1,\t2] }",
            b"{\n}",
            b" 1",
            b"\"\\ud800\"",
            b"\"\xc3\xa9\x7f\"",
            b"\xff\x00",
            b"{\"correlation_id\":\"z\",\"a\":1}",
            b"{\"causationId\":null}",
            b"{\"a\":1,\"a\":2}",
        ];
        let mut events = Vec::new();
        for payload in payloads {
            for (correlation, causation) in
                [(None, None), (Some("c"), None), (None, Some("d")), (Some("c"), Some("d"))]
            {
                for content_type in [JSON, BINARY, "text/x"] {
                    let mut event =
                        NewEvent::new("T", payload).metadata(payload).content_type(content_type);
                    event.correlation = correlation.map(Into::into);
                    event.causation = causation.map(Into::into);
                    events.push(event);
                }
            }
        }
        for micros in [i64::MIN, -1, i64::MAX] {
            events.push(NewEvent::new("T", "").created_at(Timestamp::from_micros(micros)));
        }
        let first = store_of(events);
        let exported = lines(&first);
        let second = Store::in_memory().unwrap();
        let imported = Import::new().run(&second, exported.as_bytes()).unwrap();
        assert_eq!(imported.appended, first.head().0);
        assert_eq!(lines(&second), exported);
        for (a, b) in first.read_all().into_iter().zip(second.read_all()) {
            let (a, b) = (a.unwrap(), b.unwrap());
            assert_eq!((a.data(), a.content_type()), (b.data(), b.content_type()));
            assert_eq!(a.metadata(), b.metadata());
            assert_eq!(a.correlation_id(), b.correlation_id());
            assert_eq!(a.causation_id(), b.causation_id());
            assert_eq!((a.id(), a.created_at()), (b.id(), b.created_at()));
        }
        let again = Import::new().run(&first, exported.as_bytes()).unwrap();
        assert_eq!((again.appended, again.skipped), (0, first.head().0));
    }

    #[test]
    fn a_writer_that_fails_is_named() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = export(&store_of([NewEvent::new("T", "")]), Full).unwrap_err();
        assert!(matches!(error, ExportError::Write(_)), "{error}");
    }
}
