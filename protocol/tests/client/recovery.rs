//! The client whose node falls silent, dies, and is replaced by one that restored the player from a copy.

use std::time::Duration;

use bytes::Bytes;
use selvedge_protocol::handoff::client::{
    ClientConfig, ClientEvent, ClientInput, ClientOutput, ConnectionId, Link,
};
use selvedge_protocol::id::{AuthorityEpoch, SessionId};
use selvedge_protocol::limits::INPUT_WINDOW;
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{
    ByeReason, ClientMessage, Invitation, ServerMessage, SessionReply, SessionRequest,
};

use crate::player::{
    NEW, OLD, Player, RESTORED, TICK, attached_at, closes, connection_of, entity, invitation, shows, state,
    state_at,
};

/// The numbers of the inputs sent on a connection, datagram by datagram.
fn sent(outputs: &[ClientOutput], on: ConnectionId) -> Vec<Vec<u32>> {
    let inputs = |output: &ClientOutput| match output {
        ClientOutput::Send { connection, message: ClientMessage::Inputs { inputs, .. } }
            if *connection == on =>
        {
            Some(inputs.iter().map(|input| input.seq.0).collect())
        }
        ClientOutput::Send { .. }
        | ClientOutput::Ask(_)
        | ClientOutput::Connect { .. }
        | ClientOutput::Close { .. }
        | ClientOutput::Event(_) => None,
    };
    outputs.iter().filter_map(inputs).collect()
}

fn events(outputs: &[ClientOutput]) -> Vec<&ClientEvent> {
    let mut events = Vec::new();
    for output in outputs {
        match output {
            ClientOutput::Event(event) => events.push(event),
            ClientOutput::Send { .. }
            | ClientOutput::Ask(_)
            | ClientOutput::Connect { .. }
            | ClientOutput::Close { .. } => {}
        }
    }
    events
}

fn asks_to_resume(outputs: &[ClientOutput]) -> bool {
    outputs.iter().any(|output| matches!(output, ClientOutput::Ask(SessionRequest::Resume { .. })))
}

fn named(invitation: Invitation) -> ClientInput {
    ClientInput::Door(SessionReply::Entered {
        session: SessionId::from_u128(1),
        secret: Token::from_bytes([9; 32]),
        entity: entity(),
        invitation,
    })
}

fn refused(retry: bool) -> ClientInput {
    ClientInput::Door(SessionReply::Refused { reason: "nobody answered in time".to_owned(), retry })
}

/// A player with so many inputs applied and durable, whose node fell silent and whose door named another.
fn after_the_death(inputs: u8, applied: u32, durable: u32) -> (Player, ConnectionId, ConnectionId) {
    let (mut player, old) = Player::alone();
    player.acts(1..=inputs);
    player.hear(old, state_at(OLD, 11, applied, durable));
    player.wait_for_question();
    let new = connection_of(&player.tell(named(invitation(3))));
    player.tell(ClientInput::Connected { connection: new });
    (player, old, new)
}

#[test]
fn a_silent_node_is_asked_about_at_the_door_and_its_connection_is_kept() {
    let (mut player, old) = Player::alone();
    player.hear(old, state(OLD, 11));
    assert_eq!(player.machine.link(), Link::Attached);
    let silent_since = player.now;
    let outputs = player.wait_for_question();
    let patience = ClientConfig::default().silence_patience;
    assert!(player.now.since(silent_since) >= patience && player.now.since(silent_since) < patience * 5 / 4);
    assert!(asks_to_resume(&outputs) && !closes(&outputs, old));
    assert_eq!(events(&outputs), [&ClientEvent::Silent]);
    assert_eq!(player.machine.link(), Link::Silent);

    // It speaks again: nothing has happened, and what the door says now doesn't matter.
    assert!(shows(&player.hear(old, state(OLD, 12)), &state(OLD, 12)));
    assert_eq!(player.machine.link(), Link::Attached);
    assert!(player.tell(named(invitation(3))).is_empty());
    assert!(player.tell(ClientInput::DoorFailed).is_empty());
}

