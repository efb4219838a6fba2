//! A node with a few things in it, its sender, and the keepers that it may send to.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use selvedge_protocol::grid::Position;
use selvedge_protocol::id::{AuthorityEpoch, EntityId, Incarnation, InputSeq, NodeId, Peer};
use selvedge_protocol::snapshot::{CapturedSnapshot, ComponentVersions, SnapshotWriter};
use selvedge_protocol::standby::{
    Acked, Act, CheckpointSender, CutCopy, CutEnd, CutOrder, Keeper, Reply, SenderConfig,
};
use selvedge_protocol::time::{Tick, Time};
use selvedge_protocol::wire::StandbyMessage;

pub(crate) const PERIOD: Duration = Duration::from_secs(1);
pub(crate) const ME: Peer = peer(1);

pub(crate) const fn peer(id: u128) -> Peer {
    Peer { node: NodeId::from_u128(id), incarnation: Incarnation(1) }
}

pub(crate) const fn entity(id: u128) -> EntityId {
    EntityId::from_u128(id)
}

/// Something that the node holds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Thing {
    pub(crate) epoch: AuthorityEpoch,
    pub(crate) x: f64,
    pub(crate) version: u64,
    pub(crate) applied: u32,
    pub(crate) weight: usize,
}

impl Thing {
    pub(crate) const fn new(x: f64) -> Self {
        Self { epoch: AuthorityEpoch::FIRST, x, version: 1, applied: 0, weight: 4096 }
    }

    /// Its bag: the bytes tell the version and the epoch.
    fn bag(&self) -> Vec<u8> {
        let [version, ..] = self.version.to_le_bytes();
        let [step, ..] = self.epoch.step.to_le_bytes();
        vec![version ^ step.wrapping_mul(31); self.weight]
    }

    pub(crate) fn capture(&self, id: EntityId, have: &ComponentVersions) -> CapturedSnapshot {
        let mut writer = SnapshotWriter::new(id, None, have);
        writer.position(Position::new(self.x, 0.0, 0.0));
        writer.component("bag", self.version, &self.bag());
        writer.component("name", 1, b"thing");
        writer.finish(InputSeq(self.applied)).unwrap()
    }
}

pub(crate) type Things = BTreeMap<EntityId, Thing>;

