//! What runs of one kind measured: by size, by percentile, by phase; a plot and its values each.

use std::collections::{BTreeMap, BTreeSet};

use super::axis::{Axis, place_of_quantile};
use super::html::Html;
use super::plot::{self, Line, Pen};
use super::rows::Row;
use super::source::{Kind, Run};
use super::table::{self, Cell, headings, size};

/// The same colour on every page.
const KNOWN_PATHS: [&str; 4] = ["warm", "cold", "quinn", "udp"];
/// What a path is put beside: the same bytes over bare QUIC.
const FLOOR: &str = "quinn";

/// A run on the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) letter: char,
    /// Which run of its kind it is.
    pub(super) dash: usize,
    pub(super) run: &'a Run,
}

/// A colour for each path.
#[derive(Debug)]
struct Palette<'a>(Vec<&'a str>);

impl<'a> Palette<'a> {
    fn of(shown: &[Shown<'a>]) -> Self {
        let is_handoff = shown.iter().any(|shown| shown.run.kind == Kind::Handoff);
        let mut paths = if is_handoff { KNOWN_PATHS.to_vec() } else { Vec::new() };
        for row in shown.iter().flat_map(|shown| &shown.run.rows) {
            if !paths.contains(&row.key.path.as_str()) {
                paths.push(&row.key.path);
            }
        }
        Self(paths)
    }

    fn pen(&self, item: &Item<'_>) -> Pen {
        let colour = self.0.iter().position(|&path| path == item.row.key.path).unwrap_or(0);
        Pen { colour, dash: item.shown.dash }
    }
}

/// A row, and the run that it's from.
#[derive(Debug, Clone, Copy)]
struct Item<'a> {
    shown: Shown<'a>,
    row: &'a Row,
}

impl Item<'_> {
    fn name(&self) -> String {
        let nth = if self.row.key.nth == 0 { String::new() } else { format!(" ({})", self.row.key.nth + 1) };
        format!("{} {}{nth}", self.shown.letter, self.row.key.path)
    }

    /// Figures, if anything was measured.
    fn measured(&self, of: fn(&Row) -> Option<f64>) -> Option<f64> {
        of(self.row).filter(|_| self.row.latency.figures().count > 0)
    }
}

/// Writes everything that these runs of one kind measured.
///
/// # Errors
/// If a plot can't be drawn.
pub(super) fn write(html: &mut Html, shown: &[Shown<'_>]) -> anyhow::Result<()> {
    let palette = &Palette::of(shown);
    let mut groups: BTreeMap<Option<u64>, Vec<Item<'_>>> = BTreeMap::new();
    for &shown in shown {
        for row in &shown.run.rows {
            groups.entry(row.key.concurrency).or_default().push(Item { shown, row });
        }
    }
    for (concurrency, items) in groups {
        let at_once =
            concurrency.map_or_else(|| "At a pace of their own".to_owned(), |n| format!("{n} at once"));
        html.element("h3", &at_once);
        by_size(html, palette, &items, &at_once)?;
        let sizes: BTreeSet<_> = items.iter().map(|item| item.row.key.snapshot_bytes).collect();
        for bytes in sizes {
            let items: Vec<_> =
                items.iter().filter(|item| item.row.key.snapshot_bytes == bytes).copied().collect();
            percentiles(html, palette, &items, &format!("{at_once}, {}", size(bytes)))?;
        }
        phases(html, &items, &at_once);
    }
    Ok(())
}

/// p50, p99 and throughput over the snapshot's size.
fn by_size(html: &mut Html, palette: &Palette<'_>, items: &[Item<'_>], at_once: &str) -> anyhow::Result<()> {
    let sizes: BTreeSet<_> = items.iter().map(|item| item.row.key.snapshot_bytes).collect();
    let sizes: Vec<_> = sizes.into_iter().collect();
    html.markup("<div class=\"plots\">\n");
    for (name, of) in [
        ("p50, us", (|row| Some(row.latency.figures().p50)) as fn(&Row) -> Option<f64>),
        ("p99, us", |row| Some(row.latency.figures().p99)),
        ("a second", |row| row.per_s),
    ] {
        let x = Axis::of_names("size", &sizes.iter().map(|&bytes| size(bytes)).collect::<Vec<_>>());
        let y = Axis::of_values(name, items.iter().filter_map(|item| item.measured(of)));
        let mut lines: BTreeMap<(usize, &str, usize), Line> = BTreeMap::new();
        for item in items {
            let place = sizes.iter().position(|&bytes| bytes == item.row.key.snapshot_bytes);
            let at = place.and_then(|place| x.ticks.get(place)).map(|(at, _)| *at);
            let value = item.measured(of).and_then(|value| y.place(value));
            let (Some(at), Some(value)) = (at, value) else { continue };
            let line = (item.shown.dash, item.row.key.path.as_str(), item.row.key.nth);
            let empty = || Line { pen: palette.pen(item), points: Vec::new(), marked: true };
            lines.entry(line).or_insert_with(empty).points.push((at, value));
        }
        let mut lines: Vec<_> = lines.into_values().collect();
        if lines.iter().all(|line| line.points.len() < 2) {
            continue;
        }
        // Rows may stand in any order in their file.
        lines.iter_mut().for_each(|line| line.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
        figure(html, &x, &y, &lines, &format!("{at_once}: {name}, by size"))?;
    }
    let names = ["run and path", "size", "p50 us", "p99 us", "a second", "MB a second", "p50 / bare quinn"];
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            vec![
                Cell::Line(palette.pen(item), item.name()),
                Cell::Number(size(item.row.key.snapshot_bytes)),
                Cell::number(item.measured(|row| Some(row.latency.figures().p50))),
                Cell::number(item.measured(|row| Some(row.latency.figures().p99))),
                Cell::number(item.row.per_s),
                Cell::number(item.row.mb_per_s),
                Cell::number(over_floor(item)),
            ]
        })
        .collect();
    table::write(html, &headings(&names), &rows);
    html.markup("</div>\n");
    Ok(())
}

