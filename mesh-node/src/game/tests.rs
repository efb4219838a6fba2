//! The game's side driven by a stream of commands, as the core would send them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_protocol::cell_map::{CellMap, NodeEntry};
use selvedge_protocol::ghost::{GhostChange, Look};
use selvedge_protocol::grid::{Grid, Motion, Position, Velocity};
use selvedge_protocol::id::{
    AuthorityEpoch, EntityId, HandoffId, Incarnation, InputSeq, NodeId, Peer, ReservationId, SessionId, Term,
};
use selvedge_protocol::node::{
    ArmedTarget, FrozenEntity, GameCommand, GameReport, LeaveReason, Registration, ReleaseReason,
};
use selvedge_protocol::snapshot::{
    Assembled, ComponentVersions, SnapshotArchive, SnapshotView, SnapshotWriter,
};
use selvedge_protocol::standby::CutOrder;
use selvedge_protocol::time::{Tick, Time};

use super::GameSide;
use crate::clock::Clock;
use crate::world::{Player, Refused, World};

const ENTITY: EntityId = EntityId::from_u128(7);
const SESSION: SessionId = SessionId::from_u128(70);
const INTERVAL: Duration = Duration::from_millis(10);
const GRANT: AuthorityEpoch = AuthorityEpoch { generation: 0, step: 4 };

fn peer(id: u128) -> Peer {
    Peer { node: NodeId::from_u128(id), incarnation: Incarnation(1) }
}

fn reservation() -> ReservationId {
    ReservationId { entity: ENTITY, source: peer(2), attempt: 1 }
}

/// Node 1 owns the world west of x = 200 m, node 2 the rest.
fn side() -> GameSide {
    let grid = Grid::default();
    let nodes = [1, 2].map(|id| {
        let entry = NodeEntry {
            peer: peer(id),
            mesh_addr: String::new(),
            client_addr: String::new(),
            server_name: String::new(),
        };
        (entry.peer.node, entry)
    });
    let owner = |x: f64| if x < 200.0 { NodeId::from_u128(1) } else { NodeId::from_u128(2) };
    let owners: BTreeMap<_, _> = grid.cells().map(|cell| (cell, owner(grid.bounds(cell).min.x))).collect();
    let map = CellMap::with(1, owners, BTreeMap::from(nodes)).unwrap();
    let interest_margin_m = 30.0;
    let registration =
        Registration { me: peer(1), term: Term(1), grid, tick_interval: INTERVAL, interest_margin_m };
    GameSide::new(registration, Arc::new(map), 1.0, 3)
}

fn at(x: f64) -> Motion {
    Motion { position: Position::new(x, 50.0, 0.0), velocity: Velocity::new(10.0, 0.0, 0.0) }
}

/// A game that writes down what it is told.
#[derive(Default)]
struct Diary {
    lines: Vec<String>,
    known: BTreeSet<EntityId>,
    refuses: bool,
    captures_nonsense: bool,
}

impl Diary {
    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}

impl World for Diary {
    fn capture(&self, entity: EntityId, out: &mut SnapshotWriter) {
        assert!(self.known.contains(&entity), "only what is simulated is captured");
        let x = if self.captures_nonsense { f64::NAN } else { 1.0 };
        out.position(Position::new(x, 0.0, 0.0));
        out.component("bag", 5, b"forty coins");
    }

    fn warm(&mut self, _: EntityId, snapshot: &SnapshotView<'_>) -> Result<(), Refused> {
        self.lines.push(format!("warm at {}", snapshot.position().x));
        if self.refuses { Err(Refused::new("full")) } else { Ok(()) }
    }

    fn restore(&mut self, entity: EntityId, snapshot: &SnapshotView<'_>) {
        self.known.insert(entity);
        self.lines.push(format!("restore after input {}", snapshot.last_input()));
    }

    fn release(&mut self, entity: EntityId, why: ReleaseReason) {
        self.known.remove(&entity);
        self.lines.push(format!("release {why:?}"));
    }

    fn join(&mut self, player: Player<'_>) -> Result<Motion, Refused> {
        self.lines.push(format!("join {}", player.name()));
        if self.refuses {
            return Err(Refused::new("full"));
        }
        self.known.insert(player.entity());
        Ok(Motion { position: player.entry(), velocity: Velocity::default() })
    }

    fn leave(&mut self, entity: EntityId, why: LeaveReason) {
        self.known.remove(&entity);
        self.lines.push(format!("leave {why:?}"));
    }

    fn input(&mut self, _: EntityId, seq: u32, bytes: &[u8]) {
        self.lines.push(format!("input {seq} {}", String::from_utf8_lossy(bytes)));
    }

    fn ghost(&mut self, change: GhostChange) {
        self.lines.push(format!("ghost {change:?}"));
    }
}

