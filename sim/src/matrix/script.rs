//! The play of one row.

use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use selvedge_protocol::authority::Standing;
use selvedge_protocol::config::{CoordinatorConfig, NodeConfig, WorldConfig};
use selvedge_protocol::grid::{GridConfig, Position};
use selvedge_protocol::handoff::client::ClientConfig;
use selvedge_protocol::wire::Message;

use super::End;
use super::case::Case;
use crate::event::Process;
use crate::fault::{FaultSet, Harm};
use crate::game::Action;
use crate::invariant::Violation;
use crate::run::{about, panic_message};
use crate::scenario::{Faults, Play, Profile, Scenario};
use crate::world::{Ambush, Fate, RuleId, World};

/// Nodes, each with one cell of a row.
const NODES: usize = 6;
const EDGE_M: f64 = 100.0;
const PLAYER: usize = 0;
/// What must come comes within this virtual time.
const PATIENCE: Duration = Duration::from_secs(20);
/// For so long the player walks on after the harm.
const AFTERMATH: Duration = Duration::from_secs(9);
/// Between two inputs.
const ACT_EVERY: Duration = Duration::from_millis(100);
/// How far over the border the player walks before they turn.
const BEYOND_M: f64 = 4.0;
/// All that is new is in a safe checkpoint after this.
const SAFE_AFTER: Duration = Duration::from_secs(4);
/// Within this time after the last fault everything must have settled.
const SETTLE_WITHIN: Duration = Duration::from_secs(40);
const NEWEST_MESSAGES: usize = 30;

/// How the message is brought about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is part of any crossing, or comes by itself.
    Plain,
    /// The coordinator doesn't hear of the crossing.
    Silent,
    /// The `Transfer` comes after its cancel.
    LateTransfer,
    /// The `Accepted` comes late, so that inputs are relayed meanwhile.
    LateAccept,
    /// A third node died.
    Recovery,
}

/// How a message is brought about, and between whom it is waited for.
struct Cue {
    way: Way,
    from: Option<Process>,
    to: Option<Process>,
}

fn cue(message: &str, source: Process, target: Process) -> Cue {
    let (coordinator, client) = (Process::Coordinator, Process::Player(PLAYER));
    let (way, from, to) = match message {
        "PrepareRequest" => (Way::Plain, Some(source), Some(coordinator)),
        "PrepareToReceive" => (Way::Plain, Some(coordinator), Some(target)),
        "PrepareReply" => (Way::Plain, Some(coordinator), Some(source)),
        "PrepareDirect" => (Way::Silent, Some(source), Some(target)),
        "Ready" | "Warmed" | "Accepted" | "Settled" => (Way::Plain, Some(target), Some(source)),
        "Preconnect" | "Redirect" => (Way::Plain, Some(source), Some(client)),
        "Precopy" | "Transfer" => (Way::Plain, Some(source), Some(target)),
        "Rejected" | "Cancelled" => (Way::LateTransfer, Some(target), Some(source)),
        "Cancel" => (Way::LateTransfer, Some(source), Some(target)),
        "RelayInputs" => (Way::LateAccept, Some(source), Some(target)),
        "AuthorityChanged" => (Way::Plain, Some(target), Some(coordinator)),
        "AuthorityAck" => (Way::Plain, Some(coordinator), Some(target)),
        "CheckpointEnd" => (Way::Plain, Some(source), None),
        "CheckpointAck" => (Way::Plain, None, Some(source)),
        "Fence" => (Way::Recovery, Some(coordinator), Some(source)),
        "Claims" => (Way::Recovery, Some(source), Some(coordinator)),
        _ => (Way::Recovery, None, None),
    };
    Cue { way, from, to }
}

/// Plays one case from the start of its mesh to the end.
pub(super) fn play(case: Case) -> End {
    let mut world = match World::new(scenario(), None) {
        Ok(world) => world,
        Err(error) => return End::Broken { what: format!("no mesh: {error:#}"), story: Vec::new() },
    };
    let result = catch_unwind(AssertUnwindSafe(|| Script::open(&mut world)?.play(case)));
    let stop = match result {
        Ok(Ok(end)) => return end,
        Ok(Err(stop)) => stop,
        Err(panic) => Stop::Stuck(format!("a machine panicked: {}", panic_message(&*panic))),
    };
    let (what, about) = match stop {
        Stop::Unreached => return End::Unreached,
        Stop::Broken(violation) => (violation.to_string(), about(&violation)),
        Stop::Stuck(what) => {
            let entity = world.entity_of(PLAYER).map(|entity| format!("{entity:?}"));
            (what, entity.into_iter().collect())
        }
    };
    End::Broken { what, story: world.trace.newest(NEWEST_MESSAGES, &about) }
}

