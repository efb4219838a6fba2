//! A node's side: when to capture a cut, what of it travels, and what its buddy has.
//!
//! ```text
//! Idle --due, buddy linked--> Capturing --captured--> Sending --paced--> Waiting --Ack--> Idle
//!   ^______________________________________________________|_______________|  lost: time-out, Lack, link down
//! ```
//!
//! A cut builds on the last one that the buddy acknowledged. After a loss nobody knows what the buddy has of the lost
//! one: so its entities are sent again whether or not they changed, and named as gone if they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use core::time::Duration;

use super::flight::{Covered, CutCopy, Flight, Known, Parts};
use crate::id::{AuthorityEpoch, EntityId, HandoffId, Incarnation, NodeId, Peer};
use crate::limits::FORMER_BUDDIES_MAX;
use crate::snapshot::ComponentVersions;
use crate::time::{Tick, Time};
use crate::wire::StandbyMessage;

/// An important change is in a cut this soon.
const SOON: Duration = Duration::from_millis(50);
/// Cuts on demand keep this share of the period between them: a crowd at a border must not make each tick a cut.
const SPACING: u32 = 4;
/// How long a cut that was sent may stay unanswered; doubles with each failure in a row, up to 16 x.
const PATIENCE: Duration = Duration::from_secs(1);
/// A heavy cut has longer, by what it weighs, up to [`HEAVY_PATIENCE_MAX`]: a link that loses packets is slow, but delivers
/// all in the end, and whoever gives up early sends everything again on top.
const SLOW_BYTES_PER_S: u64 = 256 * 1024;
const HEAVY_PATIENCE_MAX: Duration = Duration::from_secs(4);
/// Pause between looks for a buddy that isn't linked.
const UNLINKED_PAUSE: Duration = Duration::from_millis(100);
/// Pause between repeats of `Drop`.
const DROP_PAUSE: Duration = Duration::from_secs(1);
/// What was not sent in time may be made up for as far back as this.
const BURST: Duration = Duration::from_millis(10);

/// How a node streams its checkpoints.
#[derive(Clone, Copy, Debug)]
pub struct SenderConfig {
    /// Time from one cut to the next.
    pub period: Duration,
    /// Bytes per second at most, averaged over some milliseconds.
    pub bytes_per_s: u64,
}

/// For each entity, what the buddy has of it: the epoch of the contents, and the components of that epoch.
pub type Have = BTreeMap<EntityId, (AuthorityEpoch, Arc<ComponentVersions>)>;

/// What the game is to capture: everything that it simulates, after one tick.
#[derive(Clone, Debug)]
pub struct CutOrder {
    /// Which cut.
    pub cut: u64,
    /// What the buddy has.
    pub have: Arc<Have>,
}

/// What is to be done now.
#[derive(Clone, Debug)]
pub enum Act {
    /// Have a cut captured, and answer with [`CheckpointSender::captured`].
    Capture(CutOrder),
    /// Send.
    Send {
        /// To whom.
        to: Peer,
        /// What.
        message: StandbyMessage,
        /// And what goes with it.
        blob: Bytes,
    },
    /// A cut was not acknowledged; another one follows.
    Lost {
        /// Which.
        cut: u64,
    },
}

/// A cut that is safe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acked {
    /// Which.
    pub cut: u64,
    /// After which tick it was captured.
    pub tick: Tick,
    /// Everything that it holds.
    pub covered: Vec<Covered>,
    /// Handoffs that are settled by it.
    pub settles: Vec<HandoffId>,
    /// How many entities were sent.
    pub sent: usize,
    /// How many bytes of snapshots.
    pub bytes: u64,
    /// From the order to the acknowledgement.
    pub took: Duration,
}

/// A node's side of its standby copies. See the module's page.
#[derive(Debug)]
pub struct CheckpointSender {
    config: SenderConfig,
    buddy: Option<Buddy>,
    formers: Vec<Former>,
    stage: Stage,
    /// Counts over all buddies, and never goes back.
    last_cut: u64,
    due_at: Time,
    began_at: Time,
    /// The tick of the newest cut that was acknowledged.
    safe_tick: Option<Tick>,
    /// Losses in a row.
    failures: u32,
}

#[derive(Debug)]
struct Buddy {
    peer: Peer,
    /// The last cut that it acknowledged.
    base: Option<u64>,
    known: BTreeMap<EntityId, Known>,
    /// What was sent since in cuts that it didn't acknowledge.
    doubtful: BTreeSet<EntityId>,
}

