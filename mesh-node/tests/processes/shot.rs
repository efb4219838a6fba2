//! A shot that is fired on one side of a border hits on the other.

#![allow(clippy::cast_possible_truncation, reason = "directions of the tests' own fit an f32")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for a few events")]

use selvedge_client::{Client, ClientEvent};
use selvedge_node::arena::{AvatarState, DeedInput, MoveInput};
use selvedge_protocol::grid::Position;
use selvedge_protocol::wire::ServerMessage;
use tokio::time::{Instant, timeout};

use crate::process::Process;
use crate::support::{PATIENCE, World};

/// The border of the tests' grid, in metres.
const BORDER_M: f64 = 30.0;
/// How far both stand from it: within sight of the other node, and too far to be handed over.
const APART_M: f64 = 6.0;
const HITS: usize = 3;
const SPEED_MPS: f32 = 5.0;

/// Whom a test plays.
struct Someone {
    client: Client,
    state: AvatarState,
    at: Option<Position>,
    inputs: u32,
}

impl Someone {
    fn new(client: Client) -> Self {
        Self { client, state: AvatarState::default(), at: None, inputs: 0 }
    }

    /// Reads what comes until the next state, and does something then: walks to `x`, and fires now and then.
    async fn play(&mut self, x: f64, fires: bool) {
        let event = timeout(PATIENCE, self.client.next_event()).await.expect("it goes on");
        match event.expect("the session goes on") {
            ClientEvent::State(ServerMessage::State { motion, own, .. }) => {
                self.state = AvatarState::decode(&own).expect("the arena publishes its state");
                self.at = Some(motion.position);
                self.inputs += 1;
                let to = [x - motion.position.x, 15.0 - motion.position.y].map(|by| by as f32);
                let there = to[0].hypot(to[1]) < 0.5;
                let speed_mps = if there { 0.0 } else { SPEED_MPS };
                let walk = MoveInput { direction: to, speed_mps }.encode();
                let shot = DeedInput::Fire.encode();
                let input = if fires && self.inputs.is_multiple_of(30) { &shot[..] } else { &walk[..] };
                self.client.act(input).expect("the inputs are acknowledged in time");
            }
            event @ (ClientEvent::TwoAuthorities { .. } | ClientEvent::Over { .. }) => panic!("{event:?}"),
            _ => {}
        }
    }

    fn stands_at(&self, x: f64) -> bool {
        self.at.is_some_and(|at| (at.x - x).abs() < 1.0 && (at.y - 15.0).abs() < 1.0)
    }
}

#[tokio::test]
async fn a_shot_hits_who_stands_behind_the_border() {
    let world = World::new();
    let folder = tempfile::tempdir().expect("there is room for files");
    let coordinator = world.coordinator(2).await;
    let _nodes =
        [1, 2].map(|number| Process::start(&world, number, &coordinator, folder.path(), &["npcs=0"]));
    let players = world.players(&coordinator);
    let mut ada = Someone::new(players.enter("ada", *b""));
    let mut bob = Someone::new(players.enter("bob", *b""));
    let (west, east) = (BORDER_M - APART_M, BORDER_M + APART_M);
    let (began, mut hits, mut ready) = (Instant::now(), 0, false);
    while hits < HITS {
        assert!(began.elapsed() < PATIENCE, "{hits} hits; {:?} and {:?}", ada.at, bob.at);
        ready |= ada.stands_at(west) && bob.stands_at(east);
        let before = bob.state.health;
        tokio::join!(ada.play(west, ready), bob.play(east, false));
        hits += usize::from(ready && bob.state.health < before);
    }
    assert!(ada.stands_at(west) && bob.stands_at(east), "neither has crossed the border");
    for mut someone in [ada, bob] {
        someone.client.logout().await.expect("the world says good-bye");
    }
    players.close().await;
    coordinator.stop().await;
}
