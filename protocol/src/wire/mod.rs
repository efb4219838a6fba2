//! Everything that crosses a wire: messages, their limits, and the codec.

mod action;
mod check;
mod client_message;
mod codec;
mod event;
mod lease;
mod message;
mod recovery;
mod refuse;
mod standby;
mod transfer;
mod why;

pub use action::{ActionMessage, Missed};
pub use client_message::{ByeReason, ClientMessage, Invitation, ServerMessage, SessionReply, SessionRequest};
pub use codec::{
    Frame, WIRE_VERSION, WireError, decode_client, decode_hello, decode_mesh, decode_server,
    decode_session_reply, decode_session_request, encode_client, encode_hello, encode_mesh, encode_server,
    encode_session_reply, encode_session_request,
};
pub use event::EventMessage;
pub use lease::{Assignment, LeaseMessage};
pub use message::{
    AdmitOutcome, AuthorityChange, AuthorityEvent, CensusEntry, CensusStanding, Hello, InputMessage, Lane,
    Load, Message, PrepareOutcome, PrepareRequest,
};
pub use recovery::{Captured, Claim, ClaimKind, NewestCut, Order, RecoveryMessage, Round};
pub use refuse::RefuseReason;
pub use standby::{CopyHead, StandbyMessage};
pub use transfer::MemberTransfer;
pub use why::{Awaited, Delay, HandoffPhases, Setback, Stay, StayStanding, Whereabouts, WhyMessage};
