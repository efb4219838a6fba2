//! The process that asks: set-ups first, then one stretch after the other on the same link.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;
use selvedge_node::HistogramText;
use selvedge_transport::{Link, LinkEvent, MeshEndpoint, PeerName};
use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::answer::{Head, open};
use super::pace::Pace;
use super::spec::{LanesAsk, LanesSpec, Seen, Stretch, Via};
use crate::handoff::child::{end_with_parent, load, say};
use crate::handoff::home::NODES;

const UP_PATIENCE: Duration = Duration::from_secs(10);
/// Silence after which what was sent before a stretch counts as gone, and datagrams count as lost.
const SILENCE: Duration = Duration::from_millis(100);
/// How long the answers of a stretch are waited for once it is over.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// Time for a session ticket to arrive.
const TICKET: Duration = Duration::from_millis(20);
/// How often is looked for room for datagrams, and for datagrams that were lost.
const LOOK: Duration = Duration::from_millis(1);
/// Most datagrams of one look.
const BURST: usize = 1024;
/// A stretch with fewer answers goes on for up to so many times its length.
const ANSWERS_MIN: u64 = 100;
const LONGER_MAX: u32 = 3;

pub(super) async fn ask(spec: &LanesSpec, ask: &LanesAsk) -> anyhow::Result<()> {
    end_with_parent()?;
    let peer = PeerName::new(load(&spec.dir, NODES[0])?.id().clone());
    let began = Instant::now();
    let trips = if spec.resume { resumed(spec, ask, &peer).await? } else { cold(spec, ask, &peer).await? };
    let set_ups = ask.set_ups as u64;
    say(&Seen {
        rtt_ns: HistogramText::encode(&trips),
        trip_ns: HistogramText::encode(&trips),
        late_ns: HistogramText::encode(&Histogram::new(3)?),
        elapsed: began.elapsed(),
        sent: set_ups,
        answered: trips.len(),
        answered_in_time: trips.len(),
        not_taken: 0,
        loads: Vec::new(),
    })?;
    let (mesh, mut events) = open(NODES[1], spec)?;
    let link = up(&mesh, &mut events, &peer, ask).await?;
    let mut asker = Asker { link, events, epoch: Instant::now(), number: 0 };
    for stretch in &ask.stretches {
        say(&asker.run(stretch, ask).await?)?;
    }
    mesh.close("measured").await;
    Ok(())
}

/// Set-ups of an endpoint that the peer has never seen.
async fn cold(spec: &LanesSpec, ask: &LanesAsk, peer: &PeerName) -> anyhow::Result<Histogram<u64>> {
    let mut trips = Histogram::new(3)?;
    for _ in 0..ask.set_ups {
        let (mesh, mut events) = open(NODES[1], spec)?;
        let due = Instant::now();
        drop(up(&mesh, &mut events, peer, ask).await?);
        let _ = trips.record(nanoseconds(due.elapsed()));
        mesh.close("measured").await;
    }
    Ok(trips)
}

/// Set-ups of an endpoint that comes back and goes on with its TLS session.
async fn resumed(spec: &LanesSpec, ask: &LanesAsk, peer: &PeerName) -> anyhow::Result<Histogram<u64>> {
    let mut trips = Histogram::new(3)?;
    let (mesh, mut events) = open(NODES[1], spec)?;
    drop(up(&mesh, &mut events, peer, ask).await?);
    for _ in 0..ask.set_ups {
        // The ticket for the next time comes after the handshake.
        sleep(TICKET).await;
        mesh.drop_link(peer);
        match timeout(UP_PATIENCE, events.recv()).await {
            Ok(Some(LinkEvent::Down { .. })) => {}
            other => bail!("the link did not go down: {other:?}"),
        }
        let due = Instant::now();
        drop(up(&mesh, &mut events, peer, ask).await?);
        let _ = trips.record(nanoseconds(due.elapsed()));
    }
    mesh.close("measured").await;
    Ok(trips)
}

