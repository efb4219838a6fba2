//! One run on a mesh of its own: bots enter, faults come, everything stands still, and is judged.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;
use selvedge_node::NodeReport;
use selvedge_protocol::coordinator::CoordinatorStatus;
use selvedge_protocol::id::EntityId;

use super::aftermath::{Aftermath, names};
use super::args::{ChaosArgs, FaultKind};
use super::home::Home;
use super::inflict::Fury;
use super::judge::{Items, judge_inputs, judge_items, judge_trades, npcs};
use super::mesh::Mesh;
use super::plan::{Fault, Plan};
use super::proxy::{COORDINATOR, Carried};
use crate::local::{ENTRIES_PER_SECOND, Signals, is_whole};
use crate::{Bots, BotsReport, Inventory, Judgement, Observer, judge};

/// Beyond the plain pace: how long all players may take to enter.
const ENTRY_PATIENCE: Duration = Duration::from_secs(30);
/// How long reading all inventories may take; each input shows one item.
const ITEMS_PATIENCE: Duration = Duration::from_secs(20);
/// How long the mesh may take to be whole once the faults are over.
const CALM_PATIENCE: Duration = Duration::from_secs(20);
const DRAIN_PATIENCE: Duration = Duration::from_secs(15);
const CENSUS_PATIENCE: Duration = Duration::from_secs(15);
const LOGOUT_PATIENCE: Duration = Duration::from_secs(20);
/// Nodes report once a second: after this the newest report has seen the end.
const REPORT_PAUSE: Duration = Duration::from_millis(1500);
const LOOK: Duration = Duration::from_millis(100);

/// What a run has shown.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) faults: Vec<(FaultKind, Aftermath)>,
    pub(crate) played: Duration,
    pub(crate) bots: BotsReport,
    pub(crate) nodes: NodeReport,
    pub(crate) status: Option<CoordinatorStatus>,
    pub(crate) judgement: Judgement,
    pub(crate) npcs_before: usize,
    pub(crate) npcs_missing: usize,
    pub(crate) items: Items,
    pub(crate) carried: Carried,
    /// What is wrong, in words.
    pub(crate) problems: Vec<String>,
}

/// Carries out one run. None if somebody interrupted it before all players were in; later, what it has shown until then.
///
/// # Errors
/// If the mesh can't be started, or a fault can't be inflicted.
pub(crate) fn run(
    args: &ChaosArgs,
    seed: u64,
    dir: Option<&Path>,
    signals: &Signals,
    say: &dyn Fn(&str),
) -> anyhow::Result<Option<Outcome>> {
    let home = Home::make(args, dir)?;
    say(&format!(
        "seed {seed}: starting a coordinator and {} nodes; logs in {}",
        args.local.nodes,
        home.folder.dir().display()
    ));
    let Some(mut mesh) = Mesh::start(args, seed, home, signals)? else { return Ok(None) };
    let bots = Bots::start(&mesh.home.folder.bots(
        &args.local,
        seed,
        mesh.home.addresses.doors[COORDINATOR].front,
        mesh.observer,
    )?)?;
    let begun = Instant::now();
    if !enter(args, &bots, signals)? {
        return Ok(None);
    }
    let before = read_items(&bots, signals);
    let mut stage = Stage { args, signals, say, problems: Vec::new() };
    let npcs_before = stage.count_npcs(mesh.observer)?;
    say(&format!(
        "{} players and {} NPCs are in; faults for {:?}",
        args.local.players,
        npcs_before.len(),
        args.duration
    ));
    bots.act(Some(DEED_EVERY));
    let faults = stage.inflict(seed, &mut mesh, &bots)?;
    stage.await_whole(&mesh);
    // What is under way must be settled before anybody counts.
    bots.act(None);
    sleep(TRADES_SETTLE);
    let played = begun.elapsed();
    let items = judge_items(&before, &read_items(&bots, signals));
    stage.stand_still(&bots);
    let (judgement, npcs_missing) = stage.count(mesh.observer, &bots, &npcs_before);
    if signals.asked_again() {
        stage.problems.push("interrupted twice: nobody waited for what is to be judged".to_owned());
    } else {
        sleep(REPORT_PAUSE);
    }
    let nodes = mesh.observer.report().unwrap_or_else(|error| {
        stage.problems.push(format!("the nodes' figures are not known: {error}"));
        NodeReport::default()
    });
    let status = mesh.status();
    let carried = mesh.proxy.carried();
    let bots = bots.logout_all(if signals.asked_again() { LOOK } else { LOGOUT_PATIENCE });
    stage.problems.extend(mesh.stop());
    let mut outcome = Outcome {
        seed,
        faults,
        played,
        bots,
        nodes,
        status,
        judgement,
        npcs_before: npcs_before.len(),
        npcs_missing,
        items,
        carried,
        problems: stage.problems,
    };
    let broken = outcome.broken(args.local.players);
    outcome.problems.splice(0..0, broken);
    if !signals.asked() {
        outcome.problems.extend(judge_trades(args.local.players, outcome.trades()));
    }
    Ok(Some(outcome))
}

