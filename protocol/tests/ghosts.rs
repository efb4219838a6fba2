//! Ghosts from nodes that show too many, and from those that show what is there.

mod common;

use bytes::Bytes;
use common::Mesh;
use selvedge_protocol::grid::{Motion, Position};
use selvedge_protocol::id::{AuthorityEpoch, EntityId, Incarnation, NodeId, Peer};
use selvedge_protocol::limits::{GHOSTS_OF_NODE_MAX, GHOSTS_PER_DATAGRAM};
use selvedge_protocol::node::{GameCommand, GhostChange, Input, Sender};
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::{GhostUpdate, Message};

const ROGUE: Peer = Peer { node: NodeId::from_u128(666), incarnation: Incarnation(66) };

fn shows(mesh: &mut Mesh, from: Peer, tick: u64, entities: impl Iterator<Item = u128>) {
    let position = Position::new(105.0, 50.0, 0.0);
    let motion = Motion { position, ..Motion::default() };
    let update = |id| GhostUpdate { entity: EntityId::from_u128(id), epoch: AuthorityEpoch::FIRST, motion };
    let updates: Vec<GhostUpdate> = entities.map(update).collect();
    for updates in updates.chunks(GHOSTS_PER_DATAGRAM) {
        let message = Message::Ghosts { tick: Tick(tick), updates: updates.to_vec() };
        let input = Input::Message { from: Sender::Node(from), message, blob: Bytes::new() };
        mesh.hosts[0].node.handle(input, mesh.now);
    }
    mesh.settle();
}

/// Ghosts that have appeared and not vanished, of all that the game was told since.
fn present(mesh: &mut Mesh) -> Vec<EntityId> {
    let mut present = Vec::new();
    for command in mesh.hosts[0].mailbox.drain(..) {
        if let GameCommand::Ghost(GhostChange::Appeared { entity, .. }) = command {
            present.push(entity);
        } else if let GameCommand::Ghost(GhostChange::Vanished { entity }) = command {
            present.retain(|known| *known != entity);
        }
    }
    present
}

#[test]
fn a_node_that_shows_ghosts_without_end_leaves_room_for_those_of_others() {
    let mut mesh = Mesh::row(2);
    mesh.run(2);
    mesh.hosts[0].node.handle(Input::LinkUp { peer: ROGUE }, mesh.now);
    present(&mut mesh);
    let many = 3 * GHOSTS_OF_NODE_MAX as u128;
    shows(&mut mesh, ROGUE, 1, 1_000..1_000 + many);
    assert_eq!(present(&mut mesh).len(), GHOSTS_OF_NODE_MAX);
    // Those that it shows already may go on.
    shows(&mut mesh, ROGUE, 2, 1_000..1_000 + many);
    assert_eq!(present(&mut mesh), []);
    let honest = mesh.hosts[1].node.me().expect("it is registered");
    shows(&mut mesh, honest, 1, 1..=20);
    assert_eq!(present(&mut mesh).len(), 20);
    // What has come over from another is shown by whoever has it now, who needs room for it as well.
    shows(&mut mesh, ROGUE, 2, 1..=20);
    shows(&mut mesh, honest, 3, 1_000..1_020);
    shows(&mut mesh, ROGUE, 4, 1..=20);
    assert_eq!(present(&mut mesh), []);
    shows(&mut mesh, ROGUE, 5, 900_000..900_020);
    assert_eq!(
        present(&mut mesh),
        [],
        "the 20 that it lost to the other were made up for by those that it took"
    );
}
