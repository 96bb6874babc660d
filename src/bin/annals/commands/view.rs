//! `annals view`: the read models that the store keeps.

use annals::{Store, StoredView, ViewInfo};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::open::{open_to_read, store_path};
use crate::args::{Global, View};
use crate::failure::Failure;
use crate::output::{Output, harmless};

pub(crate) fn run(global: &Global, args: &View, output: &mut Output) -> Result<(), Failure> {
    match args {
        View::List => {
            for view in open_to_read(global)?.views()? {
                show(&view?, output)?;
            }
            Ok(())
        }
        View::Get { name, key, hex } => {
            let (_store, view) = open(global, name)?;
            let value = view.get(bytes_of(key, *hex)?)?;
            let value = value.ok_or_else(|| Failure::NotFound(format!("key {key}")))?;
            if output.json() {
                return output.line(json!({ "value": json_of(&value) }));
            }
            output.line(text_of(&value))
        }
        View::Scan { name, prefix, after, before, backwards, limit, hex } => {
            let (_store, view) = open(global, name)?;
            let mut scan = view.scan();
            if let Some(prefix) = prefix {
                scan = scan.prefix(bytes_of(prefix, *hex)?);
            }
            if let Some(after) = after {
                scan = scan.after(bytes_of(after, *hex)?);
            }
            if let Some(before) = before {
                scan = scan.before(bytes_of(before, *hex)?);
            }
            scan = scan.limit(limit.unwrap_or(usize::MAX));
            let read = if *backwards { scan.backwards() } else { scan }.read()?;
            for entry in read {
                let (key, value) = entry?;
                if output.json() {
                    output.line(json!({ "key": key_of(&key), "value": json_of(&value) }))?;
                } else {
                    output.line(format_args!("{}\t{}", text_of(&key), text_of(&value)))?;
                }
            }
            Ok(())
        }
        View::Delete { name } => {
            let store = Store::options().create(false).open(store_path(global)?)?;
            if !store.delete_view(name)? {
                return Err(Failure::NotFound(format!("view {name}")));
            }
            store.close()?;
            Ok(())
        }
    }
}

/// A view, and the store that has to stay open for it.
fn open(global: &Global, name: &str) -> Result<(Store, StoredView), Failure> {
    let store = open_to_read(global)?;
    let view = store.view(name)?.ok_or_else(|| Failure::NotFound(format!("view {name}")))?;
    Ok((store, view))
}

fn show(info: &ViewInfo, output: &mut Output) -> Result<(), Failure> {
    if output.json() {
        return output.line(json!({
            "name": info.name,
            "schema": info.schema,
            "position": info.position.0,
            "event_id": info.event_id.map(|id| id.to_string()),
            "committed_at_micros": info.committed_at.as_micros(),
            "lag": info.lag,
            "has_diverged": info.has_diverged,
            "entries": info.entries,
            "bytes": info.bytes,
            "parked": info.parked,
        }));
    }
    let lag = info.lag.map_or("diverged".into(), |lag| lag.to_string());
    let ViewInfo { position, entries, schema, .. } = info;
    output.line(format_args!("{position}\t{lag}\t{entries}\t{schema}\t{}", harmless(&info.name)))
}

/// What an argument means: text, or the digits of bytes.
fn bytes_of(text: &str, hex: bool) -> Result<Vec<u8>, Failure> {
    let wrong = || Failure::Usage(format!("{text}: expected pairs of hexadecimal digits"));
    if !hex {
        return Ok(text.as_bytes().to_vec());
    }
    if !text.len().is_multiple_of(2) || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2).unwrap_or_default());
    pairs.map(|pair| u8::from_str_radix(pair, 16).map_err(|_| wrong())).collect()
}

/// Bytes for people: text as it is, and anything else in hexadecimal digits.
fn text_of(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => harmless(text),
        _ => format!("0x{}", hex_of(bytes)),
    }
}

fn hex_of(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn key_of(key: &[u8]) -> Value {
    match str::from_utf8(key) {
        Ok(text) if !text.chars().any(char::is_control) => text.into(),
        _ => Value::Object(Map::from_iter([("hex".to_owned(), hex_of(key).into())])),
    }
}

/// A value as it is where it is JSON, else as text, else in base64.
fn json_of(value: &[u8]) -> Value {
    serde_json::from_slice(value).unwrap_or_else(|_| match str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": STANDARD.encode(value) }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_shown_as_what_they_are() {
        assert_eq!((text_of(b"a/1"), text_of(&[0, 255])), ("a/1".into(), "0x00ff".into()));
        assert_eq!((key_of(b"a/1"), key_of(&[0, 255])), (json!("a/1"), json!({ "hex": "00ff" })));
        assert_eq!(json_of(br#"{"a":1}"#), json!({ "a": 1 }));
        assert_eq!((json_of(b"a"), json_of(&[255])), (json!("a"), json!({ "base64": "/w==" })));
        assert_eq!(bytes_of("00ff", true).unwrap(), [0, 255]);
        assert_eq!(bytes_of("00ff", false).unwrap(), b"00ff");
        for wrong in ["0", "0g", "+1"] {
            assert_eq!(bytes_of(wrong, true).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
