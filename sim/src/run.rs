//! One seed, from its number to its outcome.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use selvedge_protocol::time::Time;

use crate::fault::FaultSet;
use crate::invariant::Violation;
use crate::scenario::{Profile, Scenario};
use crate::stats::Stats;
use crate::trace::Watcher;
use crate::world::World;

/// Messages printed with a failure.
const NEWEST_MESSAGES: usize = 40;

/// How to run seeds.
#[derive(Clone, Copy, Debug)]
pub struct SimOptions {
    /// Runs every seed under this profile instead of the one that it draws.
    pub profile: Option<Profile>,
    /// What comes to harm under the profile `faults`.
    pub faults: FaultSet,
    /// Changes what the seed draws.
    pub tweak: fn(&mut Scenario),
    /// Is shown every delivered message, as a line.
    pub watcher: Option<Watcher>,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self { profile: None, faults: FaultSet::ALL, tweak: |_| {}, watcher: None }
    }
}

/// What became of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The profile that it ran under.
    pub profile: Profile,
    /// A hash of everything that was delivered, in order.
    pub trace_hash: u64,
    /// What was explored.
    pub stats: Stats,
    /// What went wrong, if anything.
    pub failure: Option<Failure>,
}

/// A broken invariant, and how to see it again.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The step that broke it.
    pub step: u64,
    /// Its virtual time.
    pub at: Time,
    /// What was broken.
    pub violation: Violation,
    /// The newest messages that matter, oldest first.
    pub messages: Vec<String>,
    /// The command that shows it again.
    pub command: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} broke {}", self.seed, self.violation.invariant)?;
        writeln!(f, "  at step {}, virtual time {}", self.step, self.at)?;
        writeln!(f, "  seen: {}", self.violation.what)?;
        writeln!(f, "  the last {} messages about it (step, time, from -> to):", self.messages.len())?;
        for message in &self.messages {
            writeln!(f, "    {message}")?;
        }
        write!(f, "  reproduce: {}", self.command)
    }
}

/// Runs one seed.
///
/// # Errors
/// If the seed draws a configuration that the machines refuse: a mistake of the scenario, not of the machines.
pub fn run_seed(seed: u64, options: &SimOptions) -> anyhow::Result<Outcome> {
    let mut scenario = Scenario::from_seed(seed, options.profile, options.faults);
    (options.tweak)(&mut scenario);
    let profile = scenario.profile;
    let mut world = World::new(scenario, options.watcher)?;
    // A machine that asserts is a finding like any other: the trace up to it is what tells why.
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match result {
        Ok(result) => result.err(),
        Err(panic) => {
            let what = panic_message(&*panic);
            Some(Violation { invariant: "no panic", what, entity: None, player: None })
        }
    };
    let failure = violation.map(|violation| {
        let (step, at) = world.progress();
        let messages = world.trace.newest(NEWEST_MESSAGES, &about(&violation));
        Failure { seed, step, at, violation, messages, command: command(seed, options) }
    });
    Ok(Outcome { seed, profile, trace_hash: world.trace.hash().value(), stats: world.stats, failure })
}

/// What a line must hold to be about this.
pub(crate) fn about(violation: &Violation) -> Vec<String> {
    let entity = violation.entity.map(|entity| format!("{entity:?}"));
    let player =
        violation.player.map(|player| [format!(" player {player} -> "), format!(" -> player {player}: ")]);
    entity.into_iter().chain(player.into_iter().flatten()).collect()
}

fn command(seed: u64, options: &SimOptions) -> String {
    let profile = options.profile.map(|profile| format!(" --profile {}", profile.name())).unwrap_or_default();
    let faults = if options.profile == Some(Profile::Faults) {
        format!(" --faults {}", options.faults)
    } else {
        String::new()
    };
    format!("cargo run -p selvedge-sim --release -- --seed {seed}{profile}{faults} -v")
}

pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