#[test]
fn two_players_of_a_dead_node_ask_the_door_at_different_times() {
    let asked_at = |seed| {
        let (mut player, old) = Player::seeded(seed);
        player.hear(old, state(OLD, 11));
        player.wait_for_question();
        player.now
    };
    assert_ne!(asked_at(1), asked_at(2));
}

#[test]
fn the_door_is_asked_again_with_growing_pauses_for_as_long_as_it_says_later() {
    let (mut player, old) = Player::alone();
    player.hear(old, state(OLD, 11));
    player.wait_for_question();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let refused_at = player.now;
        let outputs = player.tell(refused(true));
        assert!(matches!(events(&outputs)[..], [ClientEvent::Refused { retry: true, .. }]));
        assert!(events(&player.wait_for_question()).is_empty(), "silence is told once");
        pauses.push(player.now.since(refused_at));
    }
    let longest = ClientConfig::default().door_retry_max;
    assert!(pauses[0] <= ClientConfig::default().door_retry);
    assert!(pauses.iter().all(|pause| *pause <= longest));
    assert!(pauses[8..].iter().all(|pause| *pause >= longest / 2), "{pauses:?}");
    assert!(pauses[8..].windows(2).any(|pair| pair[0] != pair[1]), "they differ: {pauses:?}");
}

#[test]
fn an_invitation_that_leads_to_silence_brings_the_client_back_to_the_door() {
    let (mut player, _old, new) = after_the_death(0, 0, 0);
    let outputs = player.wait_for_question();
    assert!(asks_to_resume(&outputs));
    let newer = connection_of(&player.tell(named(invitation(4))));
    assert_ne!(newer, new);
    player.tell(ClientInput::Connected { connection: newer });
    assert!(shows(&player.hear(newer, state(RESTORED, 99)), &state(RESTORED, 99)));
    assert_eq!(player.machine.link(), Link::Attached);
}

#[test]
fn a_session_that_is_over_is_told_to_the_program() {
    let (mut player, old) = Player::alone();
    player.hear(old, state(OLD, 11));
    player.wait_for_question();
    let outputs = player.tell(refused(false));
    assert!(matches!(
        events(&outputs)[..],
        [ClientEvent::Refused { retry: false, .. }, ClientEvent::Over { reason: None }]
    ));
    assert_eq!(player.machine.link(), Link::Over);
    assert_eq!(player.machine.poll_timeout(), None);
}

#[test]
fn what_the_restored_entity_has_not_seen_is_sent_again_in_order_and_the_rest_is_not() {
    let (mut player, old, new) = after_the_death(10, 8, 3);
    assert_eq!(player.machine.inputs_kept(), 7);
    player.now += TICK;
    let outputs = player.hear(new, attached_at(RESTORED, 5, 5));
    assert_eq!(sent(&outputs, new), [[6, 7, 8, 9, 10]]);
    assert!(sent(&outputs, old).is_empty() && closes(&outputs, old));
    assert!(
        matches!(
            events(&outputs)[..],
            [&ClientEvent::Recovered { epoch: RESTORED, replayed: 3, lost: 0, silent }]
                if silent > ClientConfig::default().silence_patience
        ),
        "{outputs:?}"
    );
    player.hear(new, state_at(RESTORED, 99, 10, 5));
    assert_eq!((player.machine.unacknowledged(), player.machine.inputs_kept()), (0, 5));
    assert_eq!(sent(&player.acts(11..=11), new), [[11]]);
}

