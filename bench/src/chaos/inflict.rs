//! One fault after the other: inflicted, ended, and watched until everybody is simulated again.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use selvedge_protocol::id::{EntityId, Incarnation};

use super::aftermath::{Aftermath, millis, names};
use super::args::ChaosArgs;
use super::judge::{allowed_back_ms, checkpoint_age_ms, judge_taken_back};
use super::mesh::Mesh;
use super::phase::{Phase, Phases, Reports, Seen, reports};
use super::plan::{Fault, place_name};
use super::proxy::{COORDINATOR, PLAYERS, Place};
use super::watch::{Held, Watch};
use super::wire::Weather;
use crate::local::{Signals, is_whole};
use crate::{Bots, Sight};

const LOOK: Duration = Duration::from_millis(40);
const STATUS_PERIOD: Duration = Duration::from_millis(250);
/// A player who is shown nothing for so long is affected; who is shown something within it is not, or not any more.
const SILENCE: Duration = Duration::from_millis(500);
/// How long what a fault led to may take to show after its end.
const SHOW: Duration = Duration::from_secs(1);
/// Beyond the fault and a lease: how long a recovery may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a busy coordinator is asked who holds whom, or what the nodes have measured.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Who inflicts.
#[derive(Debug)]
pub(crate) struct Fury<'a> {
    args: &'a ChaosArgs,
    mesh: &'a mut Mesh,
    bots: &'a Bots,
    signals: &'a Signals,
    begun: Instant,
    /// Faults that end while others come.
    pending: Vec<(Instant, Fault)>,
    /// What the nodes had measured in the middle of the last rest: the copies that a recovery cost are made anew by then.
    rested: Reports,
}

/// What must be known of the time before a fault.
#[derive(Debug, Default)]
struct Before {
    /// What the node held whose lease is lost; none if nobody could be asked.
    held: Option<Held>,
    /// Its life.
    life: Option<Incarnation>,
    /// Of the quiet time, where it is to be compared: its beginning and its end.
    quiet: Option<[(Seen, Reports); 2]>,
    /// The oldest that any node's newest safe checkpoint was since the last rest; none if nobody could be asked.
    checkpoint_age_ms: Option<f64>,
}

impl<'a> Fury<'a> {
    pub(crate) fn new(args: &'a ChaosArgs, mesh: &'a mut Mesh, bots: &'a Bots, signals: &'a Signals) -> Self {
        let (begun, pending, rested) = (Instant::now(), Vec::new(), Reports::new());
        Self { args, mesh, bots, signals, begun, pending, rested }
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
        let beside = self.pending.iter().map(|(_, other)| other.to_string()).collect();
        let mut aftermath = Aftermath::new(fault, self.elapsed(), beside);
        let mut before = self.before(fault)?;
        if self.signals.asked() {
            aftermath.interrupted = true;
            return Ok(aftermath);
        }
        aftermath.entities = before.held.as_ref().map_or(0, Held::len);
        let at = self.begin(fault)?;
        if self.args.overlap && fault.may_overlap() {
            self.pending.push((at + fault.length(), fault));
            return Ok(aftermath);
        }
        let watch = before.held.take().map(|held| Watch::start(self.mesh.observer, held));
        self.wait(fault, at, before, watch.as_ref(), &mut aftermath)?;
        Ok(aftermath)
    }

    fn before(&mut self, fault: Fault) -> anyhow::Result<Before> {
        let mut before = Before::default();
        if matches!(fault, Fault::Kill { place: COORDINATOR, .. }) && self.args.down.is_some() {
            let begin = (Seen::now(self.bots), self.reports(fault)?);
            self.pause(fault.length())?;
            before.quiet = Some([begin, (Seen::now(self.bots), self.reports(fault)?)]);
        }
        let now = reports(self.mesh.observer, self.args.local.nodes);
        before.checkpoint_age_ms = now.map(|now| checkpoint_age_ms(&self.rested, &now));
        let Some(place) = fault.loses_lease() else { return Ok(before) };
        // A dead coordinator can't be asked: then what the node held is not watched.
        let until = Instant::now() + if self.is_headless() { Duration::ZERO } else { ANSWER_PATIENCE };
        loop {
            match self.mesh.observer.census() {
                Ok(census) => before.held = Some(Held::by(self.mesh.id(place), &census)),
                Err(error) if Instant::now() >= until && !self.is_headless() => return Err(error.into()),
                Err(_) if Instant::now() >= until => {}
                Err(_) => {
                    sleep(LOOK);
                    continue;
                }
            }
            before.life = self.mesh.status().and_then(|status| self.mesh.life(&status, place));
            return Ok(before);
        }
    }

    /// Whether the coordinator is dead, or was when this was last looked at.
    fn is_headless(&self) -> bool {
        self.pending.iter().any(|(_, fault)| matches!(fault, Fault::Kill { place: COORDINATOR, .. }))
    }

