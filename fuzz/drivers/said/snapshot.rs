//! Snapshots, whole and in part, of the right entity and of another, and what is none.

use bytes::Bytes;
use selvedge_protocol::grid::{Motion, Position, Velocity};
use selvedge_protocol::id::{EntityId, InputSeq, SessionId};
use selvedge_protocol::snapshot::{CapturedSnapshot, ComponentVersions, SnapshotWriter};

use super::super::tape::Tape;

const MOTION: Motion =
    Motion { position: Position::new(90.0, 50.0, 0.0), velocity: Velocity::new(12.0, 0.0, 0.0) };

/// What an honest game would capture of an entity.
pub fn captured(mut writer: SnapshotWriter, motion: Motion, applied: InputSeq) -> CapturedSnapshot {
    writer.schema(1);
    writer.motion(motion);
    writer.component("weight", 1, &[7; 64]);
    writer.finish(applied).unwrap_or_else(|_| CapturedSnapshot {
        bytes: Bytes::new(),
        versions: ComponentVersions::new(),
        full: false,
    })
}

/// Whole, and of that entity.
fn whole(entity: EntityId, session: Option<SessionId>) -> Bytes {
    said(entity, session, &ComponentVersions::new(), InputSeq(3))
}

fn said(entity: EntityId, session: Option<SessionId>, have: &ComponentVersions, applied: InputSeq) -> Bytes {
    captured(SnapshotWriter::new(entity, session, have), MOTION, applied).bytes
}

/// A snapshot said to be of that entity.
pub fn snapshot(tape: &mut Tape<'_>, entity: EntityId, session: Option<SessionId>) -> Option<Bytes> {
    let mut light = ComponentVersions::new();
    light.set("weight", 1);
    Some(match tape.below(8)? {
        0..3 => whole(entity, session),
        3 => said(entity, session, &light, InputSeq(tape.number32()?)),
        4 => whole(EntityId::from_u128(entity.as_u128() ^ 1), session),
        5 => whole(entity, Some(SessionId::from_u128(0xbad))),
        6 => Bytes::new(),
        _ => {
            let mut bytes = whole(entity, session).to_vec();
            let at = usize::from(tape.short()?) % bytes.len();
            bytes[at] ^= tape.byte()?;
            bytes.into()
        }
    })
}
