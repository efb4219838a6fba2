//! The one task that owns the machine: it feeds it what happens and does what it asks.
//!
//! Everything else only moves bytes. Nothing in here waits but for the next thing to happen.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use selvedge_protocol::coordinator::{
    Coordinator, CoordinatorEvent, CoordinatorInput, CoordinatorOutput, WhyAccount,
};
use selvedge_protocol::wire::Message;
use selvedge_transport::{ClientEvent, LinkEvent};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::disk::Ledger;
use crate::door::Door;
use crate::errands::Errands;
use crate::links::{Links, Lives};
use crate::questions::{Census, Question};
use crate::reports::{self, Reports};

/// How often the door is swept.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long the end waits for characters that are being saved.
const SAVE_PATIENCE: Duration = Duration::from_secs(5);

/// Where things happen that the machine must hear of.
pub(crate) struct Inlets {
    pub(crate) links: mpsc::Receiver<LinkEvent>,
    pub(crate) door: mpsc::Receiver<ClientEvent>,
    pub(crate) questions: mpsc::Receiver<Question>,
    pub(crate) shutdown: CancellationToken,
}

/// The machine and what it works with.
pub(crate) struct Driver {
    machine: Coordinator,
    clock: Clock,
    lives: Lives,
    links: Links,
    door: Door,
    errands: Errands,
    reports: Reports,
    ledger: Ledger,
    /// What the machine wants done once the records that came with it are durable.
    held_back: Vec<CoordinatorOutput>,
    censuses: BTreeMap<u64, oneshot::Sender<Census>>,
    whys: BTreeMap<u64, oneshot::Sender<Option<Box<WhyAccount>>>>,
    last_question: u64,
}

impl Driver {
    pub(crate) fn new(
        machine: Coordinator,
        clock: Clock,
        lives: Lives,
        errands: Errands,
        ledger: Ledger,
    ) -> Self {
        Self {
            machine,
            clock,
            lives,
            links: Links::default(),
            door: Door::default(),
            errands,
            reports: Reports::new(),
            ledger,
            held_back: Vec::new(),
            censuses: BTreeMap::new(),
            whys: BTreeMap::new(),
            last_question: 0,
        }
    }

    /// Works until it is told to stop, or an endpoint ends.
    pub(crate) async fn run(mut self, mut inlets: Inlets) {
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.work();
        loop {
            let timeout = self.machine.poll_timeout().map(|(at, _)| self.clock.instant_of(at));
            let timer = async move {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = inlets.shutdown.cancelled() => break,
                event = inlets.links.recv() => match event {
                    Some(event) => self.on_link(event),
                    None => break,
                },
                event = inlets.door.recv() => match event {
                    Some(event) => self.on_door(event),
                    None => break,
                },
                Some(question) = inlets.questions.recv() => self.on_question(question),
                input = self.errands.next() => self.tell(input),
                kept = self.ledger.done() => {
                    if !self.on_kept(kept) {
                        break;
                    }
                }
                () = timer => {
                    self.machine.handle_timeout(self.clock.now());
                    self.work();
                }
                _ = sweep.tick() => self.door.sweep(Instant::now()),
            }
        }
        while self.ledger.is_busy() {
            let kept = self.ledger.done().await;
            if !self.on_kept(kept) {
                break;
            }
        }
        self.errands.finish(SAVE_PATIENCE).await;
    }

    fn on_link(&mut self, event: LinkEvent) {
        let Some(input) = self.links.on_event(event) else {
            return;
        };
        if let CoordinatorInput::Message { from, message: Message::Report, blob, .. } = &input {
            reports::keep(&mut self.reports, *from, blob);
        }
        self.tell(input);
    }

    fn on_door(&mut self, event: ClientEvent) {
        if let Some(asked) = self.door.on_event(event, Instant::now()) {
            self.tell(CoordinatorInput::Session { request: asked.request, message: asked.message });
        }
    }

    fn on_question(&mut self, question: Question) {
        // Whoever asked may have given up meanwhile: that a send fails is no news.
        match question {
            Question::Status(to) => drop(to.send(self.machine.status(self.clock.now()))),
            Question::Cells(to) => drop(to.send(self.machine.map().clone())),
            Question::Reports(to) => drop(to.send(self.reports.clone())),
            Question::Census(to) => {
                self.censuses.retain(|_, waiting| !waiting.is_closed());
                self.last_question += 1;
                self.censuses.insert(self.last_question, to);
                self.tell(CoordinatorInput::CensusAsked { request: self.last_question });
            }
            Question::Why(whom, to) => {
                self.whys.retain(|_, waiting| !waiting.is_closed());
                self.last_question += 1;
                self.whys.insert(self.last_question, to);
                self.tell(CoordinatorInput::WhyAsked { request: self.last_question, whom });
            }
        }
    }

