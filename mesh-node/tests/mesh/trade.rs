//! Two real players give each other things while both run to and fro across the border of two real nodes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use selvedge_client::{Client, ClientEvent};
use selvedge_node::arena::{Arena, ArenaConfig, AvatarState, DeedInput, MoveInput};
use selvedge_node::{MeshNodeBuilder, TickError};
use selvedge_protocol::wire::ServerMessage;

use crate::support::{PATIENCE, World};

/// Both trade until so long after they began, ...
const TRADED: Duration = Duration::from_secs(16);
/// ... and until then what is on its way has arrived or come back.
const SETTLED: Duration = Duration::from_secs(24);
/// Every so many-th input is a gift.
const GIFT_EVERY: u32 = 8;

fn run(builder: MeshNodeBuilder, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let mut arena =
            Arena::new(ArenaConfig { npcs: 2, ..ArenaConfig::default() }).expect("it is possible");
        let mut node = builder.start().expect("the node starts");
        node.wait_ready(PATIENCE).expect("the coordinator registers the node");
        while !stop.load(Ordering::Relaxed) {
            match node.tick(&mut arena, Arena::step) {
                Ok(_) | Err(TickError::NotReady { .. }) => {}
                Err(error @ TickError::Stopped) => panic!("{error}"),
            }
        }
    })
}

/// A player, as far as this test is concerned.
struct Trader {
    client: Client,
    crossed: usize,
    east: f32,
    inputs: u32,
}

/// What a trader is after.
#[derive(Clone, Copy)]
enum Aim {
    Read,
    Trade { until: Instant },
    Wait { until: Instant },
}

impl Trader {
    /// Plays until the aim is reached; gives what the avatar carries, as far as it showed.
    async fn pursue(&mut self, aim: Aim) -> BTreeSet<u128> {
        let (began, mut shown) = (Instant::now(), BTreeSet::new());
        loop {
            assert!(began.elapsed() < PATIENCE, "{} crossings, {} things", self.crossed, shown.len());
            let event = tokio::time::timeout(PATIENCE, self.client.next_event()).await.expect("it goes on");
            let event = event.expect("the session goes on");
            if let ClientEvent::Switched { .. } = event {
                self.crossed += 1;
            }
            let ClientEvent::State(ServerMessage::State { motion, own, .. }) = event else { continue };
            let item = AvatarState::decode(&own).expect("the arena publishes its state").item;
            shown.insert(item.id);
            let reached = match aim {
                Aim::Read => item.items > 0 && shown.len() == usize::from(item.items),
                Aim::Trade { until } | Aim::Wait { until } => Instant::now() > until,
            };
            if reached {
                return shown;
            }
            let x = motion.position.x;
            self.east = if x > 38.0 {
                -1.0
            } else if x < 22.0 {
                1.0
            } else {
                self.east
            };
            self.inputs += 1;
            let trades = matches!(aim, Aim::Trade { .. });
            let speed_mps = if trades { 10.0 } else { 0.0 };
            let walk = MoveInput { direction: [self.east, 0.0], speed_mps }.encode();
            let gives = trades && self.inputs.is_multiple_of(GIFT_EVERY);
            let input = if gives { &DeedInput::Give.encode()[..] } else { &walk[..] };
            self.client.act(input).expect("the inputs are acknowledged in time");
        }
    }
}

async fn trade(client: Client, east: f32, began: Instant) -> [BTreeSet<u128>; 2] {
    let mut trader = Trader { client, crossed: 0, east, inputs: 0 };
    let before = trader.pursue(Aim::Read).await;
    trader.pursue(Aim::Trade { until: began + TRADED }).await;
    trader.pursue(Aim::Wait { until: began + SETTLED }).await;
    let after = trader.pursue(Aim::Read).await;
    trader.client.logout().await.expect("the world says good-bye");
    assert!(trader.crossed > 1, "they ran across the border");
    [before, after]
}

#[tokio::test]
async fn what_two_players_give_each_other_across_the_border_is_neither_doubled_nor_lost() {
    let world = World::new();
    let coordinator = world.coordinator(2).await;
    let stop = Arc::new(AtomicBool::new(false));
    let nodes = [1, 2].map(|number| run(world.node(number, &coordinator), &stop));
    let players = world.players(&coordinator);
    let (ada, bob) = (players.enter("ada", *b""), players.enter("bob", *b""));
    let began = Instant::now();
    let ([ada_before, ada_after], [bob_before, bob_after]) =
        tokio::join!(trade(ada, 1.0, began), trade(bob, -1.0, began));
    players.close().await;
    stop.store(true, Ordering::Relaxed);
    nodes.into_iter().for_each(|node| node.join().expect("the node ends well"));
    coordinator.stop().await;

    let all = |a: &BTreeSet<u128>, b: &BTreeSet<u128>| a.union(b).copied().collect::<BTreeSet<_>>();
    assert_eq!(all(&ada_before, &bob_before), all(&ada_after, &bob_after));
    assert!(ada_after.is_disjoint(&bob_after), "nothing is in two places");
    assert_ne!(ada_before, ada_after, "something changed hands");
}
