//! The page: its head, the runs, the comparisons, then a section for each kind of report.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{Change, Comparison, Good, SAME_SHARE};
use super::html::Html;
use super::rows::{Key, Row};
use super::section::{self, Shown};
use super::source::{Kind, Run};
use super::table::{self, Cell, headings, number, size};

const STYLE: &str = include_str!("page.css");

/// Writes the page.
///
/// # Errors
/// If a plot can't be drawn.
pub(super) fn page(title: &str, runs: &[Run]) -> anyhow::Result<String> {
    let mut kinds: BTreeMap<Kind, Vec<Shown<'_>>> = BTreeMap::new();
    for (letter, run) in ('A'..='Z').zip(runs) {
        let alike = kinds.entry(run.kind).or_default();
        alike.push(Shown { letter, dash: alike.len(), run });
    }
    let mut html = Html::default();
    html.markup("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.markup("<meta name=\"color-scheme\" content=\"light dark\">\n");
    html.element("title", title);
    html.markup("<style>\n").markup(STYLE).markup("</style>\n</head>\n<body>\n");
    html.element("h1", title);
    list(&mut html, runs);
    for (kind, shown) in &kinds {
        comparisons(&mut html, *kind, shown);
    }
    for (kind, shown) in &kinds {
        html.element("h2", kind.about());
        section::write(&mut html, shown)?;
        counts(&mut html, shown);
    }
    html.element("h2", "Machines and configurations");
    let mut all: Vec<_> = kinds.into_values().flatten().collect();
    all.sort_by_key(|shown| shown.letter);
    side_by_side(&mut html, &all, |run| &run.conditions);
    html.markup("</body>\n</html>\n");
    Ok(html.into_string())
}

/// Which letter is which file, and what each run says against itself.
fn list(html: &mut Html, runs: &[Run]) {
    let condition = |run: &Run, name: &str| Cell::text(run.conditions.get(name).map_or("–", String::as_str));
    let rows: Vec<_> = ('A'..='Z')
        .zip(runs)
        .map(|(letter, run)| {
            vec![
                Cell::text(letter),
                Cell::text(run.file.as_str()),
                Cell::text(run.kind.command()),
                condition(run, "version"),
                condition(run, "machine.cpu"),
                condition(run, "machine.cores"),
                Cell::text(format!("{} of {}", with_histogram(run), run.rows.len())),
            ]
        })
        .collect();
    let names = ["run", "file", "written by", "version", "CPU", "cores", "rows with a histogram"];
    table::write(html, &headings(&names), &rows);
    if runs.iter().any(|run| with_histogram(run) < run.rows.len()) {
        html.element(
            "p",
            "Where a row has no histogram, its percentile plot joins the four values that its file has.",
        );
    }
    for (letter, run) in ('A'..='Z').zip(runs).filter(|(_, run)| !run.doubts.is_empty()) {
        html.markup("<div class=\"doubts\">").element("p", format!("What run {letter} says against itself:"));
        html.markup("<ul>\n");
        for doubt in &run.doubts {
            html.element("li", doubt);
        }
        html.markup("</ul></div>\n");
    }
}

fn with_histogram(run: &Run) -> usize {
    run.rows.iter().filter(|row| row.latency.has_histogram()).count()
}