    fn tell(&mut self, input: CoordinatorInput) {
        self.machine.handle(input, self.clock.now());
        self.work();
    }

    /// Does all that the machine asks for, once the records among it are durable. What it asks for while some are being
    /// kept is the next batch: one commit for all of it.
    fn work(&mut self) {
        while !self.ledger.is_busy() {
            let mut records = Vec::new();
            while let Some(output) = self.machine.poll_output() {
                if let CoordinatorOutput::Persist(record) = output {
                    records.push(record);
                } else {
                    self.held_back.push(output);
                }
            }
            if self.ledger.begin(&records) || self.held_back.is_empty() {
                return;
            }
            self.release();
        }
    }

    fn release(&mut self) {
        for output in std::mem::take(&mut self.held_back) {
            if let Some(failed) = self.perform(output) {
                self.machine.handle(failed, self.clock.now());
            }
        }
    }

    /// Records are durable, or can't be kept: then nothing that follows them may be done, ever. Says whether to go on.
    fn on_kept(&mut self, kept: Result<(), String>) -> bool {
        if let Err(cause) = kept {
            let file = self.ledger.path().map(|path| path.display().to_string());
            tracing::error!(
                cause,
                file,
                "the store can't be written: the coordinator ends; free the disk and start it again"
            );
            return false;
        }
        self.release();
        self.work();
        true
    }

    /// Does one thing. Gives an input if it is known at once that it failed.
    fn perform(&mut self, output: CoordinatorOutput) -> Option<CoordinatorInput> {
        match output {
            CoordinatorOutput::Send { to, lane, message, blob } => {
                self.links.send(to, lane, &message, blob);
                None
            }
            // Taken out before.
            CoordinatorOutput::Persist(_) => None,
            CoordinatorOutput::Authenticate { request, name, credential } => {
                self.errands.authenticate(request, name, credential)
            }
            CoordinatorOutput::LoadCharacter { request, name } => self.errands.load(request, name),
            CoordinatorOutput::SaveCharacter { session, node, name, character } => {
                self.errands.save(session, node, name, character)
            }
            CoordinatorOutput::Reply { request, reply } => {
                self.door.reply(request, &reply, Instant::now());
                None
            }
            CoordinatorOutput::Census { request, nodes, missing } => {
                if let Some(to) = self.censuses.remove(&request) {
                    drop(to.send(Census { nodes: nodes.into_iter().collect(), missing }));
                }
                None
            }
            CoordinatorOutput::Why { request, account } => {
                if let Some(to) = self.whys.remove(&request) {
                    drop(to.send(account));
                }
                None
            }
            CoordinatorOutput::Standing { node, live } => {
                self.lives.set(node, live);
                None
            }
            CoordinatorOutput::Event(event) => {
                log(&event);
                None
            }
        }
    }
}

fn log(event: &CoordinatorEvent) {
    match event {
        CoordinatorEvent::NodeJoined { peer } => {
            tracing::info!(node = %peer.node, incarnation = peer.incarnation.0, "node registered");
        }
        CoordinatorEvent::Suspected { peer, last_heard } => {
            tracing::warn!(node = %peer.node, incarnation = peer.incarnation.0, %last_heard, "node suspected: no heartbeat");
        }
        CoordinatorEvent::LifeOver { peer } => {
            tracing::info!(node = %peer.node, incarnation = peer.incarnation.0, "the node's life is over");
        }
        CoordinatorEvent::Recovered { round, dead, restored, lost } => {
            let dead: Vec<_> = dead.iter().map(|peer| (peer.node, peer.incarnation.0)).collect();
            if lost.is_empty() {
                tracing::warn!(round, ?dead, restored, "recovery decided");
            } else {
                tracing::error!(
                    round,
                    ?dead,
                    restored,
                    ?lost,
                    "recovery decided: of some entities no copy is left"
                );
            }
        }
        CoordinatorEvent::RoundClosed { round } => tracing::info!(round, "recovery carried out"),
        CoordinatorEvent::MapChanged { version, cells_moved } => {
            tracing::info!(version, cells_moved, "cells assigned");
        }
        CoordinatorEvent::AuthorityViolation { entity, what } => {
            tracing::error!(%entity, what, "two authorities: invariant A1 is broken");
        }
        CoordinatorEvent::NodeMisbehaved { node, what } => tracing::warn!(%node, what, "node misbehaved"),
        CoordinatorEvent::StoreFailed { error } => tracing::warn!(error, "the character store failed"),
    }
}
