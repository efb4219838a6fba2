//! The run of one seed: processes, network, virtual time, and the checks after every step.
//!
//! The files of this folder are parts of one type: what happens to nodes and coordinator ([`mesh`]), to links
//! ([`links`]), to clients and their connections ([`clients`], [`door`]), in the games ([`play`]), and the last look
//! at everything ([`inspect`]). A run may be scripted instead of drawn: then a script says what happens when
//! ([`script`]), and which messages pass ([`tap`]).

mod ambush;
mod away;
mod clients;
mod copies;
mod crash;
mod door;
mod events;
mod inspect;
mod links;
mod mesh;
mod partition;
mod play;
mod script;
mod strike;
mod tap;

use core::time::Duration;

use anyhow::Context;
use selvedge_protocol::authority::Standing;
use selvedge_protocol::coordinator::Coordinator;
use selvedge_protocol::grid::Grid;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, Term};
use selvedge_protocol::time::Time;

use crate::connections::Connections;
use crate::dice::Dice;
use crate::event::{Event, Process};
use crate::hosts::{CoordinatorHost, Disk, HostClock, NodeHost, PlayerHost};
use crate::invariant::{self, Fact, Invariant, Step, Violation};
use crate::network::Network;
use crate::queue::Queue;
use crate::scenario::Scenario;
use crate::stats::Stats;
use crate::trace::{Said, Trace, Watcher};

pub use ambush::Moment;
pub(crate) use ambush::{Ambush, Deed, Victim};
pub(crate) use tap::{Fate, RuleId};

/// Steps of one machine's timer at one moment, past which it counts as stuck.
const TIMER_STEPS_MAX: u32 = 1_000;
/// Steps of a run, past which it counts as stuck.
const STEPS_MAX: u64 = 20_000_000;
/// Pause between two looks at the whole mesh.
const INSPECT_EVERY: Duration = Duration::from_millis(250);

/// A whole mesh and its players.
pub(crate) struct World {
    scenario: Scenario,
    grid: Grid,
    now: Time,
    step: u64,
    queue: Queue,
    network: Network,
    connections: Connections,
    coordinator: CoordinatorHost,
    nodes: Vec<NodeHost>,
    players: Vec<PlayerHost>,
    dice: Dice,
    /// When faults and movement stopped.
    calm_since: Option<Time>,
    facts: Vec<Fact>,
    checks: Vec<Box<dyn Invariant + Send>>,
    stuck: (Time, u32),
    /// Decides what comes to harm, and when: apart from the rest, so that runs without harm don't change.
    chance: Dice,
    /// What was sent of standby copies, and what is to be restored from them.
    copies: copies::Copies,
    /// Harm that waits for a message.
    ambush: Option<ambush::Ambush>,
    /// From when on another node may be lost.
    losses_from: Time,
    /// When the last process that is away comes back.
    last_return_at: Time,
    /// From when on everything runs, once faults have stopped.
    quiet_from: Time,
    /// What a script sees and decides of messages; none in a drawn run.
    tap: Option<tap::Tap>,
    pub(crate) stats: Stats,
    pub(crate) trace: Trace,
}

impl World {
    /// A world in which nothing has happened yet.
    pub(crate) fn new(scenario: Scenario, watcher: Option<Watcher>) -> anyhow::Result<Self> {
        let seed = scenario.seed;
        let mut dice = Dice::new(seed, 1);
        let grid = Grid::new(scenario.coordinator.world.grid)?;
        scenario
            .node
            .check(&scenario.coordinator.world)
            .context("the seed drew a configuration that nodes refuse")?;
        let machine = Coordinator::new(scenario.coordinator.clone(), Term(1), dice.seed())?;
        let clock = HostClock::new(i64::try_from(dice.whole(1_000_000, 100_000_000))?, 0);
        let nodes = (0..scenario.nodes).map(|number| NodeHost::new(number, &scenario, &mut dice)).collect();
        let player =
            |player| PlayerHost::new(player, scenario.client.clone(), Dice::new(seed, 1_000 + player as u64));
        Ok(Self {
            grid,
            now: Time::ZERO,
            step: 0,
            queue: Queue::default(),
            network: Network::new(scenario.nodes, scenario.faults.clone(), Dice::new(seed, 2)),
            connections: Connections::new(scenario.faults.clone(), Dice::new(seed, 3)),
            coordinator: CoordinatorHost::new(machine, clock, Disk::new(scenario.hasty_disk)),
            nodes,
            players: (0..scenario.players).map(player).collect(),
            dice,
            calm_since: None,
            facts: Vec::new(),
            checks: invariant::all(),
            stuck: (Time::ZERO, 0),
            chance: Dice::new(seed, 4),
            copies: copies::Copies::default(),
            ambush: None,
            losses_from: Time::ZERO,
            last_return_at: Time::ZERO,
            quiet_from: Time::ZERO,
            tap: None,
            stats: Stats { seeds: 1, nodes: scenario.nodes as u64, ..Stats::default() },
            trace: Trace::new(watcher),
            scenario,
        })
    }

