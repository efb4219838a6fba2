//! The games' ticks and reports, and what the players do.

use bytes::Bytes;
use selvedge_protocol::action::Outcome;
use selvedge_protocol::authority::Standing;
use selvedge_protocol::grid::Position;
use selvedge_protocol::handoff::client::ClientInput;
use selvedge_protocol::id::{AuthorityEpoch, EntityId};
use selvedge_protocol::node::{ActionNews, ActionReport, GameReport, Input, Published};
use selvedge_protocol::time::{Tick, Time};

use super::World;
use crate::dice::Dice;
use crate::event::{Event, Stay};
use crate::game::{Action, Game, GameDice, Ledger, TickFrame};
use crate::hosts::PlayerHost;
use crate::invariant::{ActionFact, Fact};

/// Between the streams of chance of one node's games.
const LIFE_STREAMS: u64 = 1_000_000;
/// Between a game's stream of chance and that of its trades.
const TRADE_STREAMS: u64 = 1 << 40;
/// Between a game's stream of chance and that of who rides on what.
const RIDE_STREAMS: u64 = 1 << 41;
/// The same to that of the events that it causes.
const EVENT_STREAMS: u64 = 1 << 42;
/// Places that a game is given to put NPCs at.
const PLACES: usize = 4;
/// Ticks between two looks at what a game shows of others' entities.
const GHOSTS_LOOK_TICKS: u64 = 30;

impl World {
    /// Starts a node's game once it is registered, has a map and knows mesh time.
    pub(super) fn start_ticks(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        let (Some(registration), Some(map), Some(mesh_time)) =
            (&host.registration, &host.map, host.mesh_time(self.now))
        else {
            return;
        };
        if host.ticking {
            return;
        }
        host.ticking = true;
        let interval = registration.tick_interval;
        if host.game.is_none() {
            let stream = 10_000 + node as u64 + LIFE_STREAMS * u64::from(host.life);
            let mut game = Game::new(
                (host.id, registration.grid, interval),
                map.clone(),
                self.scenario.node.hysteresis_m,
                self.scenario.play.clone(),
                if host.life == 0 { self.scenario.npcs_per_node } else { 0 },
                GameDice {
                    moves: Dice::new(self.scenario.seed, stream),
                    trades: Dice::new(self.scenario.seed, TRADE_STREAMS + stream),
                    events: Dice::new(self.scenario.seed, EVENT_STREAMS + stream),
                    rides: Dice::new(self.scenario.seed, RIDE_STREAMS + stream),
                },
            );
            #[cfg(feature = "planted-bugs")]
            if let Some(bug) = self.scenario.node.planted_bug {
                game.plant(bug);
            }
            if self.scenario.bookless {
                game.lose_books();
            }
            if self.calm_since.is_some() {
                game.calm();
            }
            host.game = Some(game);
        }
        let tick = Tick::at(mesh_time, interval).next();
        self.schedule_tick(node, tick);
    }

    fn schedule_tick(&mut self, node: usize, tick: Tick) {
        let host = &mut self.nodes[node];
        if let Some(start) = host.tick_start(tick) {
            let at = start.max(self.now) + host.dice.micros((0, 1_500));
            let process = host.life;
            self.queue.push(at, Event::Tick { node, process, tick });
        }
    }