impl Outcome {
    /// Gifts and trades that were done, as the nodes count that live at the end.
    pub(crate) const fn trades(&self) -> u64 {
        self.nodes.counters.actions_durable_done
    }

    /// The invariants that were broken, in words.
    fn broken(&self, expected: usize) -> Vec<String> {
        let mut broken = Vec::new();
        let mut check = |count: usize, what: &str| {
            if count > 0 {
                broken.push(format!("{count} {what}"));
            }
        };
        check(expected.saturating_sub(self.judgement.present), "players are missing");
        check(self.judgement.twice.len(), "entities are in two hands");
        check(self.npcs_missing, "NPCs are missing");
        check(self.items.vanished.len(), "items vanished");
        check(self.items.doubled.len(), "items were doubled");
        check(self.items.appeared.len(), "items came from nowhere");
        check(self.items.players_unread, "players' inventories could not be read to the end");
        let sums = &self.bots.sums;
        let seen = usize::try_from(sums.authority_violations()).unwrap_or(usize::MAX);
        check(seen, "times a player was shown two authorities, or one that went back");
        let told = self.status.as_ref().map_or(0, |status| status.authority_violations);
        check(
            usize::try_from(told).unwrap_or(usize::MAX),
            "times the coordinator was told of two authorities",
        );
        broken.extend(judge_inputs(&self.bots.bots));
        let failed = self.faults.iter().filter_map(|(_, aftermath)| {
            Some(format!("{}: {}", aftermath.fault, aftermath.problem.as_ref()?))
        });
        broken.extend(failed);
        broken
    }
}

struct Stage<'a> {
    args: &'a ChaosArgs,
    signals: &'a Signals,
    say: &'a dyn Fn(&str),
    problems: Vec<String>,
}

