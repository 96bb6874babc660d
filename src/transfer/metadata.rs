//! The two ids of an event inside its metadata: lifted out on import, put back on export.
//!
//! The metadata is cut at the commas between its members and never decoded and encoded again, so
//! the bytes of what stays are what stood in the line.

use super::outcome::LineError;

/// Metadata without the two ids.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lifted {
    pub(super) correlation: Option<String>,
    pub(super) causation: Option<String>,
    /// What is left; empty where nothing but an empty object is.
    pub(super) rest: String,
}

/// Lifts the ids out of metadata, a JSON value without space around it. A value that is no object
/// stays as it is.
pub(super) fn lift(metadata: &str) -> Result<Lifted, LineError> {
    let Some(inner) = metadata.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
        return Ok(Lifted { rest: metadata.into(), ..Lifted::default() });
    };
    let mut lifted = Lifted::default();
    let mut kept = Vec::new();
    for member in members(inner) {
        let Some((key, value)) = key_and_value(member) else {
            kept.push(member);
            continue;
        };
        let (field, slot) = match key.as_str() {
            "correlation_id" => ("metadata.correlation_id", &mut lifted.correlation),
            "correlationId" => ("metadata.correlationId", &mut lifted.correlation),
            "causation_id" => ("metadata.causation_id", &mut lifted.causation),
            "causationId" => ("metadata.causationId", &mut lifted.causation),
            _ => {
                kept.push(member);
                continue;
            }
        };
        if value == "null" {
            kept.push(member);
            continue;
        }
        let id: String = serde_json::from_str(value)
            .map_err(|_| LineError::invalid(field, "expected a string or null"))?;
        if slot.replace(id).is_some() {
            return Err(LineError::Repeated { field });
        }
    }
    if kept.iter().any(|member| !member.trim_ascii().is_empty()) {
        lifted.rest = format!("{{{}}}", kept.join(","));
    }
    Ok(lifted)
}

/// Metadata with the ids in front, or `None` where import would not make the same of it: other
/// metadata than an object beside an id, an object that has such a member itself, or `{}` (which
/// import stores as no metadata).
pub(super) fn merge(
    rest: &str,
    correlation: Option<&str>,
    causation: Option<&str>,
) -> Result<Option<String>, serde_json::Error> {
    let ids = id_members(correlation, causation)?;
    let merged = if rest.is_empty() {
        return Ok(Some(format!("{{{ids}}}")));
    } else if correlation.is_none() && causation.is_none() {
        rest.to_owned()
    } else if let Some(members) = rest.strip_prefix('{') {
        format!("{{{ids},{members}")
    } else {
        return Ok(None);
    };
    let faithful = lift(&merged).is_ok_and(|lifted| {
        lifted.rest == rest
            && lifted.correlation.as_deref() == correlation
            && lifted.causation.as_deref() == causation
    });
    Ok(faithful.then_some(merged))
}

/// The ids as members of an object, without its braces.
pub(super) fn id_members(
    correlation: Option<&str>,
    causation: Option<&str>,
) -> Result<String, serde_json::Error> {
    let mut members = Vec::new();
    for (key, id) in [("correlation_id", correlation), ("causation_id", causation)] {
        if let Some(id) = id {
            members.push(format!("\"{key}\":{}", serde_json::to_string(id)?));
        }
    }
    Ok(members.join(","))
}

/// The members of an object, with the space around them, from the text between its braces, which
/// is known to be valid.
fn members(inner: &str) -> impl Iterator<Item = &str> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    inner.split(move |c: char| {
        if in_string {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            return false;
        }
        match c {
            '"' => in_string = true,
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// The key of a member, decoded, and its value as it stands, without space around it. `None` for
/// the blank member of an empty object, and for a key that is no Unicode text (a lone surrogate).
fn key_and_value(member: &str) -> Option<(String, &str)> {
    let mut keys = serde_json::Deserializer::from_str(member).into_iter::<String>();
    let key = keys.next()?.ok()?;
    let value = member.get(keys.byte_offset()..)?.trim_ascii_start().strip_prefix(':')?;
    Some((key, value.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_keeps_its_bytes() {
        for (line, correlation, causation, rest) in [
            (r#"{"correlationId":"x","a":1}"#, Some("x"), None, r#"{"a":1}"#),
            (r#"{"a":1,"correlation_id":"x","b":2}"#, Some("x"), None, r#"{"a":1,"b":2}"#),
            (r#"{ "a" : 1 , "causationId" : "y" }"#, None, Some("y"), r#"{ "a" : 1 }"#),
            (r#"{"correlation_id":"x","causation_id":"y"}"#, Some("x"), Some("y"), ""),
            (r#"{"correl\u0061tion_id":"x"}"#, Some("x"), None, ""),
            (r#"{"a":1.00,"a":1e400}"#, None, None, r#"{"a":1.00,"a":1e400}"#),
            (r#"{"a":"},\",{","b":[{"c":1},2]}"#, None, None, r#"{"a":"},\",{","b":[{"c":1},2]}"#),
            (r#"{"correlation_id":null}"#, None, None, r#"{"correlation_id":null}"#),
            (r#"{"a":{"correlation_id":"x"}}"#, None, None, r#"{"a":{"correlation_id":"x"}}"#),
            (r#"{"\ud800":1,"correlationId":"x"}"#, Some("x"), None, r#"{"\ud800":1}"#),
            ("{}", None, None, ""),
            ("{ }", None, None, ""),
            ("null", None, None, "null"),
            ("[1,2]", None, None, "[1,2]"),
        ] {
            let lifted = lift(line).unwrap();
            assert_eq!(lifted.correlation.as_deref(), correlation, "{line}");
            assert_eq!(lifted.causation.as_deref(), causation, "{line}");
            assert_eq!(lifted.rest, rest, "{line}");
        }
    }

    #[test]
    fn ids_that_are_not_one_text_are_refused() {
        let twice = r#"{"correlation_id":"x","correlationId":"x"}"#;
        assert_eq!(
            lift(twice).unwrap_err(),
            LineError::Repeated { field: "metadata.correlationId" }
        );
        assert!(matches!(lift(r#"{"causationId":7}"#), Err(LineError::Invalid { .. })));
    }

    #[test]
    fn merging_is_undone_by_lifting_or_not_done() {
        let (x, y) = (Some("x"), Some("y\""));
        for rest in ["", r#"{"a":1}"#, r#"{ "a":1 }"#, r#"{"correlation_id":null}"#] {
            for (correlation, causation) in [(None, None), (x, None), (None, y), (x, y)] {
                let merged = merge(rest, correlation, causation).unwrap().unwrap();
                let back = lift(&merged).unwrap();
                assert_eq!(back.rest, rest);
                assert_eq!(
                    (back.correlation.as_deref(), back.causation.as_deref()),
                    (correlation, causation)
                );
            }
        }
        let first = merge(r#"{"a":1}"#, x, None).unwrap().unwrap();
        assert_eq!(first, r#"{"correlation_id":"x","a":1}"#);
        for (rest, correlation) in [
            ("{}", None),
            ("{}", x),
            ("[1]", x),
            (r#"{"correlation_id":"z"}"#, None),
            (r#"{"correlationId":"z"}"#, x),
            (r#"{"correlation_id":7}"#, None),
        ] {
            assert_eq!(merge(rest, correlation, None).unwrap(), None, "{rest}");
        }
    }
}
