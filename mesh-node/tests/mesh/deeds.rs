//! Two players on either side of a border act on each other.

#![allow(clippy::cast_possible_truncation, reason = "directions of the tests' own fit an f32")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use selvedge_client::{Client, ClientEndpoint, ClientEvent};
use selvedge_coordinator::CoordinatorService;
use selvedge_node::arena::{Arena, ArenaConfig, AvatarState, DeedInput, MoveInput};
use selvedge_node::{Frame, MeshNodeBuilder, TickError};
use selvedge_protocol::grid::{GridConfig, Position};
use selvedge_protocol::wire::ServerMessage;

use crate::support::{PATIENCE, World};

/// The border is at x = 16 m. A ferry lies in the middle of the eastern cell, within sight of the western node.
const GRID: GridConfig = GridConfig { origin_m: [0.0; 3], cell_edge_m: 16.0, cells: [2, 1, 1] };
/// Where Ada stands and where Bob does: he is nearer to her than the ferry.
const WEST: [f64; 2] = [13.0, 8.0];
const EAST: [f64; 2] = [19.0, 8.0];
const SPEED_MPS: f32 = 5.0;
/// What comes once comes within this time, and what comes twice does, too.
const SETTLED: Duration = Duration::from_secs(3);

fn run(builder: MeshNodeBuilder, ferries: u32, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let still = ArenaConfig { npcs: 0, ferries, ferry_speed_mps: 0.0, ..ArenaConfig::default() };
        let mut arena = Arena::new(still).expect("the avatars are possible");
        let mut node = builder.start().expect("the node starts");
        node.wait_ready(PATIENCE).expect("the coordinator registers the node");
        while !stop.load(Ordering::Relaxed) {
            let step = |arena: &mut Arena, frame: &mut Frame<'_>| {
                let east = |cell| frame.grid().bounds(cell).min.x > 0.0;
                assert!(
                    ferries == 0 || frame.map().cells_of(frame.node()).all(east),
                    "the ferry is in the east"
                );
                arena.step(frame);
            };
            match node.tick(&mut arena, step) {
                Ok(_) | Err(TickError::NotReady { .. }) => {}
                Err(error @ (TickError::Stopped | TickError::Unfit { .. })) => panic!("{error}"),
            }
        }
    })
}

/// Two nodes side by side.
struct Scene {
    coordinator: CoordinatorService,
    players: ClientEndpoint,
    stop: Arc<AtomicBool>,
    nodes: [JoinHandle<()>; 2],
}

impl Scene {
    async fn set() -> Self {
        let world = World::new();
        let coordinator = world.coordinator_over(GRID, 2).await;
        let stop = Arc::new(AtomicBool::new(false));
        let nodes =
            [(1, 0), (2, 1)].map(|(number, ferries)| run(world.node(number, &coordinator), ferries, &stop));
        let players = world.players(&coordinator);
        Self { coordinator, players, stop, nodes }
    }

    async fn clear(self, everybody: [Someone; 2]) {
        for mut someone in everybody {
            someone.client.logout().await.expect("the world says good-bye");
        }
        self.players.close().await;
        self.stop.store(true, Ordering::Relaxed);
        for node in self.nodes {
            node.join().expect("the node ends well");
        }
        self.coordinator.stop().await;
    }
}

/// Whom a test plays.
struct Someone {
    client: Client,
    place: [f64; 2],
    state: AvatarState,
    at: Option<Position>,
    /// What of the inventory has shown since it was last counted.
    shown: BTreeSet<u128>,
}

impl Someone {
    fn new(client: Client, place: [f64; 2]) -> Self {
        Self { client, place, state: AvatarState::default(), at: None, shown: BTreeSet::new() }
    }

    /// Reads what comes until the next state, and answers it: with the deed, or with a step towards the place.
    async fn play(&mut self, deed: Option<DeedInput>) {
        loop {
            let event = tokio::time::timeout(PATIENCE, self.client.next_event()).await.expect("it goes on");
            let event = event.expect("the session goes on");
            assert!(
                !matches!(event, ClientEvent::TwoAuthorities { .. } | ClientEvent::Over { .. }),
                "{event:?}"
            );
            let ClientEvent::State(ServerMessage::State { motion, own, .. }) = event else { continue };
            self.state = AvatarState::decode(&own).expect("the arena publishes its state");
            self.at = Some(motion.position);
            self.shown.insert(self.state.item.id);
            let to = [self.place[0] - motion.position.x, self.place[1] - motion.position.y];
            let to = to.map(|by| by as f32);
            let speed_mps = if to[0].hypot(to[1]) < 0.5 { 0.0 } else { SPEED_MPS };
            let walk = MoveInput { direction: to, speed_mps }.encode();
            let deed = deed.map(DeedInput::encode);
            let input = deed.as_ref().map_or(&walk[..], |deed| &deed[..]);
            self.client.act(input).expect("the inputs are acknowledged in time");
            return;
        }
    }

