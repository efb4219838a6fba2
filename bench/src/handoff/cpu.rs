//! CPU time of a process by its threads, as Linux counts it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Linux tells a core's times in hundredths of a second.
const PER_SECOND: f64 = 100.0;

/// CPU seconds of each thread name; empty where the system doesn't say.
pub(crate) type Spent = BTreeMap<String, f64>;

/// What a process has spent so far.
pub(crate) fn spent(process: u32) -> Spent {
    let mut spent = Spent::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return spent };
    for task in tasks.flatten() {
        if let Some((name, seconds)) = of_task(&task.path()) {
            *spent.entry(name).or_default() += seconds;
        }
    }
    spent
}

#[allow(clippy::cast_precision_loss, reason = "nanoseconds of a run are below 2^53")]
fn of_task(task: &Path) -> Option<(String, f64)> {
    let name = fs::read_to_string(task.join("comm")).ok()?;
    let times = fs::read_to_string(task.join("schedstat")).ok()?;
    let nanoseconds: u64 = times.split_whitespace().next()?.parse().ok()?;
    Some((name.trim().to_owned(), nanoseconds as f64 / 1e9))
}

/// What all processes of this machine, and the hypervisor below it, have taken from its cores so far, in CPU seconds.
pub(crate) fn machine() -> Option<f64> {
    busy_seconds(fs::read_to_string("/proc/stat").ok()?.lines().next()?)
}

/// Of the line for all cores: everything but idling and waiting for disks. Guests are in the user's time.
#[allow(clippy::cast_precision_loss, reason = "hundredths of a second of a machine's life are below 2^53")]
fn busy_seconds(line: &str) -> Option<f64> {
    let mut times = line.strip_prefix("cpu ")?.split_whitespace().map(str::parse::<u64>);
    let mut next = || times.next()?.ok();
    let (user, nice, system) = (next()?, next()?, next()?);
    let (_idle, _disk) = (next()?, next()?);
    let (interrupts, soft, stolen) = (next()?, next()?, next()?);
    Some((user + nice + system + interrupts + soft + stolen) as f64 / PER_SECOND)
}

/// Adds what was spent between two looks.
pub(crate) fn add_difference(sum: &mut Spent, before: &Spent, after: &Spent) {
    for (name, seconds) in after {
        let spent = seconds - before.get(name).copied().unwrap_or(0.0);
        *sum.entry(name.clone()).or_default() += spent.max(0.0);
    }
}

/// What the machine's processor is called, where the system says.
pub(crate) fn model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_idles_or_waits_for_a_disk_is_not_busy() {
        assert_eq!(busy_seconds("cpu  100 20 30 99999 88888 4 5 41 7 7"), Some(2.0));
        assert_eq!(busy_seconds("cpu  100 20 30"), None);
        assert_eq!(busy_seconds("cpu0 100 20 30 99999 88888 4 5 41 7 7"), None);
    }
}
