//! What a mesh endpoint tells its consumer.

use bytes::Bytes;

use crate::lane::Lane;
use crate::mesh::link::Link;
use crate::peer::PeerName;

/// Something that happened on a link. For each peer: `Up`, then messages and datagrams, then `Down`.
#[derive(Debug)]
pub enum LinkEvent {
    /// The link to a peer works. Never twice for a peer without a `Down` between.
    Up {
        /// Who is at the other end, as its certificate says.
        peer: PeerName,
        /// The opaque hello that it sent and that the hello check accepted.
        hello: Bytes,
        /// The link to send on.
        link: Link,
    },
    /// The link is gone. What was sent and not answered may or may not have arrived.
    Down {
        /// Who was at the other end.
        peer: PeerName,
        /// Why, in one sentence.
        reason: String,
    },
    /// A message arrived.
    Message {
        /// Who sent it.
        peer: PeerName,
        /// On which lane. Only [`Lane::Control`] keeps the order of sending.
        lane: Lane,
        /// Its bytes: head and blob as the sender gave them, in one piece.
        payload: Bytes,
    },
    /// A datagram arrived. Datagrams may be lost, doubled or out of order.
    Datagram {
        /// Who sent it.
        peer: PeerName,
        /// Its bytes.
        payload: Bytes,
    },
    /// A peer that should be linked can't be reached. Told once per reason, not per attempt; attempts go on.
    DialFailed {
        /// Who was dialled.
        peer: PeerName,
        /// Why it failed, in one sentence.
        reason: String,
        /// Whether one of the two ends refused the other (certificate, version, hello) rather than
        /// not being heard: trying again won't help until somebody changes something.
        refused: bool,
    },
}
