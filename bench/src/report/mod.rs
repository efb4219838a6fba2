//! One page that shows what was measured: plots, tables, before and after.
//!
//! It reads what `mesh-bench handoff`, `mesh-bench transport`, `mesh-bench load` and `selvedge up` write with `--json`.
//! The page stands alone: its style and its plots are in it, and it asks no network for anything.
//!
//! Deliberately absent: measuring, and judging whether a figure is good enough.

mod axis;
mod compare;
mod html;
mod latency;
mod page;
mod plot;
mod rows;
mod section;
mod source;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use source::Run;

/// Runs on one page: each has a letter.
const RUNS_MAX: usize = 26;

/// Writes one HTML page of one or more runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReportArgs {
    /// What was written with --json. The first of each kind is what the others are compared to
    #[arg(required = true, value_name = "JSON")]
    files: Vec<PathBuf>,
    /// Page to write
    #[arg(long, default_value = "report.html", value_name = "FILE")]
    out: PathBuf,
    /// Heading of the page
    #[arg(long, default_value = "What was measured", value_name = "TEXT")]
    title: String,
}

/// Reads the runs, writes the page and prints its path.
///
/// # Errors
/// If a file can't be read or is no report, or the page would take the place of one.
#[allow(clippy::print_stdout, reason = "the command line speaks on the terminal")]
pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    if args.files.len() > RUNS_MAX {
        bail!("{} files are too many for one page: give at most {RUNS_MAX}", args.files.len());
    }
    if let Some(input) = args.files.iter().find(|input| is_same(input, &args.out)) {
        bail!(
            "--out {} would overwrite the report {}: choose another name",
            args.out.display(),
            input.display()
        );
    }
    let runs = args.files.iter().map(|file| Run::read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let page = page::page(&args.title, &runs)?;
    fs::write(&args.out, page).with_context(|| format!("cannot write {}", args.out.display()))?;
    println!("{}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// Whether two paths lead to one file, by whatever links.
fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(a), Ok(b)) = (fs::canonicalize(one), fs::canonicalize(other)) else { return false };
    a == b || is_same_inode(&a, &b)
}

#[cfg(unix)]
fn is_same_inode(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((inode(one), inode(other)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(not(unix))]
fn is_same_inode(_: &Path, _: &Path) -> bool {
    false
}
