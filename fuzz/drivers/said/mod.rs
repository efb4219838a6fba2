//! Every message of the mesh from a few bytes: well-formed, and as untrue as can be. What a random frame would hit once in a
//! lifetime (a verdict of the open round, a part of the next cut) is a byte or two away.

mod acting;
mod faults;
mod ghosts;
mod snapshot;
mod why;

use bytes::Bytes;
use selvedge_protocol::cell_map::{CellMapDiff, CellMapImage, NodeEntry};
use selvedge_protocol::grid::{CellId, GridConfig, Motion, Position, Velocity};
use selvedge_protocol::id::{Incarnation, InputSeq, NodeId, Peer, Term};
use selvedge_protocol::snapshot::ComponentVersions;
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::{
    AdmitOutcome, AuthorityChange, AuthorityEvent, CensusEntry, CensusStanding, HandoffPhases, InputMessage,
    Load, MemberTransfer, Message, PrepareOutcome, PrepareRequest, RefuseReason,
};

use super::named::Named;
use super::tape::Tape;

pub use acting::{area, news};
pub use ghosts::of_a_client as acknowledgement;
pub use snapshot::{captured, snapshot};

/// Kinds of messages: the first byte says which.
const KINDS: u8 = 35;

/// A message and what comes behind it.
pub type Said = (Message, Bytes);

/// Reads one.
pub fn said(tape: &mut Tape<'_>, named: &Named) -> Option<Said> {
    let kind = tape.below(KINDS)?;
    let blob = match kind {
        0..10 => return Some((of_the_coordinator(kind, tape, named)?, Bytes::new())),
        10..14 => return to_the_coordinator(kind, tape, named),
        14..17 => return faults::said(kind - 14, tape, named),
        17 => return Some((Message::Ghosts, ghosts::of_a_node(tape, named)?)),
        18 => Some(Message::RelayInputs {
            entity: named.entity(tape)?,
            hops: tape.byte()?,
            inputs: inputs(tape)?,
        }),
        19 => Some(Message::Register {
            node: tape.node()?,
            process: tape.number()?,
            life: tape.number32()?,
            sent_at: named.time(tape)?,
            mesh_addr: "10.0.0.9:1".to_owned(),
            client_addr: "10.0.0.9:2".to_owned(),
            server_name: "node-9".to_owned(),
            schema_min: 1,
            schema_max: tape.number32()?,
        }),
        20 => Some(Message::Report),
        33 => Some(acting::said(tape, named)?),
        34 => Some(why::said(tape, named)?),
        _ => None,
    };
    match blob {
        Some(message) => Some((message, Bytes::new())),
        None => of_a_crossing(kind - 21, tape, named),
    }
}

fn of_the_coordinator(kind: u8, tape: &mut Tape<'_>, named: &Named) -> Option<Message> {
    let term = Term(tape.number()?);
    Some(match kind {
        0 => Message::Registered {
            term,
            life: if tape.flag()? { tape.number32()? } else { named.life },
            sent_at: named.time(tape)?,
            incarnation: Incarnation(tape.number()?),
            lease_us: tape.number()?.saturating_mul(if tape.flag()? { 100 } else { 100_000 }),
            grid: grid(tape)?,
            tick_interval_us: tape.number()?.saturating_mul(1_000),
            interest_margin_m: f64::from(tape.byte()?),
            map: map(tape)?,
        },
        1 => {
            let sent_at = named.time(tape)?;
            Message::HeartbeatReply { term, sent_at, mesh_time: Some(named.time(tape)?) }
        }
        2 => Message::MapWhole { term, map: map(tape)? },
        3 => {
            let owners_set = tape.list(4, |tape| Some((cell(tape)?, tape.node()?)))?;
            let owners_removed = tape.list(4, cell)?;
            let nodes_set = tape.list(4, |tape| Some((tape.node()?, entry(tape.peer()?))))?;
            let nodes_removed = tape.list(4, Tape::node)?;
            let (from, to) = (tape.number()?, tape.number()?);
            Message::MapDiff {
                term,
                diff: CellMapDiff { from, to, owners_set, owners_removed, nodes_set, nodes_removed },
            }
        }
        4 => Message::PrepareToReceive { term, request: request(tape, named)? },
        5 => {
            let reservation = named.reservation(tape)?;
            let outcome = match tape.flag()? {
                false => PrepareOutcome::Notified { target: tape.peer()? },
                true => PrepareOutcome::Refused(reason(tape)?),
            };
            Message::PrepareReply { term, reservation, outcome }
        }
        6 => {
            let acknowledged = tape.list(16, |tape| Some((named.entity(tape)?, tape.epoch()?)))?;
            Message::AuthorityAck { term, acknowledged }
        }
        7 => Message::Admit {
            term,
            request: named.request(tape)?,
            session: named.session(tape)?,
            entity: named.entity(tape)?,
            name: "ada".to_owned(),
            resume: tape.flag()?,
            entry: place(tape)?,
        },
        8 => Message::SaveAck { term, session: named.session(tape)? },
        _ => match tape.flag()? {
            false => Message::Census { term, request: tape.number()? },
            true => Message::RegisterRefused { reason: "there is no room".to_owned() },
        },
    })
}

