//! What each fuzz target does with its bytes. The workspace's own tests replay the corpus through the same functions.

#![allow(dead_code, unused_imports, reason = "each target uses one of them")]

mod coordinator;
mod host;
mod lie;
mod named;
pub mod program;
mod said;
mod tape;

use bytes::Bytes;
use selvedge_protocol::snapshot::{Assembled, SnapshotArchive};
use selvedge_protocol::wire;

pub use coordinator::{coordinator, program as coordinator_program};
pub use program::node;

/// A frame of a peer: what decodes is encoded and decoded to the same again.
pub fn node_frames(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    if let Ok(decoded) = wire::decode_mesh(&frame) {
        let again = wire::decode_mesh(&wire::encode_mesh(&decoded.message)).map(|frame| frame.message);
        // What holds a NaN equals nothing, but reads the same.
        let same = |other| format!("{:?}", decoded.message) == format!("{other:?}");
        assert!(again.is_ok_and(same), "encoded and decoded, it is another message");
    }
    let _ = wire::decode_hello(&frame);
}

/// A frame of a client, of a node to its client, or at the door.
pub fn client_frames(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    if let Ok(message) = wire::decode_client(&frame) {
        assert_eq!(wire::decode_client(&wire::encode_client(&message)).as_ref(), Ok(&message));
    }
    if let Ok(request) = wire::decode_session_request(&frame) {
        let again = wire::decode_session_request(&wire::encode_session_request(&request));
        assert_eq!(again.as_ref(), Ok(&request));
    }
    let _ = wire::decode_server(&frame);
    let _ = wire::decode_session_reply(&frame);
}

/// One snapshot, or two of which the second comes on top of the first: `length of the first: u16 LE | first | second`.
pub fn snapshots(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let (first, second) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    let mut assembled = Assembled::default();
    for part in [first, second] {
        let Ok(archive) = SnapshotArchive::validate(Bytes::copy_from_slice(part)) else { continue };
        let _ = (archive.is_full(), archive.versions(), archive.head());
        if assembled.apply(archive).is_err() {
            continue;
        }
        read(&assembled);
        let Ok(whole) = assembled.to_full_bytes() else { continue };
        let mut copy = Assembled::default();
        let archive = SnapshotArchive::validate(whole).expect("what was assembled is a valid snapshot");
        copy.apply(archive).expect("what was assembled is complete");
        assert_eq!(copy.versions(), assembled.versions());
        read(&copy);
    }
}

/// Reads all that a game could.
fn read(assembled: &Assembled) {
    let Ok(view) = assembled.view() else { return };
    assert!(view.motion().is_finite(), "a game is never shown a place that is none");
    let bodies: usize = view.components().map(|component| component.body.len()).sum();
    assert_eq!(bodies, assembled.body_bytes());
    let names = view.cooldowns().map(|one| one.ability.len()).chain(view.effects().map(|one| one.name.len()));
    let _ = (view.name().len() + view.class().len(), names.sum::<usize>());
}