fn snapshot(last_input: u32) -> Assembled {
    let mut writer = SnapshotWriter::new(ENTITY, Some(SESSION), &ComponentVersions::new());
    writer.motion(at(199.0));
    let captured = writer.finish(InputSeq(last_input)).unwrap();
    let mut assembled = Assembled::new();
    assembled.apply(SnapshotArchive::validate(captured.bytes).unwrap()).unwrap();
    assembled
}

fn input(seq: u32) -> GameCommand {
    GameCommand::Input { entity: ENTITY, grant: GRANT, seq: InputSeq(seq), bytes: Bytes::from_static(b"go") }
}

fn armed(have: ComponentVersions) -> GameCommand {
    let (target, not_before, members) = (peer(2), Time::ZERO, Vec::new());
    let target = ArmedTarget { target, reservation: reservation(), have, not_before, members };
    GameCommand::Arm { entity: ENTITY, grant: GRANT, targets: vec![target] }
}

/// Runs one tick as `MeshNode::tick` does: the reports come with a mark where the step ran and where the game was told
/// of a freeze.
fn tick(
    side: &mut GameSide,
    world: &mut Diary,
    number: u64,
    x: f64,
    commands: Vec<GameCommand>,
) -> Vec<String> {
    let (tick, clock) = (Tick(number), Clock::new());
    let mut told = Vec::new();
    side.begin_tick(world, tick);
    for command in commands {
        side.carry_out(world, command, tick);
    }
    told.extend(side.drain_reports().map(|report| describe(&report)));
    let mut frame = side.frame(tick, &clock);
    if let Some(owned) = frame.owned_by(ENTITY) {
        frame.publish(owned, at(x), Look::default(), b"state").unwrap();
    }
    while let Some(group) = side.freeze_next(world, tick) {
        told.extend(side.drain_reports().map(|report| describe(&report)));
        side.release_frozen(world, group);
    }
    side.capture_precopies(world);
    side.capture_checkpoint(world, tick);
    side.end_tick(tick);
    told.extend(side.drain_reports().map(|report| describe(&report)));
    told
}

fn describe(report: &GameReport) -> String {
    match report {
        GameReport::Frame { tick, published } => format!("frame {} of {}", tick.0, published.len()),
        GameReport::Spawned { .. } => "spawned".to_owned(),
        GameReport::Joined { accepted, .. } => format!("joined {accepted}"),
        GameReport::Despawned { .. } => "despawned".to_owned(),
        GameReport::Left { snapshot, .. } => format!("left, captured {}", snapshot.is_some()),
        GameReport::Captured { snapshot, .. } => format!("captured, full {}", snapshot.full),
        GameReport::Frozen { target, group, tick, .. } => {
            let [FrozenEntity { last, snapshot, .. }] = &group[..] else {
                panic!("it goes alone: {group:?}")
            };
            let (target, input, full) = (target.node.as_u128(), last.applied, snapshot.full);
            format!("frozen to {target} after input {input} and tick {}, full {full}", tick.0)
        }
        GameReport::Attached { to, .. } => format!("attached to {to:?}"),
        GameReport::Pinned { pins, .. } => format!("pinned {}", pins.len()),
        GameReport::Warmed { accepted, .. } => format!("warmed {accepted}"),
        GameReport::Admitted { accepted, tick, .. } => format!("admitted {accepted} from {}", tick.0),
        GameReport::Event { area, .. } => format!("event {area:?}"),
        GameReport::Action(report) => format!("{:?}", report.news),
        GameReport::Restored { tick, .. } => format!("restored from {}", tick.0),
        GameReport::Checkpoint { cut, tick, copies } => {
            let full = copies
                .iter()
                .map(|copy| copy.snapshot.as_ref().map(|snapshot| snapshot.full))
                .collect::<Vec<_>>();
            format!("cut {cut} after tick {}, full {full:?}", tick.0)
        }
    }
}

#[test]
fn an_entity_comes_is_played_and_crosses_on() {
    let (mut side, mut world) = (side(), Diary::default());
    let warm = GameCommand::Warm { entity: ENTITY, reservation: reservation(), snapshot: snapshot(8) };
    assert_eq!(tick(&mut side, &mut world, 1, 199.0, vec![warm]), ["warmed true", "frame 1 of 0"]);
    assert_eq!(world.take(), ["warm at 199"]);

    let restore =
        GameCommand::Restore { entity: ENTITY, grant: GRANT, snapshot: snapshot(9), first_tick: Tick(0) };
    let told = tick(&mut side, &mut world, 2, 199.0, vec![restore, input(10), input(12), input(11)]);
    assert_eq!(told, ["restored from 2", "frame 2 of 1"]);
    assert_eq!(world.take(), ["restore after input 9", "input 10 go", "input 11 go"]);

    let have = [("bag", 5)].into_iter().collect();
    assert_eq!(tick(&mut side, &mut world, 3, 200.5, vec![armed(have)]), ["frame 3 of 1"]);
    let told = tick(&mut side, &mut world, 4, 201.5, Vec::new());
    assert_eq!(told, ["frozen to 2 after input 11 and tick 4, full false", "frame 4 of 0"]);
    assert_eq!(world.take(), ["release Frozen"]);
    assert_eq!(tick(&mut side, &mut world, 5, 202.0, vec![input(12)]), ["frame 5 of 0"]);
    assert_eq!(world.take(), Vec::<String>::new());
}

