//! `annals append`: one event from the arguments, or one per line of standard input.
//!
//! Each event is an append of its own, and its result is written as soon as it is durable.

use std::io::{self, BufRead};

use annals::transfer::{LineError, parse_line};
use annals::{Durability, ExpectedVersion, NewEvent, Store};
use serde::de::IgnoredAny;
use serde_json::json;

use super::open::open_to_write;
use crate::args::{Append, Global};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(global: &Global, args: &Append, output: &mut Output) -> Result<(), Failure> {
    let source = Source::of(args)?;
    let mut expected = args.expect.unwrap_or(ExpectedVersion::Any);
    if let Source::Arguments { template, data } = source {
        let (stream, mut event) =
            template.event(data).map_err(|error| Failure::Usage(error.to_string()))?;
        if let Some(id) = args.id {
            event = event.id(id);
        }
        let store = open_to_write(global, Durability::Sync, output)?;
        append(&store, &stream, expected, event, output)?;
        return Ok(store.close()?);
    }
    let store = open_to_write(global, Durability::Sync, output)?;
    for (line, number) in io::stdin().lock().lines().zip(1..) {
        let line = line.map_err(|error| Failure::Read { file: "standard input".into(), error })?;
        if line.trim().is_empty() {
            continue;
        }
        let (stream, event) =
            source.event(&line).map_err(|error| Failure::Line { line: number, error })?;
        expected = append(&store, &stream, expected, event, output)?;
        // Whoever feeds the lines may wait for the result of one before it gives the next.
        output.flush()?;
    }
    Ok(store.close()?)
}

/// Where the events come from.
enum Source<'a> {
    /// One event, all of it from the arguments.
    Arguments { template: Template<'a>, data: &'a str },
    /// The data of one event per line.
    DataLines(Template<'a>),
    /// One event per line.
    EventLines,
}

/// What the arguments say about every event.
struct Template<'a> {
    stream: &'a str,
    event_type: &'a str,
    metadata: &'a str,
}

impl<'a> Source<'a> {
    fn of(args: &'a Append) -> Result<Self, Failure> {
        let usage = |why: &str| Err(Failure::Usage(why.into()));
        if args.stream == "-" {
            let alone = args.event_type.is_none()
                && args.expect.is_none()
                && args.id.is_none()
                && args.metadata.is_none();
            if alone {
                return Ok(Self::EventLines);
            }
            return usage("events from `-` say everything themselves: nothing else goes with it");
        }
        let Some(event_type) = args.event_type.as_deref() else {
            return usage("the event needs a type: annals append STREAM TYPE [DATA]");
        };
        let metadata = args.metadata.as_deref().unwrap_or("{}");
        if !is_json(metadata) {
            return usage("--metadata is not JSON");
        }
        let template = Template { stream: &args.stream, event_type, metadata };
        match args.data.as_deref() {
            Some("-") if args.id.is_some() => {
                usage("--id is the id of one event, not of one per line")
            }
            Some("-") => Ok(Self::DataLines(template)),
            Some(data) if !is_json(data) => {
                usage("the data is not JSON (a text needs its quotes: '\"text\"')")
            }
            data => Ok(Self::Arguments { template, data: data.unwrap_or("{}") }),
        }
    }

    /// The event of a line of standard input.
    fn event(&self, line: &str) -> Result<(String, NewEvent), LineError> {
        match self {
            Self::Arguments { template, .. } | Self::DataLines(template) => template.event(line),
            Self::EventLines => parse_line(line),
        }
    }
}

impl Template<'_> {
    /// The event with this data. By way of a line, so that arguments mean what fields mean.
    fn event(&self, data: &str) -> Result<(String, NewEvent), LineError> {
        // A line that is no JSON value by itself must not become part of the one around it.
        if !is_json(data) {
            return parse_line(data);
        }
        parse_line(&format!(
            "{{\"stream\":{},\"type\":{},\"data\":{data},\"metadata\":{}}}",
            json!(self.stream),
            json!(self.event_type),
            self.metadata
        ))
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Appends one event and writes its place. Returns what the next one of the stream has to expect.
fn append(
    store: &Store,
    stream: &str,
    expected: ExpectedVersion,
    event: NewEvent,
    output: &mut Output,
) -> Result<ExpectedVersion, Failure> {
    let appended = store.append(stream, expected, [event])?;
    let id = store.event(appended.position)?.map(|event| event.id().to_string());
    if output.json() {
        output.line(json!({
            "stream_id": stream,
            "version": appended.version.0,
            "global_position": appended.position.0,
            "event_id": id,
            "deduplicated": appended.deduplicated,
        }))?;
    } else {
        let there = if appended.deduplicated { " (there already)" } else { "" };
        let (version, position) = (appended.version, appended.position);
        output.line(format_args!("{stream} version {version} position {position}{there}"))?;
    }
    Ok(match expected {
        ExpectedVersion::NoStream | ExpectedVersion::Exact(_) => appended.version.into(),
        ExpectedVersion::Any | ExpectedVersion::Exists => expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_data_cannot_add_fields() {
        let template = Template { stream: "A-1", event_type: "T", metadata: "{}" };
        assert!(template.event(r#"1,"tags":["x"]"#).is_err());
        assert!(template.event(r#"{"stream":"B-1","type":"U"}"#).is_ok_and(|(s, _)| s == "A-1"));
    }
}
