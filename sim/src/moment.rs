//! The messages that matter most when a process ends or a link is cut just before or just after them.

use selvedge_protocol::wire::{LeaseMessage, Message, RecoveryMessage, ServerMessage, StandbyMessage};

/// A message that is about to be delivered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told<'a> {
    /// Between processes of the mesh.
    Mesh(&'a Message),
    /// To a client.
    Server(&'a ServerMessage),
}

/// What kind of message.
#[derive(Clone, Copy)]
pub(crate) struct MessageKind {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether a message is one.
    pub(crate) is: fn(Told<'_>) -> bool,
}

impl core::fmt::Debug for MessageKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! kinds {
    ($($name:literal: $pattern:pat,)+) => {
        /// Every kind that matters, in the order of a crossing and of a recovery.
        pub(crate) const KINDS: &[MessageKind] =
            &[$(MessageKind { name: $name, is: |told| matches!(told, $pattern) }),+];
    };
}

kinds! {
    "PrepareRequest": Told::Mesh(Message::PrepareRequest(_)),
    "PrepareToReceive": Told::Mesh(Message::PrepareToReceive { .. }),
    "PrepareReply": Told::Mesh(Message::PrepareReply { .. }),
    "PrepareDirect": Told::Mesh(Message::PrepareDirect(_)),
    "Ready": Told::Mesh(Message::Ready { .. }),
    "Preconnect": Told::Server(ServerMessage::Preconnect { .. }),
    "Precopy": Told::Mesh(Message::Precopy { .. }),
    "Warmed": Told::Mesh(Message::Warmed { .. }),
    "Transfer": Told::Mesh(Message::Transfer { .. }),
    "Accepted": Told::Mesh(Message::Accepted { .. }),
    "Rejected": Told::Mesh(Message::Rejected { .. }),
    "Redirect": Told::Server(ServerMessage::Redirect { .. }),
    "AuthorityChanged": Told::Mesh(Message::AuthorityChanged { .. }),
    "AuthorityAck": Told::Mesh(Message::AuthorityAck { .. }),
    "Cancel": Told::Mesh(Message::Cancel { .. }),
    "Cancelled": Told::Mesh(Message::Cancelled { .. }),
    "RelayInputs": Told::Mesh(Message::RelayInputs { .. }),
    "CheckpointEnd": Told::Mesh(Message::Standby(StandbyMessage::End { .. })),
    "CheckpointAck": Told::Mesh(Message::Standby(StandbyMessage::Ack { .. })),
    "Settled": Told::Mesh(Message::Standby(StandbyMessage::Settled { .. })),
    "AskPromise": Told::Mesh(Message::Lease(LeaseMessage::AskPromise { .. })),
    "Promised": Told::Mesh(Message::Lease(LeaseMessage::Promised { .. })),
    "Fence": Told::Mesh(Message::Recovery(RecoveryMessage::Fence { .. })),
    "Claims": Told::Mesh(Message::Recovery(RecoveryMessage::Claims { .. })),
    "Verdict": Told::Mesh(Message::Recovery(RecoveryMessage::Verdict { .. })),
    "Carried": Told::Mesh(Message::Recovery(RecoveryMessage::Carried { .. })),
    "Closed": Told::Mesh(Message::Recovery(RecoveryMessage::Closed { .. })),
}
