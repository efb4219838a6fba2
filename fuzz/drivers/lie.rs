//! What a game says that isn't so: under grants that it doesn't have, of entities that aren't there, of ticks that are over
//! or far away, in answer to what nobody asked. Each motion is finite, each area possible, and
//! whatever the game says is short: the roster takes nothing else.

use bytes::Bytes;
use selvedge_protocol::ghost::Look;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, InputSeq};
use selvedge_protocol::limits::STATE_BYTES_MAX;
use selvedge_protocol::node::{ActionReport, CheckpointCopy, FrozenEntity, GameReport, Published};
use selvedge_protocol::pin::Pin;
use selvedge_protocol::snapshot::CapturedSnapshot;
use selvedge_protocol::time::{Tick, Time};

use super::host::Host;
use super::said;
use super::tape::Tape;

/// Reads one report.
pub fn lie(tape: &mut Tape<'_>, host: &Host) -> Option<GameReport> {
    let kind = tape.below(13)?;
    let entity = host.named.entity(tape)?;
    let tick = Tick(tape.number()?);
    Some(match kind {
        0 => GameReport::Frame { tick, published: tape.list(8, |tape| published(tape, host))? },
        1 => GameReport::Spawned { entity, motion: said::motion(tape)?, tick },
        2 => {
            let motion = if tape.flag()? { Some(said::motion(tape)?) } else { None };
            GameReport::Joined { entity, accepted: tape.flag()?, motion, tick }
        }
        3 => GameReport::Despawned { entity, grant: grant(tape, host, entity)?, tick },
        4 => {
            let snapshot = if tape.flag()? { Some(captured(tape, host, entity)?) } else { None };
            GameReport::Left { entity, grant: grant(tape, host, entity)?, snapshot, tick }
        }
        5 => {
            let (grant, reservation) = (grant(tape, host, entity)?, host.named.reservation(tape)?);
            GameReport::Captured { entity, grant, reservation, snapshot: captured(tape, host, entity)? }
        }
        6 => {
            let (target, frozen_at) = (tape.peer()?, Time::from_micros(tape.number()?));
            let group = tape.list(3, |tape| {
                let (last, reservation) = (published(tape, host)?, host.named.reservation(tape)?);
                Some(FrozenEntity { snapshot: captured(tape, host, last.entity)?, last, reservation })
            });
            GameReport::Frozen { target, group: group?, tick, frozen_at }
        }
        7 => {
            GameReport::Warmed { entity, reservation: host.named.reservation(tape)?, accepted: tape.flag()? }
        }
        8 => GameReport::Admitted { id: host.named.handoff(tape)?, accepted: tape.flag()?, tick },
        11 => {
            let grant = grant(tape, host, entity)?;
            GameReport::Action(ActionReport { entity, grant, news: said::news(tape, &host.named)? })
        }
        12 => {
            let area = said::area(tape)?;
            let bytes = vec![7; usize::from(tape.byte()?)];
            if !area.is_possible() {
                return None;
            }
            GameReport::Event { area, bytes, tick }
        }
        13 => {
            let to = if tape.flag()? { Some(host.named.entity(tape)?) } else { None };
            GameReport::Attached { entity, grant: grant(tape, host, entity)?, to }
        }
        14 => {
            let until = Time::from_micros(tape.number()?);
            let pins = vec![Pin { name: "lie".to_owned(), until }];
            GameReport::Pinned { entity, grant: grant(tape, host, entity)?, pins }
        }
        9 => GameReport::Restored { entity, grant: grant(tape, host, entity)?, tick },
        _ => {
            let (cut, copies) = (tape.number()?, tape.list(8, |tape| copy(tape, host))?);
            GameReport::Checkpoint { cut, tick, copies }
        }
    })
}

/// The true one, or any.
fn grant(tape: &mut Tape<'_>, host: &Host, entity: EntityId) -> Option<AuthorityEpoch> {
    match host.grant(entity) {
        Some(grant) if tape.flag()? => Some(grant),
        _ => tape.epoch(),
    }
}

fn published(tape: &mut Tape<'_>, host: &Host) -> Option<Published> {
    let entity = host.named.entity(tape)?;
    let (grant, motion) = (grant(tape, host, entity)?, said::motion(tape)?);
    let own = Bytes::from(vec![7; usize::from(tape.byte()?).min(STATE_BYTES_MAX)]);
    Some(Published { entity, grant, motion, look: Look::default(), applied: InputSeq(tape.number32()?), own })
}

/// It may be another entity's, of another session, in part, or nothing at all, with versions of anybody's making.
fn captured(tape: &mut Tape<'_>, host: &Host, entity: EntityId) -> Option<CapturedSnapshot> {
    let session = host.named.maybe_session(tape)?;
    let bytes = said::snapshot(tape, entity, session)?;
    Some(CapturedSnapshot { bytes, versions: said::versions(tape)?, full: tape.flag()? })
}

fn copy(tape: &mut Tape<'_>, host: &Host) -> Option<CheckpointCopy> {
    let entity = host.named.entity(tape)?;
    let (grant, applied) = (grant(tape, host, entity)?, InputSeq(tape.number32()?));
    let snapshot = if tape.flag()? { Some(captured(tape, host, entity)?) } else { None };
    Some(CheckpointCopy { entity, grant, applied, snapshot })
}
