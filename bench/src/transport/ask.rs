//! The process that asks: set-ups first, then one stretch after the other on the same link.

use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;
use selvedge_node::HistogramText;
use selvedge_transport::{Link, LinkEvent, MeshEndpoint, PeerName};
use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::answer::{Head, open};
use super::spec::{LanesAsk, LanesSpec, Seen, Stretch, Via};
use crate::handoff::child::{end_with_parent, load, say};
use crate::handoff::home::NODES;

const UP_PATIENCE: Duration = Duration::from_secs(10);
/// Silence after which what was sent before a stretch counts as gone.
const SILENCE: Duration = Duration::from_millis(100);
/// How often is looked for room for datagrams, and for datagrams that were lost.
const LOOK: Duration = Duration::from_millis(1);
/// Most datagrams of one look.
const BURST: usize = 1024;

pub(super) async fn ask(spec: &LanesSpec, ask: &LanesAsk) -> anyhow::Result<()> {
    end_with_parent()?;
    let peer = PeerName::new(load(&spec.dir, NODES[0])?.id().clone());
    let mut trips = Histogram::new(3)?;
    let began = Instant::now();
    for _ in 0..ask.set_ups {
        let (mesh, mut events) = open(&spec.dir, NODES[1], spec.mtu)?;
        let due = Instant::now();
        drop(up(&mesh, &mut events, &peer, ask).await?);
        let _ = trips.record(nanoseconds(due.elapsed()));
        mesh.close("measured").await;
    }
    let set_ups = ask.set_ups as u64;
    say(&Seen {
        rtt_ns: HistogramText::encode(&trips),
        elapsed: began.elapsed(),
        sent: set_ups,
        answered: trips.len(),
        not_taken: 0,
        loads: Vec::new(),
    })?;
    let (mesh, mut events) = open(&spec.dir, NODES[1], spec.mtu)?;
    let link = up(&mesh, &mut events, &peer, ask).await?;
    let mut asker = Asker { link, events, epoch: Instant::now(), number: 0 };
    for stretch in &ask.stretches {
        say(&asker.run(stretch, ask).await?)?;
    }
    mesh.close("measured").await;
    Ok(())
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

/// What is under way in a stretch.
#[derive(Default)]
struct Account {
    sent: u64,
    answered: u64,
    not_taken: u64,
    out: BTreeMap<Via, usize>,
    loads: BTreeMap<Via, u64>,
}

impl Asker {
    async fn run(&mut self, stretch: &Stretch, ask: &LanesAsk) -> anyhow::Result<Seen> {
        while let Ok(event) = timeout(SILENCE, self.events.recv()).await {
            check(event)?;
        }
        self.number += 1;
        let blob = Bytes::from(vec![7; Via::Precopy.bytes()]);
        let from = Instant::now() + ask.warm_up;
        let until = from + ask.duration;
        let pacer = stretch.every.map(|every| self.pace(stretch.via, every, from, until, &blob));
        let (mut account, mut trips) = (Account::default(), Histogram::<u64>::new(3)?);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            self.top_up(stretch, from, &mut account, &blob)?;
            let event = tokio::select! {
                event = self.events.recv() => Some(event),
                _ = looks.tick() => None,
            };
            let now = Instant::now();
            if now >= until {
                break;
            }
            let Some(event) = event else {
                if stretch.via == Via::Datagram && now.duration_since(heard) > SILENCE {
                    account.out.insert(stretch.via, 0);
                    heard = now;
                }
                continue;
            };
            let Some((via, head)) = check(event)? else { continue };
            if head.stretch != self.number {
                continue;
            }
            if !head.measured {
                if let Some(out) = account.out.get_mut(&via).filter(|_| via != stretch.via) {
                    *out = out.saturating_sub(1);
                }
                *account.loads.entry(via).or_default() += u64::from(now >= from);
                continue;
            }
            heard = now;
            if let Some(out) = account.out.get_mut(&via) {
                *out = out.saturating_sub(1);
            }
            let due = self.epoch + Duration::from_nanos(head.due_ns);
            if due >= from {
                account.answered += 1;
                let _ = trips.record(nanoseconds(now.duration_since(due)));
            }
        }
        // What was due and has no answer yet still counts, with the time that it takes.
        let unanswered_until = Instant::now() + SILENCE * 5;
        while let Ok(event) = timeout(SILENCE, self.events.recv()).await {
            if Instant::now() > unanswered_until {
                break;
            }
            let Some((_, head)) = check(event)? else { continue };
            if head.stretch == self.number
                && head.measured
                && self.epoch + Duration::from_nanos(head.due_ns) >= from
            {
                account.answered += u64::from(stretch.every.is_some() || stretch.via == Via::Datagram);
                let _ = trips.record(nanoseconds(
                    self.epoch.elapsed().saturating_sub(Duration::from_nanos(head.due_ns)),
                ));
            }
        }
        if let Some(pacer) = pacer {
            (account.sent, account.not_taken) =
                pacer.join().map_err(|_| anyhow::anyhow!("the pacing thread panicked"))?;
        }
        Ok(Seen {
            rtt_ns: HistogramText::encode(&trips),
            elapsed: ask.duration,
            sent: account.sent,
            answered: account.answered,
            not_taken: account.not_taken,
            loads: account.loads.into_iter().collect(),
        })
    }

    fn send(&self, via: Via, measured: bool, due: Instant, blob: &Bytes) -> bool {
        let due_ns = nanoseconds(due.duration_since(self.epoch));
        send(&self.link, via, Head { stretch: self.number, measured, due_ns }, blob)
    }

    /// Sends as much as may be under way.
    fn top_up(
        &self,
        stretch: &Stretch,
        from: Instant,
        account: &mut Account,
        blob: &Bytes,
    ) -> anyhow::Result<()> {
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
                if !self.send(via, measured, now, blob) {
                    account.not_taken += u64::from(measured);
                    break;
                }
                *account.out.entry(via).or_default() += 1;
                account.sent += u64::from(measured && now >= from);
            }
        }
        Ok(())
    }

    /// A thread that sends on time, to whatever the rest has come; it says what it sent and what was not taken.
    fn pace(
        &self,
        via: Via,
        every: Duration,
        from: Instant,
        until: Instant,
        blob: &Bytes,
    ) -> JoinHandle<(u64, u64)> {
        let (link, blob, epoch, stretch) = (self.link.clone(), blob.clone(), self.epoch, self.number);
        thread::spawn(move || {
            let (mut sent, mut not_taken, mut due) = (0, 0, Instant::now());
            while due < until {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let head = Head { stretch, measured: true, due_ns: nanoseconds(due.duration_since(epoch)) };
                let counts = u64::from(due >= from);
                if send(&link, via, head, &blob) {
                    sent += counts;
                } else {
                    not_taken += counts;
                }
                due += every;
            }
            (sent, not_taken)
        })
    }
}

fn send(link: &Link, via: Via, head: Head, blob: &Bytes) -> bool {
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

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