#[test]
fn a_state_that_overtakes_the_greeting_starts_the_replay_as_well() {
    let (mut player, _old, new) = after_the_death(10, 8, 3);
    let outputs = player.hear(new, state_at(RESTORED, 99, 5, 5));
    assert!(matches!(events(&outputs)[..], [ClientEvent::Recovered { .. }, ClientEvent::State(_)]));
    assert_eq!(sent(&player.wait(), new), [[6, 7, 8, 9, 10]]);
    // The greeting that comes after it takes nothing back.
    let outputs = player.hear(new, attached_at(RESTORED, 5, 5));
    assert!(events(&outputs).is_empty());
}

#[test]
fn a_handoff_takes_nothing_back_though_its_first_word_is_older_than_the_former_nodes_last() {
    let (mut player, old, new) = Player::prepared();
    player.acts(1..=10);
    player.hear(old, state_at(OLD, 11, 8, 3));
    let outputs = player.hear(new, attached_at(NEW, 6, 3));
    assert_eq!(sent(&outputs, new), [[9, 10]]);
    assert!(!events(&outputs).iter().any(|event| matches!(event, ClientEvent::Recovered { .. })));
}

#[test]
fn a_dead_nodes_late_word_counts_no_more_however_new_its_tick_and_step() {
    let (mut player, old, new) = after_the_death(10, 8, 3);
    player.hear(new, attached_at(RESTORED, 5, 5));
    let late = AuthorityEpoch { generation: 0, step: 77 };
    assert!(player.hear(old, state_at(late, 1_000, 10, 10)).is_empty(), "not even before the first state");
    assert!(player.hear(new, state(RESTORED, 99)).len() == 1);
    assert_eq!(player.machine.unacknowledged(), 5, "nothing was acknowledged by the dead node");
}

#[test]
fn the_old_node_on_another_connection_can_not_win_the_client_back() {
    let (mut player, old) = Player::alone();
    let second = connection_of(&player.hear(old, ServerMessage::Preconnect { invitation: invitation(3) }));
    player.tell(ClientInput::Connected { connection: second });
    player.hear(second, attached_at(RESTORED, 0, 0));
    player.hear(second, state(RESTORED, 99));
    // A fenced node that woke up late invites the client, and greets it.
    let third = connection_of(&player.hear(second, ServerMessage::Preconnect { invitation: invitation(1) }));
    player.tell(ClientInput::Connected { connection: third });
    let late = AuthorityEpoch { generation: 0, step: 99 };
    assert!(player.hear(third, attached_at(late, 0, 0)).is_empty());
    assert!(player.hear(third, state(late, 500)).is_empty());
    assert_eq!(sent(&player.acts(1..=1), second), [[1]]);
}

#[test]
fn an_end_told_by_a_node_that_is_not_followed_ends_nothing() {
    let (mut player, old) = Player::alone();
    let outputs = player.hear(old, ServerMessage::Preconnect { invitation: invitation(3) });
    let second = connection_of(&outputs);
    let outputs = player.hear(second, ServerMessage::Bye { reason: ByeReason::Gone });
    assert!(closes(&outputs, second) && events(&outputs).is_empty());
    let outputs = player.hear(old, ServerMessage::Bye { reason: ByeReason::Gone });
    assert_eq!(events(&outputs), [&ClientEvent::Over { reason: Some(ByeReason::Gone) }]);
}

#[test]
fn a_node_whose_lease_has_lapsed_sends_its_client_to_the_door() {
    let (mut player, old) = Player::alone();
    let outputs = player.hear(old, ServerMessage::Bye { reason: ByeReason::NodeLost });
    assert!(closes(&outputs, old));
    let outputs = player.wait_for_question();
    assert!(asks_to_resume(&outputs));
    assert_eq!((events(&outputs), player.machine.link()), (vec![&ClientEvent::Lost], Link::Lost));
}

