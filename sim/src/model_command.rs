//! `selvedge-sim model`: explores, and says how much was seen or what is broken.

use std::process::ExitCode;

use clap::ValueEnum;
use selvedge_sim::model::{Bound, Explored, LeaseBound, explore, explore_lease};

use crate::show;

/// How far to explore.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Extent {
    /// Seconds.
    Small,
    /// Minutes, and some gigabytes of memory.
    Large,
}

pub(crate) fn run(
    extent: Extent,
    filter: &str,
    plant: Option<&str>,
    jobs: Option<usize>,
) -> anyhow::Result<ExitCode> {
    let threads = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    if let Some(name) = plant {
        return run_planted(name, threads);
    }
    let (bounds, leases): (&[Bound], &[LeaseBound]) = match extent {
        Extent::Small => (&Bound::SMALL, &[LeaseBound::SMALL]),
        Extent::Large => (&Bound::LARGE, &LeaseBound::LARGE),
    };
    let mut sound = true;
    for bound in leases.iter().filter(|bound| bound.name.contains(filter)) {
        sound &= tell(&explore_lease(bound, threads));
    }
    for bound in bounds.iter().filter(|bound| bound.name.contains(filter)) {
        sound &= tell(&explore(bound, threads));
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what an exploration found; whether everything holds.
fn tell(explored: &Explored) -> bool {
    let Explored { bound, states, depth, elapsed, violation } = explored;
    let seconds = elapsed.as_secs_f64();
    show(&format!("{states:>10} states, depth {depth:>3}, {seconds:>7.1} s   {bound}"));
    if let Some(violation) = violation {
        show(&violation.to_string());
    }
    violation.is_none()
}

#[cfg(feature = "planted-bugs")]
fn run_planted(name: &str, threads: usize) -> anyhow::Result<ExitCode> {
    use selvedge_sim::model::{PLANTS, Plant};

    if name == "all" {
        let mut unseen = Vec::new();
        for (number, plant) in PLANTS.iter().enumerate() {
            show(&format!("{:>2} of {}: {}", number + 1, PLANTS.len(), plant.name));
            let Explored { states, depth, elapsed, violation, .. } = plant.explore(threads);
            let seconds = elapsed.as_secs_f64();
            let seen = if let Some(violation) = violation {
                format!("breaks {:?} in {} steps", violation.property, violation.steps.len())
            } else {
                unseen.push(plant.name);
                "is not seen".to_owned()
            };
            show(&format!("{states:>10} states, depth {depth:>3}, {seconds:>7.1} s   {seen}"));
        }
        show(&format!("{} bugs planted; not seen: {unseen:?}", PLANTS.len()));
        return Ok(if unseen.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let Some(plant) = Plant::named(name) else {
        let known: Vec<&str> = PLANTS.iter().map(|plant| plant.name).collect();
        anyhow::bail!("{name:?} is none of {}, or all", known.join(", "));
    };
    Ok(if tell(&plant.explore(threads)) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(not(feature = "planted-bugs"))]
fn run_planted(name: &str, _threads: usize) -> anyhow::Result<ExitCode> {
    anyhow::bail!("{name:?} can't be planted: this program was built without `--features planted-bugs`")
}
