//! What clients must not get away with.

use super::*;

fn hello(mesh: &mut Mesh, host: usize, client: u64, token: Token) -> Option<ByeReason> {
    let client = ClientId(client);
    mesh.turned_away.clear();
    mesh.hosts[host].node.handle(Input::ClientHello { client, token }, mesh.now);
    mesh.settle();
    let refused = NodeEvent::TokenRefused { client };
    let away = mesh.turned_away.iter().find(|(who, _)| *who == client).map(|(_, reason)| *reason);
    assert_eq!(mesh.hosts[host].events.contains(&refused), away == Some(ByeReason::BadToken));
    away
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
    let bad = Some(ByeReason::BadToken);
    assert_eq!(hello(&mut mesh, 1, 500, Token::from_bytes([3; 32])), bad, "random");
    let first = token(&mut mesh, 1);
    assert_eq!(hello(&mut mesh, 0, 501, first), bad, "of another node");
    assert_eq!(hello(&mut mesh, 1, 502, first), None);
    assert_eq!(hello(&mut mesh, 1, 503, first), bad, "used");
    let second = token(&mut mesh, 2);
    mesh.now += Duration::from_secs(11);
    assert_eq!(hello(&mut mesh, 1, 504, second), bad, "expired, though no timer has run");
}

#[test]
fn a_client_plays_its_own_entity_only_and_one_hello_is_enough() {
    let mut mesh = scene();
    mesh.hosts[1].spawn(OTHER, 150.0, 0.0, Tick(2));
    let token = token(&mut mesh, 1);
    assert_eq!(hello(&mut mesh, 1, 500, token), None);
    let client = ClientId(500);
    let message = ClientMessage::Hello { token };
    mesh.hosts[1].node.handle(Input::ClientMessage { client, message }, mesh.now);
    mesh.settle();
    assert_eq!(mesh.turned_away, [(client, ByeReason::Misbehaved)]);
    assert!(mesh.hosts[1].events.contains(&NodeEvent::ClientMisbehaved { client }));
    mesh.run(2);
    assert_eq!(mesh.simulating(OTHER), [1]);
}