fn comparisons(html: &mut Html, kind: Kind, shown: &[Shown<'_>]) {
    let Some((before, others)) = shown.split_first() else { return };
    for after in others {
        html.element("h2", format!("{}: {} against {}", kind.about(), after.letter, before.letter));
        compared(html, *before, *after);
    }
}

fn compared(html: &mut Html, before: Shown<'_>, after: Shown<'_>) {
    let comparison = Comparison::new(before.run, after.run);
    html.element(
        "p",
        format!(
            "Before is {} ({}), after is {} ({}). A ratio is after over before; within {:.0} % it is called the same.",
            before.letter,
            before.run.file,
            after.letter,
            after.run.file,
            SAME_SHARE * 100.0
        ),
    );
    if !comparison.conditions.is_empty() {
        html.element("p", "They were not measured alike:");
        let rows: Vec<_> = comparison
            .conditions
            .iter()
            .map(|&(name, before, after)| vec![Cell::text(name), Cell::text(before), Cell::text(after)])
            .collect();
        table::write(html, &headings(&["what", "before", "after"]), &rows);
    }
    if !comparison.pairs.is_empty() {
        let names = [
            "path",
            "size",
            "at once",
            "p50 us before",
            "after",
            "ratio",
            "p99 us before",
            "after",
            "ratio",
            "a second before",
            "after",
            "ratio",
        ];
        let rows: Vec<_> =
            comparison.pairs.iter().map(|(before, after)| compared_row(before, after)).collect();
        table::write(html, &headings(&names), &rows);
    }
    for (shown, keys) in [(before, &comparison.only_before), (after, &comparison.only_after)] {
        if !keys.is_empty() {
            let names = keys.iter().map(|key| name(key)).collect::<Vec<_>>().join("; ");
            html.element("p", format!("Only in {}: {names}.", shown.letter));
        }
    }
}

fn compared_row(before: &Row, after: &Row) -> Vec<Cell> {
    let key = &before.key;
    let mut cells =
        vec![Cell::text(key.path.as_str()), Cell::Number(size(key.snapshot_bytes)), at_once(key.concurrency)];
    let times = |row: &Row| (row.latency.figures().count > 0).then(|| *row.latency.figures());
    let (old, new) = (times(before), times(after));
    let values = [
        (old.map(|figures| figures.p50), new.map(|figures| figures.p50), Good::Less),
        (old.map(|figures| figures.p99), new.map(|figures| figures.p99), Good::Less),
        (before.per_s, after.per_s, Good::More),
    ];
    for (old, new, good) in values {
        cells.extend([Cell::number(old), Cell::number(new)]);
        cells.push(match Change::new(old, new, good) {
            Some(Change { ratio, verdict }) => Cell::Judged(verdict, number(ratio)),
            None => Cell::number(None),
        });
    }
    cells
}

fn at_once(concurrency: Option<u64>) -> Cell {
    concurrency.map_or_else(|| Cell::number(None), Cell::count)
}

fn name(key: &Key) -> String {
    let at_once = key.concurrency.map_or_else(String::new, |n| format!(" x {n}"));
    format!("{} {}{at_once}", key.path, size(key.snapshot_bytes))
}

/// What was counted in whole runs.
fn counts(html: &mut Html, shown: &[Shown<'_>]) {
    if shown.iter().any(|shown| !shown.run.counts.is_empty()) {
        html.element("h3", "Counted in the whole run");
        side_by_side(html, shown, |run| &run.counts);
    }
}

/// A table of names, with a column for each run.
fn side_by_side(html: &mut Html, shown: &[Shown<'_>], of: fn(&Run) -> &BTreeMap<String, String>) {
    let names: BTreeSet<&String> = shown.iter().flat_map(|shown| of(shown.run).keys()).collect();
    let mut columns = headings(&["what"]);
    columns.extend(shown.iter().map(|shown| shown.letter.to_string()));
    let cell =
        |shown: &Shown<'_>, name: &str| Cell::text(of(shown.run).get(name).map_or("–", String::as_str));
    let rows: Vec<_> = names
        .into_iter()
        .map(|name| {
            let values = shown.iter().map(|shown| cell(shown, name));
            std::iter::once(Cell::text(name.as_str())).chain(values).collect()
        })
        .collect();
    table::write(html, &columns, &rows);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::source::tests::{handoff, run};
    use super::*;

    const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&";

    #[test]
    fn the_page_holds_the_values_of_each_row() {
        let rows = [("warm", Some(1024), 1, 77.125, 4100.5), ("quinn", Some(1024), 1, 28.25, 9000.0)];
        let page = page("A title", &[run("a.json", &handoff(&rows))]).unwrap();
        for value in ["77.125", "154.25", "231.375", "308.5", "4100.5", "28.25", "9000", "5000", "2.73"] {
            assert!(page.contains(&format!(">{value}<")), "{value}: {page}");
        }
        for word in ["A title", "a.json", "a CPU", "1 KiB", "few values", "mtu", "1452", "99.9 %", "<svg"] {
            assert!(page.contains(word), "{word}");
        }
    }

    #[test]
    fn the_page_asks_no_network_for_anything() {
        let page = page("T", &[run("a.json", &handoff(&[("warm", None, 1, 77.0, 41.0)]))]).unwrap();
        let namespace = "http://www.w3.org/2000/svg";
        assert!(page.contains(namespace));
        let rest = page.replace(namespace, "");
        for word in ["http:", "https:", "<script", "<link", "src=", "url(", "@import"] {
            assert!(!rest.contains(word), "{word}");
        }
    }

    #[test]
    fn hostile_text_of_a_file_stays_text() {
        let mut report = handoff(&[(HOSTILE, Some(1024), 1, 77.0, 41.0)]);
        report["version"] = HOSTILE.into();
        report["machine"][HOSTILE] = HOSTILE.into();
        report["config"]["pin"] = HOSTILE.into();
        report["doubts"] = json!([HOSTILE]);
        report[HOSTILE] = HOSTILE.into();
        let figures = &report["rows"][0]["cutover_us"];
        report["rows"][0]["phases"] = json!({ HOSTILE: figures });
        let runs = [run(HOSTILE, &report), run(HOSTILE, &handoff(&[("warm", Some(1024), 1, 77.0, 41.0)]))];
        let page = page(HOSTILE, &runs).unwrap();
        assert!(!page.contains("<img"), "{page}");
        assert!(page.matches("&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;").count() > 8);
    }

    #[test]
    fn two_runs_are_compared_and_what_only_one_has_is_said() {
        let before = handoff(&[("warm", Some(1024), 64, 100.0, 1000.0), ("cold", Some(1024), 64, 9.0, 9.0)]);
        let mut after = handoff(&[("warm", Some(1024), 64, 80.0, 900.0)]);
        after["config"]["pin"] = "split".into();
        let page = page("T", &[run("before.json", &before), run("after.json", &after)]).unwrap();
        for text in
            [">0.8 better<", ">0.9 worse<", "Only in A: cold 1 KiB x 64.", "not measured alike", ">split<"]
        {
            assert!(page.contains(text), "{text}: {page}");
        }
    }

    #[test]
    fn every_kind_has_its_own_section_and_is_compared_with_its_own_kind_alone() {
        let figures = json!({ "count": 3, "p50": 1.5, "p99": 2.0, "p999": 2.0, "max": 2.5 });
        let up = json!({ "cutover_us": figures, "client_gap_ms": figures, "inputs": { "lost": 0 } });
        let runs = [run("up.json", &up), run("h.json", &handoff(&[("warm", Some(1024), 1, 77.0, 41.0)]))];
        let page = page("T", &runs).unwrap();
        assert!(page.contains(Kind::Up.about()) && page.contains(Kind::Handoff.about()));
        assert!(page.contains("inputs.lost") && !page.contains("Before is"), "{page}");
    }

    #[test]
    fn a_row_without_a_single_value_is_shown_without_a_line() {
        let nothing = json!({ "count": 0, "p50": 0, "p99": 0, "p999": 0, "max": 0 });
        let report = json!({ "rows": [{ "path": "warm", "cutover_us": nothing, "snapshot_bytes": null }] });
        let page = page("T", &[run("a.json", &report)]).unwrap();
        assert!(
            page.contains("the mesh&#39;s own")
                && !page.contains("<polyline fill=\"none\" opacity=\"1\" stroke=\"#2F7ED8\"")
        );
    }
}