async fn up(
    mesh: &MeshEndpoint,
    events: &mut Receiver<LinkEvent>,
    peer: &PeerName,
    ask: &LanesAsk,
) -> anyhow::Result<Link> {
    mesh.keep_link(peer.clone(), ask.address);
    match timeout(UP_PATIENCE, events.recv()).await {
        Ok(Some(LinkEvent::Up { link, .. })) => Ok(link),
        Ok(other) => bail!("the link did not come up: {other:?}"),
        Err(_) => bail!("the link did not come up within {UP_PATIENCE:?}"),
    }
}

struct Asker {
    link: Link,
    events: Receiver<LinkEvent>,
    epoch: Instant,
    number: u32,
}

/// What is under way in a stretch, and what came of it.
struct Account {
    /// From when on it counts.
    from: Instant,
    sent: u64,
    answered: u64,
    not_taken: u64,
    /// Messages of each kind without an answer.
    out: BTreeMap<Via, usize>,
    loads: BTreeMap<Via, u64>,
    rtt: Histogram<u64>,
    trips: Histogram<u64>,
    late: Histogram<u64>,
}

impl Asker {
    async fn run(&mut self, stretch: &Stretch, ask: &LanesAsk) -> anyhow::Result<Seen> {
        while let Ok(event) = timeout(SILENCE, self.events.recv()).await {
            check(event)?;
        }
        self.number += 1;
        let blob = Bytes::from(vec![7; Via::Precopy.bytes()]);
        let from = Instant::now() + ask.warm_up;
        // What is paced has many turns.
        let length = if stretch.every.is_some() { ask.duration / 2 } else { ask.duration };
        let until = from + length;
        let pacer = match stretch.every {
            None => None,
            Some(every) => {
                let (via, epoch, stretch) = (stretch.via, self.epoch, self.number);
                let pace = Pace { via, every, from, until, epoch, stretch };
                Some(pace.start(self.link.clone(), blob.clone())?)
            }
        };
        let mut account = Account::new(from)?;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let now = Instant::now();
            let few = stretch.every.is_none() && account.answered < ANSWERS_MIN;
            if now >= until && !(few && now < until + length * LONGER_MAX) {
                break;
            }
            self.top_up(stretch, &mut account, &blob)?;
            let event = tokio::select! {
                event = self.events.recv() => Some(event),
                _ = looks.tick() => None,
            };
            let mut is_heard = false;
            if let Some(event) = event {
                is_heard = self.take(check(event)?, stretch, &mut account);
            } else if stretch.via == Via::Datagram && heard.elapsed() > SILENCE {
                account.out.insert(stretch.via, 0);
                is_heard = true;
            }
            if is_heard {
                heard = Instant::now();
            }
        }
        let (elapsed, in_time) = (from.elapsed(), account.answered);
        if let Some(pacer) = pacer {
            let paced = pacer.join().map_err(|_| anyhow::anyhow!("the pacing thread panicked"))?;
            (account.sent, account.not_taken) = (paced.sent, paced.not_taken);
            account.late.add(&paced.late_ns)?;
        }
        self.wait_for_rest(stretch, &mut account).await?;
        if stretch.via != Via::Datagram {
            // Nothing is lost on a stream: whatever has no answer yet takes at least as long as it was waited for.
            let (waited, rest) =
                (nanoseconds(until.elapsed()), account.sent.saturating_sub(account.answered));
            account.rtt.record_n(waited, rest)?;
            account.trips.record_n(waited, rest)?;
        }
        Ok(Seen {
            rtt_ns: HistogramText::encode(&account.rtt),
            trip_ns: HistogramText::encode(&account.trips),
            late_ns: HistogramText::encode(&account.late),
            elapsed,
            sent: account.sent,
            answered: account.answered,
            answered_in_time: in_time,
            not_taken: account.not_taken,
            loads: account.loads.into_iter().collect(),
        })
    }

    /// What was sent and has no answer still counts, with the time that it takes.
    async fn wait_for_rest(&mut self, stretch: &Stretch, account: &mut Account) -> anyhow::Result<()> {
        let until = Instant::now() + END_PATIENCE;
        // Loads are answered no more than they were; only what is measured is waited for.
        let mut loads = BTreeMap::new();
        std::mem::swap(&mut account.loads, &mut loads);
        while account.answered < account.sent && Instant::now() < until {
            let Ok(event) = timeout(SILENCE, self.events.recv()).await else {
                if stretch.via == Via::Datagram {
                    break;
                }
                continue;
            };
            self.take(check(event)?, stretch, account);
        }
        account.loads = loads;
        Ok(())
    }

    /// Takes an answer. Says whether it was one to what is measured.
    fn take(&self, answer: Option<(Via, Head)>, stretch: &Stretch, account: &mut Account) -> bool {
        let now = Instant::now();
        let Some((via, head)) = answer.filter(|(_, head)| head.stretch == self.number) else { return false };
        if let Some(out) = account.out.get_mut(&via).filter(|_| head.measured || via != stretch.via) {
            *out = out.saturating_sub(1);
        }
        if !head.measured {
            *account.loads.entry(via).or_default() += u64::from(now >= account.from);
            return false;
        }
        let due = self.epoch + Duration::from_nanos(head.due_ns);
        if due >= account.from {
            account.answered += 1;
            let sent = self.epoch + Duration::from_nanos(head.sent_ns);
            let _ = account.rtt.record(nanoseconds(now.saturating_duration_since(due)));
            let _ = account.trips.record(nanoseconds(now.saturating_duration_since(sent)));
        }
        true
    }

    /// Sends as much as may be under way.
    fn top_up(&self, stretch: &Stretch, account: &mut Account, blob: &Bytes) -> anyhow::Result<()> {
        if self.link.is_closed() {
            bail!("the link ended within a measurement");
        }
        let loads = stretch.loads.iter().map(|&via| (via, false, via.load()));
        let probe = (stretch.every.is_none()).then_some((stretch.via, true, stretch.in_flight));
        for (via, measured, most) in loads.chain(probe) {
            let mut burst = if via == Via::Datagram { BURST.min(most) } else { most };
            while burst > 0 && (most == usize::MAX || account.out.get(&via).copied().unwrap_or(0) < most) {
                burst -= 1;
                let now = Instant::now();
                let now_ns = nanoseconds(now.duration_since(self.epoch));
                let head = Head { stretch: self.number, measured, due_ns: now_ns, sent_ns: now_ns };
                let counts = u64::from(measured && self.epoch + Duration::from_nanos(now_ns) >= account.from);
                if !send(&self.link, via, head, blob) {
                    account.not_taken += counts;
                    break;
                }
                *account.out.entry(via).or_default() += 1;
                account.sent += counts;
            }
        }
        Ok(())
    }
}

