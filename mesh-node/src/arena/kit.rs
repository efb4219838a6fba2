//! How much luggage an avatar carries so that its snapshot weighs what was asked for.

use selvedge_protocol::grid::Motion;
use selvedge_protocol::id::{EntityId, InputSeq, SessionId};
use selvedge_protocol::snapshot::{ComponentVersions, SnapshotError, SnapshotWriter};

use super::avatar::Avatar;

/// What a grown avatar carries: 40 items, 20 cooldowns, 12 effects.
const WHOLE: [usize; 3] = [40, 20, 12];
/// The blobs' shares of what is left, in sixteenths: movement, animation, quests.
const SHARES: [usize; 3] = [1, 5, 10];
/// The movement blob is what changes in every tick, and so goes with every cutover: it doesn't grow past this.
const MOVEMENT_BYTES_MAX: usize = 1024;

/// How many of each, and how many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kit {
    pub(super) items: usize,
    pub(super) cooldowns: usize,
    pub(super) effects: usize,
    /// Bytes of the blobs: movement, animation, quests.
    pub(super) blobs: [usize; 3],
}

impl Kit {
    /// The kit with which a snapshot weighs `snapshot_bytes`. Where that is too little for a grown avatar, items,
    /// cooldowns and effects become fewer.
    pub(super) fn weighing(snapshot_bytes: usize) -> Result<Self, SnapshotError> {
        let mut kit = Self { items: 0, cooldowns: 0, effects: 0, blobs: [0; 3] };
        for eighths in (0..=8).rev() {
            let [items, cooldowns, effects] = WHOLE.map(|whole| whole * eighths / 8);
            kit = Self { items, cooldowns, effects, blobs: [0; 3] };
            let rest = snapshot_bytes.saturating_sub(weigh(kit)?);
            if rest > 0 {
                kit.blobs = split(rest);
                break;
            }
        }
        Ok(kit)
    }
}

fn split(rest: usize) -> [usize; 3] {
    let movement = (rest * SHARES[0] / 16).clamp(rest.min(16), MOVEMENT_BYTES_MAX);
    let animation = ((rest - movement) * SHARES[1]) / (SHARES[1] + SHARES[2]);
    [movement, animation, rest - movement - animation]
}

/// What a snapshot of an avatar with this kit weighs, in bytes.
fn weigh(kit: Kit) -> Result<usize, SnapshotError> {
    let entity = EntityId::from_u128(1);
    let avatar = Avatar::new("a player's name", Motion::default(), kit, 1);
    let mut writer = SnapshotWriter::new(entity, Some(SessionId::from_u128(1)), &ComponentVersions::new());
    avatar.capture(&mut writer);
    Ok(writer.finish(InputSeq::default())?.bytes.len())
}
