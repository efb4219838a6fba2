//! A file as a run: what kind of report it is, where and how it was measured, and its rows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};

use super::rows::{self, Row};

/// Larger files are not read: a report with every histogram has less than a tenth of it.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// What stands in tables of its own on the page, or is too long for a cell.
const NOT_COUNTED: [&str; 9] =
    ["version", "machine", "config", "rows", "seldom", "runs", "doubts", "problems", "nodes"];

/// Which command wrote a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Handoff,
    Transport,
    Up,
    Load,
}

impl Kind {
    /// What writes such a report.
    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::Handoff => "mesh-bench handoff",
            Self::Transport => "mesh-bench transport",
            Self::Up => "selvedge up",
            Self::Load => "mesh-bench load",
        }
    }

    /// What such a report is about.
    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::Handoff => "Handoffs between two nodes, and the floors",
            Self::Transport => "The lanes of a link",
            Self::Up => "A whole mesh with bots",
            Self::Load => "Bots on a mesh that ran already",
        }
    }
}

/// What one file says.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) file: String,
    pub(super) kind: Kind,
    /// Version, machine and configuration, by name.
    pub(super) conditions: BTreeMap<String, String>,
    /// What was counted in the whole run, by name.
    pub(super) counts: BTreeMap<String, String>,
    /// What the run itself says against its figures.
    pub(super) doubts: Vec<String>,
    pub(super) rows: Vec<Row>,
}

impl Run {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the file, and why it can't be read or what it is instead of a report.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = path.display().to_string();
        let text = text(path).with_context(|| format!("cannot read {file}"))?;
        Self::parse(file.clone(), &text).with_context(|| format!("{file} is no report that can be shown"))
    }

    /// Reads the text of a file.
    pub(super) fn parse(file: String, text: &str) -> anyhow::Result<Self> {
        let report: Value = serde_json::from_str(text).context("it is not JSON")?;
        let Value::Object(report) = report else { bail!("it is JSON, but not an object") };
        let kind = kind(&report)?;
        let rows = match kind {
            Kind::Handoff => rows::of_paths(&report)?,
            Kind::Transport => rows::of_lanes(&report)?,
            Kind::Up | Kind::Load => rows::of_whole_run(&report)?,
        };
        let mut conditions = BTreeMap::new();
        for key in ["version", "machine", "config"] {
            flatten(key, report.get(key).unwrap_or(&Value::Null), &mut conditions);
        }
        let mut counts = BTreeMap::new();
        for (key, value) in report.iter().filter(|(key, _)| !NOT_COUNTED.contains(&key.as_str())) {
            if !rows::is_figures(value) {
                flatten(key, value, &mut counts);
            }
        }
        Ok(Self { file, kind, conditions, counts, doubts: doubts(&report), rows })
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    ensure!(text.len() as u64 <= FILE_BYTES_MAX, "it is larger than {} MiB", FILE_BYTES_MAX >> 20);
    Ok(text)
}

fn kind(report: &Map<String, Value>) -> anyhow::Result<Kind> {
    let has = |key: &str| report.contains_key(key);
    if has("rows") {
        let is_lane = |rows: &Value| rows.get(0).is_some_and(|row| row.get("lane").is_some());
        return Ok(if report.get("rows").is_some_and(is_lane) { Kind::Transport } else { Kind::Handoff });
    }
    if has("cutover_us") && has("client_gap_ms") {
        return Ok(Kind::Up);
    }
    if has("client_gap_ms") {
        return Ok(Kind::Load);
    }
    bail!(
        "it has neither \"rows\" nor \"cutover_us\" nor \"client_gap_ms\": give what {}, {}, {} or {} wrote with --json",
        Kind::Handoff.command(),
        Kind::Transport.command(),
        Kind::Up.command(),
        Kind::Load.command()
    )
}