fn to_the_coordinator(kind: u8, tape: &mut Tape<'_>, named: &Named) -> Option<Said> {
    Some(match kind {
        10 => {
            let mesh_time = if tape.flag()? { Some(named.time(tape)?) } else { None };
            let message = Message::Heartbeat {
                incarnation: Incarnation(tape.number()?),
                sent_at: named.time(tape)?,
                map_version: tape.number()?,
                mesh_time,
                reported: Term(tape.number()?),
                load: Load::default(),
            };
            (message, Bytes::new())
        }
        11 => {
            let (term, incarnation) = (Term(tape.number()?), Incarnation(tape.number()?));
            let changes = tape.list(16, |tape| change(tape, named))?;
            (Message::AuthorityChanged { term, incarnation, changes }, Bytes::new())
        }
        12 => {
            let request = named.request(tape)?;
            let outcome = match tape.below(4)? {
                0 => AdmitOutcome::Token { token: named.token(tape)?, ttl_us: tape.number()? },
                1 => AdmitOutcome::Moved { to: tape.peer()? },
                2 => AdmitOutcome::NotHere,
                _ => AdmitOutcome::Refused(reason(tape)?),
            };
            (Message::AdmitReply { request, outcome }, Bytes::new())
        }
        _ => {
            let (session, entity) = (named.session(tape)?, named.entity(tape)?);
            if tape.flag()? {
                let request = named.request(tape)?;
                return Some((
                    Message::CensusReply { request, entries: tape.list(16, |tape| census(tape, named))? },
                    Bytes::new(),
                ));
            }
            let (incarnation, end) = (Incarnation(tape.number()?), tape.epoch()?);
            let message = Message::SaveCharacter { session, entity, incarnation, end };
            (message, snapshot(tape, entity, Some(session))?)
        }
    })
}

fn of_a_crossing(kind: u8, tape: &mut Tape<'_>, named: &Named) -> Option<Said> {
    let message = match kind {
        0 => Message::PrepareRequest(request(tape, named)?),
        1 => Message::PrepareDirect(request(tape, named)?),
        2 => {
            let reservation = named.reservation(tape)?;
            let token = if tape.flag()? { Some(named.token(tape)?) } else { None };
            Message::Ready { reservation, token, token_ttl_us: tape.number()? }
        }
        3 => Message::Refuse { reservation: named.reservation(tape)?, reason: reason(tape)? },
        4 => Message::CancelPrepare { reservation: named.reservation(tape)? },
        5 => {
            let reservation = named.reservation(tape)?;
            let session = named.maybe_session(tape)?;
            let blob = snapshot(tape, reservation.entity, session)?;
            return Some((Message::Precopy { reservation }, blob));
        }
        6 => {
            let reservation = named.reservation(tape)?;
            let refused = if tape.flag()? { Some(reason(tape)?) } else { None };
            Message::Warmed { reservation, versions: versions(tape)?, refused }
        }
        7 => {
            let (id, reservation) = (named.handoff(tape)?, named.reservation(tape)?);
            let (last_tick, pending) = (Tick(tape.number()?), inputs(tape)?);
            let asked_at = named.time(tape)?;
            let session = named.maybe_session(tape)?;
            let blob = snapshot(tape, id.entity, session)?;
            let mut blob = blob.to_vec();
            let members = tape.list(3, |tape| {
                let (id, reservation) = (named.handoff(tape)?, named.reservation(tape)?);
                let session = named.maybe_session(tape)?;
                let snapshot = snapshot(tape, id.entity, session)?;
                blob.extend_from_slice(&snapshot);
                let bytes = u32::try_from(snapshot.len()).ok()? + u32::from(tape.byte()? == 0);
                Some(MemberTransfer { id, reservation, pending: inputs(tape)?, asked_at, bytes })
            })?;
            let message = Message::Transfer { id, reservation, last_tick, pending, asked_at, members };
            return Some((message, blob.into()));
        }
        8 => {
            let token = if tape.flag()? { Some(named.token(tape)?) } else { None };
            let members = tape.list(3, |tape| Some((named.handoff(tape)?, token)))?;
            Message::Accepted { id: named.handoff(tape)?, token, members }
        }
        9 => Message::Rejected { id: named.handoff(tape)?, reason: reason(tape)? },
        10 => {
            let members = tape.list(3, |tape| named.handoff(tape))?;
            Message::Cancel { id: named.handoff(tape)?, members }
        }
        _ => Message::Cancelled { id: named.handoff(tape)? },
    };
    Some((message, Bytes::new()))
}

