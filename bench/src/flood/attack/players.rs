//! Players whom the door has let in, and who then don't play.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use selvedge_protocol::id::SessionId;
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{
    ClientMessage, Invitation, SessionReply, SessionRequest, decode_session_reply, encode_client,
    encode_session_request,
};
use selvedge_transport::{ClientConnection, ClientDialer, DialEvent, SendError, Tuning};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use super::super::attacker::{Deeds, Spec};

/// Players who attack.
const PLAYERS: u64 = 24;
/// How long one waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Before it tries again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often one looks whether the time is over.
const LOOK: Duration = Duration::from_millis(100);

/// What it takes to come back.
type Ticket = (SessionId, Token);

fn dialer(spec: &Spec) -> anyhow::Result<Arc<ClientDialer>> {
    let ca = fs::read_to_string(&spec.ca).with_context(|| format!("cannot read {}", spec.ca.display()))?;
    Ok(Arc::new(ClientDialer::new(&ca, Tuning::for_clients())?))
}

/// Asks at the door: the first time for a new character, then for the way back to it.
async fn knock(
    dialer: &ClientDialer,
    spec: &Spec,
    name: &str,
    ticket: &mut Option<Ticket>,
) -> Option<Invitation> {
    let question = match *ticket {
        Some((session, secret)) => SessionRequest::Resume { session, secret },
        None => SessionRequest::Enter { name: name.to_owned(), credential: Vec::new() },
    };
    let question = encode_session_request(&question);
    let (_connection, mut events) = dialer.connect(spec.door, &spec.door_name, question).await.ok()?;
    let DialEvent::Message(answer) = timeout(PATIENCE, events.recv()).await.ok()?? else { return None };
    match decode_session_reply(&answer).ok()? {
        SessionReply::Entered { session, secret, invitation, .. } => {
            *ticket = Some((session, secret));
            Some(invitation)
        }
        SessionReply::Refused { .. } => None,
    }
}

/// Goes in, as far as the first word of the node.
async fn enter(
    dialer: &ClientDialer,
    spec: &Spec,
    name: &str,
    ticket: &mut Option<Ticket>,
) -> Option<(ClientConnection, Receiver<DialEvent>)> {
    let invitation = knock(dialer, spec, name, ticket).await?;
    let hello = encode_client(&ClientMessage::Hello { token: invitation.token });
    let address = invitation.addr.parse().ok()?;
    let (connection, mut events) = dialer.connect(address, &invitation.server_name, hello).await.ok()?;
    match timeout(PATIENCE, events.recv()).await.ok()?? {
        DialEvent::Message(_) | DialEvent::Datagram(_) => Some((connection, events)),
        DialEvent::Closed { .. } => None,
    }
}

/// Each sends garbage, as messages and as datagrams, until it is thrown out, and comes back.
pub(super) async fn babble(spec: &Spec) -> anyhow::Result<Deeds> {
    let (dialer, spec) = (dialer(spec)?, Arc::new(spec.clone()));
    let until = Instant::now() + spec.duration;
    let mut players = JoinSet::new();
    for number in 0..PLAYERS {
        let (dialer, spec) = (dialer.clone(), spec.clone());
        players.spawn(async move {
            let (mut deeds, mut ticket, name) = (Deeds::default(), None, format!("babbler-{number}"));
            while Instant::now() < until {
                deeds.attempts += 1;
                match timeout_at(until.into(), enter(&dialer, &spec, &name, &mut ticket)).await {
                    Ok(Some((connection, _events))) => {
                        deeds.let_in += 1;
                        let _ = timeout_at(until.into(), send_garbage(&connection, &mut deeds)).await;
                        deeds.closed += u64::from(connection.is_closed());
                    }
                    Ok(None) => tokio::time::sleep(PAUSE).await,
                    Err(_) => break,
                }
            }
            deeds
        });
    }
    let mut all = Deeds::default();
    while let Some(one) = players.join_next().await {
        all.add(&one?);
    }
    Ok(all)
}

async fn send_garbage(connection: &ClientConnection, deeds: &mut Deeds) {
    let garbage = Bytes::from(vec![0xa5; 1000]);
    loop {
        for sent in [connection.send_datagram(garbage.clone()), connection.send(garbage.clone())] {
            match sent {
                Ok(()) => {
                    deeds.sent += 1;
                    deeds.bytes += garbage.len() as u64;
                }
                Err(SendError::QueueFull | SendError::TooLarge { .. }) => {}
                Err(SendError::Closed) => return,
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Everybody goes in; then this process reads and acknowledges nothing any more.
pub(super) async fn turn_deaf(spec: &Spec) -> anyhow::Result<Deeds> {
    let dialer = dialer(spec)?;
    let (mut deeds, mut inside) = (Deeds::default(), Vec::new());
    for number in 0..PLAYERS {
        deeds.attempts += 1;
        let name = format!("deaf-{number}");
        if let Some(connection) = enter(&dialer, spec, &name, &mut None).await {
            deeds.let_in += 1;
            inside.push(connection);
        }
    }
    let until = Instant::now() + spec.duration;
    // On the runtime's only thread: no packet is read, none is acknowledged.
    while Instant::now() < until {
        std::thread::sleep(LOOK);
    }
    Ok(deeds)
}