    pub(super) fn on_tick(&mut self, node: usize, tick: Tick) {
        self.trace.hash().word(tick.0);
        let now = self.now;
        let host = &mut self.nodes[node];
        let (clock, places) = (host.clock(now), host.places(&self.grid, PLACES));
        let mut commands = Vec::new();
        while host.mailbox.front().is_some_and(|(at, _)| *at <= now) {
            commands.extend(host.mailbox.pop_front().map(|(_, command)| command));
        }
        let Some(game) = &mut host.game else {
            return;
        };
        self.stats.ticks += 1;
        let reports = game.tick(TickFrame { tick, now: clock, commands, stats: &mut self.stats }, &places);
        for (entity, what) in game.take_complaints() {
            self.facts.push(Fact::GameComplained { node, entity, what });
        }
        if tick.0.is_multiple_of(GHOSTS_LOOK_TICKS) {
            let entities = game.ghosts().map(|(entity, _)| entity).collect();
            let own = host.machine.ghosts_at(Time::ZERO).map(|shown| shown.entity);
            let beside = own.filter(|&entity| host.machine.standing(entity).is_some()).collect();
            self.facts.push(Fact::GhostsShown { node, entities, beside });
        }
        let happenings = game.take_happenings();
        for report in reports {
            let at = (now + host.dice.micros((0, 1_000))).max(host.last_report_at);
            host.last_report_at = at;
            let process = host.life;
            self.queue.push(at, Event::Report { node, process, report });
        }
        let stalls = self.calm_since.is_none() && host.dice.chance(self.scenario.play.stall);
        let left_out = if stalls { host.dice.whole(1, self.scenario.play.stall_ticks_max) } else { 0 };
        self.stats.ticks_stalled += left_out;
        // By mesh time as the node believes it to be now; a tick's number never comes twice.
        let interval = self.scenario.coordinator.world.tick_interval;
        let current = host.mesh_time(now).map_or(tick, |mesh_time| Tick::at(mesh_time, interval));
        let next = Tick(tick.next().0.max(current.0) + left_out);
        self.schedule_tick(node, next);
        self.note_happenings(node, happenings);
    }

    pub(super) fn on_report(&mut self, node: usize, report: GameReport) {
        let by_game = match (&report, self.nodes[node].game.as_mut()) {
            (GameReport::Attached { entity, to: None, .. }, Some(game)) => game.let_off(*entity),
            _ => false,
        };
        let stood = self.stood(node, &report);
        let machine = &self.nodes[node].machine;
        let holds = |entity: EntityId, grant: AuthorityEpoch| {
            machine.standing(entity) == Some(Standing::Active(grant))
        };
        let (mut born, mut taken) = (None, Vec::new());
        match &report {
            GameReport::Frame { tick, published } => {
                for published in published.iter().filter(|published| holds(published.entity, published.grant))
                {
                    taken.push(published_fact(node, *tick, published));
                    let purse = self.nodes[node].game.as_ref().and_then(|game| game.purse(published.entity));
                    if let Some(things) =
                        purse.filter(|purse| purse.trades()).map(|purse| purse.all().collect::<Vec<_>>())
                    {
                        taken.push(Fact::Action {
                            node,
                            entity: published.entity,
                            fact: ActionFact::Has { things },
                        });
                    }
                }
            }
            GameReport::Action(report) if holds(report.entity, report.grant) => {
                taken.extend(action_fact(node, report));
            }
            &GameReport::Attached { entity, grant, to } if holds(entity, grant) => {
                taken.push(Fact::Attached { node, entity, to, by_game });
            }
            &GameReport::Restored { entity, grant, .. } if holds(entity, grant) => {
                let to = self.nodes[node].game.as_ref().and_then(|game| game.attached_to(entity));
                taken.push(Fact::Runs { node, entity, to });
            }
            GameReport::Spawned { entity, .. } | GameReport::Joined { entity, accepted: true, .. } => {
                born = Some(*entity);
            }
            GameReport::Despawned { entity, grant, .. } | GameReport::Left { entity, grant, .. }
                if holds(*entity, *grant) =>
            {
                taken.push(Fact::Gone { node, entity: *entity });
            }
            GameReport::Despawned { .. }
            | GameReport::Left { .. }
            | GameReport::Action(_)
            | GameReport::Event { .. }
            | GameReport::Joined { .. }
            | GameReport::Captured { .. }
            | GameReport::Warmed { .. }
            | GameReport::Restored { .. }
            | GameReport::Attached { .. }
            | GameReport::Pinned { .. }
            | GameReport::Admitted { .. }
            | GameReport::Checkpoint { .. } => {}
            GameReport::Frozen { group, .. } => self.stats.groups_frozen += u64::from(group.len() > 1),
        }
        let life = machine.me();
        self.drive_node(node, Input::Game(report));
        // A life that has outlived its lease ends before it takes anything.
        if self.nodes[node].me() == life {
            let gone = taken.iter().filter(|fact| matches!(fact, Fact::Gone { .. })).count();
            self.stats.entities_gone += gone as u64;
            self.count_actions(&taken);
            self.facts.append(&mut taken);
            self.facts.extend(stood);
        }
        if let Some(entity) = born.filter(|entity| self.nodes[node].machine.standing(*entity).is_some()) {
            self.stats.entities_born += 1;
            self.facts.push(Fact::Born { node, entity });
        }
    }