/// Sentences of `doubts` and `problems`.
fn doubts(report: &Map<String, Value>) -> Vec<String> {
    let lists = ["problems", "doubts"].into_iter().filter_map(|key| report.get(key)?.as_array());
    lists.flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Everything that fits a cell, with its name from the top: `config.pin`.
fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Object(fields) => {
            return fields.iter().for_each(|(key, value)| flatten(&format!("{name}.{key}"), value, into));
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => return,
        Value::Array(items) => items.iter().map(scalar).collect::<Vec<_>>().join(", "),
        Value::Null => return,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => scalar(value),
    };
    into.insert(name.to_owned(), text);
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A run that a file with this content gives.
    pub(in crate::report) fn run(file: &str, report: &Value) -> Run {
        Run::parse(file.to_owned(), &report.to_string()).unwrap()
    }

    /// A handoff's report: one row each of this path, size, concurrency, p50 and handoffs a second.
    pub(in crate::report) fn handoff(rows: &[(&str, Option<u64>, u64, f64, f64)]) -> Value {
        let rows: Vec<_> = rows
            .iter()
            .map(|(path, snapshot_bytes, concurrency, p50, rate)| {
                json!({
                    "path": path, "snapshot_bytes": snapshot_bytes, "concurrency": concurrency, "elapsed_s": 1.0,
                    "cutover_us": { "count": 5000, "p50": p50, "p99": p50 * 2.0, "p999": p50 * 3.0, "max": p50 * 4.0 },
                    "handoffs_per_s": rate,
                })
            })
            .collect();
        json!({
            "version": "0.1.0", "machine": { "cores": 2, "cpu": "a CPU" },
            "config": { "pin": "one", "concurrency": [1, 64], "mtu": 1452 }, "rows": rows, "doubts": ["few values"],
        })
    }

    #[test]
    fn machine_configuration_and_doubts_are_read() {
        let run = run("a.json", &handoff(&[("warm", Some(1024), 1, 80.0, 900.0)]));
        assert_eq!((run.kind, run.rows.len()), (Kind::Handoff, 1));
        assert_eq!(run.conditions["machine.cpu"], "a CPU");
        assert_eq!(run.conditions["config.concurrency"], "1, 64");
        assert_eq!(run.doubts, ["few values"]);
    }

    #[test]
    fn a_row_at_the_pace_of_another_stands_apart_and_is_no_count() {
        let mut report = handoff(&[("warm", Some(1024), 1, 40.0, 3000.0)]);
        let mut seldom = report["rows"][0].clone();
        seldom["cutover_us"]["p50"] = json!(60.0);
        seldom["dwell_s"] = json!(0.005);
        report["seldom"] = seldom;
        let both = run("a.json", &report);
        let [warm, seldom] = &both.rows[..] else { panic!("{:?}", both.rows) };
        assert_eq!((warm.key.path.as_str(), seldom.key.path.as_str()), ("warm", "warm, seldom"));
        assert_eq!((warm.latency.figures().p50, seldom.latency.figures().p50), (40.0, 60.0));
        assert!(both.counts.is_empty(), "{:?}", both.counts);
        report["seldom"] = Value::Null;
        assert_eq!(run("b.json", &report).rows.len(), 1);
    }

    #[test]
    fn a_whole_mesh_has_its_counts_beside_its_times() {
        let figures = json!({ "count": 3, "p50": 1.5, "p99": 2.0, "p999": 2.0, "max": 2.5 });
        let run = run(
            "up.json",
            &json!({
                "version": "0.1.0", "config": { "players": 200, "snapshot_bytes": 4096 }, "good": false,
                "problems": ["an input was lost"], "inputs": { "lost": 1 }, "nodes": [{ "node": "x" }],
                "cutover_us": figures, "client_gap_ms": figures, "handoffs_per_s": 27.3,
            }),
        );
        assert_eq!(run.kind, Kind::Up);
        assert_eq!(run.counts["inputs.lost"], "1");
        assert!(
            !run.counts.contains_key("cutover_us.p50")
                && !run.counts.keys().any(|key| key.starts_with("nodes"))
        );
        assert_eq!(run.doubts, ["an input was lost"]);
        let [cutover, gap] = &run.rows[..] else { panic!("{:?}", run.rows) };
        assert_eq!((cutover.key.path.as_str(), cutover.per_s), ("cutover", Some(27.3)));
        assert_eq!((gap.key.path.as_str(), gap.latency.figures().p50), ("client_gap", 1500.0));
        assert_eq!((gap.key.snapshot_bytes, gap.key.concurrency), (Some(4096), Some(200)));
    }

    #[test]
    fn a_row_of_a_lane_is_named_by_its_part_and_its_load() {
        let figures = json!({ "count": 3, "p50": 1.5, "p99": 2.0, "p999": 2.0, "max": 2.5 });
        let run = run(
            "transport.json",
            &json!({
                "set_up_us": { "cold": figures, "resumed": null }, "cutover_p99_ratios": { "precopy": 1.25 },
                "rows": [{
                    "part": "paced", "lane": "cutover", "bytes": 1024, "in_flight": null, "paced_us": 2000.0,
                    "load": "precopy", "rtt_us": figures, "messages_per_s": 500.0, "mb_per_s": 0.5,
                }],
            }),
        );
        let row = &run.rows[0];
        assert_eq!((run.kind, row.key.path.as_str()), (Kind::Transport, "cutover, paced, precopy"));
        assert_eq!((row.key.snapshot_bytes, row.key.concurrency), (Some(1024), None));
        assert_eq!((row.per_s, row.mb_per_s), (Some(500.0), Some(0.5)));
        assert_eq!(run.counts["cutover_p99_ratios.precopy"], "1.25");
        assert_eq!(run.counts["set_up_us.cold.p99"], "2.0");
    }

    #[test]
    fn what_is_no_report_is_refused_with_its_name_and_the_cause() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", Run::read(&path).unwrap_err());
            assert!(error.contains(name), "{error}");
            error
        };
        for (name, text, cause) in [
            ("empty.json", "", "not JSON"),
            ("cut.json", r#"{"rows": [{"#, "not JSON"),
            ("list.json", "[1]", "not an object"),
            ("other.json", r#"{"name": "x"}"#, "mesh-bench handoff"),
            ("none.json", r#"{"rows": []}"#, "no row"),
            ("rows.json", r#"{"rows": 5}"#, "a list"),
            ("unnamed.json", r#"{"rows": [{"concurrency": 1}]}"#, "rows[0]: missing field `path`"),
            (
                "timeless.json",
                r#"{"rows": [{"path": "warm"}]}"#,
                "rows[0]: neither \"cutover_us\" nor \"rtt_us\"",
            ),
            ("load.json", r#"{"client_gap_ms": 5}"#, "client_gap_ms"),
        ] {
            let error = refused(name, text);
            assert!(error.contains(cause), "{cause}: {error}");
        }
        let missing = format!("{:#}", Run::read(&folder.path().join("missing.json")).unwrap_err());
        assert!(missing.contains("cannot read") && missing.contains("missing.json"), "{missing}");
    }

    #[test]
    fn a_histogram_that_cannot_be_read_is_refused_with_its_row() {
        let mut report =
            handoff(&[("warm", Some(1024), 1, 80.0, 900.0), ("cold", Some(1024), 1, 90.0, 900.0)]);
        report["rows"][1]["histogram"] = json!({ "unit": "us", "hdr_v2": "garbage!" });
        let error = format!("{:#}", Run::parse("a.json".to_owned(), &report.to_string()).unwrap_err());
        assert!(error.contains("rows[1]") && error.contains("histogram"), "{error}");
        report["rows"][1]["histogram"] = json!({ "unit": "weeks", "hdr_v2": "" });
        let error = format!("{:#}", Run::parse("a.json".to_owned(), &report.to_string()).unwrap_err());
        assert!(error.contains("rows[1]") && error.contains("weeks"), "{error}");
    }
}
