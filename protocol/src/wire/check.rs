//! What a valid archive may still get wrong: lengths and values out of range. Nothing that fails here reaches a machine.

use super::action::ActionMessage;
use super::client_message::{ClientMessage, Invitation, ServerMessage, SessionReply, SessionRequest};
use super::codec::WireError;
use super::event::EventMessage;
use super::lease::LeaseMessage;
use super::message::{Hello, InputMessage, Message};
use super::recovery::RecoveryMessage;
use super::standby::StandbyMessage;
use super::why::{Delay, Whereabouts, WhyMessage};
use crate::action::is_short;
use crate::limits::{
    ACTION_BYTES_MAX, ADDRESS_BYTES_MAX, AUTHORITY_CHANGES_PER_MESSAGE, CLAIMS_PER_MESSAGE,
    COPIES_PER_PART_MAX, CREDENTIAL_BYTES_MAX, CUT_ENDED_MAX, CUT_ENTITIES_MAX, DELAYS_MAX, EVENT_BYTES_MAX,
    GROUP_MAX, INPUT_BYTES_MAX, INPUTS_PER_MESSAGE_MAX, LEASE_US_MIN, LIVES_MAX, NAME_BYTES_MAX,
    REASON_BYTES_MAX, RECOVERY_PARTS_MAX, SETTLED_PER_MESSAGE_MAX, STATE_BYTES_MAX, VOTERS_MAX,
};

type Checked = Result<(), WireError>;

fn require(ok: bool, field: &'static str) -> Checked {
    if ok { Ok(()) } else { Err(WireError::OutOfRange { field }) }
}

fn inputs(inputs: &[InputMessage]) -> Checked {
    require(inputs.len() <= INPUTS_PER_MESSAGE_MAX, "inputs")?;
    require(inputs.iter().all(|input| input.bytes.len() <= INPUT_BYTES_MAX && input.seq.0 > 0), "input")
}

fn invitation(invitation: &Invitation) -> Checked {
    require(invitation.addr.len() <= ADDRESS_BYTES_MAX, "address")?;
    require(invitation.server_name.len() <= ADDRESS_BYTES_MAX, "server name")
}

pub(super) fn hello(hello: &Hello) -> Checked {
    require(hello.world.len() <= NAME_BYTES_MAX, "world")?;
    require(hello.schema_min <= hello.schema_max, "schema range")
}

pub(super) fn message(message: &Message) -> Checked {
    match message {
        Message::Register { mesh_addr, client_addr, server_name, schema_min, schema_max, .. } => {
            require(mesh_addr.len() <= ADDRESS_BYTES_MAX, "mesh address")?;
            require(client_addr.len() <= ADDRESS_BYTES_MAX, "client address")?;
            require(server_name.len() <= ADDRESS_BYTES_MAX, "server name")?;
            require(schema_min <= schema_max, "schema range")
        }
        Message::Registered { tick_interval_us, interest_margin_m, lease_us, .. } => {
            require(*lease_us >= LEASE_US_MIN, "lease")?;
            require(*tick_interval_us > 0, "tick interval")?;
            require(interest_margin_m.is_finite() && *interest_margin_m > 0.0, "interest margin")
        }
        Message::RegisterRefused { reason } => require(reason.len() <= REASON_BYTES_MAX, "reason"),
        Message::Transfer { pending, members, .. } => {
            inputs(pending)?;
            require(members.len() < GROUP_MAX, "members")?;
            members.iter().try_for_each(|member| inputs(&member.pending))
        }
        Message::Accepted { members, .. } => require(members.len() < GROUP_MAX, "members"),
        Message::Cancel { members, .. } => require(members.len() < GROUP_MAX, "members"),
        Message::RelayInputs { inputs: relayed, .. } => inputs(relayed),
        Message::AuthorityChanged { changes, .. } => {
            require(changes.len() <= AUTHORITY_CHANGES_PER_MESSAGE, "changes of authority")
        }
        Message::AuthorityAck { acknowledged, .. } => {
            require(acknowledged.len() <= AUTHORITY_CHANGES_PER_MESSAGE, "acknowledged changes")
        }
        Message::Action(said) => action(said),
        Message::Event(said) => event(said),
        Message::Lease(said) => lease(said),
        Message::Recovery(said) => recovery(said),
        Message::Standby(said) => standby(said),
        Message::Why(said) => why(said),
        Message::Warmed { versions, .. } => require(versions.check().is_ok(), "component versions"),
        // They travel without a head.
        Message::Ghosts => require(false, "kind"),
        Message::Admit { name, entry, .. } => {
            require(name.len() <= NAME_BYTES_MAX, "name")?;
            require(entry.x.is_finite() && entry.y.is_finite() && entry.z.is_finite(), "entry position")
        }
        Message::Heartbeat { .. }
        | Message::HeartbeatReply { .. }
        | Message::MapDiff { .. }
        | Message::MapWhole { .. }
        | Message::PrepareRequest(_)
        | Message::PrepareToReceive { .. }
        | Message::PrepareReply { .. }
        | Message::PrepareDirect(_)
        | Message::Ready { .. }
        | Message::Refuse { .. }
        | Message::CancelPrepare { .. }
        | Message::Precopy { .. }
        | Message::Rejected { .. }
        | Message::Cancelled { .. }
        | Message::AdmitReply { .. }
        | Message::SaveCharacter { .. }
        | Message::SaveAck { .. }
        | Message::Census { .. }
        | Message::CensusReply { .. }
        | Message::Report => Ok(()),
    }
}