    fn count_actions(&mut self, taken: &[Fact]) {
        for fact in taken {
            let Fact::Action { fact: ActionFact::Settled { durable, outcome, .. }, .. } = fact else {
                continue;
            };
            match (outcome, durable) {
                (Outcome::Done(_), true) => self.stats.trades_done += 1,
                (Outcome::Failed(_), true) => self.stats.trades_failed += 1,
                (Outcome::Done(_), false) => self.stats.pokes_done += 1,
                (Outcome::Refused(_), _) | (Outcome::Failed(_), false) => {}
            }
        }
    }

    pub(super) fn on_player_enters(&mut self, player: usize) {
        if self.is_calm() {
            return;
        }
        let host = &mut self.players[player];
        host.begin(self.scenario.client.clone());
        let (stay, name) = (host.stay, host.name.clone());
        self.facts.push(Fact::PlayerBegan { player });
        self.drive_player(player, ClientInput::Enter { name, credential: Vec::new() });
        self.act_again(stay);
    }

    fn act_again(&mut self, stay: Stay) {
        let after = self.players[stay.player].dice.micros(self.scenario.play.act_us);
        self.queue.push(self.now + after, Event::PlayerActs(stay));
    }

    pub(super) fn on_player_acts(&mut self, stay: Stay) {
        let host = &mut self.players[stay.player];
        if host.stay != stay || !host.wants_in || self.calm_since.is_some() {
            return;
        }
        let play = &self.scenario.play;
        if host.entity.is_some() && host.dice.chance(play.logout) {
            host.wants_in = false;
            self.drive_player(stay.player, ClientInput::Logout);
            return;
        }
        if host.dice.chance(play.restart) {
            self.restart(stay);
            return;
        }
        if host.dice.chance(play.away) {
            self.go_away(stay);
        } else if self.players[stay.player].entity.is_some() {
            self.act(stay.player);
        }
        self.act_again(stay);
    }

    /// The player's machine loses its network for a while.
    fn go_away(&mut self, stay: Stay) {
        let host = &mut self.players[stay.player];
        host.offline_until = self.now + host.dice.micros(self.scenario.play.away_us);
        self.sever_all(stay);
    }

    /// The player's program ends without a word and is started again: it remembers nothing.
    fn restart(&mut self, stay: Stay) {
        self.stats.clients_restarted += 1;
        self.sever_all(stay);
        self.on_player_enters(stay.player);
    }

    pub(super) fn sever_all(&mut self, stay: Stay) {
        for conn in self.players[stay.player].connections.values().copied().collect::<Vec<_>>() {
            if !self.connections.conn(conn).severed {
                self.sever(conn);
            }
        }
    }

    fn act(&mut self, player: usize) {
        let host = &mut self.players[player];
        let action = choose(host, &self.grid, &self.scenario.play);
        self.submit(player, action);
    }

    /// Lets a player's machine take an input.
    pub(super) fn submit(&mut self, player: usize, action: Action) {
        let host = &mut self.players[player];
        let bytes = action.encode();
        let before = host.machine.last_input();
        host.machine.handle(ClientInput::Act(Bytes::from(bytes.clone())), host.clock.at(self.now));
        let seq = host.machine.last_input();
        if seq > before {
            let digest = host.acts.push(bytes);
            self.stats.inputs_sent += 1;
            self.facts.push(Fact::Acted { player, seq: seq.0, digest });
        }
        self.drain_player(player);
    }
}

