//! Precedence, and what an operator reads when a setting is wrong.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Parser;

use super::{CoordinatorArgs, FileConfig, SettingError, Settings};

const COMPLETE: &str = r#"
world = "aerie"
cert = "c.pem"
key = "c.key"
ca = "ca.pem"
door_cert = "d.pem"
door_key = "d.key"
"#;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: CoordinatorArgs,
}

fn args(line: &[&str]) -> CoordinatorArgs {
    let line = ["coordinator"].iter().chain(line);
    Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).args
}

fn resolve(line: &[&str], file: &str) -> Result<Settings, SettingError> {
    let file: FileConfig = toml::from_str(&format!("{COMPLETE}{file}")).unwrap();
    Settings::resolve(args(line), file, Some(Path::new("mesh.toml")))
}

fn error(line: &[&str], file: &str) -> String {
    resolve(line, file).unwrap_err().to_string()
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let file = "tick_hz = 20\nlease = \"5s\"\n[grid]\ncells = [8, 8, 1]\n";
    let settings = resolve(&["--tick-hz", "60", "--cells", "2,3,1"], file).unwrap();
    assert_eq!(settings.coordinator.world.tick_interval, Duration::from_micros(16_666));
    assert_eq!(settings.coordinator.world.grid.cells, [2, 3, 1]);
    assert_eq!(settings.coordinator.lease, Duration::from_secs(5));
    assert_eq!(settings.coordinator.nodes_min, 1);
    assert_eq!(settings.bind_mesh.to_string(), "127.0.0.1:7400");
}

#[test]
fn the_store_is_in_a_folder_unless_it_is_said_to_be_nowhere() {
    let file = "[store]\npath = \"kept\"\n";
    assert_eq!(resolve(&[], file).unwrap().store, Some("kept".into()));
    assert_eq!(resolve(&["--store", "there"], file).unwrap().store, Some("there".into()));
    assert_eq!(resolve(&["--store", "none"], file).unwrap().store, None);
    assert_eq!(resolve(&[], "[store]\npath = \"none\"\n").unwrap().store, None);
    let default = resolve(&[], "").unwrap().store.unwrap();
    assert!(default.is_absolute(), "{default:?}");
}

#[test]
fn every_flag_has_its_environment_variable() {
    use clap::CommandFactory;
    for arg in Line::command().get_arguments() {
        let id = arg.get_id().as_str();
        if ["pinned", "store_reset", "die_with_parent", "help"].contains(&id) {
            continue;
        }
        let expected = format!("SELVEDGE_{}", id.to_uppercase());
        assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(expected.as_str()));
    }
}

#[test]
fn what_has_no_default_is_asked_for_by_all_its_names() {
    let missing = Settings::resolve(args(&["--world", "aerie"]), FileConfig::default(), None).unwrap_err();
    let text = missing.to_string();
    assert!(text.contains("--ca") && text.contains("SELVEDGE_CA") && text.contains("`ca`"), "{text}");
}

#[test]
fn an_unknown_key_is_named_with_its_file_and_line() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{COMPLETE}tick_herz = 20").unwrap();
    let path = file.path().display().to_string();
    let text = Settings::load(args(&["--config", &path])).unwrap_err().to_string();
    assert!(text.contains(&path) && text.contains("tick_herz") && text.contains("line 8"), "{text}");
}

#[test]
fn a_missing_file_is_named() {
    let text = Settings::load(args(&["--config", "/nowhere/mesh.toml"])).unwrap_err().to_string();
    assert!(text.contains("/nowhere/mesh.toml") && text.contains("SELVEDGE_CONFIG"), "{text}");
}

#[test]
fn a_value_out_of_range_says_where_it_was_set_and_what_to_do() {
    let text = error(&[], "tick_hz = 0");
    assert!(
        text.contains("tick_hz") && text.contains("mesh.toml") && text.contains("choose 1 to 1000"),
        "{text}"
    );
    let text = error(&["--interest-margin-m", "100"], "");
    assert!(text.contains("interest_margin_m") && text.contains("SELVEDGE_INTEREST_MARGIN_M"), "{text}");
    let text = error(&[], "[grid]\ncell_edge_m = -1.0");
    assert!(text.contains("grid.cell_edge_m") && text.contains("mesh.toml"), "{text}");
    let text = error(&["--log", "=bad=filter="], "");
    assert!(text.contains("--log"), "{text}");
    let text = error(&["--advertise-door", "0.0.0.0:7401"], "");
    assert!(text.contains("advertise_door") && text.contains("0.0.0.0:7401"), "{text}");
    assert!(error(&["--lease", "1ms"], "").contains("lease"));
    let endless = error(&["--lease", "1000000000d"], "");
    assert!(endless.contains("--lease") && endless.contains("choose at most 1h"), "{endless}");
    assert!(error(&["--nodes-min", "0"], "").contains("nodes_min"));
}

