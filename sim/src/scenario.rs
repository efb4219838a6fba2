//! What a seed stands for: how large the mesh is, how it is set, how bad the network is, how its players behave.

use core::time::Duration;

use selvedge_protocol::config::{CoordinatorConfig, NodeConfig, WorldConfig};
use selvedge_protocol::grid::GridConfig;
use selvedge_protocol::handoff::client::ClientConfig;

use crate::dice::Dice;
use crate::fault::{FaultSet, Harm};

/// How hostile a run is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Profile {
    /// Delay and jitter, nothing lost: what a healthy network does.
    Calm,
    /// Loss, duplicates, reordering, short cuts, clients that come and go.
    Lossy,
    /// As lossy, and long bursts of loss, replays seconds later, stolen tokens, a failing store.
    Nasty,
    /// Processes end, stand still, are cut off, their clocks drift; messages are lost now and then. Never drawn, only
    /// asked for.
    Faults,
}

impl Profile {
    /// Reads the name of a profile.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "calm" => Some(Self::Calm),
            "lossy" => Some(Self::Lossy),
            "nasty" => Some(Self::Nasty),
            "faults" => Some(Self::Faults),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Lossy => "lossy",
            Self::Nasty => "nasty",
            Self::Faults => "faults",
        }
    }
}

/// Everything that a seed decides before the run starts.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// How hostile the run is.
    pub profile: Profile,
    /// Nodes, 2 to 16.
    pub nodes: usize,
    /// Players, 4 to 40.
    pub players: usize,
    /// NPCs that each node spawns at its start.
    pub npcs_per_node: usize,
    /// The coordinator's settings, the world's among them.
    pub coordinator: CoordinatorConfig,
    /// Whether the coordinator doesn't wait for its disk before it speaks: a mistake that the checks must see.
    pub hasty_disk: bool,
    /// Whether an entity is handed over without what it remembers of its actions: a mistake that the checks must see.
    pub bookless: bool,
    /// The settings of every node.
    pub node: NodeConfig,
    /// The settings of every client.
    pub client: ClientConfig,
    /// What goes wrong, and how often.
    pub faults: Faults,
    /// What comes to harm besides messages.
    pub harm: Harm,
    /// What the game and the players do.
    pub play: Play,
    /// For how long things happen; then faults and movement stop.
    pub active_for: Duration,
    /// Within this time after that everything must have settled (A4).
    pub settle_within: Duration,
}

/// What goes wrong, and how often. Probabilities are per message unless they say otherwise.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Delay of a link, drawn once for each, in microseconds.
    pub delay_us: (u64, u64),
    /// What is added to each message's delay, at most, in microseconds.
    pub jitter_us: u64,
    /// A message is lost.
    pub loss: f64,
    /// It arrives twice.
    pub duplicate: f64,
    /// It is held up, so that later ones overtake it.
    pub reorder: f64,
    /// How long it is held up.
    pub reorder_us: (u64, u64),
    /// It comes once more, seconds later.
    pub replay: f64,
    /// How much later, in microseconds.
    pub replay_us: (u64, u64),
    /// Mean time between two link faults in the whole mesh; none: never.
    pub weather_every: Option<Duration>,
    /// How long a link loses everything in one direction or both, in microseconds.
    pub burst_us: (u64, u64),
    /// How long a link is cut, in microseconds.
    pub cut_us: (u64, u64),
    /// How long a node's whole process stands still, in microseconds.
    pub pause_us: (u64, u64),
    /// A client's connection attempt fails.
    pub connect_fails: f64,
    /// A question at the door is lost.
    pub door_fails: f64,
    /// Its answer is lost: to a player who wanted to enter this means to wait until the session, which nobody uses,
    /// is forgotten.
    pub door_answer_lost: f64,
    /// The store fails.
    pub store_fails: f64,
    /// A client's token is shown once more, by somebody else.
    pub stolen_token: f64,
}

