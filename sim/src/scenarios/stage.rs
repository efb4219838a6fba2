//! The words of which a scenario is made: place, walk, hold, cut, wait until.

use core::time::Duration;

use anyhow::{Context, anyhow, ensure};
use selvedge_protocol::authority::Standing;
use selvedge_protocol::config::{CoordinatorConfig, NodeConfig, WorldConfig};
use selvedge_protocol::grid::{GridConfig, Position};
use selvedge_protocol::handoff::client::ClientConfig;
use selvedge_protocol::id::EntityId;
use selvedge_protocol::wire::Message;

use crate::event::Process;
use crate::fault::Harm;
use crate::game::Action;
use crate::invariant::Violation;
use crate::run::about;
use crate::scenario::{Faults, Play, Profile, Scenario};
use crate::stats::Stats;
use crate::world::{Fate, RuleId, World};

/// What a scenario waits for comes within this virtual time, or never.
const PATIENCE: Duration = Duration::from_secs(20);
/// Messages shown with a broken invariant.
const NEWEST_MESSAGES: usize = 40;
/// The one player of every scenario.
const PLAYER: usize = 0;

/// What kind of message.
pub(super) type Is = fn(&Message) -> bool;

pub(super) const PREPARE_DIRECT: Is = |message| matches!(message, Message::PrepareDirect(_));
pub(super) const WARMED: Is = |message| matches!(message, Message::Warmed { refused: None, .. });
pub(super) const TRANSFER: Is = |message| matches!(message, Message::Transfer { .. });
pub(super) const ACCEPTED: Is = |message| matches!(message, Message::Accepted { .. });
pub(super) const REJECTED: Is = |message| matches!(message, Message::Rejected { .. });
pub(super) const CANCEL: Is = |message| matches!(message, Message::Cancel { .. });
pub(super) const CANCELLED: Is = |message| matches!(message, Message::Cancelled { .. });
pub(super) const RELAY: Is = |message| matches!(message, Message::RelayInputs { .. });
pub(super) const AUTHORITY_CHANGED: Is = |message| matches!(message, Message::AuthorityChanged { .. });

/// The mesh that a scenario plays in.
pub(super) struct Setting {
    /// Cells of 100 m along x and y.
    pub(super) cells: [u32; 2],
    /// Processes that there can be.
    pub(super) nodes: usize,
    /// Those that start at once; the cells are dealt when they are there.
    pub(super) first: usize,
    /// What chance there is left (ids, the phase of ticks) is drawn from this.
    pub(super) seed: u64,
    /// Changes the settings of the nodes.
    pub(super) tweak: fn(&mut NodeConfig),
}

impl Setting {
    /// Cells in a row, one for each node.
    pub(super) fn row(nodes: u32) -> Self {
        Self::of([nodes, 1], nodes as usize)
    }

    /// Four cells about a corner at (100, 100), one for each of four nodes.
    pub(super) fn square() -> Self {
        Self::of([2, 2], 4)
    }

    fn of(cells: [u32; 2], nodes: usize) -> Self {
        Self { cells, nodes, first: nodes, seed: 1, tweak: |_| {} }
    }
}

/// A running mesh with one player, and the hand that steers it. A step that breaks an invariant ends the scenario.
pub(super) struct Stage {
    world: World,
}

impl Stage {
    /// Starts the mesh, and lets the player in.
    pub(super) fn open(setting: &Setting) -> anyhow::Result<Self> {
        let mut world = World::new(scenario(setting), None)?;
        world.begin_script();
        let mut stage = Self { world };
        (0..setting.first).for_each(|node| stage.world.start_node(node));
        let first = setting.first;
        stage.until("every node runs and is linked to every other", |stage| {
            (0..first).all(|node| stage.world.is_ticking(node) && stage.world.map_version(node) > 0)
                && (0..first).all(|a| (0..a).all(|b| stage.world.is_linked(a, b)))
        })?;
        stage.world.enter(PLAYER);
        stage.until("the player is in the world", |stage| stage.world.is_attached(PLAYER))?;
        Ok(stage)
    }

    /// The node that owns the cell at a place.
    pub(super) fn node_at(&self, x: f64, y: f64) -> anyhow::Result<usize> {
        self.world.owner_at(Position::new(x, y, 0.0)).context("a cell without an owner")
    }