/// In a world of four cells in a row, some of which are split, or far outside of it.
fn cell(tape: &mut Tape<'_>) -> Option<CellId> {
    let byte = tape.byte()?;
    let (level, x) = (byte / 64, u32::from(byte % 8));
    CellId::new(level, x, 0, 0).ok()
}

fn grid(tape: &mut Tape<'_>) -> Option<GridConfig> {
    let cells = u32::from(tape.below(5)?);
    Some(GridConfig { origin_m: [0.0; 3], cell_edge_m: 100.0, cells: [cells, 1, 1] })
}

fn entry(peer: Peer) -> NodeEntry {
    NodeEntry {
        peer,
        mesh_addr: "10.0.0.9:1".to_owned(),
        client_addr: "10.0.0.9:2".to_owned(),
        server_name: "node-9".to_owned(),
    }
}

/// The first cells have owners of their own; they may be listed or not.
fn map(tape: &mut Tape<'_>) -> Option<CellMapImage> {
    let version = tape.number()?;
    let owners: Vec<(CellId, NodeId)> = tape.list(4, |tape| Some((cell(tape)?, tape.node()?)))?;
    let nodes = tape.list(4, |tape| Some(entry(tape.peer()?)))?;
    Some(CellMapImage { version, owners, nodes })
}

pub fn place(tape: &mut Tape<'_>) -> Option<Position> {
    Some(match tape.byte()? {
        255 => Position::new(1e300, -1e300, 0.0),
        254 => Position::new(f64::MAX, f64::MIN, f64::MIN_POSITIVE),
        x => Position::new(f64::from(x) * 2.0, 50.0, 0.0),
    })
}

/// Always finite: the codec lets nothing else through, and the roster takes nothing else from a game.
pub fn motion(tape: &mut Tape<'_>) -> Option<Motion> {
    let position = place(tape)?;
    let speed = match tape.byte()? {
        255 => f32::MAX,
        254 => f32::MIN,
        byte => f32::from(byte.cast_signed()),
    };
    Some(Motion { position, velocity: Velocity::new(speed, 0.0, 0.0) })
}

fn inputs(tape: &mut Tape<'_>) -> Option<Vec<InputMessage>> {
    tape.list(8, |tape| Some(InputMessage { seq: InputSeq(tape.number32()?), bytes: vec![1; 8] }))
}

fn reason(tape: &mut Tape<'_>) -> Option<RefuseReason> {
    Some(match tape.below(5)? {
        0 => RefuseReason::Overloaded,
        1 => RefuseReason::StalePrecopy,
        2 => RefuseReason::NotPrepared,
        3 => RefuseReason::HeldHere,
        _ => RefuseReason::Game,
    })
}

pub fn versions(tape: &mut Tape<'_>) -> Option<ComponentVersions> {
    let mut versions = ComponentVersions::new();
    for name in ["weight", "inputs", "what nobody has"].into_iter().take(usize::from(tape.below(4)?)) {
        versions.set(name, tape.number()?);
    }
    Some(versions)
}

fn request(tape: &mut Tape<'_>, named: &Named) -> Option<PrepareRequest> {
    Some(PrepareRequest {
        reservation: named.reservation(tape)?,
        session: named.maybe_session(tape)?,
        from_cell: cell(tape)?,
        to_cell: cell(tape)?,
        crossing_in_us: tape.number()?,
        size_hint_bytes: tape.number32()?,
        schema: tape.number32()?,
        asked_at: named.time(tape)?,
    })
}

fn change(tape: &mut Tape<'_>, named: &Named) -> Option<AuthorityChange> {
    let event = match tape.below(7)? {
        0 => AuthorityEvent::Spawned,
        1 => AuthorityEvent::Received { last_tick: Tick(tape.number()?) },
        2 => {
            let (to, us) = (tape.peer()?, tape.number()?);
            let phases = HandoffPhases {
                warm: us % 2 == 1,
                answer_us: us,
                prepare_us: us,
                precopy_us: Some(us),
                cutover_us: us,
            };
            AuthorityEvent::GaveAway { to, phases }
        }
        3 => AuthorityEvent::Thawed,
        4 => AuthorityEvent::Recovered,
        5 => AuthorityEvent::Despawned,
        _ => AuthorityEvent::Held,
    };
    let (entity, session) = (named.entity(tape)?, named.maybe_session(tape)?);
    let (epoch, tick) = (tape.epoch()?, Tick(tape.number()?));
    let cell = if tape.flag()? { Some(cell(tape)?) } else { None };
    Some(AuthorityChange { entity, session, epoch, cell, tick, event })
}

fn census(tape: &mut Tape<'_>, named: &Named) -> Option<CensusEntry> {
    let standing = if tape.flag()? { CensusStanding::Frozen } else { CensusStanding::Active };
    let (entity, session) = (named.entity(tape)?, named.maybe_session(tape)?);
    Some(CensusEntry { entity, session, epoch: tape.epoch()?, standing })
}