/// What the game and the players do.
#[derive(Clone, Debug)]
pub struct Play {
    /// The fastest that anything moves, in metres a second.
    pub speed_max_m_s: f64,
    /// Per NPC and tick: it turns.
    pub turn: f64,
    /// Per entity and tick: it is somewhere else.
    pub teleport: f64,
    /// Per node and tick: an NPC is born.
    pub spawn: f64,
    /// Per node and tick: an NPC dies.
    pub despawn: f64,
    /// Per NPC and tick: its inventory changes.
    pub inventory: f64,
    /// The game refuses to warm an entity.
    pub refuse_warm: f64,
    /// The game refuses a player who wants to enter.
    pub refuse_join: f64,
    /// Per tick: the game hangs for some ticks.
    pub stall: f64,
    /// For at most how many.
    pub stall_ticks_max: u64,
    /// Pause between two inputs of a player, in microseconds.
    pub act_us: (u64, u64),
    /// A player heads for a border rather than anywhere.
    pub border_bias: f64,
    /// Per input: the player's machine is offline for a while.
    pub away: f64,
    /// For how long, in microseconds.
    pub away_us: (u64, u64),
    /// Per input: the player logs out.
    pub logout: f64,
    /// Per input: the player's program ends without a word, and is started again.
    pub restart: f64,
    /// A logged-out player comes back under the same name.
    pub come_back: f64,
    /// Per entity and tick: it gives something away, or pokes somebody.
    pub trade: f64,
    /// Per entity and tick: it gets on something, or something is pinned.
    pub ride: f64,
    /// Per node and tick: something happens, somewhere or everywhere.
    pub events: f64,
}

/// Never, as far as a script is concerned.
const NEVER_US: u64 = 1 << 50;

impl Faults {
    /// 5 ms a way, and nothing goes wrong.
    pub(crate) const NONE: Self = Self {
        delay_us: (5_000, 5_000),
        jitter_us: 0,
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
        reorder_us: (0, 0),
        replay: 0.0,
        replay_us: (0, 0),
        weather_every: None,
        burst_us: (0, 0),
        cut_us: (0, 0),
        pause_us: (0, 0),
        connect_fails: 0.0,
        door_fails: 0.0,
        door_answer_lost: 0.0,
        store_fails: 0.0,
        stolen_token: 0.0,
    };
}

impl Play {
    /// Nothing happens by itself.
    pub(crate) const NOTHING: Self = Self {
        speed_max_m_s: 20.0,
        turn: 0.0,
        teleport: 0.0,
        spawn: 0.0,
        despawn: 0.0,
        inventory: 0.0,
        refuse_warm: 0.0,
        refuse_join: 0.0,
        stall: 0.0,
        stall_ticks_max: 0,
        act_us: (NEVER_US, NEVER_US),
        border_bias: 0.0,
        away: 0.0,
        away_us: (0, 0),
        logout: 0.0,
        restart: 0.0,
        come_back: 0.0,
        trade: 0.0,
        ride: 0.0,
        events: 0.0,
    };
}

/// A session that nobody uses blocks its character's name for so long.
const UNUSED_SESSION: Duration = Duration::from_secs(60);