    /// The nodes of a row, from west to east.
    pub(super) fn row<const N: usize>(&self) -> anyhow::Result<[usize; N]> {
        let mut nodes = [0; N];
        let mut x = 50.0;
        for node in &mut nodes {
            *node = self.node_at(x, 50.0)?;
            x += 100.0;
        }
        Ok(nodes)
    }

    /// The player stands here, with all that this takes done and forgotten.
    pub(super) fn place(&mut self, x: f64, y: f64) -> anyhow::Result<()> {
        let owner = self.node_at(x, y)?;
        self.halt();
        self.blink(x, y);
        self.until("the player is where they were put", |stage| {
            stage.holder() == Some(owner) && stage.world.is_attached(PLAYER) && stage.world.is_heard(PLAYER)
        })?;
        self.wait_ms(1_500)
    }

    /// The player is somewhere else.
    pub(super) fn blink(&mut self, x: f64, y: f64) {
        self.world.act_now(PLAYER, Action::Blink { x, y, z: 0.0 });
    }

    /// The player walks: metres a second, east and north.
    pub(super) fn walk(&mut self, east: f32, north: f32) {
        let (speed, heading) = (east.hypot(north), north.atan2(east));
        self.world.act_now(PLAYER, Action::Steer { speed, heading, climb: 0.0 });
    }

    /// The player stands still.
    pub(super) fn halt(&mut self) {
        self.walk(0.0, 0.0);
    }

    /// The player wants to leave the world.
    pub(super) fn log_out(&mut self) {
        self.world.log_out(PLAYER);
    }

    /// Cuts the player's connections, all of them or those to one node.
    pub(super) fn sever(&mut self, node: Option<usize>) {
        self.world.sever_player(PLAYER, node);
    }

    /// No client reaches this node until the end.
    pub(super) fn bar(&mut self, node: usize) {
        self.world.bar(node);
    }

    /// The next token that the player's client shows is shown by a second connection, too: just before it or just after.
    pub(super) fn twin_next_connection(&mut self, ahead: bool) {
        self.world.want_twin(ahead);
    }

    /// A node's process starts.
    pub(super) fn start_node(&mut self, node: usize) {
        self.world.start_node(node);
    }

    /// Cuts the link of two nodes for a while.
    pub(super) fn cut(&mut self, a: usize, b: usize, length_ms: u64) {
        self.world.cut_nodes(a, b, Duration::from_millis(length_ms));
    }

    /// Takes the coordinator away from all nodes for a while.
    pub(super) fn cut_coordinator(&mut self, length_ms: u64) {
        self.world.cut_coordinator(Duration::from_millis(length_ms));
    }

    /// Holds such messages back from now on.
    pub(super) fn hold(&mut self, is: Is, from: usize, to: usize) -> RuleId {
        self.world.add_rule(is, Process::Node(from), Process::Node(to), Fate::Hold)
    }

    /// As [`hold`](Self::hold), for what a node says to the coordinator.
    pub(super) fn hold_to_coordinator(&mut self, is: Is, from: usize) -> RuleId {
        self.world.add_rule(is, Process::Node(from), Process::Coordinator, Fate::Hold)
    }

    /// Keeps a copy of such messages.
    pub(super) fn copy(&mut self, is: Is, from: usize, to: usize) -> RuleId {
        self.world.add_rule(is, Process::Node(from), Process::Node(to), Fate::Copy)
    }

    /// Ends a rule; what it held back goes on its way.
    pub(super) fn release(&mut self, rule: RuleId) {
        self.world.release(rule);
    }

    /// Sends the copies once more.
    pub(super) fn replay(&mut self, rule: RuleId) {
        self.world.replay(rule);
    }

    /// How many such messages were sent so far, lost and held ones included.
    pub(super) fn sent(&self, is: Is, from: usize, to: usize) -> usize {
        self.world.count(is, Process::Node(from), Process::Node(to), false)
    }

    /// How many arrived.
    pub(super) fn arrived(&self, is: Is, from: usize, to: usize) -> usize {
        self.world.count(is, Process::Node(from), Process::Node(to), true)
    }

