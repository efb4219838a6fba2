//! A player on a ferry at 60 m/s, to and fro across the border of two nodes.

#![allow(clippy::cast_possible_truncation, reason = "directions of the tests' own fit an f32")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for a few events")]

use selvedge_client::ClientEvent;
use selvedge_node::arena::{AvatarState, DeedInput, MoveInput};
use selvedge_protocol::grid::{GridConfig, Motion};
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::ServerMessage;

use crate::process::Process;
use crate::support::{PATIENCE, World};

/// One border, at x = 120 m: a ferry needs two seconds from it to the wall.
const GRID: GridConfig = GridConfig { origin_m: [0.0; 3], cell_edge_m: 120.0, cells: [2, 1, 1] };
const SPEED_MPS: f64 = 60.0;
const CROSSINGS: usize = 4;
/// Rounding, and the wall where a ferry turns.
const SLACK_M: f64 = 1.0;

/// What the ride showed.
#[derive(Default)]
struct Ride {
    crossed: usize,
    last: Option<(Tick, Motion)>,
    state: AvatarState,
}

impl Ride {
    /// Once on board nobody comes off, and nobody is anywhere that the ferry couldn't have taken them since the last tick.
    fn sees(&mut self, tick: Tick, motion: Motion, state: AvatarState) {
        if let Some((before, from)) = self.last.replace((tick, motion)).filter(|_| self.state.rides) {
            assert!(state.rides, "it came off after {} crossings, at {motion:?}", self.crossed);
            assert!((f64::from(motion.velocity.x).abs() - SPEED_MPS).abs() < 0.1, "{motion:?}");
            let seconds = (tick.0 - before.0) as f64 / 30.0;
            let apart = motion.position.distance(from.position);
            assert!(apart <= SPEED_MPS * seconds + 2.0 * SLACK_M, "{apart} m in {seconds} s: {motion:?}");
        }
        self.state = state;
    }
}

#[tokio::test]
async fn a_rider_and_a_ferry_cross_together_at_60_metres_a_second() {
    let world = World::new();
    let folder = tempfile::tempdir().expect("there is room for files");
    let coordinator = world.coordinator_over(GRID, 2).await;
    let arena = ["npcs=0", "ferries=1", "player_speed_mps=40.0"];
    let mut nodes = [1, 2].map(|number| Process::start(&world, number, &coordinator, folder.path(), &arena));
    let players = world.players(&coordinator);
    let mut player = players.enter("ada", *b"");
    let mut ride = Ride::default();
    let (began, mut inputs) = (tokio::time::Instant::now(), 0_u32);
    while ride.crossed < CROSSINGS {
        assert!(began.elapsed() < PATIENCE, "{} crossings on board", ride.crossed);
        let event = tokio::time::timeout(PATIENCE, player.next_event()).await.expect("it goes on");
        match event.expect("the session goes on") {
            ClientEvent::State(ServerMessage::State { tick, motion, own, .. }) => {
                let state = AvatarState::decode(&own).expect("the arena publishes its state");
                ride.sees(tick, motion, state);
                inputs += 1;
                // Somewhere on the line that the ferries run along; then on the first that comes by.
                let waits = MoveInput { direction: [0.0, 60.0 - motion.position.y as f32], speed_mps: 10.0 };
                let boards = !ride.state.rides && inputs.is_multiple_of(5);
                let input = if boards { DeedInput::Board.encode().to_vec() } else { waits.encode().to_vec() };
                player.act(&input).expect("the inputs are acknowledged in time");
            }
            ClientEvent::Switched { .. } if ride.state.rides => ride.crossed += 1,
            event @ (ClientEvent::TwoAuthorities { .. } | ClientEvent::Over { .. }) => panic!("{event:?}"),
            _ => {}
        }
    }
    player.logout().await.expect("the world says good-bye");
    players.close().await;
    assert!(nodes.iter_mut().all(Process::is_running), "both nodes go on");
    drop(nodes);
    coordinator.stop().await;
    let ledger = ride.state.ledger;
    assert_eq!((ledger.doubled, ledger.skipped), (0, 0), "{ledger:?}");
    assert_eq!(ledger.applied, ledger.last_seq, "{ledger:?}");
}
