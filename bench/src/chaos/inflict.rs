//! One fault after the other: inflicted, ended, and watched until everybody is simulated again.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use selvedge_protocol::id::EntityId;
use serde::Serialize;

use super::args::ChaosArgs;
use super::mesh::Mesh;
use super::plan::{Fault, place_name};
use super::proxy::{COORDINATOR, Place};
use super::watch::{Held, Watch};
use super::wire::Weather;
use crate::local::is_whole;
use crate::{Bots, Sight};

const LOOK: Duration = Duration::from_millis(40);
const STATUS_PERIOD: Duration = Duration::from_millis(250);
/// A player who is shown nothing for so long is affected; who is shown something within it is not, or not any more.
const SILENCE: Duration = Duration::from_millis(500);
/// How long what a fault led to may take to show after its end.
const SHOW: Duration = Duration::from_secs(1);
/// Beyond the fault and a lease: how long a recovery may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a fault led to.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Aftermath {
    pub(crate) fault: String,
    /// When it began, in seconds after the first one could.
    pub(crate) at_s: f64,
    /// Players who were shown nothing for a while, or whose entity another node restored.
    pub(crate) affected: usize,
    /// Of these, the restored: from the fault to the first state of the new authority, as the player saw it.
    pub(crate) recovery_ms: Vec<f64>,
    /// What the restorations took back, in milliseconds of inputs.
    pub(crate) rolled_back_ms: Vec<f64>,
    /// Entities that the node held, players and NPCs.
    pub(crate) entities: usize,
    /// Until all of them were simulated again, as censuses saw it.
    pub(crate) all_back_ms: Option<f64>,
    /// From the end of the fault until the node had cells again.
    pub(crate) rejoined_ms: Option<f64>,
    /// What went wrong.
    pub(crate) problem: Option<String>,
}

/// Who inflicts.
#[derive(Debug)]
pub(crate) struct Fury<'a> {
    args: &'a ChaosArgs,
    mesh: &'a mut Mesh,
    bots: &'a Bots,
    begun: Instant,
    /// Faults that end while others come.
    pending: Vec<(Instant, Fault)>,
}

impl<'a> Fury<'a> {
    pub(crate) fn new(args: &'a ChaosArgs, mesh: &'a mut Mesh, bots: &'a Bots) -> Self {
        Self { args, mesh, bots, begun: Instant::now(), pending: Vec::new() }
    }

    /// How long it has gone on.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Inflicts a fault and waits until it has passed.
    ///
    /// # Errors
    /// If a process can't be dealt with as the fault asks.
    pub(crate) fn inflict(&mut self, fault: Fault) -> anyhow::Result<Aftermath> {
        let mut aftermath = Aftermath {
            fault: fault.to_string(),
            at_s: self.elapsed().as_secs_f64(),
            ..Aftermath::default()
        };
        let watch = match fault.loses_lease() {
            Some(place) => {
                let held = Held::by(self.mesh.home.folder.nodes()[place - 1], &self.mesh.observer.census()?);
                aftermath.entities = held.len();
                Some(held)
            }
            None => None,
        };
        let at = self.begin(fault)?;
        let watch = watch.map(|held| Watch::start(self.mesh.observer, held));
        if self.args.overlap && fault.may_overlap() {
            self.pending.push((at + fault.length(), fault));
            return Ok(aftermath);
        }
        self.wait(fault, at, watch.as_ref(), &mut aftermath)?;
        Ok(aftermath)
    }

    /// Does it. Gives the moment from which on it counts.
    fn begin(&mut self, fault: Fault) -> anyhow::Result<Instant> {
        match fault {
            Fault::Kill { place, .. } => return self.mesh.process(place)?.kill(),
            Fault::Pause { node, .. } => return self.mesh.process(node)?.pause(),
            Fault::Partition { .. } | Fault::Isolation { .. } => {
                for (from, to) in self.cuts(fault) {
                    self.mesh.proxy.cut(from, to);
                }
            }
            Fault::Loss { weather, .. } => self.mesh.proxy.set_weather(weather),
        }
        Ok(Instant::now())
    }