    fn is_in_place(&self) -> bool {
        let [x, y] = self.place;
        self.at.is_some_and(|at| (at.x - x).abs() < 1.0 && (at.y - y).abs() < 1.0)
    }
}

/// Both play on for so long.
async fn play_on(ada: &mut Someone, bob: &mut Someone, lasts: Duration) {
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        tokio::join!(ada.play(None), bob.play(None));
    }
}

/// Both walk to their places and wait there until each node shows the other's.
async fn take_places(ada: &mut Someone, bob: &mut Someone) {
    let began = Instant::now();
    while !(ada.is_in_place() && bob.is_in_place()) {
        assert!(began.elapsed() < PATIENCE, "{:?} and {:?}", ada.at, bob.at);
        tokio::join!(ada.play(None), bob.play(None));
    }
    play_on(ada, bob, SETTLED).await;
}

/// What each of them carries, once nothing is under way.
async fn count(ada: &mut Someone, bob: &mut Someone) -> [BTreeSet<u128>; 2] {
    ada.shown.clear();
    bob.shown.clear();
    let (began, all) = (Instant::now(), |one: &Someone| one.shown.len() == usize::from(one.state.item.items));
    while !(all(ada) && all(bob)) {
        assert!(began.elapsed() < PATIENCE, "{} and {} things", ada.shown.len(), bob.shown.len());
        tokio::join!(ada.play(None), bob.play(None));
    }
    [ada.shown.clone(), bob.shown.clone()]
}

#[tokio::test]
async fn a_hit_across_the_border_lowers_the_others_health_once() {
    let scene = Scene::set().await;
    let mut ada = Someone::new(scene.players.enter("ada", *b""), WEST);
    let mut bob = Someone::new(scene.players.enter("bob", *b""), EAST);
    take_places(&mut ada, &mut bob).await;
    let (mine, before) = (ada.state.health, bob.state.health);
    let began = Instant::now();
    tokio::join!(ada.play(Some(DeedInput::Hit)), bob.play(None));
    while bob.state.health >= before {
        assert!(began.elapsed() < PATIENCE, "the hit was lost");
        tokio::join!(ada.play(None), bob.play(None));
    }
    let after = bob.state.health;
    play_on(&mut ada, &mut bob, SETTLED).await;
    assert_eq!((before, after, bob.state.health), (100.0, 95.0, 95.0), "once");
    assert_eq!(ada.state.health, mine);
    assert!(ada.is_in_place() && bob.is_in_place(), "neither has crossed the border");
    scene.clear([ada, bob]).await;
}

#[tokio::test]
async fn a_trade_across_the_border_changes_both_things_or_none() {
    let scene = Scene::set().await;
    let mut ada = Someone::new(scene.players.enter("ada", *b""), WEST);
    let mut bob = Someone::new(scene.players.enter("bob", *b""), EAST);
    take_places(&mut ada, &mut bob).await;
    let before = count(&mut ada, &mut bob).await;

    tokio::join!(ada.play(Some(DeedInput::Trade)), bob.play(None));
    // Longer than a checkpoint on both sides takes.
    play_on(&mut ada, &mut bob, 2 * SETTLED).await;
    let traded = count(&mut ada, &mut bob).await;
    for (who, other) in [(0, 1), (1, 0)] {
        assert_eq!(traded[who].len(), before[who].len());
        let new: Vec<&u128> = traded[who].difference(&before[who]).collect();
        assert!(matches!(new[..], [new] if before[other].contains(new)), "one thing of the other's: {new:?}");
    }
    assert!(traded[0].is_disjoint(&traded[1]), "nothing is in two places");

    // Bob goes away from the border: the ferry is nearest to Ada then, and takes nothing.
    bob.place = [30.0, 8.0];
    take_places(&mut ada, &mut bob).await;
    let before = count(&mut ada, &mut bob).await;
    let whole = ada.state.item.items;
    tokio::join!(ada.play(Some(DeedInput::Trade)), bob.play(None));
    let began = Instant::now();
    while ada.state.item.items == whole {
        assert!(began.elapsed() < PATIENCE, "nothing was offered");
        tokio::join!(ada.play(None), bob.play(None));
    }
    assert_eq!(ada.state.item.items, whole - 1, "it is aside until there is an answer");
    play_on(&mut ada, &mut bob, 2 * SETTLED).await;
    assert_eq!(count(&mut ada, &mut bob).await, before, "refused: all is as it was");
    scene.clear([ada, bob]).await;
}
