//! The middle of a run: bots play and are watched, then stand still and are counted.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::thread::sleep;
use std::time::{Duration, Instant};

use selvedge_bench::local::{ENTRIES_PER_SECOND, Signals};
use selvedge_bench::{Bots, Judgement, judge};
use selvedge_node::NodeReport;
use selvedge_protocol::coordinator::CoordinatorStatus;
use selvedge_protocol::id::EntityId;

use super::args::UpArgs;
use super::live::{Live, Moment};
use super::mesh::Mesh;

/// How long the log-outs may take.
pub(super) const LOGOUT_PATIENCE: Duration = Duration::from_secs(20);
/// The same, once somebody has asked twice.
pub(super) const IMPATIENCE: Duration = Duration::from_secs(1);
/// Time beyond the plain pace within which all players should be in.
const ENTRY_PATIENCE: Duration = Duration::from_secs(30);
/// How long bots that stand still may wait for their last input to be applied.
const DRAIN_PATIENCE: Duration = Duration::from_secs(15);
/// How long players in flight are waited for.
const CENSUS_PATIENCE: Duration = Duration::from_secs(15);
/// Nodes report once a second: after this the newest report has seen the end.
const REPORT_PAUSE: Duration = Duration::from_millis(1500);
/// Of a bot's inputs every so many-th is a deed: at 30 Hz one in five seconds.
const DEED_EVERY: NonZeroU64 = NonZeroU64::MIN.saturating_add(149);
const LOOK: Duration = Duration::from_millis(100);

/// The bots on the mesh.
#[derive(Debug)]
pub(super) struct Play<'a> {
    args: &'a UpArgs,
    mesh: &'a mut Mesh,
    bots: &'a Bots,
    signals: &'a Signals,
    live: Live,
    begun: Instant,
    played: Duration,
    /// Whether time was enough for every player to enter.
    all_expected: bool,
    errors: Vec<String>,
}

/// What is known once everything stands still.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) judgement: Judgement,
    pub(super) expected: usize,
    pub(super) nodes: NodeReport,
    pub(super) status: Option<CoordinatorStatus>,
    pub(super) played: Duration,
    pub(super) errors: Vec<String>,
}

impl<'a> Play<'a> {
    pub(super) fn new(args: &'a UpArgs, mesh: &'a mut Mesh, bots: &'a Bots, signals: &'a Signals) -> Self {
        Self {
            args,
            mesh,
            bots,
            signals,
            live: Live::new(),
            begun: Instant::now(),
            played: Duration::ZERO,
            all_expected: false,
            errors: Vec::new(),
        }
    }

    /// Lets them play until the time is over, somebody asks to end, or a process dies.
    pub(super) fn run(&mut self) {
        let entering =
            Duration::from_secs(1).mul_f64(to_f64(self.args.local.players) / f64::from(ENTRIES_PER_SECOND));
        let mut all_in = None;
        if !self.args.peaceful {
            self.bots.act(Some(DEED_EVERY));
        }
        loop {
            sleep(LOOK);
            if all_in.is_none() {
                let entered = self.bots.snapshot().entered;
                if entered == self.args.local.players {
                    self.all_expected = true;
                    all_in = Some(Instant::now());
                } else if self.begun.elapsed() > entering * 2 + ENTRY_PATIENCE {
                    self.all_expected = true;
                    all_in = Some(Instant::now());
                    self.tell_who_is_out(entered);
                }
            }
            let left = self
                .args
                .duration
                .map(|all| all.saturating_sub(all_in.map_or(Duration::ZERO, |at: Instant| at.elapsed())));
            if self.live.is_due() {
                self.show(left);
            }
            if left.is_some_and(|left| left.is_zero()) || self.signals.asked() || self.somebody_died() {
                break;
            }
        }
        self.played = self.begun.elapsed();
        self.live.end();
    }

