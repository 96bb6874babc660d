//! `annals cat`: events as they are stored.

use std::io::Write;

use annals::transfer::{format_time, is_one_line_json, write_event};
use annals::{Event, Position, Result, Store, Version};

use super::open::open_to_read;
use crate::args::{Cat, Global};
use crate::failure::Failure;
use crate::output::{Output, harmless};

pub(crate) fn run(global: &Global, args: &Cat, output: &mut Output) -> Result<(), Failure> {
    let store = open_to_read(global)?;
    let limit = args.limit.unwrap_or(usize::MAX);
    let mut events = read(&store, args)?.take(limit);
    events.try_for_each(|event| write(&event?, output))
}

fn read(store: &Store, args: &Cat) -> Result<Box<dyn Iterator<Item = Result<Event>>>, Failure> {
    let query = args.filter.query();
    let Some(stream) = &args.filter.stream else {
        let mut events = store.read(query);
        if let Some(after) = args.after {
            events = events.after(Position(after));
        }
        if args.backwards {
            events = events.backwards();
        }
        return Ok(Box::new(events.into_iter()));
    };
    // Somebody who names a stream wants to know that there is none.
    if store.stream(stream)?.is_none() {
        return Err(Failure::NotFound(format!("stream \"{}\"", harmless(stream))));
    }
    let mut events = store.read_stream(stream);
    if let Some(after) = args.after {
        events = events.after(Version(after));
    }
    if args.backwards {
        events = events.backwards();
    }
    let is_wanted = move |event: &Result<Event>| event.as_ref().map_or(true, |e| query.matches(e));
    Ok(Box::new(events.into_iter().filter(is_wanted)))
}

pub(super) fn write(event: &Event, output: &mut Output) -> Result<(), Failure> {
    if output.json() {
        let results = output.results();
        return write_event(event, &mut *results)
            .and_then(|()| results.write_all(b"\n"))
            .map_err(Failure::Write);
    }
    let created_at = event.created_at();
    let time = format_time(created_at).unwrap_or_else(|| format!("{} us", created_at.as_micros()));
    let data = match str::from_utf8(event.data()) {
        Ok(text) if is_one_line_json(event.data()) => harmless(text),
        _ => format!("({} bytes)", event.data().len()),
    };
    output.line(format_args!(
        "{}\t{}\t{}\t{}\t{time}\t{data}",
        event.position(),
        event.stream(),
        event.version(),
        event.event_type()
    ))
}
