//! Upcasts said in a file, for tools into which no code can be loaded.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

use super::super::typed::Payload;
use super::super::typed::codec;
use super::build::UpcastsBuilder;
use super::chains::{At, StepResult};

type Fields = Map<String, Value>;

/// What one step does to the fields of an object, in this order.
#[derive(Default)]
struct Changes {
    /// Only these stay; all, where nothing is said.
    keep: Option<Vec<String>>,
    rename: Vec<(String, String)>,
    remove: Vec<String>,
    set: Fields,
    default: Fields,
}

/// One part of what an event becomes.
struct Part {
    to: At,
    changes: Changes,
}

/// What can be said of a part, and of a step with one part.
const OF_PART: [&str; 6] = ["to", "keep", "rename", "remove", "set", "default"];

/// Steps, from the text of a file. See [`Upcasts::from_json`](super::Upcasts::from_json).
pub(super) fn read(text: &str) -> Result<UpcastsBuilder> {
    let whole: Value = serde_json::from_str(text).map_err(|e| wrong("the file", e))?;
    let whole = object(&whole, "the file")?;
    only(whole, &["steps", "current"], "the file")?;
    let mut builder = UpcastsBuilder::default();
    if let Some(current) = whole.get("current") {
        for (name, version) in object(current, "`current`")? {
            builder = builder.current_type(name, number(version, "a version in `current`")?);
        }
    }
    let Some(steps) = whole.get("steps") else { return Ok(builder) };
    let steps = steps.as_array().ok_or_else(|| wrong("`steps`", "expected a list"))?;
    for (place, step) in (1..).zip(steps) {
        builder = read_step(builder, step, &format!("step {place}"))?;
    }
    Ok(builder)
}

fn read_step(builder: UpcastsBuilder, step: &Value, what: &str) -> Result<UpcastsBuilder> {
    let step = object(step, what)?;
    only(step, &[&["type", "version", "drop", "split"], &OF_PART[..]].concat(), what)?;
    let name = text(step.get("type").unwrap_or(&Value::Null), &format!("`type` of {what}"))?;
    let version = match step.get("version") {
        Some(version) => number(version, &format!("`version` of {what}"))?,
        None => 1,
    };
    let stands_alone = |key: &str, why: &str| {
        let is_own = |other: &String| [key, "type", "version"].contains(&other.as_str());
        step.keys().all(is_own).then_some(()).ok_or_else(|| wrong(what, why))
    };
    if let Some(drop) = step.get("drop") {
        let why = "`drop` is true, and stands with `type` and `version` alone";
        stands_alone("drop", why)?;
        return match drop {
            Value::Bool(true) => Ok(builder.drop_event(name, version)),
            _ => Err(wrong(what, why)),
        };
    }
    let parts = match step.get("split") {
        Some(split) => {
            stands_alone("split", "`split` stands with `type` and `version` alone")?;
            read_split(split, name, version, what)?
        }
        None => vec![read_part(step, name, version, what)?],
    };
    let to: Vec<At> = parts.iter().map(|part| part.to.clone()).collect();
    let to: Vec<(&str, u32)> = to.iter().map(|(name, version)| (name.as_str(), *version)).collect();
    Ok(builder.step((name, version), &to, move |payload| {
        let fields: Value = serde_json::from_slice(payload.data)?;
        let fields = fields.as_object().ok_or("its data is no JSON object")?;
        parts.iter().map(|part| part.make(fields.clone())).collect()
    }))
}

fn read_split(split: &Value, name: &str, version: u32, what: &str) -> Result<Vec<Part>> {
    let parts = split.as_array().filter(|parts| !parts.is_empty());
    let parts = parts.ok_or_else(|| wrong(what, "`split` is a list of at least one part"))?;
    (1..)
        .zip(parts)
        .map(|(number, part)| {
            let what = format!("part {number} of {what}");
            let part = object(part, &what)?;
            only(part, &OF_PART, &what)?;
            read_part(part, name, version, &what)
        })
        .collect()
}

fn read_part(part: &Fields, name: &str, version: u32, what: &str) -> Result<Part> {
    let to = read_target(part, name, version, what)?;
    Ok(Part { to, changes: read_changes(part, what)? })
}

impl Part {
    fn make(&self, mut fields: Fields) -> StepResult<Payload> {
        apply(&self.changes, &mut fields)?;
        let (event_type, schema_version) = self.to.clone();
        let data = serde_json::to_vec(&fields)?;
        Ok(Payload::new(event_type, schema_version, codec::JSON, data))
    }
}

/// Where a step leads: to the next version of the type, where nothing else is said.
fn read_target(step: &Fields, name: &str, version: u32, what: &str) -> Result<At> {
    let Some(to) = step.get("to") else {
        return Ok((name.into(), version.saturating_add(1)));
    };
    let to = object(to, &format!("`to` of {what}"))?;
    only(to, &["type", "version"], &format!("`to` of {what}"))?;
    let other = match to.get("type") {
        Some(other) => text(other, &format!("`type` in `to` of {what}"))?,
        None => name,
    };
    let of_other = match to.get("version") {
        Some(version) => number(version, &format!("`version` in `to` of {what}"))?,
        None if other == name => version.saturating_add(1),
        None => 1,
    };
    Ok((other.into(), of_other))
}

