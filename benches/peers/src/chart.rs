//! What was measured, as charts: a bar for the median of each store, a line from min to max.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Result;
use crate::bench::Results;
use crate::stats::Summary;
use crate::store::{Kind, Peer, Work};
use crate::table::short;

const WIDTH: u32 = 760;
const NAMES: i32 = 150;
const ROW: i32 = 24;
const TOP: i32 = 46;
/// Room for numbers behind the longest bar.
const BEHIND: i32 = 90;
const FONT: &str = "sans-serif";

const LIMIT: RGBColor = RGBColor(150, 150, 150);
const OURS: RGBColor = RGBColor(196, 78, 42);
const EVENT_STORE: RGBColor = RGBColor(52, 107, 163);
const OTHER: RGBColor = RGBColor(136, 170, 204);
const INK: RGBColor = RGBColor(40, 40, 40);

/// Writes `WORK.svg` into a directory, if anything was measured.
pub fn write(dir: &Path, peers: &[&Peer], work: Work, results: &Results) -> Result<bool> {
    let (unit, more_is_better) = work.unit();
    let mut rows: Vec<(&Peer, Summary)> = peers
        .iter()
        .enumerate()
        .filter_map(|(index, peer)| Some((*peer, results.summary(work, index)?)))
        .collect();
    let Some(longest) = rows.iter().map(|(_, row)| row.high).reduce(f64::max) else {
        return Ok(false);
    };
    rows.sort_by(|a, b| {
        let order = a.1.median.total_cmp(&b.1.median);
        if more_is_better { order.reverse() } else { order }
    });
    let path = dir.join(format!("{}.svg", work.key()));
    let height = TOP + ROW * i32::try_from(rows.len())? + 10;
    let area = SVGBackend::new(&path, (WIDTH, u32::try_from(height)?)).into_drawing_area();
    area.fill(&WHITE)?;
    let better = if more_is_better { "more" } else { "less" };
    let title = (FONT, 16).into_font().style(FontStyle::Bold).color(&INK);
    area.draw(&Text::new(work.title(), (10, 8), title))?;
    let small = (FONT, 12).into_font().color(&INK);
    let what = format!("{unit}; bar: median, line: min to max; {better} is better");
    area.draw(&Text::new(what, (10, 28), small))?;
    let scale = f64::from(i32::try_from(WIDTH)? - NAMES - BEHIND) / longest.max(1e-9);
    let x = |value: f64| NAMES + (value.max(0.0) * scale) as i32;
    for (index, (peer, row)) in rows.iter().enumerate() {
        let top = TOP + ROW * i32::try_from(index)?;
        let middle = top + ROW / 2;
        let colour = match peer.kind {
            _ if peer.name == "annals" => OURS,
            Kind::Limit => LIMIT,
            Kind::EventStore => EVENT_STORE,
            Kind::Other => OTHER,
        };
        let bar = [(NAMES, top + 4), (x(row.median).max(NAMES + 1), top + ROW - 4)];
        area.draw(&Rectangle::new(bar, colour.filled()))?;
        let spread = [(x(row.low), middle), (x(row.high), middle)];
        area.draw(&PathElement::new(spread, INK.stroke_width(1)))?;
        let right = (FONT, 13).into_font().color(&INK).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(peer.name, (NAMES - 8, middle), right))?;
        let left = (FONT, 12).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        let number = short(work, row.median);
        area.draw(&Text::new(number, (x(row.high.max(row.median)) + 6, middle), left))?;
    }
    area.present()?;
    Ok(true)
}

/// Writes `rates.svg` into a directory: the rate of each part of a fill, as `annals bench --json`
/// reports it.
pub fn write_rates(dir: &Path, report: &str) -> Result<()> {
    let report: serde_json::Value = serde_json::from_str(report)?;
    let parts = report["fill"].as_array().ok_or("the report has no rates of a fill")?;
    let number = |part: &serde_json::Value, key: &str| part[key].as_f64().ok_or("no number");
    let rates: Vec<(f64, f64)> = parts
        .iter()
        .map(|part| Ok((number(part, "events")? / 1e6, number(part, "per_second")? / 1e3)))
        .collect::<Result<_>>()?;
    let end = rates.last().ok_or("the report has no rates of a fill")?.0;
    let most = rates.iter().map(|(_, rate)| *rate).fold(1.0, f64::max) * 1.1;
    let path = dir.join("rates.svg");
    let area = SVGBackend::new(&path, (WIDTH, 300)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("append rate while the store grows", (FONT, 16))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, 0.0..most)?;
    chart
        .configure_mesh()
        .x_desc("million events")
        .y_desc("thousand events per second")
        .light_line_style(WHITE)
        .draw()?;
    chart.draw_series(LineSeries::new(rates, OURS.stroke_width(2)))?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let report = r#"{"fill": [{"events": 1000000, "per_second": 250000.5},
                                  {"events": 2000000, "per_second": 240000}]}"#;
        write_rates(dir.path(), report).unwrap();
        let drawn = std::fs::read_to_string(dir.path().join("rates.svg")).unwrap();
        assert!(drawn.contains("million events") && drawn.contains("<polyline"), "{drawn}");
        assert!(write_rates(dir.path(), r#"{"fill": []}"#).is_err());
        assert!(write_rates(dir.path(), "{}").is_err());
    }
}