#[test]
fn a_refused_entity_is_never_restored() {
    let (mut side, mut world) = (side(), Diary { refuses: true, ..Diary::default() });
    let id = HandoffId { entity: ENTITY, epoch: GRANT };
    let admit = GameCommand::Admit { id, snapshot: snapshot(1), first_tick: Tick(0) };
    assert_eq!(tick(&mut side, &mut world, 1, 0.0, vec![admit]), ["admitted false from 1", "frame 1 of 0"]);
    assert_eq!(world.take(), ["warm at 199"]);
}

#[test]
fn the_cold_path_is_simulated_in_the_very_tick_that_admits_it() {
    let (mut side, mut world) = (side(), Diary::default());
    let admit = GameCommand::Admit {
        id: HandoffId { entity: ENTITY, epoch: GRANT },
        snapshot: snapshot(1),
        first_tick: Tick(0),
    };
    assert_eq!(tick(&mut side, &mut world, 6, 10.0, vec![admit]), ["admitted true from 6", "frame 6 of 1"]);
    assert_eq!(world.take(), ["warm at 199", "restore after input 1"]);
}

#[test]
fn what_comes_before_its_first_tick_waits_for_it() {
    let (mut side, mut world) = (side(), Diary::default());
    let restore =
        GameCommand::Restore { entity: ENTITY, grant: GRANT, snapshot: snapshot(9), first_tick: Tick(3) };
    assert_eq!(tick(&mut side, &mut world, 2, 10.0, vec![restore, input(10)]), ["frame 2 of 0"]);
    assert_eq!(world.take(), Vec::<String>::new());
    assert_eq!(tick(&mut side, &mut world, 3, 10.0, Vec::new()), ["restored from 3", "frame 3 of 1"]);
    assert_eq!(world.take(), ["restore after input 9", "input 10 go"]);
}

#[test]
fn the_cold_path_is_answered_before_its_first_tick_and_simulated_from_then_on() {
    let (mut side, mut world) = (side(), Diary::default());
    let admit = GameCommand::Admit {
        id: HandoffId { entity: ENTITY, epoch: GRANT },
        snapshot: snapshot(9),
        first_tick: Tick(3),
    };
    let told = tick(&mut side, &mut world, 2, 10.0, vec![admit, input(10)]);
    assert_eq!(told, ["admitted true from 2", "frame 2 of 0"]);
    assert_eq!(world.take(), ["warm at 199"]);
    assert_eq!(tick(&mut side, &mut world, 3, 10.0, Vec::new()), ["restored from 3", "frame 3 of 1"]);
    assert_eq!(world.take(), ["restore after input 9", "input 10 go"]);
}

#[test]
fn a_player_joins_is_copied_and_leaves_with_the_character_captured_first() {
    let (mut side, mut world) = (side(), Diary::default());
    let join = GameCommand::Join {
        entity: ENTITY,
        grant: AuthorityEpoch::FIRST,
        session: SESSION,
        name: "Ann".to_owned(),
        entry: Position::new(10.0, 10.0, 0.0),
        baseline: None,
    };
    assert_eq!(tick(&mut side, &mut world, 1, 10.0, vec![join]), ["joined true", "frame 1 of 1"]);
    let have = ComponentVersions::new();
    let capture = GameCommand::Capture { entity: ENTITY, reservation: reservation(), have };
    assert_eq!(tick(&mut side, &mut world, 2, 10.0, vec![capture]), ["captured, full true", "frame 2 of 1"]);
    let leave = GameCommand::Leave { entity: ENTITY, grant: AuthorityEpoch::FIRST, why: LeaveReason::Logout };
    assert_eq!(tick(&mut side, &mut world, 3, 10.0, vec![leave]), ["left, captured true", "frame 3 of 0"]);
    assert_eq!(world.take(), ["join Ann", "leave Logout"]);
}