fn read_changes(step: &Fields, what: &str) -> Result<Changes> {
    let mut changes = Changes::default();
    if let Some(rename) = step.get("rename") {
        for (from, to) in object(rename, &format!("`rename` of {what}"))? {
            let to = text(to, &format!("the new name of \"{from}\" in {what}"))?;
            changes.rename.push((from.clone(), to.into()));
        }
    }
    changes.keep = read_names(step, "keep", what)?;
    changes.remove = read_names(step, "remove", what)?.unwrap_or_default();
    for (key, into) in [("set", &mut changes.set), ("default", &mut changes.default)] {
        if let Some(fields) = step.get(key) {
            into.clone_from(object(fields, &format!("`{key}` of {what}"))?);
        }
    }
    Ok(changes)
}

fn read_names(step: &Fields, key: &str, what: &str) -> Result<Option<Vec<String>>> {
    let Some(names) = step.get(key) else { return Ok(None) };
    let names = names.as_array().ok_or_else(|| wrong(what, format_args!("`{key}` is a list")))?;
    let name = |name| text(name, &format!("a name in `{key}` of {what}")).map(str::to_owned);
    names.iter().map(name).collect::<Result<_>>().map(Some)
}

fn apply(changes: &Changes, fields: &mut Fields) -> StepResult<()> {
    if let Some(keep) = &changes.keep {
        fields.retain(|name, _| keep.contains(name));
    }
    // All are taken out before one is put in, so that two can change places.
    let mut moved = Vec::new();
    for (from, to) in &changes.rename {
        if let Some(value) = fields.remove(from) {
            moved.push((to, value));
        }
    }
    for (to, value) in moved {
        if fields.insert(to.clone(), value).is_some() {
            return Err(format!("a field \"{to}\" is there already").into());
        }
    }
    for name in &changes.remove {
        fields.remove(name);
    }
    fields.extend(changes.set.clone());
    for (name, value) in &changes.default {
        fields.entry(name).or_insert_with(|| value.clone());
    }
    Ok(())
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Fields> {
    value.as_object().ok_or_else(|| wrong(what, "expected an object"))
}

fn text<'a>(value: &'a Value, what: &str) -> Result<&'a str> {
    value.as_str().ok_or_else(|| wrong(what, "expected a string"))
}

fn number(value: &Value, what: &str) -> Result<u32> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| wrong(what, "expected a version, from 1 on"))
}

fn only(fields: &Fields, known: &[&str], what: &str) -> Result<()> {
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(wrong(what, format_args!("\"{key}\" means nothing here"))),
        None => Ok(()),
    }
}

fn wrong(what: &str, why: impl std::fmt::Display) -> Error {
    Error::InvalidOptions { why: format!("{what}: {why}") }
}

#[cfg(test)]
mod tests {
    use super::super::Upcasts;
    use super::*;
    use crate::error::SchemaError;
    use crate::query::Query;

    fn lift(rules: &str, version: u32, data: &str) -> Result<Vec<Payload>> {
        let payload = Payload::new("A", version, codec::JSON, data);
        Upcasts::from_json(rules)?.lift_payload(payload.as_ref())
    }

