//! The small example of embedding, run as it stands.

#[allow(dead_code, unreachable_pub, reason = "its command line isn't used here")]
#[path = "../../examples/lighthouse.rs"]
mod example;

use std::thread;

use crate::support::World;

#[tokio::test]
async fn the_boats_of_two_nodes_all_come_home() {
    let world = World::new();
    let coordinator = world.coordinator(2).await;
    let nodes = [1, 2].map(|number| world.node(number, &coordinator));
    let sails = nodes.map(|builder| thread::spawn(move || example::sail(builder, 150)));
    let boats = tokio::task::spawn_blocking(move || {
        sails.map(|sail| sail.join().expect("no panic").expect("the node runs")).iter().sum::<usize>()
    });
    let boats = boats.await.expect("the sails are joined");
    // A boat that is on its way when the first node stops may be counted by neither.
    assert!((9..=10).contains(&boats), "{boats} of 10 boats");
    coordinator.stop().await;
}