fn action_fact(node: usize, report: &ActionReport) -> Option<Fact> {
    let fact = match &report.news {
        &ActionNews::Performed { id, durable, fresh: true, at, .. } => {
            ActionFact::Performed { id, durable, at: (report.grant, at) }
        }
        ActionNews::Over { number, durable, outcome } => {
            ActionFact::Settled { number: *number, durable: *durable, outcome: outcome.clone() }
        }
        ActionNews::Closing { number, outcome: Some(outcome), .. } => {
            ActionFact::Settled { number: *number, durable: true, outcome: outcome.clone() }
        }
        ActionNews::Pending { .. }
        | ActionNews::Closing { outcome: None, .. }
        | ActionNews::Performed { fresh: false, .. }
        | ActionNews::NotPerformed { .. }
        | ActionNews::Closed { .. }
        | ActionNews::Unclosed { .. } => return None,
    };
    Some(Fact::Action { node, entity: report.entity, fact })
}

fn published_fact(node: usize, tick: Tick, published: &Published) -> Fact {
    Fact::Published {
        node,
        entity: published.entity,
        epoch: published.grant,
        tick,
        applied: published.applied.0,
        ledger: Ledger::decode(&published.own),
    }
}

/// What a player does next: mostly, to walk across some border and back.
#[allow(clippy::cast_possible_truncation, reason = "speeds and angles of the game's own fit an f32")]
fn choose(
    host: &mut PlayerHost,
    grid: &selvedge_protocol::grid::Grid,
    play: &crate::scenario::Play,
) -> Action {
    let dice = &mut host.dice;
    let Some(at) = host.at else {
        return Action::Rummage;
    };
    if dice.chance(play.teleport) {
        let Position { x, y, z } = anywhere(dice, grid);
        return Action::Blink { x, y, z };
    }
    if dice.chance(play.inventory) {
        return Action::Rummage;
    }
    let arrived = host.goal.is_none_or(|goal| goal.distance(at) < play.speed_max_m_s * 0.3);
    if arrived || dice.chance(0.02) {
        let across = dice.chance(play.border_bias);
        host.goal = Some(if across { across_border(dice, grid, at) } else { anywhere(dice, grid) });
    }
    let goal = host.goal.unwrap_or(at);
    let (east, north, up) = (goal.x - at.x, goal.y - at.y, goal.z - at.z);
    let level = (east * east + north * north).sqrt().max(1e-3);
    let speed = dice.real(0.3, 1.0) * play.speed_max_m_s;
    let climb = if grid.is_flat() { 0.0 } else { (up / level).clamp(-1.0, 1.0) };
    Action::Steer { speed: speed as f32, heading: north.atan2(east) as f32, climb: climb as f32 }
}

/// A place a little way behind the nearest border along some axis.
fn across_border(dice: &mut Dice, grid: &selvedge_protocol::grid::Grid, at: Position) -> Position {
    let Ok(cell) = grid.cell_at(at) else {
        return anywhere(dice, grid);
    };
    let bounds = grid.bounds(cell);
    let (min, max) = (bounds.min.to_array(), bounds.max.to_array());
    let axis = dice.index(0, if grid.is_flat() { 1 } else { 2 });
    let beyond = dice.real(0.5, grid.config().cell_edge_m * 0.2);
    let mut goal = at.to_array();
    goal[axis] =
        if goal[axis] - min[axis] < max[axis] - goal[axis] { min[axis] - beyond } else { max[axis] + beyond };
    // Sometimes through a corner.
    if dice.chance(0.3) {
        goal[1 - axis.min(1)] += dice.real(-1.0, 1.0) * grid.config().cell_edge_m;
    }
    grid.clamp(Position::from_array(goal))
}

fn anywhere(dice: &mut Dice, grid: &selvedge_protocol::grid::Grid) -> Position {
    let config = grid.config();
    let at = core::array::from_fn(|axis| {
        config.origin_m[axis] + dice.real(0.0, f64::from(config.cells[axis]) * config.cell_edge_m)
    });
    grid.clamp(Position::from_array(at))
}