    #[test]
    fn fields_change_in_the_order_that_is_said() {
        let rules = r#"{"steps":[{"type":"A","rename":{"a":"b","b":"a","x":"y"},
            "remove":["gone"],"set":{"s":1},"default":{"d":2,"e":3}}]}"#;
        let lifted = lift(rules, 1, r#"{"a":1,"b":2,"gone":3,"s":9,"e":0}"#).unwrap();
        assert_eq!(lifted[0].data, br#"{"a":2,"b":1,"d":2,"e":0,"s":1}"#);
        assert_eq!((lifted[0].event_type.as_str(), lifted[0].schema_version), ("A", 2));
        let error = lift(rules, 1, r#"{"x":1,"y":2}"#).unwrap_err().to_string();
        assert!(error.contains("a field \"y\" is there already"), "{error}");
        assert!(lift(rules, 1, "[]").is_err());
        assert_eq!(lift(rules, 2, "[]").unwrap()[0].data, b"[]", "current already");
    }

    #[test]
    fn types_are_renamed_and_dropped() {
        let rules = r#"{"current":{"B":1,"A":3},"steps":[
            {"type":"A","version":1,"to":{"type":"B"}},
            {"type":"A","version":2},
            {"type":"C","version":4,"drop":true}]}"#;
        let upcasts = Upcasts::from_json(rules).unwrap();
        assert_eq!(upcasts.steps(), [("A", 1), ("A", 2), ("C", 4)]);
        assert_eq!(lift(rules, 1, "{}").unwrap()[0].event_type, "B");
        assert_eq!(lift(rules, 2, "{}").unwrap()[0].schema_version, 3);
    }

    #[test]
    fn an_event_becomes_several_and_each_goes_on_from_all_of_its_fields() {
        let rules = r#"{"current":{"Left":1,"Arrived":2,"A":2},"steps":[
            {"type":"A","split":[
                {"to":{"type":"Left"},"keep":["from","by"],"rename":{"from":"place"}},
                {"to":{"type":"Arrived"},"keep":["to"],"set":{"late":false}},
                {"remove":["from","to"]}]},
            {"type":"Arrived","rename":{"to":"place"}}]}"#;
        let lifted = lift(rules, 1, r#"{"from":"Bonn","to":"Rome","by":"air"}"#).unwrap();
        let told: Vec<_> = lifted
            .iter()
            .map(|p| (&*p.event_type, p.schema_version, str::from_utf8(&p.data).unwrap()))
            .collect();
        let expected = [
            ("Left", 1, r#"{"by":"air","place":"Bonn"}"#),
            ("Arrived", 2, r#"{"late":false,"place":"Rome"}"#),
            ("A", 2, r#"{"by":"air"}"#),
        ];
        assert_eq!(told, expected);
        let query = Upcasts::from_json(rules).unwrap().expand(Query::new().event_type("Arrived"));
        assert_eq!(query, Query::new().types(["A", "Arrived"]));
        for bad in ["[]", "7", ""] {
            let error = lift(rules, 1, bad).unwrap_err();
            assert!(matches!(error, Error::Schema(SchemaError::StepFailed { .. })), "{error}");
        }
        let lifted = lift(rules, 1, r#"{"to":1,"place":2}"#).unwrap();
        assert_eq!(lifted[1].data, br#"{"late":false,"place":1}"#, "the other was not kept");
        // What fails one part fails the event.
        let twice = r#"{"steps":[{"type":"A","split":[{},{"rename":{"a":"b"}}]}]}"#;
        assert_eq!(lift(twice, 1, r#"{"a":1}"#).unwrap().len(), 2);
        assert!(lift(twice, 1, r#"{"a":1,"b":2}"#).is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (rules, why) in [
            ("[", "the file"),
            ("[]", "the file: expected an object"),
            (r#"{"step":[]}"#, "\"step\" means nothing here"),
            (r#"{"steps":{}}"#, "expected a list"),
            (r#"{"steps":[{"version":1}]}"#, "`type` of step 1: expected a string"),
            (r#"{"steps":[{"type":"A"},{"type":"B","version":-1}]}"#, "`version` of step 2"),
            (r#"{"steps":[{"type":"A","drop":false}]}"#, "`drop` is true"),
            (r#"{"steps":[{"type":"A","drop":true,"set":{}}]}"#, "`drop` is true"),
            (r#"{"steps":[{"type":"A","ad":{}}]}"#, "\"ad\" means nothing here"),
            (r#"{"steps":[{"type":"A","to":{"name":"B"}}]}"#, "\"name\" means nothing here"),
            (r#"{"steps":[{"type":"A","rename":{"a":1}}]}"#, "the new name of \"a\""),
            (r#"{"steps":[{"type":"A","drop":true,"split":[{}]}]}"#, "`drop` is true"),
            (r#"{"steps":[{"type":"A","split":[]}]}"#, "a list of at least one part"),
            (r#"{"steps":[{"type":"A","split":{}}]}"#, "a list of at least one part"),
            (r#"{"steps":[{"type":"A","split":[7]}]}"#, "part 1 of step 1: expected an object"),
            (r#"{"steps":[{"type":"A","split":[{}],"set":{}}]}"#, "`split` stands with"),
            (r#"{"steps":[{"type":"A","split":[{}],"to":{}}]}"#, "`split` stands with"),
            (
                r#"{"steps":[{"type":"A","split":[{},{"drop":true}]}]}"#,
                "part 2 of step 1: \"drop\"",
            ),
            (r#"{"steps":[{"type":"A","split":[{"type":"B"}]}]}"#, "part 1 of step 1: \"type\""),
            (
                r#"{"steps":[{"type":"A","split":[{"keep":["a",1]}]}]}"#,
                "a name in `keep` of part 1",
            ),
            (r#"{"steps":[{"type":"A","keep":"a"}]}"#, "step 1: `keep` is a list"),
            (r#"{"current":{"A":"1"}}"#, "a version in `current`"),
            (r#"{"steps":[{"type":"A"},{"type":"A"}]}"#, "two steps"),
            (r#"{"current":{"A":1},"steps":[{"type":"B"}]}"#, "none of the current types"),
        ] {
            let error = Upcasts::from_json(rules).unwrap_err().to_string();
            assert!(error.contains(why), "{rules}: {error}");
        }
    }
}