#[test]
fn a_copy_older_than_all_that_is_kept_costs_inputs_and_the_rest_closes_up() {
    let (mut player, _old, new) = after_the_death(10, 8, 6);
    let outputs = player.hear(new, attached_at(RESTORED, 3, 3));
    // 4 to 6 are lost; 7 to 10 are 4 to 7 now.
    assert!(matches!(events(&outputs)[..], [ClientEvent::Recovered { replayed: 2, lost: 3, .. }]));
    assert_eq!(sent(&outputs, new), [[4, 5, 6, 7]]);
    let contents: Vec<Vec<u8>> = outputs
        .iter()
        .filter_map(|output| match output {
            ClientOutput::Send { message: ClientMessage::Inputs { inputs, .. }, .. } => Some(inputs),
            ClientOutput::Send { .. }
            | ClientOutput::Ask(_)
            | ClientOutput::Connect { .. }
            | ClientOutput::Close { .. }
            | ClientOutput::Event(_) => None,
        })
        .flatten()
        .map(|input| input.bytes.clone())
        .collect();
    assert_eq!(contents, [[7], [8], [9], [10]]);
}

#[test]
fn a_long_replay_keeps_to_the_nodes_window_and_takes_new_inputs_only_after_it() {
    let (mut player, old) = Player::alone();
    let total = INPUT_WINDOW * 3;
    for seq in 1..=total {
        let outputs = player.tell(ClientInput::Act(Bytes::from_static(&[7; 100])));
        assert_eq!(sent(&outputs, old).len(), 1, "input {seq} goes out at once");
        player.hear(old, state_at(OLD, u64::from(10 + seq), seq, 0));
    }
    player.wait_for_question();
    let new = connection_of(&player.tell(named(invitation(3))));
    player.tell(ClientInput::Connected { connection: new });
    let mut outputs = player.hear(new, attached_at(RESTORED, 0, 0));
    // The node applies what comes next in order; it would drop what is further ahead than its window.
    let (mut applied, mut tick) = (0, 1_000);
    while applied < total {
        for seq in sent(&outputs, new).into_iter().flatten() {
            assert!(seq <= applied + INPUT_WINDOW, "{seq} is too far ahead of {applied}");
            applied += u32::from(seq == applied + 1);
        }
        if total - applied >= INPUT_WINDOW {
            let refused = player.tell(ClientInput::Act(Bytes::from_static(b"new")));
            assert_eq!(events(&refused), [&ClientEvent::InputRefused]);
        }
        tick += 1;
        player.hear(new, state_at(RESTORED, tick, applied, 0));
        outputs = if applied < total { player.wait() } else { Vec::new() };
        assert!(tick < 1_100, "the replay stands still at {applied}");
    }
    assert_eq!(player.machine.last_input().0, total);
    assert_eq!(sent(&player.tell(ClientInput::Act(Bytes::from_static(b"new"))), new), [[total + 1]]);
}

#[test]
fn a_player_who_logs_out_while_their_node_is_dead_is_logged_out_after_the_replay() {
    let (mut player, _old, new) = after_the_death(10, 8, 3);
    player.tell(ClientInput::Logout);
    let outputs = player.hear(new, attached_at(RESTORED, 5, 5));
    let logs_out = |outputs: &[ClientOutput]| {
        outputs
            .iter()
            .any(|output| matches!(output, ClientOutput::Send { message: ClientMessage::Logout, .. }))
    };
    assert!(!logs_out(&outputs) && sent(&outputs, new) == [[6, 7, 8, 9, 10]]);
    player.hear(new, state_at(RESTORED, 99, 10, 5));
    assert!(logs_out(&player.wait()));
}

#[test]
fn a_recovery_is_no_switch_and_has_no_gap() {
    let (mut player, _old, new) = after_the_death(0, 0, 0);
    player.now += Duration::from_secs(4);
    let greeted = player.hear(new, attached_at(RESTORED, 0, 0));
    let shown = player.hear(new, state(RESTORED, 99));
    let all: Vec<_> = greeted.into_iter().chain(shown).collect();
    assert!(matches!(events(&all)[..], [ClientEvent::Recovered { .. }, ClientEvent::State(_)]));
}