fn action(message: &ActionMessage) -> Checked {
    match message {
        ActionMessage::Ask { id, low, bytes, .. } => {
            require(bytes.len() <= ACTION_BYTES_MAX, "action")?;
            require(id.number.count > 0 && *low <= id.number, "action's number")
        }
        ActionMessage::Answer { outcome, .. } => require(is_short(outcome), "answer"),
        ActionMessage::Missed { .. }
        | ActionMessage::Close { .. }
        | ActionMessage::Closed { .. }
        | ActionMessage::Locate { .. }
        | ActionMessage::Located { .. } => Ok(()),
    }
}

fn event(message: &EventMessage) -> Checked {
    let (EventMessage::Happens(event) | EventMessage::Announced { event, .. }) = message;
    require(event.bytes.len() <= EVENT_BYTES_MAX, "event")?;
    require(event.area.is_possible(), "event's area")
}

fn why(message: &WhyMessage) -> Checked {
    let WhyMessage::Answer { whereabouts: Whereabouts::Here { stay, delays }, .. } = message else {
        return Ok(());
    };
    require(delays.len() <= DELAYS_MAX, "delays")?;
    let short = |delay: &Delay| !matches!(delay, Delay::Pinned { name, .. } if name.len() > NAME_BYTES_MAX);
    require(delays.iter().all(short), "pin's name")?;
    require(stay.position_m.iter().all(|metres| metres.is_finite()), "position")?;
    require(stay.velocity_m_per_s.iter().all(|speed| speed.is_finite()), "velocity")
}

fn lease(message: &LeaseMessage) -> Checked {
    match message {
        LeaseMessage::Assign { assignment, .. } => require(assignment.voters.len() <= VOTERS_MAX, "voters"),
        LeaseMessage::Renew { .. }
        | LeaseMessage::Renewed { .. }
        | LeaseMessage::Assigned { .. }
        | LeaseMessage::AskPromise { .. }
        | LeaseMessage::Promised { .. }
        | LeaseMessage::Fenced { .. } => Ok(()),
    }
}

fn recovery(message: &RecoveryMessage) -> Checked {
    let part = |part: u32, parts: u32| require(part < parts && parts <= RECOVERY_PARTS_MAX, "part");
    match message {
        RecoveryMessage::Fence { dead, .. } | RecoveryMessage::Closed { dead, .. } => {
            require(dead.len() <= LIVES_MAX, "dead lives")
        }
        RecoveryMessage::Claims { part: index, parts, cuts, claims, .. } => {
            part(*index, *parts)?;
            require(cuts.len() <= LIVES_MAX, "newest cuts")?;
            require(claims.len() <= CLAIMS_PER_MESSAGE, "claims")
        }
        RecoveryMessage::Verdict { part: index, parts, orders, .. } => {
            part(*index, *parts)?;
            require(orders.len() <= CLAIMS_PER_MESSAGE, "orders")
        }
        RecoveryMessage::Carried { .. } => Ok(()),
    }
}

fn standby(message: &StandbyMessage) -> Checked {
    match message {
        StandbyMessage::End { parts, gone, ended, .. } => {
            require(*parts as usize <= CUT_ENTITIES_MAX, "parts")?;
            require(gone.len() <= CUT_ENTITIES_MAX, "entities that are gone")?;
            require(ended.len() <= CUT_ENDED_MAX, "entities that have ended")
        }
        StandbyMessage::Part { index, copies, .. } => {
            require((*index as usize) < CUT_ENTITIES_MAX, "part")?;
            require(!copies.is_empty() && copies.len() <= COPIES_PER_PART_MAX, "copies")
        }
        StandbyMessage::Settled { ids } | StandbyMessage::Forgotten { ids } => {
            require(ids.len() <= SETTLED_PER_MESSAGE_MAX, "handoffs")
        }
        StandbyMessage::Ack { .. }
        | StandbyMessage::Lack { .. }
        | StandbyMessage::Drop { .. }
        | StandbyMessage::Dropped { .. } => Ok(()),
    }
}

pub(super) fn client(message: &ClientMessage) -> Checked {
    match message {
        ClientMessage::Inputs { inputs: sent, .. } => inputs(sent),
        ClientMessage::Ghosts { .. } => require(false, "kind"),
        ClientMessage::Hello { .. } | ClientMessage::Logout => Ok(()),
    }
}

pub(super) fn server(message: &ServerMessage) -> Checked {
    match message {
        ServerMessage::State { motion, own, .. } => {
            require(motion.is_finite(), "motion")?;
            require(own.len() <= STATE_BYTES_MAX, "own state")
        }
        ServerMessage::Ghosts { .. } => require(false, "kind"),
        ServerMessage::Preconnect { invitation: to } | ServerMessage::Redirect { invitation: to, .. } => {
            invitation(to)
        }
        ServerMessage::Attached { tick_interval_us, .. } => require(*tick_interval_us > 0, "tick interval"),
        ServerMessage::Parked { .. } | ServerMessage::Bye { .. } => Ok(()),
    }
}

pub(super) fn session_request(request: &SessionRequest) -> Checked {
    match request {
        SessionRequest::Enter { name, credential } => {
            require(!name.is_empty() && name.len() <= NAME_BYTES_MAX, "name")?;
            require(credential.len() <= CREDENTIAL_BYTES_MAX, "credential")
        }
        SessionRequest::Resume { .. } => Ok(()),
    }
}

pub(super) fn session_reply(reply: &SessionReply) -> Checked {
    match reply {
        SessionReply::Entered { invitation: to, .. } => invitation(to),
        SessionReply::Refused { reason, .. } => require(reason.len() <= REASON_BYTES_MAX, "reason"),
    }
}