/// How many times the floor of the same run, size and number it took; none for a floor.
fn over_floor(item: &Item<'_>) -> Option<f64> {
    let key = &item.row.key;
    let is_beside = |row: &&Row| {
        row.key.path == FLOOR
            && (row.key.snapshot_bytes, row.key.concurrency) == (key.snapshot_bytes, key.concurrency)
    };
    let floor = item.shown.run.rows.iter().find(is_beside).filter(|_| key.path != FLOOR)?;
    let p50 = item.measured(|row| Some(row.latency.figures().p50))?;
    Some(p50 / floor.latency.figures().p50).filter(|ratio| ratio.is_finite())
}

/// Latency over percentile.
fn percentiles(
    html: &mut Html,
    palette: &Palette<'_>,
    items: &[Item<'_>],
    about: &str,
) -> anyhow::Result<()> {
    let measured: Vec<_> = items.iter().filter(|item| item.row.latency.figures().count > 0).collect();
    let count_max = measured.iter().map(|item| item.row.latency.figures().count).max().unwrap_or(0);
    let x = Axis::of_quantiles(count_max);
    let values = measured.iter().flat_map(|item| {
        let most = item.row.latency.figures().max;
        item.row.latency.curve().into_iter().map(|(_, value)| value).chain([most])
    });
    let y = Axis::of_values("us", values);
    let lines: Vec<_> = measured
        .iter()
        .map(|item| {
            let latency = &item.row.latency;
            let places =
                latency.curve().into_iter().map(|(quantile, value)| (place_of_quantile(quantile), value));
            // What lies beyond the last percentile that so many values have is the largest of them.
            let points = places.filter(|(place, _)| *place < x.to).chain([(x.to, latency.figures().max)]);
            let points = points.filter_map(|(place, value)| Some((place, y.place(value)?))).collect();
            Line { pen: palette.pen(item), points, marked: !latency.has_histogram() }
        })
        .collect();
    html.markup("<div class=\"plots\">\n");
    if !lines.is_empty() {
        figure(html, &x, &y, &lines, &format!("{about}: latency by percentile"))?;
    }
    let names = ["run and path", "count", "p50 us", "p90", "p99", "p99.9", "p99.99", "max"];
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            let latency = &item.row.latency;
            let figures = latency.figures();
            vec![
                Cell::Line(palette.pen(item), item.name()),
                Cell::count(figures.count),
                Cell::number(item.measured(|row| Some(row.latency.figures().p50))),
                Cell::number(latency.quantile(0.9)),
                Cell::number(item.measured(|row| Some(row.latency.figures().p99))),
                Cell::number(item.measured(|row| Some(row.latency.figures().p999))),
                Cell::number(latency.quantile(0.9999)),
                Cell::number(item.measured(|row| Some(row.latency.figures().max))),
            ]
        })
        .collect();
    table::write(html, &headings(&names), &rows);
    html.markup("</div>\n");
    Ok(())
}

/// Where a handoff's time goes, if the files say so.
fn phases(html: &mut Html, items: &[Item<'_>], at_once: &str) {
    let names: BTreeSet<&String> = items.iter().flat_map(|item| item.row.phases.keys()).collect();
    if names.is_empty() {
        return;
    }
    html.element("h4", format!("{at_once}: phases, p50 / p99"));
    let mut columns = headings(&["run and path", "size"]);
    columns.extend(names.iter().map(|name| (*name).clone()));
    let rows: Vec<_> = items
        .iter()
        .filter(|item| !item.row.phases.is_empty())
        .map(|item| {
            let cell = |name: &&String| match item.row.phases.get(*name) {
                Some(phase) => {
                    Cell::Number(format!("{} / {}", table::number(phase.p50), table::number(phase.p99)))
                }
                None => Cell::number(None),
            };
            let about = [Cell::text(item.name()), Cell::Number(size(item.row.key.snapshot_bytes))];
            about.into_iter().chain(names.iter().map(cell)).collect()
        })
        .collect();
    table::write(html, &columns, &rows);
}

fn figure(html: &mut Html, x: &Axis, y: &Axis, lines: &[Line], shows: &str) -> anyhow::Result<()> {
    html.markup("<figure>").element("figcaption", shows);
    html.drawing(&plot::svg(x, y, lines)?, shows).markup("</figure>\n");
    Ok(())
}