impl Stage<'_> {
    fn inflict(
        &mut self,
        seed: u64,
        mesh: &mut Mesh,
        bots: &Bots,
    ) -> anyhow::Result<Vec<(FaultKind, Aftermath)>> {
        let args = self.args;
        let plan = Plan::new(seed, args);
        let mut faults = Vec::new();
        let mut fury = Fury::new(args, mesh, bots, self.signals);
        fury.rest()?;
        for fault in plan.take(args.faults_max.unwrap_or(usize::MAX)) {
            if fury.elapsed() >= args.duration || self.signals.asked() {
                break;
            }
            (self.say)(&format!("{:>5.0} s  {fault}", fury.elapsed().as_secs_f64()));
            let aftermath = fury.inflict(fault)?;
            (self.say)(&aftermath.in_words());
            let failed = aftermath.problem.is_some();
            faults.push((kind_of(fault), aftermath));
            if failed {
                // What comes after a failure says nothing new.
                break;
            }
            fury.rest()?;
        }
        fury.calm()?;
        Ok(faults)
    }

    fn await_whole(&mut self, mesh: &Mesh) {
        let until = Instant::now() + CALM_PATIENCE;
        while !mesh.status().is_some_and(|status| is_whole(&status, self.args.local.nodes)) {
            if self.signals.asked_again() {
                return;
            }
            if Instant::now() >= until {
                self.problems.push(format!(
                    "{CALM_PATIENCE:?} after the last fault a node is not linked or a cell has no owner"
                ));
                return;
            }
            sleep(LOOK);
        }
    }

    fn stand_still(&mut self, bots: &Bots) {
        (self.say)("the bots stand still; counting");
        bots.stop_inputs();
        let until = Instant::now() + DRAIN_PATIENCE;
        while let Err(undrained) = bots.drain(LOOK) {
            if Instant::now() >= until || self.signals.asked_again() {
                let bots = undrained.bots;
                self.problems.push(format!("{bots} players did not see their last input applied"));
                return;
            }
        }
    }

    /// Every NPC that is in the world before the faults.
    fn count_npcs(&self, observer: Observer) -> anyhow::Result<BTreeSet<EntityId>> {
        let until = Instant::now() + CENSUS_PATIENCE;
        let mut seen = BTreeSet::new();
        // One that changes hands shows in the next census.
        while seen.len() < usize::try_from(self.args.local.npcs)? {
            seen.extend(npcs(&observer.census()?));
            ensure!(
                Instant::now() < until,
                "only {} of {} NPCs came to life",
                seen.len(),
                self.args.local.npcs
            );
            sleep(LOOK);
        }
        Ok(seen)
    }

    /// Takes a census again and again until nobody is in flight. Gives how many NPCs no census has shown, too.
    fn count(
        &mut self,
        observer: Observer,
        bots: &Bots,
        npcs_before: &BTreeSet<EntityId>,
    ) -> (Judgement, usize) {
        let expected: BTreeSet<EntityId> = bots.sights().iter().map(|sight| sight.entity).collect();
        let until = Instant::now() + CENSUS_PATIENCE;
        let mut lost = npcs_before.clone();
        let mut at_one_epoch = BTreeSet::new();
        loop {
            let judged = observer.census().map(|census| {
                let seen = npcs(&census);
                lost.retain(|npc| !seen.contains(npc));
                judge(&census, &expected)
            });
            if let Ok(judgement) = &judged {
                at_one_epoch.extend(judgement.at_one_epoch.iter().copied());
            }
            let settled = judged.as_ref().is_ok_and(|judgement| judgement.settled) && lost.is_empty();
            if !settled && Instant::now() < until && !self.signals.asked_again() {
                sleep(LOOK);
                continue;
            }
            let mut judgement = judged.unwrap_or_else(|error| {
                self.problems.push(format!("nobody could be counted: {error}"));
                Judgement { missing: expected.iter().copied().collect(), ..Judgement::default() }
            });
            if !judgement.missing.is_empty() {
                self.problems.push(format!("missing: {}", names(&judgement.missing)));
            }
            at_one_epoch.extend(judgement.twice.iter().copied());
            judgement.twice = at_one_epoch.into_iter().collect();
            return (judgement, lost.len());
        }
    }
}

fn kind_of(fault: Fault) -> FaultKind {
    match fault {
        Fault::Kill { place: COORDINATOR, .. } => FaultKind::Coordinator,
        Fault::Kill { .. } => FaultKind::Kill,
        Fault::Pause { .. } => FaultKind::Pause,
        Fault::Partition { .. } | Fault::Isolation { .. } => FaultKind::Partition,
        Fault::Loss { .. } => FaultKind::Loss,
    }
}

/// Waits until everybody is in. False if somebody interrupts before.
fn enter(args: &ChaosArgs, bots: &Bots, signals: &Signals) -> anyhow::Result<bool> {
    let entering = Duration::from_secs(u64::try_from(args.local.players)? / u64::from(ENTRIES_PER_SECOND));
    let until = Instant::now() + entering * 2 + ENTRY_PATIENCE;
    loop {
        let now = bots.snapshot();
        if now.entered == args.local.players || signals.asked() {
            return Ok(now.entered == args.local.players);
        }
        let why = || now.last_refusal.clone().unwrap_or_else(|| "no answer".to_owned());
        ensure!(
            Instant::now() < until,
            "only {} of {} players came in: {}",
            now.entered,
            args.local.players,
            why()
        );
        sleep(LOOK);
    }
}

/// Of a bot's inputs every so many-th is a deed.
const DEED_EVERY: NonZeroU64 = NonZeroU64::MIN.saturating_add(19);
/// In this time whatever was given is with its taker, or back with its giver.
const TRADES_SETTLE: Duration = Duration::from_secs(10);

/// Lets every bot read its inventory while it plays.
fn read_items(bots: &Bots, signals: &Signals) -> Vec<(EntityId, Inventory)> {
    bots.recount_items();
    let until = Instant::now() + ITEMS_PATIENCE;
    loop {
        let inventories = bots.inventories();
        let read = inventories.iter().all(|(_, inventory)| inventory.is_complete());
        if read || Instant::now() >= until || signals.asked_again() {
            return inventories;
        }
        sleep(LOOK);
    }
}