impl Account {
    fn new(from: Instant) -> anyhow::Result<Self> {
        Ok(Self {
            from,
            sent: 0,
            answered: 0,
            not_taken: 0,
            out: BTreeMap::new(),
            loads: BTreeMap::new(),
            rtt: Histogram::new(3)?,
            trips: Histogram::new(3)?,
            late: Histogram::new(3)?,
        })
    }
}

pub(super) fn send(link: &Link, via: Via, head: Head, blob: &Bytes) -> bool {
    let head = head.bytes();
    let rest = blob.slice(..via.bytes() - head.len());
    match via.lane() {
        Some(lane) => link.send(lane, head, rest).is_ok(),
        None => link.send_datagram([head, rest].concat().into()).is_ok(),
    }
}

/// What came, if it is an answer.
fn check(event: Option<LinkEvent>) -> anyhow::Result<Option<(Via, Head)>> {
    let (via, payload) = match event.context("the endpoint ended within a measurement")? {
        LinkEvent::Message { lane, payload, .. } => {
            (Via::ALL.into_iter().find(|via| via.lane() == Some(lane)), payload)
        }
        LinkEvent::Datagram { payload, .. } => (Some(Via::Datagram), payload),
        LinkEvent::Down { reason, .. } | LinkEvent::DialFailed { reason, .. } => {
            bail!("the link ended within a measurement: {reason}")
        }
        LinkEvent::Up { .. } => (None, Bytes::new()),
    };
    Ok(via.zip(Head::read(&payload)))
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
