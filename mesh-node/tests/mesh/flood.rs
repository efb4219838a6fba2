//! Clients that are up to no good, as fast as they can: who plays beside them plays on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use selvedge_client::{Client, ClientEvent};
use selvedge_node::arena::{AvatarState, MoveInput};
use selvedge_protocol::wire::ServerMessage;
use selvedge_transport::{ClientDialer, Tuning};
use tokio::task::JoinSet;

use crate::support::{PATIENCE, Running, World};

/// Strangers at one time, fewer than one address may have places.
const STRANGERS: u64 = 24;
/// Each of them is thrown out as often.
const TIMES: u64 = 5;

/// Plays until the last of so many inputs is applied; gives the entity's account of them.
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else happens is fine")]
pub(crate) async fn play(player: &mut Client, inputs: u32) -> AvatarState {
    let standing = MoveInput { direction: [0.0; 2], speed_mps: 0.0 }.encode();
    let deadline = Instant::now() + PATIENCE;
    let (mut sent, mut last) = (0, 0);
    loop {
        assert!(Instant::now() < deadline, "the inputs were not applied within {PATIENCE:?}");
        let event = tokio::time::timeout(PATIENCE, player.next_event()).await.expect("something happens");
        match event.expect("the session goes on") {
            ClientEvent::State(ServerMessage::State { own, .. }) => {
                let state = AvatarState::decode(&own).expect("the arena publishes its state");
                if sent < inputs {
                    last = player.act(&standing).expect("the inputs are acknowledged in time").0;
                    sent += 1;
                } else if state.ledger.last_seq >= last {
                    return state;
                }
            }
            event @ (ClientEvent::Lost | ClientEvent::Silent | ClientEvent::Over { .. }) => {
                panic!("{event:?}")
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_player_plays_on_beside_strangers_that_talk_nonsense_and_guests_that_never_read() {
    let world = World::new();
    let coordinator = world.coordinator(1).await;
    let node = Running::start(world.node(1, &coordinator));
    let address = node.clients;

    let players = world.players(&coordinator);
    let mut ada = players.enter("ada", *b"");
    play(&mut ada, 10).await;
    // Guests who have entered and whose program stands still.
    let guests: Vec<Client> = (0..4).map(|number| players.enter(format!("guest-{number}"), *b"")).collect();

    let thrown_out = Arc::new(AtomicU64::new(0));
    let dialer = Arc::new(ClientDialer::new(world.0.ca_pem(), Tuning::for_clients()).expect("a socket"));
    let mut strangers = JoinSet::new();
    for _ in 0..STRANGERS {
        let (dialer, thrown_out) = (dialer.clone(), thrown_out.clone());
        strangers.spawn(async move {
            let mut times = 0;
            while times < TIMES {
                let nonsense = Bytes::from_static(b"what is this?");
                match dialer.connect(address, "server-node-1.aerie.selvedge", nonsense).await {
                    Ok((_connection, mut events)) => {
                        while events.recv().await.is_some() {}
                        thrown_out.fetch_add(1, Ordering::Relaxed);
                        times += 1;
                    }
                    // Refused: too many in a second.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
    }
    let state = play(&mut ada, 90).await;
    while let Some(stranger) = strangers.join_next().await {
        stranger.expect("a stranger is thrown out in order");
    }
    let state_after = play(&mut ada, 1).await;
    assert!(state_after.ledger.applied > state.ledger.applied, "{state_after:?}");
    assert_eq!((state_after.ledger.doubled, state_after.ledger.skipped), (0, 0), "{state_after:?}");
    ada.logout().await.expect("the world says good-bye");
    drop(guests);
    players.close().await;
    let report = node.stop();
    let thrown_out = thrown_out.load(Ordering::Relaxed);
    assert_eq!((thrown_out, report.counters.clients_misbehaved), (STRANGERS * TIMES, STRANGERS * TIMES));
    coordinator.stop().await;
}