    /// The node that simulates the player's entity; none while it is on its way, or gone.
    pub(super) fn holder(&self) -> Option<usize> {
        let active = |node: &usize| matches!(self.standing(*node), Some(Standing::Active(_)));
        (0..self.world.node_count()).find(active)
    }

    /// Whether the player's entity is frozen at this node.
    pub(super) fn is_frozen_at(&self, node: usize) -> bool {
        matches!(self.standing(node), Some(Standing::Frozen { .. }))
    }

    /// Whether no node holds the player's entity in any way.
    pub(super) fn is_gone(&self) -> bool {
        (0..self.world.node_count()).all(|node| self.standing(node).is_none())
    }

    fn standing(&self, node: usize) -> Option<Standing> {
        self.world.standing(node, self.entity()?)
    }

    fn entity(&self) -> Option<EntityId> {
        self.world.entity_of(PLAYER)
    }

    /// Whether the player's client is where its entity is.
    pub(super) fn is_attached(&self) -> bool {
        self.world.is_attached(PLAYER)
    }

    /// Whether the coordinator's map was dealt anew, and every one of these nodes has the same.
    pub(super) fn share_map(&self, nodes: usize, newer_than: u64) -> bool {
        let version = self.world.map_version(0);
        version > newer_than && (1..nodes).all(|node| self.world.map_version(node) == version)
    }

    /// The version of the first node's map.
    pub(super) fn map_version(&self) -> u64 {
        self.world.map_version(0)
    }

    /// What was counted so far.
    pub(super) const fn stats(&self) -> &Stats {
        &self.world.stats
    }

    /// Lets virtual time pass until this is so.
    pub(super) fn until(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = self.world.now() + PATIENCE;
        while !done(self) {
            ensure!(self.world.now() < deadline, "it never came to this: {what}\n{}", self.story(None));
            self.step()?;
        }
        Ok(())
    }

    /// Lets virtual time pass.
    pub(super) fn wait_ms(&mut self, wait_ms: u64) -> anyhow::Result<()> {
        let end = self.world.now() + Duration::from_millis(wait_ms);
        self.world.wake_at(end);
        while self.world.now() < end {
            self.step()?;
        }
        Ok(())
    }

    /// Faults and movement stop; everything must settle, and every invariant hold to the end.
    pub(super) fn settle(mut self) -> anyhow::Result<Stats> {
        self.world.calm_script();
        while self.step()? {}
        let accused = self.stats().peers_misbehaved;
        ensure!(
            accused == 0,
            "{accused} times an honest process was taken for a bad one\n{}",
            self.story(None)
        );
        Ok(self.world.stats)
    }

    fn step(&mut self) -> anyhow::Result<bool> {
        self.world
            .script_step()
            .map_err(|violation| anyhow!("broke {violation}\n{}", self.story(Some(&violation))))
    }

    /// The newest messages that matter.
    fn story(&self, violation: Option<&Violation>) -> String {
        let entity = self.entity().map(|entity| format!("{entity:?}"));
        let about = violation.map_or_else(|| entity.into_iter().collect(), about);
        self.world.trace.newest(NEWEST_MESSAGES, &about).join("\n")
    }
}

/// A healthy network with 5 ms a way, a game in which nothing happens by itself.
fn scenario(setting: &Setting) -> Scenario {
    let [x, y] = setting.cells;
    let grid = GridConfig { origin_m: [0.0; 3], cell_edge_m: 100.0, cells: [x, y, 1] };
    let world = WorldConfig { grid, tick_interval: Duration::from_millis(50), ..WorldConfig::default() };
    let mut node = NodeConfig { dwell_min: Duration::ZERO, ..NodeConfig::default() };
    (setting.tweak)(&mut node);
    Scenario {
        seed: setting.seed,
        profile: Profile::Calm,
        nodes: setting.nodes,
        players: 1,
        npcs_per_node: 0,
        coordinator: CoordinatorConfig {
            world,
            nodes_min: setting.first,
            lease: Duration::from_secs(600),
            suspect_after: Duration::from_secs(400),
            ..CoordinatorConfig::default()
        },
        hasty_disk: false,
        bookless: false,
        node,
        client: ClientConfig::default(),
        faults: Faults::NONE,
        harm: Harm::NONE,
        play: Play::NOTHING,
        active_for: Duration::ZERO,
        settle_within: Duration::from_secs(40),
    }
}
