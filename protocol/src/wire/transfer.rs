//! What goes with the leader of a group in its `Transfer`.

use rkyv::{Archive, Deserialize, Serialize};

use super::message::InputMessage;
use crate::id::{HandoffId, ReservationId};
use crate::time::Time;

/// An entity that goes along in the `Transfer` of the one that leads its group.
#[derive(Clone, PartialEq, Debug, Archive, Serialize, Deserialize)]
pub struct MemberTransfer {
    /// Its own idempotence key: authority is an entity's, not a group's.
    pub id: HandoffId,
    /// The preparation that it uses.
    pub reservation: ReservationId,
    /// Inputs that reached the source after the last applied one.
    pub pending: Vec<InputMessage>,
    /// Mesh time at which the source first asked to prepare.
    pub asked_at: Time,
    /// How many bytes of the message's blob are its snapshot: they lie end to end, behind the leader's.
    pub bytes: u32,
}
