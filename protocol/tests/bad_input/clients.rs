//! What clients must not get away with.

use super::*;

/// Shows a token; gives why it was refused, if it was. The client hears no more than that it was.
fn hello(mesh: &mut Mesh, host: usize, client: u64, token: Token) -> Option<String> {
    let client = ClientId(client);
    mesh.turned_away.clear();
    mesh.hosts[host].node.handle(Input::ClientHello { client, token }, mesh.now);
    mesh.settle();
    let refused = mesh.hosts[host].events.iter().find_map(|event| match event {
        NodeEvent::TokenRefused { client: who, cause } if *who == client => Some(cause.to_string()),
        _ => None,
    });
    let away = mesh.turned_away.iter().find(|(who, _)| *who == client).map(|(_, reason)| *reason);
    assert_eq!(away, refused.as_ref().map(|_| ByeReason::BadToken));
    refused
}

/// What a node holds against a client.
fn charges_against(mesh: &Mesh, host: usize, client: ClientId) -> Vec<&'static str> {
    let events = mesh.hosts[host].events.iter();
    let charges = events.filter_map(|event| match event {
        NodeEvent::ClientMisbehaved { client: who, what } if *who == client => Some(*what),
        _ => None,
    });
    charges.collect()
}

/// A token of the second node, as a target gives it to a source.
fn token(mesh: &mut Mesh, attempt: u32) -> Token {
    let mut request = request(ENTITY, ROGUE, Some(SessionId::from_u128(5)));
    request.reservation.attempt = attempt;
    match &rogue_says(mesh, 1, Message::PrepareDirect(request), Bytes::new())[..] {
        [Message::Ready { token: Some(token), .. }] => *token,
        said => panic!("{said:?}"),
    }
}

#[test]
fn a_token_admits_once_and_only_on_its_node_and_in_its_time() {
    let mut mesh = scene();
    let says = |refused: Option<String>, cause: &str| {
        let refused = refused.expect("it is refused");
        assert!(refused.contains(cause), "{cause} in {refused}");
    };
    says(hello(&mut mesh, 1, 500, Token::from_bytes([3; 32])), "never granted here: it is made up");
    let first = token(&mut mesh, 1);
    says(hello(&mut mesh, 0, 501, first), "of another node");
    assert_eq!(hello(&mut mesh, 1, 502, first), None);
    says(hello(&mut mesh, 1, 503, first), "used already");
    let second = token(&mut mesh, 2);
    // The mesh lives on meanwhile: a node whose lease runs out forgets its tokens, and this is not about that.
    mesh.run(285);
    mesh.now += Duration::from_secs(1);
    // No timer has run since.
    says(hello(&mut mesh, 1, 504, second), "expired at");
    says(hello(&mut mesh, 1, 505, second), "expired at");
}

#[test]
fn a_client_plays_its_own_entity_only() {
    let mut mesh = scene();
    mesh.hosts[1].spawn(OTHER, 150.0, 0.0, Tick(2));
    let reservation = request(ENTITY, ROGUE, Some(SessionId::from_u128(5))).reservation;
    let token = token(&mut mesh, 1);
    assert_eq!(hello(&mut mesh, 1, 500, token), None);
    // Its entity comes, so that it plays.
    let id = handoff(ENTITY, 2);
    let blob = snapshot(ENTITY, Some(SessionId::from_u128(5)));
    rogue_says(&mut mesh, 1, transfer(id, reservation), blob);
    mesh.run(2);
    assert_eq!(mesh.hosts[1].node.standing(ENTITY), Some(Standing::Active(id.epoch)));

    let client = ClientId(500);
    let inputs =
        |seqs: &[u32]| seqs.iter().map(|&seq| InputMessage { seq: InputSeq(seq), bytes: vec![7] }).collect();
    for (entity, seqs) in [(OTHER, &[1, 2][..]), (ENTITY, &[1])] {
        let message = ClientMessage::Inputs { entity, inputs: inputs(seqs) };
        mesh.hosts[1].node.handle(Input::ClientMessage { client, message }, mesh.now);
        mesh.settle();
    }
    assert_eq!(charges_against(&mesh, 1, client), ["sent inputs for an entity that it does not play"]);
    mesh.run(2);
    let reached = |entity| &mesh.hosts[1].game.points[&entity].inputs;
    assert_eq!((&reached(OTHER)[..], &reached(ENTITY)[..]), (&[][..], &[1][..]));
    assert_eq!(mesh.simulating(OTHER), [1]);
    assert!(mesh.turned_away.is_empty(), "{:?}", mesh.turned_away);
}

#[test]
fn one_hello_is_enough() {
    let mut mesh = scene();
    let token = token(&mut mesh, 1);
    assert_eq!(hello(&mut mesh, 1, 500, token), None);
    let client = ClientId(500);
    let message = ClientMessage::Hello { token };
    mesh.hosts[1].node.handle(Input::ClientMessage { client, message }, mesh.now);
    mesh.settle();
    assert_eq!(mesh.turned_away, [(client, ByeReason::Misbehaved)]);
    assert_eq!(charges_against(&mesh, 1, client), ["said hello twice"]);
}
