//! Two players give each other things all the time, for others or for nothing, and cross the border at the same moment, in opposite directions: so
//! that what is on its way finds both of its ends on theirs.

#![allow(clippy::cast_possible_truncation, reason = "directions of the tests' own fit an f32")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use selvedge_client::{Client, ClientEvent};
use selvedge_node::arena::{AvatarState, DeedInput, MoveInput};
use selvedge_protocol::wire::ServerMessage;

use crate::process::Process;
use crate::support::{PATIENCE, World};

/// Both trade until so long after they began, ...
const TRADED: Duration = Duration::from_secs(16);
/// ... and until then what is on its way has arrived or come back.
const SETTLED: Duration = Duration::from_secs(24);
/// Every so many-th input gives something away, ...
const GIVE_EVERY: u32 = 8;
/// ... and every so many-th for nothing.
const GIFT_EVERY: u32 = 16;

/// Both change sides this often, ...
const CHANGE: Duration = Duration::from_secs(2);
/// ... from so far on one side of the border to as far on the other, in metres.
const SIDES_M: [f64; 2] = [24.0, 36.0];

/// A player, as far as this test is concerned.
struct Trader {
    client: Client,
    crossed: usize,
    /// On which side it begins.
    side: usize,
    began: Instant,
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
            self.inputs += 1;
            let trades = matches!(aim, Aim::Trade { .. });
            let changes = usize::try_from(self.began.elapsed().as_millis() / CHANGE.as_millis());
            let to = SIDES_M[(self.side + changes.unwrap_or(0)) % SIDES_M.len()] - motion.position.x;
            let speed_mps = if trades && to.abs() > 0.5 { 10.0 } else { 0.0 };
            let walk = MoveInput { direction: [to.signum() as f32, 0.0], speed_mps }.encode();
            let gives = trades && self.inputs.is_multiple_of(GIVE_EVERY);
            let deed =
                if self.inputs.is_multiple_of(GIFT_EVERY) { DeedInput::Give } else { DeedInput::Trade };
            let input = if gives { &deed.encode()[..] } else { &walk[..] };
            self.client.act(input).expect("the inputs are acknowledged in time");
        }
    }
}

async fn trade(client: Client, side: usize, began: Instant) -> [BTreeSet<u128>; 2] {
    let mut trader = Trader { client, crossed: 0, side, began, inputs: 0 };
    let before = trader.pursue(Aim::Read).await;
    trader.pursue(Aim::Trade { until: began + TRADED }).await;
    trader.pursue(Aim::Wait { until: began + SETTLED }).await;
    let after = trader.pursue(Aim::Read).await;
    trader.client.logout().await.expect("the world says good-bye");
    assert!(trader.crossed > 1, "they ran across the border");
    [before, after]
}

#[tokio::test]
async fn what_two_who_cross_at_once_give_each_other_is_neither_doubled_nor_lost() {
    let world = World::new();
    let coordinator = world.coordinator(2).await;
    let folder = tempfile::tempdir().expect("there is room for files");
    let nodes = [1, 2].map(|number| Process::start(&world, number, &coordinator, folder.path(), &["npcs=2"]));
    let players = world.players(&coordinator);
    let (ada, bob) = (players.enter("ada", *b""), players.enter("bob", *b""));
    let began = Instant::now();
    let ([ada_before, ada_after], [bob_before, bob_after]) =
        tokio::join!(trade(ada, 0, began), trade(bob, 1, began));
    players.close().await;
    drop(nodes);
    coordinator.stop().await;

    let all = |a: &BTreeSet<u128>, b: &BTreeSet<u128>| a.union(b).copied().collect::<BTreeSet<_>>();
    assert_eq!(all(&ada_before, &bob_before), all(&ada_after, &bob_after));
    assert!(ada_after.is_disjoint(&bob_after), "nothing is in two places");
    assert_ne!(ada_before, ada_after, "something changed hands");
}