    fn end(&mut self, fault: Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Kill { place, .. } => return self.mesh.restart(place),
            Fault::Pause { node, .. } => return self.mesh.process(node)?.resume(),
            Fault::Partition { .. } | Fault::Isolation { .. } => {
                for (from, to) in self.cuts(fault) {
                    self.mesh.proxy.mend(from, to);
                }
            }
            Fault::Loss { .. } => self.mesh.proxy.set_weather(Weather::default()),
        }
        Ok(())
    }

    /// The directions that a fault closes.
    fn cuts(&self, fault: Fault) -> Vec<(Place, Place)> {
        match fault {
            Fault::Partition { from, to, one_way: true, .. } => vec![(from, to)],
            Fault::Partition { from, to, one_way: false, .. } => vec![(from, to), (to, from)],
            Fault::Isolation { node, .. } => {
                let others = (COORDINATOR..=self.args.local.nodes).filter(|&other| other != node);
                others.flat_map(|other| [(node, other), (other, node)]).collect()
            }
            Fault::Kill { .. } | Fault::Pause { .. } | Fault::Loss { .. } => Vec::new(),
        }
    }

    /// Ends what is due of the faults that others overlap.
    fn end_pending(&mut self, all: bool) -> anyhow::Result<()> {
        let now = Instant::now();
        let (due, left) = self.pending.drain(..).partition(|(at, _)| all || *at <= now);
        self.pending = left;
        let due: Vec<(Instant, Fault)> = due;
        due.into_iter().try_for_each(|(_, fault)| self.end(fault))
    }

    fn wait(
        &mut self,
        fault: Fault,
        at: Instant,
        watch: Option<&Watch>,
        aftermath: &mut Aftermath,
    ) -> anyhow::Result<()> {
        let until = at + fault.length() + self.args.lease + PATIENCE;
        let mut ended: Option<Instant> = None;
        let mut asked = at;
        let mut whole = false;
        let mut silent = BTreeSet::new();
        loop {
            sleep(LOOK);
            let now = Instant::now();
            self.end_pending(false)?;
            if ended.is_none() && now >= at + fault.length() {
                self.end(fault)?;
                ended = Some(now);
            }
            let sights = self.bots.sights();
            let quiet = silent_since(&sights, now);
            silent.extend(quiet.iter().copied());
            if let Some(ended) = ended
                && now.duration_since(asked) >= STATUS_PERIOD
            {
                asked = now;
                whole = self.is_whole(fault);
                if whole && aftermath.rejoined_ms.is_none() && fault.loses_lease().is_some() {
                    aftermath.rejoined_ms = Some(millis(now - ended));
                }
            }
            let back = watch.is_none_or(|watch| watch.all_back().is_some());
            let shown = ended.is_some_and(|ended| now.duration_since(ended) >= SHOW);
            let good = shown && whole && back && quiet.is_empty();
            let deaths = self.mesh.deaths();
            if !deaths.is_empty() {
                aftermath.problem = Some(deaths.join("\n"));
            } else if !good && now >= until {
                aftermath.problem = Some(self.what_is_missing(fault, watch, whole, &quiet));
            }
            if good || aftermath.problem.is_some() {
                self.sum_up(at, &sights, &silent, watch, aftermath);
                return Ok(());
            }
        }
    }

    /// Whether every node is there, and the one that was away has cells.
    fn is_whole(&self, fault: Fault) -> bool {
        let Some(status) = self.mesh.status() else { return false };
        is_whole(&status, self.args.local.nodes)
            && fault.loses_lease().is_none_or(|place| self.mesh.has_cells(&status, place))
    }

    fn what_is_missing(
        &self,
        fault: Fault,
        watch: Option<&Watch>,
        whole: bool,
        quiet: &[EntityId],
    ) -> String {
        let mut missing = Vec::new();
        if let Some(count) = watch.map(Watch::missing).filter(|&count| count > 0) {
            missing.push(format!("{count} entities of the node were not simulated again"));
        }
        if !quiet.is_empty() {
            missing.push(format!("{} players are shown nothing: {}", quiet.len(), names(quiet)));
        }
        if !whole {
            let who = fault.loses_lease().map_or_else(|| "a node".to_owned(), place_name);
            missing.push(format!("{who} has no lease, no link or no cells"));
        }
        format!("not over {PATIENCE:?} and a lease after its end: {}", missing.join("; "))
    }

    fn sum_up(
        &self,
        at: Instant,
        sights: &[Sight],
        silent: &BTreeSet<EntityId>,
        watch: Option<&Watch>,
        aftermath: &mut Aftermath,
    ) {
        let restored =
            sights.iter().filter_map(|sight| Some((sight, sight.restored_at.filter(|&then| then > at)?)));
        let mut affected = silent.clone();
        for (sight, then) in restored {
            affected.insert(sight.entity);
            aftermath.recovery_ms.push(millis(then - at));
            aftermath.rolled_back_ms.push(millis(of_inputs(sight.rolled_back, self.args.local.tick_hz)));
        }
        aftermath.affected = affected.len();
        if aftermath.entities > 0 {
            aftermath.all_back_ms = watch.and_then(Watch::all_back).flatten().map(|then| millis(then - at));
        }
    }

    /// Leaves the mesh alone for a while.
    ///
    /// # Errors
    /// If a process can't be dealt with as a fault that ends asks.
    pub(crate) fn rest(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + self.args.spacing;
        while Instant::now() < until {
            self.end_pending(false)?;
            sleep(LOOK);
        }
        Ok(())
    }

    /// Ends every fault.
    ///
    /// # Errors
    /// As [`rest`](Self::rest).
    pub(crate) fn calm(&mut self) -> anyhow::Result<()> {
        self.end_pending(true)
    }
}

/// Who is shown nothing.
fn silent_since(sights: &[Sight], now: Instant) -> Vec<EntityId> {
    let seen = |sight: &Sight| sight.seen_at.is_some_and(|at| now.saturating_duration_since(at) < SILENCE);
    sights.iter().filter(|sight| !seen(sight)).map(|sight| sight.entity).collect()
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

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