pub(crate) struct Pair {
    pub(crate) now: Time,
    pub(crate) sender: CheckpointSender,
    pub(crate) keepers: BTreeMap<Peer, Keeper>,
    pub(crate) links: BTreeMap<NodeId, Incarnation>,
    pub(crate) things: Things,
    /// What the node held in each cut.
    pub(crate) cuts: BTreeMap<u64, Things>,
    pub(crate) acked: Vec<Acked>,
    pub(crate) lost: Vec<u64>,
    /// Everything that was sent, in order.
    pub(crate) sent: Vec<(Peer, StandbyMessage, usize)>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(SenderConfig { period: PERIOD, bytes_per_s: u64::MAX })
    }

    pub(crate) fn with(config: SenderConfig) -> Self {
        let keepers = [2, 3].map(|id| (peer(id), Keeper::new(usize::MAX)));
        let links = [2, 3].map(|id| (peer(id).node, peer(id).incarnation));
        let mut sender = CheckpointSender::new(config);
        sender.set_buddy(Some(peer(2)), Time::ZERO);
        Self {
            now: Time::ZERO,
            sender,
            keepers: BTreeMap::from(keepers),
            links: BTreeMap::from(links),
            things: Things::new(),
            cuts: BTreeMap::new(),
            acked: Vec::new(),
            lost: Vec::new(),
            sent: Vec::new(),
        }
    }

    pub(crate) fn holding(things: impl IntoIterator<Item = (u128, f64)>) -> Self {
        let mut pair = Self::new();
        pair.things = things.into_iter().map(|(id, x)| (entity(id), Thing::new(x))).collect();
        pair
    }

    /// Lets time pass over a network without faults.
    pub(crate) fn run(&mut self, time: Duration) {
        self.run_losing(time, |_| false);
    }

    /// Lets time pass; what `is_lost` is lost on its way, in either direction.
    pub(crate) fn run_losing(&mut self, time: Duration, mut is_lost: impl FnMut(&StandbyMessage) -> bool) {
        let until = self.now + time;
        loop {
            while let Some(act) = self.sender.poll(&self.links, self.now) {
                self.act(act, &mut is_lost);
            }
            match self.sender.wake_at() {
                Some(at) if at < until => self.now = self.now.max(at),
                Some(_) | None => break,
            }
        }
        self.now = until;
    }

    fn act(&mut self, act: Act, is_lost: &mut impl FnMut(&StandbyMessage) -> bool) {
        match act {
            Act::Capture(order) => self.capture(&order),
            Act::Lost { cut } => self.lost.push(cut),
            Act::Send { to, message, blob } => {
                self.sent.push((to, message.clone(), blob.len()));
                if is_lost(&message) {
                    return;
                }
                if let Some(answer) = self.keep(to, message, &blob).filter(|answer| !is_lost(answer)) {
                    self.hear(to, answer);
                }
            }
        }
    }

    pub(crate) fn capture(&mut self, order: &CutOrder) {
        self.cuts.insert(order.cut, self.things.clone());
        let copies = self.things.iter().map(|(&id, thing)| {
            let known = order.have.get(&id).filter(|(epoch, _)| *epoch == thing.epoch);
            let have = known.map(|(_, versions)| (**versions).clone()).unwrap_or_default();
            let snapshot = Some(thing.capture(id, &have));
            let (epoch, applied) = (thing.epoch, InputSeq(thing.applied));
            CutCopy { entity: id, session: None, epoch, applied, snapshot }
        });
        let copies = copies.collect();
        self.sender.captured(order.cut, Tick(order.cut * 10), copies, Vec::new(), Vec::new(), self.now);
    }

    /// What a keeper makes of a message, and says.
    pub(crate) fn keep(&mut self, to: Peer, message: StandbyMessage, blob: &Bytes) -> Option<StandbyMessage> {
        let keeper = self.keepers.get_mut(&to).unwrap();
        let reply = match message {
            StandbyMessage::Part { cut, index, copies } => keeper.on_part(ME, cut, index, &copies, blob),
            StandbyMessage::End { cut, base, tick, parts, gone, ended } => {
                keeper.on_end(ME, cut, CutEnd { base, tick, parts, gone, ended })
            }
            StandbyMessage::Drop { below } => {
                keeper.drop_below(ME, below);
                return Some(StandbyMessage::Dropped { below });
            }
            other => panic!("a sender doesn't say {other:?}"),
        };
        match reply {
            Reply::Ack { cut } => Some(StandbyMessage::Ack { cut }),
            Reply::Lack { cut } => Some(StandbyMessage::Lack { cut }),
            Reply::Silence | Reply::Full => None,
            Reply::Misbehaved(what) => panic!("an honest sender {what}"),
        }
    }

    pub(crate) fn hear(&mut self, from: Peer, answer: StandbyMessage) {
        match answer {
            StandbyMessage::Ack { cut } => self.acked.extend(self.sender.on_ack(from, cut, self.now)),
            StandbyMessage::Lack { cut } => {
                if self.sender.on_lack(from, cut, self.now) {
                    self.lost.push(cut);
                }
            }
            StandbyMessage::Dropped { below } => self.sender.on_dropped(from, below),
            other => panic!("a keeper doesn't say {other:?}"),
        }
    }

    /// What the keeper would restore.
    pub(crate) fn kept(&self, by: Peer) -> Things {
        let keeper = &self.keepers[&by];
        let things = keeper.copies().map(|copy| {
            assert_eq!((copy.of, Some(copy.cut)), (ME, keeper.applied(ME)));
            let state = keeper.take(copy.entity, ME).unwrap();
            let view = state.view().unwrap();
            let (version, bag) = view.component("bag").unwrap();
            let thing = Thing {
                epoch: copy.contents.epoch,
                x: view.position().x,
                version,
                applied: view.last_input().0,
                weight: bag.len(),
            };
            assert_eq!(bag, thing.bag(), "the bag of {:?} is of another version", copy.entity);
            assert_eq!(view.component("name"), Some((1, &b"thing"[..])));
            (copy.entity, thing)
        });
        things.collect()
    }

    /// The keeper has exactly what the node held at the keeper's newest cut.
    pub(crate) fn assert_whole(&self, by: Peer) {
        match self.keepers[&by].applied(ME) {
            Some(cut) => assert_eq!(self.kept(by), self.cuts[&cut], "cut {cut}"),
            None => assert!(self.kept(by).is_empty()),
        }
    }

    /// The entities in the parts that were sent since the last call.
    pub(crate) fn take_travelled(&mut self) -> Vec<EntityId> {
        let sent = core::mem::take(&mut self.sent);
        let copies = sent.into_iter().flat_map(|(_, message, _)| match message {
            StandbyMessage::Part { copies, .. } => copies,
            _ => Vec::new(),
        });
        copies.map(|copy| copy.entity).collect()
    }
}
