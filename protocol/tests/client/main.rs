//! The client's machine, by itself: what it shows its player while the authority moves, and what it does when nobody speaks.

mod player;
mod recovery;

use std::time::Duration;

use selvedge_protocol::handoff::client::ClientOutput;
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{Invitation, ServerMessage};

use player::{NEW, OLD, Player, TICK, attached, closes, connection_of, gap, invitation, shows, state};

#[test]
fn the_old_nodes_last_tick_is_shown_though_the_new_node_has_greeted_already() {
    let (mut player, old, new) = Player::prepared();
    player.now += TICK;
    let greeted = player.hear(new, attached(NEW));
    assert!(!closes(&greeted, old), "its last tick is on its way");
    assert!(shows(&player.hear(old, state(OLD, 11)), &state(OLD, 11)));

    player.now += TICK;
    let switched = player.hear(new, state(NEW, 12));
    assert!(shows(&switched, &state(NEW, 12)));
    assert_eq!(gap(&switched), Some(Duration::ZERO), "no tick was missing");
    assert!(closes(&switched, old));
}

#[test]
fn once_the_new_node_has_shown_a_tick_the_old_one_shows_nothing_more() {
    let (mut player, old, new) = Player::prepared();
    player.hear(new, attached(NEW));
    player.hear(new, state(NEW, 12));
    assert!(player.hear(old, state(OLD, 11)).is_empty());
}

#[test]
fn a_node_that_is_given_the_player_back_at_once_is_connected_to_anew() {
    let (mut player, _old, new) = Player::prepared();
    player.hear(new, attached(NEW));
    // The connection to the old node still stands, but only for its last tick.
    let back = Invitation { token: Token::from_bytes([7; 32]), ..invitation(1) };
    let outputs = player.hear(new, ServerMessage::Preconnect { invitation: back.clone() });
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, ClientOutput::Connect { invitation, .. } if *invitation == back))
    );
}

/// To the node that the player has a connection to.
fn redirect() -> ServerMessage {
    let invitation = Invitation { token: Token::from_bytes([7; 32]), ..invitation(2) };
    ServerMessage::Redirect { epoch: NEW, invitation }
}

#[test]
fn who_is_redirected_again_to_where_they_are_connected_connects_anew_and_once() {
    let (mut player, old, new) = Player::prepared();
    player.hear(old, state(OLD, 11));
    // The node that the connection was prepared to has died, and another process has its address.
    assert!(player.hear(old, redirect()).is_empty(), "it may be about to speak");
    let anew = connection_of(&player.hear(old, redirect()));
    assert_ne!(anew, new);
    assert!(player.hear(old, redirect()).is_empty(), "its token is in use");
    player.hear(anew, attached(NEW));
    assert!(shows(&player.hear(anew, state(NEW, 12)), &state(NEW, 12)));
}

#[test]
fn who_hears_from_the_new_node_meanwhile_takes_no_notice_of_further_redirects() {
    let (mut player, old, new) = Player::prepared();
    player.hear(old, state(OLD, 11));
    assert!(player.hear(old, redirect()).is_empty());
    player.hear(new, attached(NEW));
    assert!(player.hear(old, redirect()).is_empty());
}