    /// What all nodes have measured, each asked anew.
    fn reports(&self, fault: Fault) -> anyhow::Result<Reports> {
        let until = Instant::now() + ANSWER_PATIENCE;
        loop {
            if let Some(reports) = reports(self.mesh.observer, self.args.local.nodes) {
                return Ok(reports);
            }
            anyhow::ensure!(
                Instant::now() < until,
                "{fault}: a node has not said within {ANSWER_PATIENCE:?} what it has measured"
            );
            sleep(LOOK);
        }
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
            Fault::Isolation { node, players, .. } => {
                let others = (COORDINATOR..=self.args.local.nodes).filter(|&other| other != node);
                let others = others.chain(players.then_some(PLAYERS));
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
        before: Before,
        watch: Option<&Watch>,
        aftermath: &mut Aftermath,
    ) -> anyhow::Result<()> {
        let last = self.pending.iter().map(|(end, _)| *end).max();
        let until = last.unwrap_or(at).max(at + fault.length()) + self.args.lease + PATIENCE;
        let mut ended: Option<(Instant, Seen)> = None;
        let mut asked = at;
        let mut whole = false;
        let mut silent = BTreeSet::new();
        loop {
            sleep(LOOK);
            let now = Instant::now();
            self.end_pending(false)?;
            let interrupted = self.signals.asked();
            if ended.is_none() && (now >= at + fault.length() || interrupted) {
                aftermath.interrupted = interrupted;
                let seen = Seen::now(self.bots);
                self.end(fault)?;
                ended = Some((now, seen));
            }
            let sights = self.bots.sights();
            let quiet = silent_since(&sights, now);
            silent.extend(quiet.iter().copied());
            let ended_at = ended.as_ref().map(|(at, _)| *at);
            if let Some(ended_at) = ended_at
                && now.duration_since(asked) >= STATUS_PERIOD
            {
                asked = now;
                whole = self.is_whole(fault, before.life);
                if whole && aftermath.rejoined_ms.is_none() && fault.loses_lease().is_some() {
                    aftermath.rejoined_ms = Some(millis(ended_at.elapsed()));
                }
            }
            let back = watch.is_none_or(|watch| watch.all_back().is_some());
            let shown = ended_at.is_some_and(|ended| now.duration_since(ended) >= SHOW);
            let good = shown && whole && back && quiet.is_empty();
            let deaths = self.mesh.deaths();
            if !deaths.is_empty() {
                aftermath.complain(deaths.join("\n"));
            } else if !good && now >= until {
                aftermath.complain(self.what_is_missing(fault, watch, whole, &quiet));
            }
            if good || aftermath.problem.is_some() || self.signals.asked_again() {
                let beside = !aftermath.beside.is_empty();
                let allowed = |oldest_ms| allowed_back_ms(fault, self.args, oldest_ms, beside);
                aftermath.rolled_back_max_ms = before.checkpoint_age_ms.map(allowed);
                self.sum_up(at, &sights, &silent, aftermath);
                let all_back = watch.and_then(Watch::all_back).flatten();
                aftermath.all_back_ms = all_back.map(|then| millis(then - at));
                if let (Some(quiet), Some((_, seen)), true) = (before.quiet, ended, good) {
                    aftermath.phases = Some(self.compare(fault, quiet, &seen)?);
                }
                judge_notice(fault, aftermath);
                return Ok(());
            }
        }
    }

    /// What it was like without the coordinator, beside the quiet time before.
    fn compare(
        &self,
        fault: Fault,
        [begin, dead]: [(Seen, Reports); 2],
        ended: &Seen,
    ) -> anyhow::Result<Phases> {
        let after = self.reports(fault)?;
        Ok(Phases {
            quiet: Phase::between(&begin.0, &dead.0, &begin.1, &dead.1)?,
            down: Phase::between(&dead.0, ended, &dead.1, &after)?,
        })
    }

    /// Whether every node is there, and the one that was away has cells in a new life.
    fn is_whole(&self, fault: Fault, life: Option<Incarnation>) -> bool {
        let Some(status) = self.mesh.status() else { return false };
        is_whole(&status, self.args.local.nodes)
            && fault.loses_lease().is_none_or(|place| {
                let new = self.mesh.life(&status, place).is_some_and(|now| Some(now) != life);
                new && self.mesh.has_cells(&status, place)
            })
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

    fn sum_up(&self, at: Instant, sights: &[Sight], silent: &BTreeSet<EntityId>, aftermath: &mut Aftermath) {
        let tick_hz = self.args.local.tick_hz;
        let mut affected = silent.clone();
        for sight in sights {
            if let Some(then) = sight.restored_at.filter(|&then| then > at) {
                affected.insert(sight.entity);
                aftermath.restored(sight, at, then, tick_hz);
            }
        }
        aftermath.affected = affected.len();
        let allowed = aftermath.rolled_back_max_ms;
        let judge = |allowed| judge_taken_back(&aftermath.rolled_back_ms, allowed);
        if let Some(problem) = allowed.and_then(judge) {
            aftermath.complain(problem);
        }
    }

    /// Leaves the mesh alone for a while, or until somebody interrupts.
    ///
    /// # Errors
    /// If a process can't be dealt with as a fault that ends asks.
    pub(crate) fn rest(&mut self) -> anyhow::Result<()> {
        self.pause(self.args.spacing / 2)?;
        self.rested = reports(self.mesh.observer, self.args.local.nodes).unwrap_or_default();
        self.pause(self.args.spacing / 2)
    }

    fn pause(&mut self, length: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + length;
        while Instant::now() < until && !self.signals.asked() {
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

/// Says what players noticed that they were not to notice.
fn judge_notice(fault: Fault, aftermath: &mut Aftermath) {
    let headless = matches!(fault, Fault::Kill { place: COORDINATOR, .. });
    if !headless || !aftermath.beside.is_empty() {
        return;
    }
    if aftermath.affected > 0 {
        let affected = aftermath.affected;
        aftermath.complain(format!("{affected} players noticed that the coordinator was away"));
    }
    if let Some(phases) = aftermath.phases.clone() {
        phases.noticed().into_iter().for_each(|noticed| aftermath.complain(noticed));
    }
}
