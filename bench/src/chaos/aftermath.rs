//! What a fault led to.

use std::time::{Duration, Instant};

use selvedge_protocol::id::EntityId;
use serde::Serialize;

use super::phase::Phases;
use super::plan::Fault;
use crate::Sight;

/// What a fault led to.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Aftermath {
    pub(crate) fault: String,
    /// When it began, in seconds after the first one could.
    pub(crate) at_s: f64,
    /// What went on when it began.
    pub(crate) beside: Vec<String>,
    /// Players who were shown nothing for a while, or whose entity another node restored.
    pub(crate) affected: usize,
    /// Of these, the restored: from the fault to the first state of the new authority, as the player saw it.
    pub(crate) recovery_ms: Vec<f64>,
    /// How long each of them was shown nothing.
    pub(crate) silence_ms: Vec<f64>,
    /// What the restorations took back, in milliseconds of inputs.
    pub(crate) rolled_back_ms: Vec<f64>,
    /// How much they may take back; none if nobody could say how old the copies were.
    pub(crate) rolled_back_max_ms: Option<f64>,
    /// Entities that the node held, players and NPCs.
    pub(crate) entities: usize,
    /// Until all of them were simulated again, as censuses saw it.
    pub(crate) all_back_ms: Option<f64>,
    /// From the end of the fault until the node, in a new life, had cells again.
    pub(crate) rejoined_ms: Option<f64>,
    /// The time before it and while it lasted, where that was asked for.
    pub(crate) phases: Option<Phases>,
    /// Whether somebody ended it before its time.
    pub(crate) interrupted: bool,
    /// What went wrong.
    pub(crate) problem: Option<String>,
}

impl Aftermath {
    pub(crate) fn new(fault: Fault, at: Duration, beside: Vec<String>) -> Self {
        Self { fault: fault.to_string(), at_s: at.as_secs_f64(), beside, ..Self::default() }
    }

    /// Enters a player whom another node restored.
    pub(crate) fn restored(&mut self, sight: &Sight, at: Instant, then: Instant, tick_hz: u32) {
        self.recovery_ms.push(millis(then - at));
        self.silence_ms.push(millis(sight.silent_for));
        self.rolled_back_ms.push(millis(of_inputs(sight.rolled_back, tick_hz)));
    }

    /// Adds a problem to those there are.
    pub(crate) fn complain(&mut self, problem: String) {
        match &mut self.problem {
            Some(before) => *before += &format!("; {problem}"),
            None => self.problem = Some(problem),
        }
    }

    pub(crate) fn in_words(&self) -> String {
        let mut text = format!("         {} players affected", self.affected);
        if let Some(last) = self.recovery_ms.iter().copied().max_by(f64::total_cmp) {
            text += &format!(", {} restored, the last after {last:.0} ms", self.recovery_ms.len());
        }
        if let Some(silence) = self.silence_ms.iter().copied().max_by(f64::total_cmp) {
            text += &format!(", shown nothing for up to {silence:.0} ms");
        }
        if let Some(taken) = self.rolled_back_ms.iter().copied().max_by(f64::total_cmp) {
            let allowed = self.rolled_back_max_ms.map(|allowed| format!("of {allowed:.0} allowed"));
            let allowed = allowed.unwrap_or_else(|| "nobody could say how old the copies were".to_owned());
            text += &format!(", up to {taken:.0} ms taken back ({allowed})");
        }
        if let Some(back) = self.all_back_ms {
            text += &format!("; all {} entities back after {back:.0} ms", self.entities);
        }
        if let Some(rejoined) = self.rejoined_ms {
            text += &format!("; the node has cells again {rejoined:.0} ms after its return");
        }
        if self.interrupted {
            text += "; interrupted";
        }
        if let Some(problem) = &self.problem {
            text += &format!("; FAILED: {problem}");
        }
        text
    }
}

/// A few of them by name.
pub(crate) fn names(entities: &[EntityId]) -> String {
    const SHOWN: usize = 5;
    let mut text = entities.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if entities.len() > SHOWN {
        text += ", …";
    }
    text
}

/// How long a player takes to send so many.
fn of_inputs(inputs: u64, tick_hz: u32) -> Duration {
    let inputs = u32::try_from(inputs).unwrap_or(u32::MAX);
    (Duration::from_secs(1) * inputs) / tick_hz.max(1)
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