impl Scenario {
    /// What `seed` stands for. A profile, if given, replaces the one that the seed draws; these kinds of harm come
    /// under the profile `faults`, and under no other.
    #[must_use]
    pub fn from_seed(seed: u64, forced: Option<Profile>, kinds: FaultSet) -> Self {
        let mut dice = Dice::new(seed, 0);
        let drawn = match dice.whole(0, 9) {
            0..=1 => Profile::Calm,
            2..=5 => Profile::Lossy,
            _ => Profile::Nasty,
        };
        let profile = forced.unwrap_or(drawn);
        let nodes = dice.few(2, 16);
        let grid = draw_grid(&mut dice, nodes);
        let coordinator = draw_coordinator(&mut dice, grid, nodes);
        let node = draw_node(&mut dice, &coordinator.world);
        let (trade, ride, events) = (draw_trade(seed), draw_ride(seed), draw_events(seed));
        let play = Play { trade, ride, events, ..draw_play(&mut dice, profile, grid.cell_edge_m) };
        let settle_within = UNUSED_SESSION
            + Duration::from_secs(20)
            + 16 * node.backoff
            + 2 * node.transfer_patience
            + node.reservation_ttl
            + coordinator.entry_patience;
        let mut coordinator = coordinator;
        let (harm, harm_lasts) = if profile == Profile::Faults {
            let CoordinatorConfig { lease, suspect_after, .. } = CoordinatorConfig::default();
            (coordinator.lease, coordinator.suspect_after) = (lease, suspect_after);
            let mut dice = Dice::new(seed, 5);
            (Harm::draw(&mut dice, kinds), dice.millis(10_000, 20_000))
        } else {
            (Harm::NONE, Duration::ZERO)
        };
        Self {
            seed,
            profile,
            nodes,
            players: dice.few(4, 40),
            npcs_per_node: dice.few(1, 12),
            faults: draw_faults(&mut dice, profile, node.transfer_patience),
            coordinator,
            hasty_disk: false,
            bookless: false,
            node,
            client: ClientConfig::default(),
            play,
            active_for: dice.millis(10_000, 30_000) + harm_lasts,
            settle_within,
            harm,
        }
    }
}

fn draw_grid(dice: &mut Dice, nodes: usize) -> GridConfig {
    let side = |dice: &mut Dice| u32::try_from(dice.whole(2, 6)).unwrap_or(2);
    let mut cells = [side(dice), side(dice), 1];
    if dice.chance(0.15) {
        cells[2] = 2;
    }
    // Mostly a cell for everybody; a node without one is allowed to be rare, not to be common.
    if (cells.iter().product::<u32>() as usize) < nodes && dice.chance(0.9) {
        cells = [4, 4, cells[2]];
    }
    let origin_m =
        if dice.chance(0.3) { [dice.real(-500.0, 500.0), dice.real(-500.0, 500.0), 0.0] } else { [0.0; 3] };
    GridConfig { origin_m, cell_edge_m: dice.real(20.0, 100.0), cells }
}

fn draw_coordinator(dice: &mut Dice, grid: GridConfig, nodes: usize) -> CoordinatorConfig {
    let tick_ms = [33, 50, 100, 100][dice.index(0, 3)];
    let world = WorldConfig {
        grid,
        tick_interval: Duration::from_millis(tick_ms),
        interest_margin_m: dice.real(3.0, grid.cell_edge_m * 0.3),
    };
    let nodes_min = if dice.chance(0.7) { nodes } else { dice.index(1, nodes) };
    // Here networks stall for longer than a lease lasts, and nobody is to lose it for that.
    let (lease, suspect_after) = (Duration::from_secs(600), Duration::from_secs(400));
    CoordinatorConfig { world, nodes_min, lease, suspect_after, ..CoordinatorConfig::default() }
}

fn draw_node(dice: &mut Dice, world: &WorldConfig) -> NodeConfig {
    let edge = world.grid.cell_edge_m;
    NodeConfig {
        prepare_lead: dice.millis(100, 1500),
        prepare_margin_m: dice.real(0.5, 4.0),
        hysteresis_m: dice.real(0.2, (edge / 8.0).min(3.0)),
        dwell_min: dice.millis(0, 800),
        coordinator_patience: dice.millis(50, 200),
        prepare_retry: dice.millis(100, 400),
        candidate_keep: dice.millis(500, 2000),
        precopy_refresh: dice.millis(150, 800),
        transfer_retry: dice.millis(50, 200),
        transfer_patience: dice.millis(300, 1500),
        backoff: dice.millis(100, 500),
        reservation_ttl: dice.millis(2_000, 10_000),
        token_ttl: dice.millis(1_500, 10_000),
        forward_for: dice.millis(1_000, 5_000),
        linger: dice.millis(4_000, 30_000),
        ..NodeConfig::default()
    }
}