#[test]
fn the_times_of_a_lease_go_together() {
    let of = |line: &[&str], file| {
        let settings = resolve(line, file).unwrap().coordinator;
        (settings.lease, settings.lease_margin, settings.suspect_after)
    };
    let millis = Duration::from_millis;
    assert_eq!(of(&[], ""), (millis(3000), millis(150), millis(2000)));
    assert_eq!(
        of(&["--lease", "6s"], ""),
        (millis(6000), millis(300), millis(4000)),
        "they follow the lease"
    );
    let file = "lease_margin = \"200ms\"\nsuspect_after = \"1s\"";
    assert_eq!(of(&["--suspect-after", "1500ms"], file), (millis(3000), millis(200), millis(1500)));
    for (line, words) in [
        (["--lease-margin", "10ms"], ["lease_margin", "SELVEDGE_LEASE_MARGIN", "10ms", "60ms to 3s"]),
        (["--lease-margin", "4s"], ["lease_margin", "--lease-margin", "4s", "lease of 3s"]),
        (["--suspect-after", "100ms"], ["suspect_after", "--suspect-after", "100ms", "at least 500ms"]),
        (["--suspect-after", "4s"], ["suspect_after", "4s", "lease of 3s (set by default)", "two thirds"]),
        (["--lease", "400ms"], ["lease", "--lease", "400ms", "at least 500ms"]),
    ] {
        let text = error(&line, "");
        assert!(words.iter().all(|word| text.contains(word)), "{line:?}: {text}");
    }
    // A shorter lease under times that the file sets for a longer one.
    let text = error(&["--lease", "1s"], "suspect_after = \"2s\"");
    assert!(text.contains("mesh.toml") && text.contains("lease of 1s (set by --lease"), "{text}");
}

#[test]
fn a_world_that_can_not_be_is_refused_by_its_setting_and_value() {
    for (line, words) in [
        (["--cell-edge-m", "0"], ["grid.cell_edge_m", "--cell-edge-m", "0 m"]),
        (["--cell-edge-m", "nan"], ["grid.cell_edge_m", "--cell-edge-m", "not finite"]),
        (["--cells", "4,0,1"], ["grid.cells", "--cells", "[4, 0, 1]"]),
        (["--cells", "9999,9999,1"], ["grid.cells", "--cells", "past the limit"]),
        (["--interest-margin-m", "250"], ["interest_margin_m", "250 m", "cell's edge is 100 m"]),
        (["--interest-margin-m", "0"], ["interest_margin_m", "is 0", "greater than zero"]),
    ] {
        let text = error(&line, "");
        assert!(words.iter().all(|word| text.contains(word)), "{line:?}: {text}");
    }
    // Cells made smaller than the margin that the file asks for.
    let text = error(&["--cell-edge-m", "20"], "interest_margin_m = 25.0");
    assert!(text.contains("mesh.toml") && text.contains("25 m") && text.contains("20 m"), "{text}");
}

#[test]
fn a_file_that_can_not_be_read_is_named_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let (noise, broken) = (folder.path().join("noise.toml"), folder.path().join("broken.toml"));
    std::fs::write(&noise, [0xff, 0xfe, 0x00]).unwrap();
    std::fs::write(&broken, "world = \"aerie\nca = 3").unwrap();
    for (path, cause) in
        [(folder.path(), "directory"), (noise.as_path(), "UTF-8"), (broken.as_path(), "line 1")]
    {
        let path = path.display().to_string();
        let text = Settings::load(args(&["--config", &path])).unwrap_err().to_string();
        assert!(text.contains(&path) && text.contains(cause), "{cause} in {text}");
    }
}

#[test]
fn pinned_cells_come_from_the_file_or_the_flags() {
    let node = "8a6e0804-2bd0-4672-b79d-d97027f9071a";
    let file = format!("[[pinned]]\ncell = \"L0(3,2,0)\"\nnode = \"{node}\"\n");
    let cells =
        |settings: &Settings| settings.coordinator.pinned.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(cells(&resolve(&[], &file).unwrap()), ["L0(3,2,0)"]);
    let flag = format!("L0(1,1,0)={node}");
    assert_eq!(cells(&resolve(&["--pin", &flag], &file).unwrap()), ["L0(1,1,0)"]);
    let outside = error(&["--pin", &format!("L0(9,0,0)={node}")], "");
    assert!(outside.contains("L0(9,0,0)") && outside.contains("--pin"), "{outside}");
    let twice = error(&["--pin", &flag, "--pin", &flag], "");
    assert!(twice.contains("pinned twice"), "{twice}");
}

#[test]
fn a_badly_written_flag_is_explained() {
    for (line, expected) in [
        (["--cells", "4x4"], "three numbers"),
        (["--pin", "L0(1,1,0)"], "L0(3,2,0)=<uuid>"),
        (["--pin", "L0(1,1)=x"], "write it as L0(3,2,0)"),
        (["--world", "Big World"], "a-z"),
    ] {
        let parsed = Line::try_parse_from(["coordinator"].iter().chain(&line));
        let Err(error) = parsed else {
            panic!("{line:?} was accepted");
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
}