/// Why a script ends early.
enum Stop {
    Unreached,
    Broken(Violation),
    Stuck(String),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}

/// One player who walks to and fro over the border of two nodes.
struct Script<'a> {
    world: &'a mut World,
    source: usize,
    target: usize,
    /// A node that has nothing to do with the other two: neither keeps copies for it, nor it for them.
    third: usize,
    border_m: f64,
    /// Where they go is east.
    east: bool,
    acts: u32,
}

impl<'a> Script<'a> {
    /// Starts the mesh, lets the player in, and waits until all is safe.
    fn open(world: &'a mut World) -> Result<Self, Stop> {
        world.begin_script();
        (0..NODES).for_each(|node| world.start_node(node));
        let mut script = Self { world, source: 0, target: 0, third: 0, border_m: 0.0, east: true, acts: 0 };
        script.until("every node runs and is linked to every other", |world| {
            (0..NODES).all(|node| world.is_ticking(node) && world.map_version(node) > 0)
                && (0..NODES).all(|a| (0..a).all(|b| world.is_linked(a, b)))
        })?;
        script.world.enter(PLAYER);
        script.until("the player is in the world", |world| world.is_attached(PLAYER))?;
        script.wait(SAFE_AFTER)?;
        script.cast()?;
        let (source, at) = (script.source, script.border_m - BEYOND_M * 2.0);
        script.world.act_now(PLAYER, Action::Blink { x: at, y: EDGE_M / 2.0, z: 0.0 });
        script.until("the player is with the source", |world| {
            world.is_attached(PLAYER) && world.is_heard(PLAYER) && holds(world, source)
        })?;
        script.wait(SAFE_AFTER)?;
        Ok(script)
    }

    /// Chooses source, target and third so that the loss of one more node is still the loss of one.
    fn cast(&mut self) -> Result<(), Stop> {
        let owner = |cell: usize| {
            #[allow(clippy::cast_precision_loss, reason = "a handful of cells")]
            let x = (cell as f64 + 0.5) * EDGE_M;
            self.world.owner_at(Position::new(x, EDGE_M / 2.0, 0.0))
        };
        let row: Vec<usize> = (0..NODES).filter_map(owner).collect();
        for (cell, pair) in row.windows(2).enumerate() {
            let &[source, target] = pair else { continue };
            let is_apart = |third: &usize| {
                let buddies = [source, target].map(|node| self.world.buddy_of(node));
                let own = self.world.buddy_of(*third);
                ![source, target].contains(third)
                    && !buddies.contains(&Some(*third))
                    && own.is_none_or(|own| own != source && own != target)
            };
            if let Some(third) = (0..NODES).find(is_apart) {
                #[allow(clippy::cast_precision_loss, reason = "a handful of cells")]
                let border_m = (cell as f64 + 1.0) * EDGE_M;
                (self.source, self.target, self.third, self.border_m) = (source, target, third, border_m);
                return Ok(());
            }
        }
        Err(Stop::Stuck("no three nodes are apart enough".to_owned()))
    }

    fn play(mut self, case: Case) -> Result<End, Stop> {
        let (source, target) = (Process::Node(self.source), Process::Node(self.target));
        let Cue { way, from, to } = cue(case.message(), source, target);
        let until = self.world.now() + PATIENCE;
        let (kind, deed) = (case.message_kind(), case.blow.deed(source, target));
        self.world.lay_ambush(Ambush { kind, from, to, moment: case.moment, deed, until });
        let rule = self.prepare(way);
        let mut held_since = None;
        let mut rule = rule;
        while !self.world.was_sprung() {
            if self.world.now() >= until {
                return Err(Stop::Unreached);
            }
            self.walk_a_step()?;
            if rule.is_some_and(|rule| self.world.holds_back(rule)) && held_since.is_none() {
                held_since = Some(self.world.now());
            }
            if self.may_let_go(way, held_since)
                && let Some(rule) = rule.take()
            {
                self.world.release(rule);
            }
        }
        self.world.unbar(self.target);
        if let Some(rule) = rule {
            self.world.release(rule);
        }
        let end = self.world.now() + AFTERMATH;
        while self.world.now() < end {
            self.walk_a_step()?;
        }
        self.settle()
    }

    fn prepare(&mut self, way: Way) -> Option<RuleId> {
        let (source, target) = (Process::Node(self.source), Process::Node(self.target));
        let transfer = |message: &Message| matches!(message, Message::Transfer { .. });
        let accepted = |message: &Message| matches!(message, Message::Accepted { .. });
        let request = |message: &Message| matches!(message, Message::PrepareRequest(_));
        match way {
            Way::Plain => None,
            Way::Recovery => {
                self.world.kill(Process::Node(self.third), None);
                None
            }
            Way::Silent => Some(self.world.add_rule(request, source, Process::Coordinator, Fate::Hold)),
            Way::LateTransfer => Some(self.world.add_rule(transfer, source, target, Fate::Hold)),
            Way::LateAccept => {
                // The client stays with the source.
                self.world.bar(self.target);
                Some(self.world.add_rule(accepted, target, source, Fate::Hold))
            }
        }
    }

