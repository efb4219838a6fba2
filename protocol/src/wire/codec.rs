//! Frames: a version byte, the length of the head, the rkyv-archived head, then the blob as it is. What is of ghosts has a
//! version byte of its own and no head: it is packed already.

use bytes::Bytes;
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::{Archive, Deserialize, Serialize};

use super::check;
use super::client_message::{ClientMessage, ServerMessage, SessionReply, SessionRequest};
use super::message::{Hello, Message};
use crate::ghost::GHOST_WIRE_VERSION;
use crate::limits::{BLOB_BYTES_MAX, CLIENT_MESSAGE_BYTES_MAX, GHOST_BYTES_MAX, HEAD_BYTES_MAX};

/// The version of every frame. A frame of another version is refused.
pub const WIRE_VERSION: u8 = 1;

const _: () = assert!(WIRE_VERSION & 0x80 == 0 && GHOST_WIRE_VERSION & 0x80 != 0);

const PREFIX_BYTES: usize = 5;
/// Room that most frames fit into.
const FRAME_BYTES_USUAL: usize = 256;

/// Why bytes from outside are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Shorter than its own prefix or head.
    #[error("the frame is cut short: {have} bytes, {need} needed")]
    Truncated {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Made by another version.
    #[error("the frame has wire version {version}; this build speaks {WIRE_VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// Longer than allowed.
    #[error("the frame's {part} has {bytes} bytes; at most {max} are allowed")]
    TooLong {
        /// Head or blob.
        part: &'static str,
        /// Bytes there.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not a valid archive.
    #[error("the frame's head is not a valid message")]
    Malformed,
    /// A valid archive with a value out of range.
    #[error("the message's {field} is out of range")]
    OutOfRange {
        /// Which value.
        field: &'static str,
    },
}

/// A decoded mesh message and its blob.
#[derive(Clone, PartialEq, Debug)]
pub struct Frame {
    /// What is said.
    pub message: Message,
    /// What comes with it, as a slice of the received bytes; often empty.
    pub blob: Bytes,
}

/// Archives a message's head, with its prefix. The blob follows it on the wire as it is.
///
/// # Panics
/// Never for messages within the limits: archiving to memory can't fail.
#[must_use]
pub fn encode_mesh(message: &Message) -> Bytes {
    if matches!(message, Message::Ghosts) { Bytes::new() } else { encode(message) }
}

/// Reads a mesh message from a whole frame.
///
/// # Errors
/// If the frame is cut short, of another version, too long, malformed or out of range.
pub fn decode_mesh(frame: &Bytes) -> Result<Frame, WireError> {
    if is_of_ghosts(frame)? {
        return Ok(Frame { message: Message::Ghosts, blob: frame.clone() });
    }
    let (message, blob) = decode::<Message>(frame, HEAD_BYTES_MAX)?;
    if blob.len() > BLOB_BYTES_MAX {
        return Err(WireError::TooLong { part: "blob", bytes: blob.len(), max: BLOB_BYTES_MAX });
    }
    check::message(&message)?;
    Ok(Frame { message, blob })
}

macro_rules! plain_codec {
    ($vis:vis $encode:ident, $decode:ident, $type:ty, $check:path, $what:literal) => {
        #[doc = concat!("Archives ", $what, ".")]
        #[must_use]
        $vis fn $encode(value: &$type) -> Bytes {
            encode(value)
        }

        #[doc = concat!("Reads ", $what, ".")]
        ///
        /// # Errors
        /// If the bytes are cut short, of another version, too long, malformed or out of range.
        $vis fn $decode(bytes: &Bytes) -> Result<$type, WireError> {
            let (value, rest) = decode::<$type>(bytes, CLIENT_MESSAGE_BYTES_MAX)?;
            if !rest.is_empty() {
                return Err(WireError::TooLong { part: "tail", bytes: rest.len(), max: 0 });
            }
            $check(&value)?;
            Ok(value)
        }
    };
}

plain_codec!(encode_said, decode_said, ClientMessage, check::client, "a client's message with a head");
plain_codec!(
    encode_told,
    decode_told,
    ServerMessage,
    check::server,
    "a node's message to a client with a head"
);
plain_codec!(
    pub encode_session_request,
    decode_session_request,
    SessionRequest,
    check::session_request,
    "a request at the coordinator's door"
);
plain_codec!(
    pub encode_session_reply,
    decode_session_reply,
    SessionReply,
    check::session_reply,
    "an answer of the coordinator's door"
);
plain_codec!(pub encode_hello, decode_hello, Hello, check::hello, "the core's part of a hello");

/// Archives a client's message.
#[must_use]
pub fn encode_client(value: &ClientMessage) -> Bytes {
    if let ClientMessage::Ghosts { bytes } = value {
        Bytes::copy_from_slice(bytes)
    } else {
        encode_said(value)
    }
}

/// Reads a client's message.
///
/// # Errors
/// If the bytes are cut short, of another version, too long, malformed or out of range.
pub fn decode_client(bytes: &Bytes) -> Result<ClientMessage, WireError> {
    if is_of_ghosts(bytes)? {
        Ok(ClientMessage::Ghosts { bytes: bytes.to_vec() })
    } else {
        decode_said(bytes)
    }
}

/// Archives a node's message to a client.
#[must_use]
pub fn encode_server(value: &ServerMessage) -> Bytes {
    if let ServerMessage::Ghosts { bytes } = value {
        Bytes::copy_from_slice(bytes)
    } else {
        encode_told(value)
    }
}

/// Reads a node's message to a client.
///
/// # Errors
/// If the bytes are cut short, of another version, too long, malformed or out of range.
pub fn decode_server(bytes: &Bytes) -> Result<ServerMessage, WireError> {
    if is_of_ghosts(bytes)? {
        Ok(ServerMessage::Ghosts { bytes: bytes.to_vec() })
    } else {
        decode_told(bytes)
    }
}

/// Whether bytes are of ghosts. What they say is for [`ghost`](crate::ghost) to check.
fn is_of_ghosts(bytes: &Bytes) -> Result<bool, WireError> {
    if bytes.first() != Some(&GHOST_WIRE_VERSION) {
        return Ok(false);
    }
    if bytes.len() > GHOST_BYTES_MAX {
        return Err(WireError::TooLong { part: "blob", bytes: bytes.len(), max: GHOST_BYTES_MAX });
    }
    Ok(true)
}

fn encode<T>(value: &T) -> Bytes
where
    T: for<'a> Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, rancor::Error>>,
{
    // Archived right behind the prefix: an archive points within itself, so it may begin anywhere.
    let mut frame = Vec::with_capacity(FRAME_BYTES_USUAL);
    frame.extend_from_slice(&[WIRE_VERSION, 0, 0, 0, 0]);
    // Archiving a plain value into memory has no way to fail but memory running out.
    let mut frame = match rkyv::api::high::to_bytes_in::<_, rancor::Error>(value, frame) {
        Ok(frame) => frame,
        Err(error) => panic!("a message could not be archived: {error}"),
    };
    let head_bytes = u32::try_from(frame.len() - PREFIX_BYTES).unwrap_or(u32::MAX);
    frame[1..PREFIX_BYTES].copy_from_slice(&head_bytes.to_le_bytes());
    Bytes::from(frame)
}

fn decode<T>(frame: &Bytes, head_bytes_max: usize) -> Result<(T, Bytes), WireError>
where
    T: Archive,
    T::Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Error>>
        + Deserialize<T, HighDeserializer<rancor::Error>>,
{
    let prefix: &[u8; PREFIX_BYTES] =
        frame.first_chunk().ok_or(WireError::Truncated { have: frame.len(), need: PREFIX_BYTES })?;
    let [version, length @ ..] = *prefix;
    if version != WIRE_VERSION {
        return Err(WireError::Version { version });
    }
    let head_bytes = u32::from_le_bytes(length) as usize;
    if head_bytes > head_bytes_max {
        return Err(WireError::TooLong { part: "head", bytes: head_bytes, max: head_bytes_max });
    }
    let end = PREFIX_BYTES + head_bytes;
    let head = frame.get(PREFIX_BYTES..end).ok_or(WireError::Truncated { have: frame.len(), need: end })?;
    let value = rkyv::from_bytes::<T, rancor::Error>(head).map_err(|_| WireError::Malformed)?;
    Ok((value, frame.slice(end..)))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::cell_map::CellMapImage;
    use crate::grid::GridConfig;
    use crate::id::{AuthorityEpoch, EntityId, HandoffId, Incarnation, Term};
    use crate::limits::LEASE_US_MIN;
    use crate::time::Time;

    fn cancel() -> Message {
        let id = HandoffId { entity: EntityId::from_u128(7), epoch: AuthorityEpoch::FIRST };
        Message::Cancel { id, members: Vec::new() }
    }

    fn framed(message: &Message, blob: &[u8]) -> Bytes {
        let mut bytes = BytesMut::from(&encode_mesh(message)[..]);
        bytes.extend_from_slice(blob);
        bytes.freeze()
    }

    #[test]
    fn a_message_and_its_blob_survive_the_wire() {
        let frame = decode_mesh(&framed(&cancel(), b"blob")).unwrap();
        assert_eq!(frame.message, cancel());
        assert_eq!(&frame.blob[..], b"blob");
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = framed(&cancel(), b"");
        for cut in 0..whole.len() {
            assert!(decode_mesh(&whole.slice(..cut)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = BytesMut::from(&framed(&cancel(), b"")[..]);
        bytes[0] = 9;
        assert_eq!(decode_mesh(&bytes.freeze()), Err(WireError::Version { version: 9 }));
    }

    #[test]
    fn a_head_that_claims_too_much_is_refused_before_it_is_read() {
        let bytes = Bytes::from_static(&[WIRE_VERSION, 0xff, 0xff, 0xff, 0xff, 0, 0]);
        assert!(matches!(decode_mesh(&bytes), Err(WireError::TooLong { part: "head", .. })));
    }

    #[test]
    fn a_lease_too_short_to_be_renewed_is_refused() {
        let registered = |lease_us| Message::Registered {
            term: Term(1),
            life: 0,
            sent_at: Time::ZERO,
            incarnation: Incarnation(1),
            lease_us,
            grid: GridConfig::default(),
            tick_interval_us: 33_333,
            interest_margin_m: 30.0,
            map: CellMapImage { version: 1, owners: Vec::new(), nodes: Vec::new() },
        };
        let refused = decode_mesh(&encode_mesh(&registered(5)));
        assert_eq!(refused, Err(WireError::OutOfRange { field: "lease" }));
        assert!(decode_mesh(&encode_mesh(&registered(LEASE_US_MIN))).is_ok());
    }

    #[test]
    fn a_tail_behind_a_client_message_is_refused() {
        let mut bytes = BytesMut::from(&encode_client(&ClientMessage::Logout)[..]);
        bytes.extend_from_slice(b"x");
        assert!(matches!(decode_client(&bytes.freeze()), Err(WireError::TooLong { part: "tail", .. })));
    }
}
