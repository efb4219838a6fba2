//! A real player walks to and fro across the border of two real nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use selvedge_client::{ClientEndpoint, ClientEvent};
use selvedge_node::arena::{Arena, ArenaConfig, AvatarState, MoveInput};
use selvedge_node::{MeshNodeBuilder, NodeReport, TickError};
use selvedge_protocol::wire::ServerMessage;

use crate::support::{PATIENCE, World, keep_log};

const CROSSINGS: usize = 4;

/// Runs a node with NPCs on a thread of its own until `stop`; gives what it measured.
fn run(builder: MeshNodeBuilder, stop: &Arc<AtomicBool>) -> JoinHandle<NodeReport> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let npcs = ArenaConfig { npcs: 10, npc_speed_mps: 8.0, ..ArenaConfig::default() };
        let mut arena = Arena::new(npcs).expect("the avatars are possible");
        let mut node = builder.start().expect("the node starts");
        node.wait_ready(PATIENCE).expect("the coordinator registers the node");
        while !stop.load(Ordering::Relaxed) {
            match node.tick(&mut arena, Arena::step) {
                Ok(_) | Err(TickError::NotReady { .. }) => {}
                Err(error @ (TickError::Unfit { .. } | TickError::Stopped)) => panic!("{error}"),
            }
        }
        node.report()
    })
}

/// Walks to and fro until the border was crossed often enough; gives the last account of the player's inputs.
pub(crate) async fn walk(players: &ClientEndpoint) -> AvatarState {
    let mut player = players.enter("ada", *b"");
    let (mut crossed, mut east, mut state) = (0, 1.0, AvatarState::default());
    let deadline = Instant::now() + PATIENCE;
    while crossed < CROSSINGS {
        assert!(Instant::now() < deadline, "only {crossed} crossings in {PATIENCE:?}; last state: {state:?}");
        let event = tokio::time::timeout(PATIENCE, player.next_event()).await.expect("something happens");
        match event.expect("the session goes on") {
            ClientEvent::State(ServerMessage::State { motion, own, .. }) => {
                state = AvatarState::decode(&own).expect("the arena publishes its state");
                let x = motion.position.x;
                east = if x > 40.0 {
                    -1.0
                } else if x < 20.0 {
                    1.0
                } else {
                    east
                };
                let wish = MoveInput { direction: [east, 0.0], speed_mps: 12.0 };
                player.act(&wish.encode()).expect("the inputs are acknowledged in time");
            }
            ClientEvent::Switched { .. } => crossed += 1,
            event @ (ClientEvent::TwoAuthorities { .. } | ClientEvent::Over { .. }) => panic!("{event:?}"),
            ClientEvent::State(_)
            | ClientEvent::Entered { .. }
            | ClientEvent::InputRefused
            | ClientEvent::Lost
            | ClientEvent::Silent
            | ClientEvent::Recovered { .. }
            | ClientEvent::Refused { .. } => {}
        }
    }
    player.logout().await.expect("the world says good-bye");
    state
}

#[tokio::test]
async fn a_player_crosses_to_and_fro_and_no_input_is_lost_or_doubled() {
    keep_log();
    let world = World::new();
    let coordinator = world.coordinator(2).await;
    let stop = Arc::new(AtomicBool::new(false));
    let nodes = [1, 2].map(|number| run(world.node(number, &coordinator), &stop));

    let players = world.players(&coordinator);
    let state = walk(&players).await;
    players.close().await;

    stop.store(true, Ordering::Relaxed);
    let mut both = NodeReport::default();
    for node in nodes {
        both.merge(&node.join().expect("the node ends well")).expect("the report is readable");
    }
    coordinator.stop().await;

    assert!(state.ledger.applied > 0, "{state:?}");
    assert_eq!((state.ledger.doubled, state.ledger.skipped), (0, 0), "{state:?}");
    assert_eq!(state.ledger.applied, state.ledger.last_seq, "{state:?}");
    let counters = &both.counters;
    assert!(counters.handoffs_out_players >= CROSSINGS as u64, "{both:#?}");
    assert!(counters.handoffs_in > counters.handoffs_in_players, "NPCs cross too: {both:#?}");
    assert_eq!((counters.clients_misbehaved, counters.peers_misbehaved), (0, 0), "{both:#?}");
    let cutovers = both.histograms.cutover_us.decode().expect("the histogram is readable");
    assert!(
        counters.checkpoints > 0 && counters.checkpoint_entities > 0,
        "each keeps copies for the other: {both:#?}"
    );
    let captured = both.histograms.checkpoint_us.decode().expect("the histogram is readable");
    assert!(captured.len() >= counters.checkpoints, "{both:#?}");
    let ages = both.histograms.checkpoint_age_us.decode().expect("the histogram is readable");
    assert!(ages.len() <= counters.ticks_run && ages.len() > counters.ticks_run / 2, "{both:#?}");
    assert_eq!(cutovers.len(), counters.handoffs_out_warm + counters.handoffs_out_cold);
    tracing::info!(?both, "what two nodes measured");
}
