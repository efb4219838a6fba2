//! Groups that can't be: none of them is taken over, not even a part.

use selvedge_protocol::wire::MemberTransfer;

use super::*;

const ATTEMPT: u32 = 2;

/// A mesh that has prepared and warmed these for the rogue.
fn warmed(entities: &[EntityId]) -> Mesh {
    let mut mesh = scene();
    for &entity in entities {
        let request = request(entity, ROGUE, None);
        let reservation = request.reservation;
        rogue_says(&mut mesh, 1, Message::PrepareDirect(request), Bytes::new());
        rogue_says(&mut mesh, 1, Message::Precopy { reservation }, snapshot(entity, None));
    }
    mesh.run(2);
    mesh
}

fn member(entity: EntityId, bytes: usize) -> MemberTransfer {
    MemberTransfer {
        id: handoff(entity, ATTEMPT),
        reservation: request(entity, ROGUE, None).reservation,
        pending: Vec::new(),
        asked_at: Time::ZERO,
        bytes: u32::try_from(bytes).unwrap(),
    }
}

/// The group of `ENTITY` and these, whose snapshots follow its own.
fn group(members: Vec<MemberTransfer>, blob: &[Bytes]) -> (Message, Bytes) {
    let (id, reservation) = (handoff(ENTITY, ATTEMPT), request(ENTITY, ROGUE, None).reservation);
    let (last_tick, pending, asked_at) = (Tick(2), Vec::new(), Time::ZERO);
    let message = Message::Transfer { id, reservation, last_tick, pending, asked_at, members };
    (message, blob.concat().into())
}

fn nothing_taken(mesh: &Mesh) {
    for entity in [ENTITY, OTHER] {
        assert_eq!(mesh.hosts[1].node.standing(entity), None);
    }
}

#[test]
fn a_group_of_the_prepared_is_taken_whole() {
    let mut mesh = warmed(&[ENTITY, OTHER]);
    let (leads, follows) = (snapshot(ENTITY, None), snapshot(OTHER, None));
    let (message, blob) = group(vec![member(OTHER, follows.len())], &[leads, follows]);
    let said = rogue_says(&mut mesh, 1, message, blob);
    let members = vec![(handoff(OTHER, ATTEMPT), None)];
    assert_eq!(said, [Message::Accepted { id: handoff(ENTITY, ATTEMPT), token: None, members }]);
    for entity in [ENTITY, OTHER] {
        assert!(matches!(mesh.hosts[1].node.standing(entity), Some(Standing::Active(_))));
    }
}

#[test]
fn where_one_was_not_prepared_all_are_rejected_and_burned() {
    let mut mesh = warmed(&[ENTITY]);
    let (leads, follows) = (snapshot(ENTITY, None), snapshot(OTHER, None));
    let (message, blob) = group(vec![member(OTHER, follows.len())], &[leads, follows]);
    let id = handoff(ENTITY, ATTEMPT);
    for reason in [RefuseReason::NotPrepared, RefuseReason::Burned] {
        let said = rogue_says(&mut mesh, 1, message.clone(), blob.clone());
        assert_eq!(said, [Message::Rejected { id, reason }]);
    }
    nothing_taken(&mesh);
}

#[test]
fn a_bad_snapshot_of_one_keeps_all_out() {
    let mut mesh = warmed(&[ENTITY, OTHER]);
    let leads = snapshot(ENTITY, None);
    let noise = Bytes::from_static(&[0xa5; 300]);
    let (message, blob) = group(vec![member(OTHER, noise.len())], &[leads, noise]);
    let said = rogue_says(&mut mesh, 1, message, blob);
    let (id, reason) = (handoff(ENTITY, ATTEMPT), RefuseReason::BadSnapshot);
    assert_eq!(said, [Message::Rejected { id, reason }]);
    let charge = format!("sent an invalid snapshot of the entity {OTHER}: the frame has layout 165");
    assert!(charges(&mesh, 1)[0].starts_with(&charge), "{:?}", charges(&mesh, 1));
    nothing_taken(&mesh);
}

#[test]
fn lengths_that_lie_and_entities_that_come_twice_are_not_answered() {
    let (leads, follows) = (snapshot(ENTITY, None), snapshot(OTHER, None));
    let all = leads.len() + follows.len();
    let twice = vec![member(OTHER, follows.len()), member(OTHER, 0)];
    let itself = vec![member(ENTITY, follows.len())];
    for members in [vec![member(OTHER, all + 1)], vec![member(OTHER, u32::MAX as usize)], twice, itself] {
        let mut mesh = warmed(&[ENTITY, OTHER]);
        let (message, blob) = group(members, &[leads.clone(), follows.clone()]);
        assert_eq!(rogue_says(&mut mesh, 1, message, blob), []);
        let charge = "sent a group whose snapshots don't fill its message, or an entity twice";
        assert_eq!(charges(&mesh, 1), [charge]);
        nothing_taken(&mesh);
    }
}

#[test]
fn a_cancel_burns_all_that_it_names() {
    let mut mesh = warmed(&[ENTITY, OTHER]);
    let (id, members) = (handoff(ENTITY, ATTEMPT), vec![handoff(OTHER, ATTEMPT)]);
    let said = rogue_says(&mut mesh, 1, Message::Cancel { id, members }, Bytes::new());
    assert_eq!(said, [Message::Cancelled { id }]);
    let (leads, follows) = (snapshot(ENTITY, None), snapshot(OTHER, None));
    let (message, blob) = group(vec![member(OTHER, follows.len())], &[leads, follows]);
    let burned = [Message::Rejected { id, reason: RefuseReason::Burned }];
    assert_eq!(rogue_says(&mut mesh, 1, message, blob), burned);
    nothing_taken(&mesh);
}