#[test]
fn what_the_game_can_not_capture_stays_here() {
    let (mut side, mut world) = (side(), Diary::default());
    let restore =
        GameCommand::Restore { entity: ENTITY, grant: GRANT, snapshot: snapshot(9), first_tick: Tick(0) };
    tick(&mut side, &mut world, 1, 199.0, vec![restore, armed(ComponentVersions::new())]);
    world.captures_nonsense = true;
    assert_eq!(tick(&mut side, &mut world, 2, 201.5, Vec::new()), ["frame 2 of 1"]);
    assert_eq!(side.take_captures_failed(), 1);
    assert_eq!(world.take(), ["restore after input 9"]);
    assert_eq!(tick(&mut side, &mut world, 3, 201.5, Vec::new()), ["frame 3 of 1"]);
}

#[test]
fn what_is_despawned_after_it_was_published_is_not_frozen() {
    let (mut side, mut world) = (side(), Diary::default());
    let restore =
        GameCommand::Restore { entity: ENTITY, grant: GRANT, snapshot: snapshot(9), first_tick: Tick(0) };
    tick(&mut side, &mut world, 1, 199.0, vec![restore, armed(ComponentVersions::new())]);
    let clock = Clock::new();
    let mut frame = side.frame(Tick(2), &clock);
    let owned = frame.owned_by(ENTITY).unwrap();
    frame.publish(owned, at(202.0), Look::default(), &[]).unwrap();
    frame.despawn(owned).unwrap();
    assert!(frame.publish(owned, at(202.0), Look::default(), &[]).is_err());
    assert_eq!(side.freeze_next(&world, Tick(2)), None);
    let told: Vec<_> = side.drain_reports().map(|report| describe(&report)).collect();
    assert_eq!(told, ["despawned"]);
}

#[test]
fn the_frame_shows_the_ghosts_that_are_in_sight() {
    let (mut side, mut world) = (side(), Diary::default());
    let other = EntityId::from_u128(9);
    let appeared =
        GhostChange::Appeared { entity: other, motion: at(205.0), look: Look::default(), tick: Tick(3) };
    tick(&mut side, &mut world, 4, 0.0, vec![GameCommand::Ghosts(vec![appeared])]);
    let clock = Clock::new();
    let frame = side.frame(Tick(5), &clock);
    let seen: Vec<_> = frame.ghosts().map(|(ghost, sight)| (ghost.id(), sight.tick)).collect();
    assert_eq!(seen, [(other, Tick(3))]);
    assert_eq!(frame.owned().count(), 0);
    let vanished = GhostChange::Vanished { entity: other };
    tick(&mut side, &mut world, 5, 0.0, vec![GameCommand::Ghosts(vec![vanished])]);
    assert_eq!(side.frame(Tick(6), &clock).ghosts().count(), 0);
    assert_eq!(side.take_callback_times().count(), 2);
}

fn checkpoint(cut: u64, known: Option<AuthorityEpoch>) -> GameCommand {
    let versions: ComponentVersions = [("bag", 5)].into_iter().collect();
    let have = known.map(|epoch| (ENTITY, (epoch, Arc::new(versions))));
    GameCommand::Checkpoint(CutOrder { cut, have: Arc::new(have.into_iter().collect()) })
}

#[test]
fn a_cut_is_captured_after_the_freezes_of_its_tick_and_leaves_out_what_the_buddy_has_of_that_epoch() {
    let (mut side, mut world) = (side(), Diary::default());
    let restore =
        GameCommand::Restore { entity: ENTITY, grant: GRANT, snapshot: snapshot(9), first_tick: Tick(0) };
    let told = tick(&mut side, &mut world, 1, 199.0, vec![restore, checkpoint(1, None)]);
    assert_eq!(told, ["cut 1 after tick 1, full [Some(true)]", "restored from 1", "frame 1 of 1"]);

    let known = tick(&mut side, &mut world, 2, 199.0, vec![checkpoint(2, Some(GRANT))]);
    assert_eq!(known[0], "cut 2 after tick 2, full [Some(false)]");
    let elder = AuthorityEpoch { step: 3, ..GRANT };
    let other_epoch = tick(&mut side, &mut world, 3, 199.0, vec![checkpoint(3, Some(elder))]);
    assert_eq!(other_epoch[0], "cut 3 after tick 3, full [Some(true)]");

    world.captures_nonsense = true;
    let nonsense = tick(&mut side, &mut world, 4, 199.0, vec![checkpoint(4, None)]);
    assert_eq!(nonsense[0], "cut 4 after tick 4, full [None]");
    world.captures_nonsense = false;

    let commands = vec![armed(ComponentVersions::new()), checkpoint(5, None)];
    let frozen = tick(&mut side, &mut world, 5, 201.5, commands);
    let after_the_freeze = frozen.iter().skip_while(|line| !line.starts_with("frozen"));
    assert!(after_the_freeze.clone().any(|line| line == "cut 5 after tick 5, full []"), "{frozen:?}");
}
