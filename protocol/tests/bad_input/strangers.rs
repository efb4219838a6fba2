//! What nodes that nobody prepared with, or that prepared with ill will, say of entities: it takes them from nobody.

use selvedge_protocol::limits::PRECOPIED_OF_NODE_BYTES_MAX;
use selvedge_protocol::wire::InputMessage;

use super::*;

/// Whoever never prepared anything can say what it likes of an entity: that keeps nobody else from handing it over, and a
/// recovery from restoring it.
#[test]
fn what_a_stranger_sends_or_cancels_takes_an_entity_from_nobody() {
    let last = AuthorityEpoch { generation: u32::MAX, step: u32::MAX };
    let mut mesh = scene();
    let crossing = EntityId::from_u128(1_000_001);
    let id = HandoffId { entity: crossing, epoch: last };
    let reservation = request(crossing, ROGUE, None).reservation;
    let said = rogue_says(&mut mesh, 1, transfer(id, reservation), snapshot(crossing, None));
    assert_eq!(said, [Message::Rejected { id, reason: RefuseReason::NotPrepared }]);
    let said = rogue_says(&mut mesh, 1, Message::Cancel { id, members: Vec::new() }, Bytes::new());
    assert_eq!(said, [Message::Cancelled { id }]);
    let tick = mesh.tick;
    mesh.hosts[0].spawn(crossing, 95.0, 10.0, tick);
    mesh.run(60);
    assert_eq!(mesh.simulating(crossing), [1]);
    a_crossing_works(&mut mesh);
}

/// The second token admits the player: it is for the source that hands them over, whoever else asks about the handoff.
#[test]
fn a_stranger_who_asks_about_a_handoff_gets_no_token() {
    let mut mesh = scene();
    let other = Peer { node: NodeId::from_u128(668), ..ROGUE };
    let session = Some(SessionId::from_u128(77));
    rogue_says(&mut mesh, 1, Message::PrepareDirect(request(ENTITY, ROGUE, session)), Bytes::new());
    let (id, reservation) = (handoff(ENTITY, 2), request(ENTITY, ROGUE, session).reservation);
    rogue_says(&mut mesh, 1, transfer(id, reservation), snapshot(ENTITY, session));
    mesh.run(2);
    let said = rogue_says(&mut mesh, 1, transfer(id, reservation), snapshot(ENTITY, session));
    assert!(matches!(said[..], [Message::Accepted { token: Some(_), .. }]), "its source: {said:?}");
    mesh.to_strangers.clear();
    let (from, message) = (Sender::Node(other), transfer(id, reservation));
    mesh.hosts[1].node.handle(Input::LinkUp { peer: other }, mesh.now);
    mesh.hosts[1].node.handle(Input::Message { from, message, blob: snapshot(ENTITY, session) }, mesh.now);
    mesh.settle();
    let said = mesh.to_strangers.clone();
    assert!(matches!(said[..], [Message::Accepted { token: None, .. }]), "anybody else: {said:?}");
}

/// A number that has no next one: the game would be given that input for ever.
#[test]
fn the_last_number_of_all_inputs_is_given_to_the_game_once() {
    let mut mesh = scene();
    let session = Some(SessionId::from_u128(77));
    rogue_says(&mut mesh, 1, Message::PrepareDirect(request(ENTITY, ROGUE, session)), Bytes::new());
    let (id, reservation) = (handoff(ENTITY, 2), request(ENTITY, ROGUE, session).reservation);
    let Message::Transfer { last_tick, asked_at, .. } = transfer(id, reservation) else { unreachable!() };
    let pending = vec![InputMessage { seq: InputSeq(u32::MAX), bytes: vec![1] }];
    let message = Message::Transfer { id, reservation, last_tick, pending, asked_at, members: Vec::new() };
    rogue_says(&mut mesh, 1, message, snapshot_after(ENTITY, session, InputSeq(u32::MAX - 1)));
    mesh.run(2);
    assert_eq!(mesh.hosts[1].node.standing(ENTITY), Some(Standing::Active(id.epoch)));
    a_crossing_works(&mut mesh);
}

/// Whoever prepares one large entity after the other fills its own share, and no more.
#[test]
fn pre_copies_of_one_node_have_a_bound() {
    let mut mesh = scene();
    let large = |entity| {
        let mut writer = SnapshotWriter::new(entity, None, &ComponentVersions::new());
        writer.schema(1);
        writer.component("weight", 1, &vec![7; 900_000]);
        writer.finish(InputSeq(0)).unwrap().bytes
    };
    let mut refused_at = None;
    for number in 0..400_u32 {
        let entity = EntityId::from_u128(1 << 32 | u128::from(number));
        let request = request(entity, ROGUE, None);
        let reservation = request.reservation;
        rogue_says(&mut mesh, 1, Message::PrepareDirect(request), Bytes::new());
        let said = rogue_says(&mut mesh, 1, Message::Precopy { reservation }, large(entity));
        if let [Message::Warmed { refused: Some(reason), .. }] = said[..] {
            assert_eq!(reason, RefuseReason::Overloaded);
            refused_at = Some(number);
            break;
        }
        if number == 100 {
            // What is not needed any more makes room.
            rogue_says(&mut mesh, 1, Message::CancelPrepare { reservation }, Bytes::new());
        }
    }
    let kept = PRECOPIED_OF_NODE_BYTES_MAX / 900_000;
    let refused_at = refused_at.expect("there is a bound") as usize;
    assert!((kept..=kept + 1).contains(&refused_at), "{refused_at} of about {kept}");
    a_crossing_works(&mut mesh);
}
