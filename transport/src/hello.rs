//! The first exchange on a link: hello, hello, confirm. Who dials says hello first and confirms last.
//!
//! Only after the confirmation does the link exist, so that both ends agree on which of two connections stays.
//! Everything here is little-endian; the frames travel length-prefixed on the control stream.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::HELLO_PAYLOAD_BYTES_MAX;
use crate::peer::PeerName;

const MAGIC: [u8; 4] = *b"SLVG";
const KIND_HELLO: u8 = 1;
const KIND_CONFIRM: u8 = 2;

/// The oldest and the newest version of this exchange and of the framing that this build speaks.
pub(crate) const VERSIONS: (u16, u16) = (1, 1);

/// What an end says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The transport versions it speaks, oldest and newest.
    pub(crate) versions: (u16, u16),
    /// Drawn when the endpoint was opened: differs after a restart.
    pub(crate) instance: u64,
    /// Drawn by who dials, echoed by who answers.
    pub(crate) connection: u64,
    /// The last connection to this peer that the sender has seen end, or 0.
    pub(crate) lost: u64,
    /// Who the sender says it is; must be what its certificate says.
    pub(crate) identity: String,
    /// The core's own hello, opaque here.
    pub(crate) payload: Bytes,
}

/// Why a hello was refused. The text goes to the other end as well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("this is not a Selvedge mesh hello: is another program on that port?")]
    NotAHello,
    #[error("the hello is malformed: {0}")]
    Malformed(&'static str),
    #[error("the peer speaks transport versions {} to {}, this process {} to {}: upgrade the older one", theirs.0, theirs.1, ours.0, ours.1)]
    Version { theirs: (u16, u16), ours: (u16, u16) },
    #[error(
        "the hello says {claimed}, the certificate says {certified}: the peer runs with somebody else's configuration"
    )]
    Identity { claimed: String, certified: String },
}

impl Hello {
    pub(crate) fn encode(&self) -> Bytes {
        let mut frame = BytesMut::with_capacity(64 + self.identity.len() + self.payload.len());
        frame.put_slice(&MAGIC);
        frame.put_u8(KIND_HELLO);
        frame.put_u16_le(self.versions.0);
        frame.put_u16_le(self.versions.1);
        frame.put_u64_le(self.instance);
        frame.put_u64_le(self.connection);
        frame.put_u64_le(self.lost);
        put_short(&mut frame, self.identity.as_bytes());
        put_short(&mut frame, &self.payload);
        frame.freeze()
    }

    pub(crate) fn decode(mut frame: Bytes) -> Result<Self, HelloError> {
        const FIXED: &str = "it is too short";
        take_head(&mut frame, KIND_HELLO)?;
        if frame.remaining() < 2 + 2 + 8 + 8 + 8 {
            return Err(HelloError::Malformed(FIXED));
        }
        let versions = (frame.get_u16_le(), frame.get_u16_le());
        // A newer build may add to the hello, so the versions are judged before the rest is read.
        if versions.0 > VERSIONS.1 || versions.1 < VERSIONS.0 {
            return Err(HelloError::Version { theirs: versions, ours: VERSIONS });
        }
        let (instance, connection, lost) = (frame.get_u64_le(), frame.get_u64_le(), frame.get_u64_le());
        let identity = take_short(&mut frame)?;
        let payload = take_short(&mut frame)?;
        if payload.len() > HELLO_PAYLOAD_BYTES_MAX {
            return Err(HelloError::Malformed("its payload is too long"));
        }
        if frame.has_remaining() {
            return Err(HelloError::Malformed("there are bytes after its end"));
        }
        let identity = String::from_utf8(identity.to_vec())
            .map_err(|_| HelloError::Malformed("its identity is not text"))?;
        Ok(Self { versions, instance, connection, lost, identity, payload })
    }

    /// Fails if the sender claims to be somebody else than its certificate says.
    pub(crate) fn check_identity(&self, certified: &PeerName) -> Result<(), HelloError> {
        let certified = certified.to_string();
        if self.identity == certified {
            return Ok(());
        }
        Err(HelloError::Identity { claimed: self.identity.chars().take(200).collect(), certified })
    }
}

/// The confirmation of who dialled.
pub(crate) fn encode_confirm() -> Bytes {
    let mut frame = BytesMut::with_capacity(MAGIC.len() + 1);
    frame.put_slice(&MAGIC);
    frame.put_u8(KIND_CONFIRM);
    frame.freeze()
}

pub(crate) fn decode_confirm(mut frame: Bytes) -> Result<(), HelloError> {
    take_head(&mut frame, KIND_CONFIRM)?;
    if frame.has_remaining() { Err(HelloError::Malformed("a confirmation with a content")) } else { Ok(()) }
}

fn take_head(frame: &mut Bytes, kind: u8) -> Result<(), HelloError> {
    if !frame.starts_with(&MAGIC) {
        return Err(HelloError::NotAHello);
    }
    frame.advance(MAGIC.len());
    if frame.has_remaining() && frame.get_u8() == kind {
        return Ok(());
    }
    Err(HelloError::Malformed("another frame was due"))
}

fn put_short(frame: &mut BytesMut, bytes: &[u8]) {
    // Identities and payloads are checked to be far below 64 KiB.
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    frame.put_u16_le(length);
    frame.put_slice(&bytes[..usize::from(length)]);
}

fn take_short(frame: &mut Bytes) -> Result<Bytes, HelloError> {
    const SHORT: HelloError = HelloError::Malformed("it ends inside a field");
    if frame.remaining() < 2 {
        return Err(SHORT);
    }
    let length = usize::from(frame.get_u16_le());
    if frame.remaining() < length {
        return Err(SHORT);
    }
    Ok(frame.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            versions: VERSIONS,
            instance: 7,
            connection: 8,
            lost: 9,
            identity: "spiffe://w/coordinator/c".to_owned(),
            payload: Bytes::from_static(b"payload"),
        }
    }

    #[test]
    fn a_hello_survives_its_frame() {
        assert_eq!(Hello::decode(hello().encode()).unwrap(), hello());
        decode_confirm(encode_confirm()).unwrap();
    }

    #[test]
    fn every_truncation_is_an_error_and_never_a_panic() {
        let frame = hello().encode();
        for length in 0..frame.len() {
            assert!(Hello::decode(frame.slice(..length)).is_err(), "{length} bytes were accepted");
        }
        assert!(Hello::decode(encode_confirm()).is_err() && decode_confirm(frame).is_err());
    }

    #[test]
    fn versions_without_overlap_are_refused_even_if_the_rest_is_unknown() {
        let mut frame = BytesMut::from(&Hello { versions: (2, 3), ..hello() }.encode()[..]);
        frame.put_slice(b"something new");
        let error = Hello::decode(frame.freeze()).unwrap_err();
        assert!(error.to_string().contains("speaks transport versions 2 to 3"), "{error}");
    }

    #[test]
    fn a_claimed_identity_must_be_the_certified_one() {
        let other: PeerName = "spiffe://w/coordinator/other".parse().unwrap();
        assert!(hello().check_identity(&other).unwrap_err().to_string().contains("coordinator/other"));
        hello().check_identity(&"spiffe://w/coordinator/c".parse().unwrap()).unwrap();
    }
}