#[derive(Debug)]
struct Former {
    peer: Peer,
    below: u64,
    due_at: Time,
}

#[derive(Debug)]
enum Stage {
    Idle,
    Capturing { cut: u64 },
    Sending { flight: Flight, next_at: Time },
    Waiting { flight: Flight, until: Time },
}

impl CheckpointSender {
    /// A sender without a buddy.
    #[must_use]
    pub const fn new(config: SenderConfig) -> Self {
        Self {
            config,
            buddy: None,
            formers: Vec::new(),
            stage: Stage::Idle,
            last_cut: 0,
            due_at: Time::ZERO,
            began_at: Time::ZERO,
            safe_tick: None,
            failures: 0,
        }
    }

    /// Who keeps the copies.
    #[must_use]
    pub fn buddy(&self) -> Option<Peer> {
        self.buddy.as_ref().map(|buddy| buddy.peer)
    }

    /// The tick of the newest cut that a buddy has acknowledged.
    #[must_use]
    pub const fn safe_tick(&self) -> Option<Tick> {
        self.safe_tick
    }

    /// From now on the copies go there. It gets a whole cut first; the former buddy keeps its copies until then.
    pub fn set_buddy(&mut self, buddy: Option<Peer>, now: Time) {
        if self.buddy() == buddy {
            return;
        }
        if let Some(former) = self.buddy.take() {
            self.formers.retain(|known| known.peer != former.peer);
            if self.formers.len() >= FORMER_BUDDIES_MAX {
                self.formers.remove(0);
            }
            self.formers.push(Former { peer: former.peer, below: 0, due_at: now });
        }
        self.formers.retain(|former| Some(former.peer) != buddy);
        self.buddy =
            buddy.map(|peer| Buddy { peer, base: None, known: BTreeMap::new(), doubtful: BTreeSet::new() });
        // What a former buddy has, it has of a cut up to here.
        let below = self.last_cut + 1;
        self.formers.iter_mut().filter(|former| former.below == 0).for_each(|former| former.below = below);
        self.stage = Stage::Idle;
        self.failures = 0;
        self.due_at = now;
    }

    /// Forgets buddy and copies: this life of the node is over. Cuts are counted on.
    pub fn forget(&mut self) {
        *self = Self { last_cut: self.last_cut, ..Self::new(self.config) };
    }

    /// Something important has changed.
    pub fn hurry(&mut self, now: Time) {
        let at = (now + SOON).max(self.began_at + self.config.period / SPACING);
        self.due_at = self.due_at.min(at);
    }

    /// When [`poll`](Self::poll) has something to do.
    #[must_use]
    pub fn wake_at(&self) -> Option<Time> {
        let stage = match &self.stage {
            Stage::Idle => self.buddy.as_ref().map(|_| self.due_at),
            Stage::Capturing { .. } => None,
            Stage::Sending { next_at, .. } => Some(*next_at),
            Stage::Waiting { until, .. } => Some(*until),
        };
        let formers = self.formers.iter().filter(|_| self.may_drop()).map(|former| former.due_at);
        stage.into_iter().chain(formers).min()
    }

