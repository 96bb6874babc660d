//! What was measured, as Markdown.

use std::fmt::Write;

use crate::bench::Results;
use crate::machine;
use crate::peers;
use crate::stats::Summary;
use crate::store::{Kind, Peer, Work};

/// One table per work, the best of each kind apart, then what has to be said about each store.
pub fn write(stores: &[&Peer], works: &[Work], results: &Results, about: &str) -> String {
    let mut text = format!("{about}\n");
    overview(&mut text, stores, works, results);
    for work in works {
        detail(&mut text, stores, *work, results);
    }
    notes(&mut text, stores);
    if !results.failures.is_empty() {
        text.push_str("\n## Failed\n\n");
        for failure in &results.failures {
            let _ = writeln!(text, "- {failure}");
        }
    }
    text
}

/// All works beside each other: the limit, ours, and the best of the others.
fn overview(text: &mut String, stores: &[&Peer], works: &[Work], results: &Results) {
    text.push_str("\n## In short\n\n");
    text.push_str(
        "| work | raw | annals | annals : raw | best event store | best other | annals : best |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for work in works {
        let find = |name| stores.iter().position(|peer| peer.name == name);
        let of = |name| results.summary(*work, find(name)?);
        let (_, more_is_better) = work.unit();
        let best = |kind| {
            let others = stores.iter().enumerate();
            let others = others.filter(|(_, peer)| peer.kind == kind && peer.name != "annals");
            let found = others.filter_map(|(index, peer)| {
                Some((peer.name, results.summary(*work, index)?.median))
            });
            found.min_by(
                |a, b| if more_is_better { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) },
            )
        };
        let (raw, ours) = (of("raw").map(|s| s.median), of("annals").map(|s| s.median));
        let (event_store, other) = (best(Kind::EventStore), best(Kind::Other));
        let named = |found: Option<(&str, f64)>| {
            found.map_or("-".to_owned(), |(name, value)| format!("{name} {}", short(*work, value)))
        };
        let top = [event_store, other].into_iter().flatten().map(|(_, value)| value);
        let top = if more_is_better { top.reduce(f64::max) } else { top.reduce(f64::min) };
        let _ = writeln!(
            text,
            "| {} ({}) | {} | {} | {} | {} | {} | {} |",
            work.title(),
            work.unit().0,
            raw.map_or("-".into(), |value| short(*work, value)),
            ours.map_or("-".into(), |value| short(*work, value)),
            ratio(ours, raw),
            named(event_store),
            named(other),
            ratio(ours, top),
        );
    }
}

fn detail(text: &mut String, stores: &[&Peer], work: Work, results: &Results) {
    let (unit, more_is_better) = work.unit();
    let mut rows: Vec<(&Peer, Summary)> = stores
        .iter()
        .enumerate()
        .filter_map(|(index, peer)| Some((*peer, results.summary(work, index)?)))
        .collect();
    if rows.is_empty() {
        return;
    }
    rows.sort_by(|a, b| {
        let order = a.1.median.total_cmp(&b.1.median);
        if more_is_better { order.reverse() } else { order }
    });
    let of = |name| rows.iter().find(|(peer, _)| peer.name == name).map(|(_, s)| s.median);
    let (raw, ours) = (of("raw"), of("annals"));
    let has_tail = rows.iter().any(|(_, summary)| summary.tail.is_some());
    let _ =
        write!(text, "\n## {}\n\n| store | {unit}, median | min to max |", capital(work.title()));
    text.push_str(if has_tail { " p50 / p99 / p99.9, us |" } else { "" });
    text.push_str(" : raw | : annals |\n|---|---|---|---|---|");
    text.push_str(if has_tail { "---|\n" } else { "\n" });
    for (peer, summary) in &rows {
        let bold = if peer.name == "annals" { "**" } else { "" };
        let _ = write!(
            text,
            "| {bold}{}{bold} | {} | {} to {} |",
            peer.name,
            short(work, summary.median),
            short(work, summary.low),
            short(work, summary.high)
        );
        if has_tail {
            let tail = summary.tail.map(|tail| tail.map(|us| format!("{us:.1}")).join(" / "));
            let _ = write!(text, " {} |", tail.unwrap_or_else(|| "-".into()));
        }
        let value = Some(summary.median);
        let _ = writeln!(text, " {} | {} |", ratio(value, raw), ratio(value, ours));
    }
    let lacking: Vec<String> = stores
        .iter()
        .filter_map(|peer| {
            let lacks = peer.lacks.iter().find(|(works, _)| works.contains(&work))?;
            Some(format!("{} {}", peer.name, lacks.1))
        })
        .collect();
    if !lacking.is_empty() {
        let _ = writeln!(text, "\nNot here: {}.", lacking.join("; "));
    }
}

fn notes(text: &mut String, stores: &[&Peer]) {
    text.push_str("\n## About each\n\n");
    for peer in stores {
        let _ = writeln!(text, "- **{}** ({}): {}.", peer.name, machine::version(peer), {
            peer.notes.join("; ")
        });
    }
    for (name, why) in peers::absent() {
        let _ = writeln!(text, "- **{name}**: not measured, {why}.");
    }
}

fn capital(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn ratio(value: Option<f64>, to: Option<f64>) -> String {
    match (value, to) {
        // A latency that is below zero has no ratio.
        (Some(value), Some(to)) if to > f64::EPSILON && value >= 0.0 => {
            format!("{:.2}", value / to)
        }
        _ => "-".into(),
    }
}

/// A number as people read it.
pub fn short(work: Work, value: f64) -> String {
    let (unit, _) = work.unit();
    match value {
        _ if !unit.ends_with("/s") => format!("{value:.1}"),
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 1e5 => format!("{:.0} k", value / 1e3),
        value if value >= 1e3 => format!("{:.1} k", value / 1e3),
        value => format!("{value:.0}"),
    }
}