    /// Runs to the end: everything settled, or an invariant broken.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        self.plan();
        while self.advance()? {}
        self.stats.steps = self.step;
        self.stats.virtual_us = self.now.as_micros();
        Ok(())
    }

    /// Lets the next thing happen. False once everything has settled, or nothing is left to happen.
    fn advance(&mut self) -> Result<bool, Violation> {
        let Some((at, event)) = self.queue.pop() else {
            return Ok(false);
        };
        self.now = at;
        let Some(event) = self.unless_away(event) else {
            return Ok(true);
        };
        self.step += 1;
        let inspected = matches!(event, Event::Inspect);
        self.happen(event)?;
        self.check()?;
        if inspected {
            if self.checks.iter().all(|check| check.is_settled()) {
                return Ok(false);
            }
            self.queue.push(self.now + INSPECT_EVERY, Event::Inspect);
        }
        if self.step > STEPS_MAX {
            return Err(stuck("the run does not end".to_owned()));
        }
        Ok(true)
    }

    /// Where the run stands.
    pub(crate) const fn progress(&self) -> (u64, Time) {
        (self.step, self.now)
    }

    /// What is decided before anything happens.
    fn plan(&mut self) {
        self.draw_clocks();
        let active_for = self.scenario.active_for;
        let late = self.dice.chance(0.3);
        for node in 0..self.nodes.len() {
            let latest_ms = if late && node > 0 { 8_000 } else { 300 };
            let at = Time::ZERO + self.dice.millis(0, latest_ms);
            self.queue.push(at, Event::NodeStarts(node));
        }
        for player in 0..self.players.len() {
            let at = Time::ZERO + self.dice.millis(500, 6_000);
            self.queue.push(at, Event::PlayerEnters(player));
        }
        self.next_weather();
        self.next_strike();
        self.queue.push(Time::ZERO + active_for, Event::Calm);
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        let hash = self.trace.hash();
        hash.word(self.now.as_micros() << 5 | event.kind());
        match event {
            Event::NodeStarts(node) => self.on_node_starts(node),
            Event::NodeTimer(node) => self.on_node_timer(node)?,
            Event::CoordinatorTimer => self.on_coordinator_timer()?,
            Event::PlayerTimer(player) => self.on_player_timer(player)?,
            Event::Mesh { link, life, replay, from, to, sender, frame } => {
                let link = self.network.link(link);
                if link.up && (link.life == life || replay) {
                    self.on_mesh(from, to, sender, frame);
                } else {
                    self.stats.messages_dropped += 1;
                }
            }
            Event::LinkRises { link, life } => self.on_link_rises(link, life),
            Event::LinkLost { link, life, end, process: _ } => self.on_link_lost(link, life, end),
            Event::LinkHeals { link } => self.heal(link),
            Event::Weather => self.on_weather(),
            Event::Tick { node, tick, process: _ } => self.on_tick(node, tick),
            Event::Report { node, report, process: _ } => self.on_report(node, report),
            Event::Hello { conn, frame } => self.on_hello(conn, &frame),
            Event::Connected(conn) => self.on_connected(conn),
            Event::ToNode { conn, frame } => self.on_client_frame(conn, frame),
            Event::ToPlayer { conn, frame } => self.on_server_frame(conn, frame),
            Event::ClosedAtNode(conn) => self.on_closed_at_node(conn),
            Event::ClosedAtPlayer(conn) => self.on_closed_at_player(conn),
            Event::DoorAsked { stay, frame } => self.on_door_asked(stay, frame),
            Event::DoorAnswered { stay, frame } => self.on_door_answered(stay, frame),
            Event::DoorFailed(stay) => self.on_door_failed(stay),
            Event::Authenticated { request, name, process: _ } => self.on_authenticated(request, name),
            Event::Loaded { request, name, process: _ } => self.on_loaded(request, &name),
            Event::Saved { process, session, node, name, character } => {
                self.on_saved(process, session, node, name, character);
            }
            Event::PlayerActs(stay) => self.on_player_acts(stay),
            Event::PlayerEnters(player) => self.on_player_enters(player),
            Event::Calm => self.on_calm(),
            Event::Inspect => self.on_inspect(),
            Event::DiskSynced { process: _ } => self.on_disk_synced(),
            Event::Strike => self.on_strike(),
            Event::Returns(process) => self.on_returns(process)?,
            Event::LinkTimesOut { link, life, length } => self.on_link_times_out(link, life, length),
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), Violation> {
        if self.facts.is_empty() {
            return Ok(());
        }
        let step = Step { number: self.step, at: self.now, facts: &self.facts };
        for check in &mut self.checks {
            check.observe(&step)?;
        }
        self.facts.clear();
        Ok(())
    }

    /// Whether faults and movement have stopped.
    const fn is_calm(&self) -> bool {
        self.calm_since.is_some()
    }

    /// Notes in the trace that something happened to `to`.
    fn note(&mut self, to: Process, note: impl FnOnce() -> String) {
        self.trace.line(self.now, self.step, to, to, Said::Note(note()));
    }

    /// Counts timers that fire without time passing.
    fn watch_timer(&mut self, process: Process) -> Result<(), Violation> {
        if self.stuck.0 != self.now {
            self.stuck = (self.now, 0);
        }
        self.stuck.1 += 1;
        if self.stuck.1 > TIMER_STEPS_MAX {
            return Err(stuck(format!("the timer of {process:?} fires without end at {}", self.now)));
        }
        Ok(())
    }

    /// Tells the checks what a node's step changed of who holds what.
    fn note_standings(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        // A step may find a lease shorter than it was; the next one must know.
        let clock = host.clock(self.now);
        let expired = host.machine.lease_expires_at().filter(|&expires_at| expires_at < clock);
        let held = host.machine.authorities().next().map(|(entity, _)| entity);
        let known = core::mem::replace(&mut host.lease_was_out, expired.is_some());
        if let (Some(expires_at), Some(entity), true) = (expired, held, known) {
            let expired_for = clock.since(expires_at);
            self.facts.push(Fact::LeaseOutlived { node, entity, expired_for });
        }
        let stirs = core::mem::take(&mut host.was_still);
        if stirs {
            self.facts.push(Fact::Stirred { node });
        } else if host.machine.authorities().eq(host.standings.iter().copied()) {
            return;
        }
        let held: Vec<(EntityId, Standing)> = host.machine.authorities().collect();
        let former = core::mem::replace(&mut host.standings, held);
        let held = &self.nodes[node].standings;
        for &(entity, _) in &former {
            if held.binary_search_by_key(&entity, |(held, _)| *held).is_err() {
                self.facts.push(Fact::Standing { node, entity, standing: None });
            }
        }
        for &(entity, standing) in held {
            let before = former.binary_search_by_key(&entity, |(held, _)| *held).map(|index| former[index].1);
            if before != Ok(standing) && is_restored(standing) {
                self.stats.entities_restored += 1;
            }
            if stirs || before != Ok(standing) {
                self.facts.push(Fact::Standing { node, entity, standing: Some(standing) });
            }
        }
    }
}

/// Whether a recovery gave an entity to its holder, and nothing has happened to it since.
const fn is_restored(standing: Standing) -> bool {
    matches!(standing, Standing::Active(AuthorityEpoch { generation: 1.., step: 0 }))
}

fn stuck(what: String) -> Violation {
    Violation { invariant: "progress", what, entity: None, player: None }
}