    /// What is to be done now; call again until it is none. `links` are the lives that this node has a link to.
    pub fn poll(&mut self, links: &BTreeMap<NodeId, Incarnation>, now: Time) -> Option<Act> {
        let linked = |peer: Peer| links.get(&peer.node) == Some(&peer.incarnation);
        if let Some(act) = self.poll_former(linked, now) {
            return Some(act);
        }
        let to = self.buddy()?;
        match core::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle if self.due_at > now => None,
            Stage::Idle if !linked(to) => {
                self.due_at = now + UNLINKED_PAUSE;
                None
            }
            Stage::Idle => Some(Act::Capture(self.begin(now))),
            Stage::Capturing { cut } => {
                self.stage = Stage::Capturing { cut };
                None
            }
            Stage::Sending { flight, .. } if !linked(to) => Some(self.lose(flight, now)),
            Stage::Sending { flight, next_at } => self.send_on(to, flight, next_at, now),
            Stage::Waiting { flight, until } if until <= now => Some(self.lose(flight, now)),
            Stage::Waiting { flight, .. } if !linked(to) => Some(self.lose(flight, now)),
            waiting @ Stage::Waiting { .. } => {
                self.stage = waiting;
                None
            }
        }
    }

    /// Tells former buddies to forget their copies, once the present one has its own.
    fn poll_former(&mut self, linked: impl Fn(Peer) -> bool, now: Time) -> Option<Act> {
        if !self.may_drop() {
            return None;
        }
        for former in self.formers.iter_mut().filter(|former| former.due_at <= now) {
            former.due_at = now + DROP_PAUSE;
            if linked(former.peer) {
                let message = StandbyMessage::Drop { below: former.below };
                return Some(Act::Send { to: former.peer, message, blob: Bytes::new() });
            }
        }
        None
    }

    fn may_drop(&self) -> bool {
        self.buddy.as_ref().is_some_and(|buddy| buddy.base.is_some())
    }

    fn begin(&mut self, now: Time) -> CutOrder {
        self.last_cut += 1;
        self.began_at = now;
        self.due_at = now + self.config.period;
        self.stage = Stage::Capturing { cut: self.last_cut };
        CutOrder { cut: self.last_cut, have: Arc::new(self.have()) }
    }

    fn have(&self) -> Have {
        let known = self.buddy.iter().flat_map(|buddy| &buddy.known);
        known.map(|(&entity, known)| (entity, (known.epoch, Arc::clone(&known.versions)))).collect()
    }

    /// What the buddy has of an entity's contents of this epoch.
    #[must_use]
    pub fn has(&self, entity: EntityId, epoch: AuthorityEpoch) -> Option<&ComponentVersions> {
        let known = self.buddy.as_ref()?.known.get(&entity)?;
        (known.epoch == epoch).then_some(&*known.versions)
    }

    /// Whether any buddy may have contents of an entity of an epoch below this one.
    #[must_use]
    pub fn may_have_below(&self, entity: EntityId, epoch: AuthorityEpoch) -> bool {
        let Some(Buddy { base: Some(_), known, doubtful, .. }) = &self.buddy else {
            return self.buddy.is_some() || !self.formers.is_empty();
        };
        let is_below = |known: Option<&Known>| known.is_some_and(|known| known.epoch < epoch);
        let in_flight = match &self.stage {
            Stage::Idle | Stage::Capturing { .. } => false,
            Stage::Sending { flight, .. } | Stage::Waiting { flight, .. } => {
                is_below(flight.fresh.get(&entity))
            }
        };
        in_flight || doubtful.contains(&entity) || is_below(known.get(&entity))
    }

    /// Whether this cut is waited for.
    #[must_use]
    pub const fn is_capturing(&self, cut: u64) -> bool {
        matches!(self.stage, Stage::Capturing { cut: awaited } if awaited == cut)
    }

    /// The cut is captured: everything that the node could lose, at one tick, the handoffs that it settles, and what has
    /// ended.
    pub fn captured(
        &mut self,
        cut: u64,
        tick: Tick,
        copies: Vec<CutCopy>,
        settles: Vec<HandoffId>,
        ended: Vec<(EntityId, AuthorityEpoch)>,
        now: Time,
    ) {
        let Some(buddy) = self.buddy.as_ref().filter(|_| self.is_capturing(cut)) else {
            return;
        };
        let included: BTreeSet<EntityId> = copies.iter().map(|copy| copy.entity).collect();
        let maybe_there: BTreeSet<EntityId> = buddy.known.keys().chain(&buddy.doubtful).copied().collect();
        let gone = maybe_there.difference(&included).copied().collect();
        let mut fresh = BTreeMap::new();
        let mut covered = Vec::with_capacity(copies.len());
        let mut parts = Parts::default();
        for copy in copies {
            let CutCopy { entity, epoch, applied, .. } = copy;
            let known = buddy.known.get(&entity).filter(|known| known.epoch == epoch);
            let Some(snapshot) = &copy.snapshot else {
                // Not captured: what the buddy has of it stays, and nothing new of it is safe.
                continue;
            };
            covered.push(Covered { entity, epoch, applied, first: known.is_none() });
            let unchanged = known.is_some_and(|known| known.frame == snapshot.bytes);
            if unchanged && !buddy.doubtful.contains(&entity) {
                continue;
            }
            parts.push(&copy, &snapshot.bytes);
            let versions = match known {
                Some(known) if *known.versions == snapshot.versions => Arc::clone(&known.versions),
                Some(_) | None => Arc::new(snapshot.versions.clone()),
            };
            fresh.insert(entity, Known { epoch, versions, frame: snapshot.bytes.clone() });
        }
        parts.close();
        let flight =
            Flight { cut, tick, began_at: self.began_at, fresh, gone, ended, covered, settles, parts };
        self.stage = Stage::Sending { flight, next_at: now };
    }

    fn send_on(&mut self, to: Peer, mut flight: Flight, next_at: Time, now: Time) -> Option<Act> {
        if next_at > now {
            self.stage = Stage::Sending { flight, next_at };
            return None;
        }
        let cut = flight.cut;
        if let Some((index, copies, blob)) = flight.parts.next() {
            let next_at = next_at.max(now - BURST) + self.cost(blob.len());
            self.stage = Stage::Sending { flight, next_at };
            return Some(Act::Send { to, message: StandbyMessage::Part { cut, index, copies }, blob });
        }
        let base = self.buddy.as_ref().and_then(|buddy| buddy.base);
        let (tick, parts) = (flight.tick, flight.parts.count);
        let (gone, ended) = (flight.gone.clone(), flight.ended.clone());
        let until = now + PATIENCE * (1 << self.failures.min(4)) + slow_way(flight.parts.bytes);
        self.stage = Stage::Waiting { flight, until };
        let message = StandbyMessage::End { cut, base, tick, parts, gone, ended };
        Some(Act::Send { to, message, blob: Bytes::new() })
    }

    /// How long so many bytes keep the next ones waiting.
    fn cost(&self, bytes: usize) -> Duration {
        let micros = (bytes as u64).saturating_mul(1_000_000) / self.config.bytes_per_s.max(1);
        Duration::from_micros(micros)
    }

    /// The cut may be at the buddy or not: the next one builds on the last that surely is.
    fn lose(&mut self, flight: Flight, now: Time) -> Act {
        if let Some(buddy) = &mut self.buddy {
            buddy.doubtful.extend(flight.fresh.into_keys().chain(flight.gone));
        }
        self.failures = self.failures.saturating_add(1);
        self.due_at = now;
        Act::Lost { cut: flight.cut }
    }

    /// The buddy has applied a cut.
    pub fn on_ack(&mut self, from: Peer, cut: u64, now: Time) -> Option<Acked> {
        let buddy = self.buddy.as_mut().filter(|buddy| buddy.peer == from)?;
        let flight = match core::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Waiting { flight, .. } if flight.cut == cut => flight,
            // A late word about a cut that was given up: the next one tells.
            other @ (Stage::Idle
            | Stage::Capturing { .. }
            | Stage::Sending { .. }
            | Stage::Waiting { .. }) => {
                self.stage = other;
                return None;
            }
        };
        for entity in &flight.gone {
            buddy.known.remove(entity);
        }
        let sent = flight.fresh.len();
        buddy.known.extend(flight.fresh);
        buddy.doubtful.clear();
        buddy.base = Some(cut);
        self.failures = 0;
        self.safe_tick = Some(flight.tick);
        let Flight { covered, settles, began_at, tick, .. } = flight;
        Some(Acked {
            cut,
            tick,
            covered,
            settles,
            sent,
            bytes: flight.parts.bytes,
            took: now.since(began_at),
        })
    }

    /// The buddy lacks what a cut builds on: a whole one follows. Says whether a cut was lost by it.
    pub fn on_lack(&mut self, from: Peer, cut: u64, now: Time) -> bool {
        let Some(buddy) = self.buddy.as_mut().filter(|buddy| buddy.peer == from) else {
            return false;
        };
        let awaited = match &self.stage {
            Stage::Sending { flight, .. } | Stage::Waiting { flight, .. } => flight.cut == cut,
            Stage::Idle | Stage::Capturing { .. } => false,
        };
        if !awaited {
            return false;
        }
        let was_whole = buddy.base.take().is_none();
        buddy.known.clear();
        buddy.doubtful.clear();
        self.stage = Stage::Idle;
        self.failures = self.failures.saturating_add(1);
        // One that lacks the base of a whole cut makes no sense; don't send it cuts as fast as it answers.
        self.due_at = if was_whole { now + PATIENCE } else { now };
        true
    }

    /// A former buddy has forgotten its copies.
    pub fn on_dropped(&mut self, from: Peer, below: u64) {
        self.formers.retain(|former| former.peer != from || former.below != below);
    }

    /// Former buddies whose life `is_over` need not be told anything.
    pub fn forget_dead(&mut self, is_over: impl Fn(Peer) -> bool) {
        self.formers.retain(|former| !is_over(former.peer));
    }
}

/// How long so many bytes may take on a bad link.
fn slow_way(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / SLOW_BYTES_PER_S).min(HEAVY_PATIENCE_MAX)
}