    /// Stops the inputs, waits until all were applied, counts everybody, and asks the nodes what they measured.
    pub(super) fn settle(mut self) -> Settled {
        self.live.say("the bots stand still; counting");
        self.bots.stop_inputs();
        self.drain();
        // Who comes in from here on is not counted.
        let entered: BTreeSet<_> = self.bots.accounts().into_iter().filter_map(|bot| bot.entity).collect();
        let judgement = self.count(&entered);
        self.pause(REPORT_PAUSE);
        let nodes = self.mesh.observer.report().unwrap_or_else(|error| {
            self.errors.push(format!("the nodes' figures are not known: {error}"));
            NodeReport::default()
        });
        let status = self.mesh.observer.status();
        let status = status.map_err(|error| self.errors.push(format!("no status: {error}"))).ok();
        self.somebody_died();
        Settled {
            judgement,
            expected: if self.all_expected { self.args.local.players } else { entered.len() },
            nodes,
            status,
            played: self.played,
            errors: self.errors,
        }
    }

    fn tell_who_is_out(&self, entered: usize) {
        let why = self.bots.snapshot().last_refusal.unwrap_or_else(|| "no answer".to_owned());
        self.live.say(&format!("only {entered} of {} players came in: {why}", self.args.local.players));
    }

    fn somebody_died(&mut self) -> bool {
        let deaths = self.mesh.processes.deaths();
        let any = !deaths.is_empty();
        for death in &deaths {
            self.live.say(&format!("ERROR: {death}"));
        }
        self.errors.extend(deaths);
        any
    }

    fn show(&mut self, left: Option<Duration>) {
        let bots = self.bots.snapshot();
        let status = self.mesh.observer.status().ok();
        let nodes = self.mesh.observer.report().unwrap_or_default();
        let cutover = nodes.histograms.cutover_players_us.decode().ok();
        self.live.show(&Moment {
            bots: &bots,
            status: status.as_ref(),
            cutover_us: cutover.as_ref(),
            counted: &nodes.counters,
            left,
        });
    }

    fn drain(&mut self) {
        let until = Instant::now() + DRAIN_PATIENCE;
        loop {
            let Err(undrained) = self.bots.drain(LOOK) else { return };
            if Instant::now() >= until || self.signals.asked_again() || self.somebody_died() {
                let bots = undrained.bots;
                self.live.say(&format!("{bots} players have not seen their last input applied"));
                return;
            }
        }
    }

    /// Takes a census again and again until nobody is in flight.
    fn count(&mut self, expected: &BTreeSet<EntityId>) -> Judgement {
        let until = Instant::now() + CENSUS_PATIENCE;
        let mut same_epoch = BTreeSet::new();
        let mut npcs = 0;
        loop {
            let judged = self.mesh.observer.census().map(|census| judge(&census, expected));
            if let Ok(judgement) = &judged {
                same_epoch.extend(judgement.at_one_epoch.iter().copied());
                npcs = npcs.max(judgement.npcs);
            }
            let enough = judged.as_ref().is_ok_and(|judgement| judgement.settled);
            if !enough && Instant::now() < until && !self.signals.asked_again() && !self.somebody_died() {
                self.pause(LOOK * 2);
                continue;
            }
            let mut judgement = judged.unwrap_or_else(|error| {
                self.errors.push(format!("nobody could be counted: {error}"));
                Judgement { missing: expected.iter().copied().collect(), ..Judgement::default() }
            });
            if !judgement.settled {
                self.live.say(&format!("not everybody could be counted within {CENSUS_PATIENCE:?}"));
            }
            // What no census may ever show counts even if a later one doesn't show it.
            same_epoch.extend(judgement.twice.iter().copied());
            judgement.twice = same_epoch.into_iter().collect();
            judgement.npcs = npcs;
            return judgement;
        }
    }

    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.signals.asked_again() {
            sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "the number of players is small")]
fn to_f64(players: usize) -> f64 {
    players as f64
}