    /// Whether what was held back has been held for long enough.
    fn may_let_go(&self, way: Way, held_since: Option<selvedge_protocol::time::Time>) -> bool {
        let held_for = held_since.map_or(Duration::ZERO, |since| self.world.now().since(since));
        let cancelled = |message: &Message| matches!(message, Message::Cancelled { .. });
        match way {
            Way::Plain | Way::Silent | Way::Recovery => false,
            Way::LateTransfer => {
                let (target, source) = (Process::Node(self.target), Process::Node(self.source));
                self.world.count(cancelled, target, source, false) > 0
            }
            Way::LateAccept => held_for > Duration::from_millis(400),
        }
    }

    /// The player does one thing, and a little time passes.
    fn walk_a_step(&mut self) -> Result<(), Stop> {
        if self.world.entity_of(PLAYER).is_some() {
            let at = self.world.seen_at(PLAYER).map_or(self.border_m, |at| at.x);
            if (self.east && at > self.border_m + BEYOND_M) || (!self.east && at < self.border_m - BEYOND_M) {
                self.east = !self.east;
            }
            self.acts += 1;
            let heading = if self.east { 0.0 } else { core::f32::consts::PI };
            let steer = Action::Steer { speed: 8.0, heading, climb: 0.0 };
            self.world.act_now(PLAYER, if self.acts.is_multiple_of(3) { Action::Rummage } else { steer });
        }
        self.wait(ACT_EVERY)
    }

    /// Faults and movement stop; everything must settle.
    fn settle(mut self) -> Result<End, Stop> {
        self.world.calm_script();
        while self.step()? {}
        let Some(entity) = self.world.entity_of(PLAYER) else {
            return Err(Stop::Stuck("the player is not in the world".to_owned()));
        };
        let standings = (0..NODES).filter_map(|node| Some((node, self.world.standing(node, entity)?)));
        let [(node, Standing::Active(epoch))] = standings.collect::<Vec<_>>()[..] else {
            return Err(Stop::Stuck("the player's entity isn't held by one node".to_owned()));
        };
        let holder = match node {
            node if node == self.source => "source".to_owned(),
            node if node == self.target => "target".to_owned(),
            node => format!("node {node}"),
        };
        Ok(End::Whole {
            holder,
            epoch: epoch.to_string(),
            recovered: epoch.generation > 0,
            restored: self.world.stats.entities_restored,
            inputs: self.world.inputs_made(PLAYER),
        })
    }

    fn until(&mut self, what: &str, done: impl Fn(&mut World) -> bool) -> Result<(), Stop> {
        let deadline = self.world.now() + PATIENCE;
        while !done(self.world) {
            if self.world.now() >= deadline {
                return Err(Stop::Stuck(format!("it never came to this: {what}")));
            }
            self.step()?;
        }
        Ok(())
    }

    fn wait(&mut self, length: Duration) -> Result<(), Stop> {
        let end = self.world.now() + length;
        self.world.wake_at(end);
        while self.world.now() < end {
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<bool, Stop> {
        Ok(self.world.script_step()?)
    }
}

fn holds(world: &World, node: usize) -> bool {
    let standing = world.entity_of(PLAYER).and_then(|entity| world.standing(node, entity));
    matches!(standing, Some(Standing::Active(_)))
}

/// A healthy network, one cell for each node, an NPC that stands in each.
fn scenario() -> Scenario {
    let cells = [u32::try_from(NODES).unwrap_or(1), 1, 1];
    let grid = GridConfig { origin_m: [0.0; 3], cell_edge_m: EDGE_M, cells };
    let world = WorldConfig { grid, tick_interval: Duration::from_millis(50), ..WorldConfig::default() };
    Scenario {
        seed: 1,
        profile: Profile::Faults,
        nodes: NODES,
        players: 1,
        npcs_per_node: 1,
        coordinator: CoordinatorConfig { world, nodes_min: NODES, ..CoordinatorConfig::default() },
        hasty_disk: false,
        bookless: false,
        node: NodeConfig { dwell_min: Duration::ZERO, ..NodeConfig::default() },
        client: ClientConfig::default(),
        faults: Faults::NONE,
        harm: Harm { kinds: FaultSet::ALL, ..Harm::NONE },
        play: Play { speed_max_m_s: 0.0, ..Play::NOTHING },
        active_for: Duration::ZERO,
        settle_within: SETTLE_WITHIN,
    }
}
