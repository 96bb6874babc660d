//! `annals schema`: the types and versions that the store has ever held, and whether they read.

use annals::SchemaInfo;
use annals::kit::CheckedSchema;
use serde_json::{Map, Value, json};

use super::export::read_upcasts;
use super::open::open_to_read;
use crate::args::{Global, Schema, SchemaCheck, SchemaCommand};
use crate::failure::Failure;
use crate::output::{Output, harmless};

pub(crate) fn run(global: &Global, schema: &Schema, output: &mut Output) -> Result<(), Failure> {
    match &schema.command {
        Some(SchemaCommand::Check(check)) => run_check(global, check, output),
        None => list(global, output),
    }
}

fn list(global: &Global, output: &mut Output) -> Result<(), Failure> {
    open_to_read(global)?.schemas()?.iter().try_for_each(|schema| {
        if output.json() {
            output.line(Value::Object(fields(schema)))
        } else {
            let name = harmless(&schema.event_type);
            output.line(format_args!("{}\t{}\t{name}", schema.events, schema.schema_version))
        }
    })
}

fn run_check(global: &Global, check: &SchemaCheck, output: &mut Output) -> Result<(), Failure> {
    let upcasts = read_upcasts(&check.upcast)?;
    let mut run = annals::kit::SchemaCheck::new(&open_to_read(global)?);
    for (name, version) in upcasts.current_types() {
        run = run.current_type(name, version);
    }
    run = run.upcasts(upcasts);
    if check.all {
        run = run.all();
    }
    let report = run.run()?;
    for schema in &report.schemas {
        say(schema, output)?;
    }
    if report.is_clean() {
        return Ok(());
    }
    let bad = report.schemas.iter().filter(|schema| schema.failed > 0).count();
    let all = report.schemas.len();
    let why = format!("events of {bad} of {all} types and versions cannot be read today");
    Err(Failure::Unreadable(why))
}

fn say(schema: &CheckedSchema, output: &mut Output) -> Result<(), Failure> {
    let CheckedSchema { stored, checked, failed, first_failure, .. } = schema;
    if output.json() {
        let mut line = fields(stored);
        let why = first_failure.as_ref().map(ToString::to_string);
        line.extend([
            ("checked".into(), json!(checked)),
            ("failed".into(), json!(failed)),
            ("first_failure".into(), json!(why)),
        ]);
        return output.line(Value::Object(line));
    }
    let name = harmless(&stored.event_type);
    let version = stored.schema_version;
    match first_failure {
        None => output.line(format_args!("ok\t{checked}\t{version}\t{name}")),
        Some(why) => {
            let why = harmless(&why.to_string());
            output.line(format_args!("FAILED\t{failed} of {checked}\t{version}\t{name}\t{why}"))
        }
    }
}

fn fields(schema: &SchemaInfo) -> Map<String, Value> {
    Map::from_iter([
        ("event_type".into(), json!(schema.event_type)),
        ("schema_version".into(), json!(schema.schema_version)),
        ("events".into(), json!(schema.events)),
        ("first_position".into(), json!(schema.first_position.0)),
        ("last_position".into(), json!(schema.last_position.0)),
    ])
}