fn draw_play(dice: &mut Dice, profile: Profile, edge: f64) -> Play {
    let rough = profile != Profile::Calm;
    let nasty = profile == Profile::Nasty;
    let if_rough = |value: f64| if rough { value } else { 0.0 };
    let act_ms = dice.whole(50, 250);
    Play {
        speed_max_m_s: dice.real(edge / 15.0, edge / 4.0),
        turn: 0.03,
        teleport: if dice.chance(0.5) { 0.002 } else { 0.0 },
        spawn: 0.01,
        despawn: 0.01,
        inventory: 0.02,
        refuse_warm: if_rough(0.03),
        refuse_join: if nasty { 0.03 } else { 0.0 },
        stall: if_rough(0.004),
        stall_ticks_max: if nasty { 20 } else { 6 },
        act_us: (act_ms * 500, act_ms * 1500),
        border_bias: dice.real(0.5, 1.0),
        away: if_rough(0.004),
        away_us: (200_000, 8_000_000),
        logout: if_rough(0.003),
        restart: if_rough(0.0004),
        come_back: 0.7,
        trade: 0.0,
        ride: 0.0,
        events: 0.0,
    }
}

/// In two seeds of seven bodies trade; of their own stream, so that the others stay what they were.
fn draw_trade(seed: u64) -> f64 {
    if seed % 7 < 5 { 0.0 } else { Dice::new(seed, 6).real(0.002, 0.03) }
}

/// In two seeds of five bodies ride on each other; of their own stream, too.
fn draw_ride(seed: u64) -> f64 {
    if seed % 5 < 3 { 0.0 } else { Dice::new(seed, 7).real(0.002, 0.02) }
}

/// In one seed of three things happen; of their own stream, too.
fn draw_events(seed: u64) -> f64 {
    if seed.is_multiple_of(3) { Dice::new(seed, 8).real(0.003, 0.05) } else { 0.0 }
}

fn draw_faults(dice: &mut Dice, profile: Profile, transfer_patience: Duration) -> Faults {
    let patience_us = u64::try_from(transfer_patience.as_micros()).unwrap_or(u64::MAX / 8);
    let delay_high = dice.whole(1_000, 40_000);
    let calm = Faults {
        delay_us: (200, delay_high),
        jitter_us: dice.whole(100, 10_000),
        reorder_us: (5_000, 150_000),
        replay_us: (1_000_000, 8_000_000),
        burst_us: (200_000, 1_000_000),
        cut_us: (200_000, 2_000_000),
        pause_us: (50_000, 1_000_000),
        ..Faults::NONE
    };
    match profile {
        Profile::Calm => calm,
        Profile::Lossy => Faults {
            loss: dice.real(0.0, 0.08),
            duplicate: dice.real(0.0, 0.05),
            reorder: dice.real(0.0, 0.05),
            weather_every: Some(dice.millis(1_000, 5_000)),
            connect_fails: 0.02,
            door_fails: 0.05,
            door_answer_lost: 0.002,
            ..calm
        },
        Profile::Faults => Faults {
            loss: dice.real(0.0, 0.04),
            duplicate: dice.real(0.0, 0.04),
            reorder: dice.real(0.0, 0.04),
            weather_every: Some(dice.millis(2_000, 8_000)),
            connect_fails: 0.02,
            door_fails: 0.05,
            door_answer_lost: 0.002,
            ..calm
        },
        Profile::Nasty => Faults {
            loss: dice.real(0.0, 0.25),
            duplicate: dice.real(0.0, 0.15),
            reorder: dice.real(0.0, 0.15),
            replay: dice.real(0.01, 0.1),
            weather_every: Some(dice.millis(250, 1_500)),
            burst_us: (patience_us / 2, patience_us * 3),
            cut_us: (100_000, 5_000_000),
            pause_us: (50_000, 6_000_000),
            connect_fails: 0.08,
            door_fails: 0.1,
            door_answer_lost: 0.005,
            store_fails: 0.1,
            stolen_token: 0.25,
            ..calm
        },
    }
}
