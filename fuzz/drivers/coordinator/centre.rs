//! A coordinator with a store that keeps what it is told, as the fuzzed programs drive it.
//!
//! After every input: what it says is within what others take, what it grants was kept before, no number that fences goes
//! backward, nothing floods. Whatever was kept makes a coordinator again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use selvedge_protocol::config::{CoordinatorConfig, WorldConfig};
use selvedge_protocol::coordinator::{
    Coordinator, CoordinatorEvent, CoordinatorImage, CoordinatorInput, CoordinatorOutput, Record, Whom,
};
use selvedge_protocol::grid::{CellId, GridConfig};
use selvedge_protocol::id::{EntityId, Incarnation, NodeId, Peer, SessionId, Term};
use selvedge_protocol::limits::BLOB_BYTES_MAX;
use selvedge_protocol::time::Time;
use selvedge_protocol::token::Token;
use selvedge_protocol::wire::{
    self, AdmitOutcome, LeaseMessage, Load, Message, RecoveryMessage, SessionReply, SessionRequest,
    Whereabouts, WhyMessage,
};

use crate::drivers::named::Named;

/// Outputs that one input may cause: more is a flood.
const OUTPUTS_MAX: usize = 20_000;
/// Timers that may fire one after the other at one moment.
const TIMEOUTS_MAX: usize = 1_000;
/// What a node was told and hasn't answered, at most.
const TOLD_MAX: usize = 64;
/// Cells in a row, the first of them pinned to the first nodes.
const CELLS: u32 = 3;

/// What the authenticator and the store are asked.
enum Errand {
    Authenticate { request: u64, name: String },
    Load { request: u64 },
    Save { session: SessionId, node: NodeId },
}

/// An honest node's part.
#[derive(Default)]
struct Member {
    incarnation: Option<Incarnation>,
    told: VecDeque<Message>,
}

/// A coordinator, all whom it asks, and its clock.
pub struct Centre {
    coordinator: Coordinator,
    image: CoordinatorImage,
    members: BTreeMap<NodeId, Member>,
    errands: VecDeque<Errand>,
    /// What the coordinator has named.
    pub named: Named,
    /// What has happened at least once.
    pub reached: BTreeSet<&'static str>,
    requests: u64,
    /// Term, incarnation, round, as kept.
    newest: (Term, Incarnation, u32),
    now: Time,
}

fn config() -> CoordinatorConfig {
    let grid = GridConfig { origin_m: [0.0; 3], cell_edge_m: 100.0, cells: [CELLS, 1, 1] };
    let pin = |x: u32| Some((CellId::new(0, x, 0, 0).ok()?, NodeId::from_u128(u128::from(x) + 1)));
    CoordinatorConfig {
        world: WorldConfig { grid, ..WorldConfig::default() },
        pinned: (0..CELLS).filter_map(pin).collect(),
        ..CoordinatorConfig::default()
    }
}

impl Centre {
    pub fn new() -> Self {
        let coordinator = Coordinator::new(config(), Term(1), [7; 32]);
        let mut centre = Self {
            coordinator: coordinator.expect("the configuration is good"),
            image: CoordinatorImage::default(),
            members: BTreeMap::new(),
            errands: VecDeque::new(),
            named: Named::default(),
            reached: BTreeSet::new(),
            requests: 0,
            newest: (Term(0), Incarnation(0), 0),
            now: Time::from_micros(1_000_000),
        };
        centre.drain();
        centre
    }

    pub fn handle(&mut self, input: CoordinatorInput) {
        self.coordinator.handle(input, self.now);
        self.drain();
    }

    /// Lets time pass, as a runtime would: to every moment that the coordinator asked for.
    pub fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        let mut at_once = 0;
        while let Some((at, reason)) = self.coordinator.poll_timeout().filter(|(at, _)| *at <= until) {
            at_once = if at <= self.now { at_once + 1 } else { 0 };
            assert!(at_once < TIMEOUTS_MAX, "the timer {reason:?} is due again and again");
            self.now = self.now.max(at);
            self.coordinator.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// Another goes on from what was kept.
    pub fn restart(&mut self) {
        let restored = Coordinator::restored(config(), self.image.clone(), self.now, [8; 32]);
        self.coordinator =
            restored.unwrap_or_else(|error| panic!("what was kept makes no coordinator: {error}"));
        self.errands.clear();
        self.reached.insert("restarted");
        self.drain();
    }

    pub fn ask(&mut self, message: SessionRequest) {
        self.requests += 1;
        self.named.keep_request(self.requests);
        self.handle(CoordinatorInput::Session { request: self.requests, message });
    }

    pub fn take_census(&mut self) {
        self.requests += 1;
        self.handle(CoordinatorInput::CensusAsked { request: self.requests });
    }

    /// Of an entity that was named before, mostly.
    pub fn ask_why(&mut self, entity: EntityId) {
        self.requests += 1;
        self.handle(CoordinatorInput::WhyAsked { request: self.requests, whom: Whom::Entity(entity) });
    }

    /// Everything that was asked is answered, as a good authenticator and an empty store do.
    pub fn serve(&mut self) {
        for errand in std::mem::take(&mut self.errands) {
            self.handle(match errand {
                Errand::Authenticate { request, name } => {
                    CoordinatorInput::Authenticated { request, verdict: Ok(name) }
                }
                Errand::Load { request } => {
                    CoordinatorInput::CharacterLoaded { request, character: Ok(None) }
                }
                Errand::Save { session, node } => {
                    CoordinatorInput::CharacterSaved { session, node, result: Ok(()) }
                }
            });
        }
    }

    /// What an honest node says by now.
    pub fn answer(&mut self, node: NodeId) {
        let member = self.members.entry(node).or_default();
        let told = std::mem::take(&mut member.told);
        let mut answers = vec![greeting(node, member.incarnation, self.now)];
        let life = member.incarnation.unwrap_or_default();
        answers.extend(told.into_iter().filter_map(|told| honest_answer(life, told)));
        for message in answers {
            let (incarnation, blob) = (None, Bytes::new());
            self.handle(CoordinatorInput::Message { from: node, incarnation, message, blob });
        }
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.coordinator.poll_output() {
            outputs += 1;
            assert!(outputs < OUTPUTS_MAX, "a flood, at last of {output:?}");
            match output {
                CoordinatorOutput::Persist(record) => self.keep(record),
                CoordinatorOutput::Send { to, message, blob, .. } => self.on_said(to, message, &blob),
                CoordinatorOutput::Authenticate { request, name, .. } => {
                    self.errands.push_back(Errand::Authenticate { request, name });
                }
                CoordinatorOutput::LoadCharacter { request, .. } => {
                    self.errands.push_back(Errand::Load { request });
                }
                CoordinatorOutput::SaveCharacter { session, node, .. } => {
                    self.errands.push_back(Errand::Save { session, node });
                }
                CoordinatorOutput::Reply { reply, .. } => self.on_reply(&reply),
                CoordinatorOutput::Event(event) => drop(self.reached.insert(kind(&event))),
                CoordinatorOutput::Why { account, .. } => {
                    self.reached.extend(account.is_some_and(|why| why.stay.is_some()).then_some("why told"));
                }
                CoordinatorOutput::Census { .. } | CoordinatorOutput::Standing { .. } => {}
            }
        }
    }

    fn keep(&mut self, record: Record) {
        let (term, incarnation, round) = &mut self.newest;
        match &record {
            Record::Term(kept) => {
                assert!(*kept >= *term, "the term went back from {term:?} to {kept:?}");
                *term = *kept;
            }
            Record::Incarnation(kept) => {
                assert!(*kept >= *incarnation, "incarnations went back from {incarnation} to {kept}");
                *incarnation = *kept;
            }
            Record::Round(kept) => {
                assert!(*kept > *round, "the round went from {round} to {kept}");
                *round = *kept;
            }
            _ => {}
        }
        self.image.apply(record);
    }

    fn on_said(&mut self, to: NodeId, message: Message, blob: &Bytes) {
        let read = wire::decode_mesh(&wire::encode_mesh(&message));
        assert!(read.is_ok(), "no node would take {message:?}: {read:?}");
        assert!(blob.len() <= BLOB_BYTES_MAX, "no node would take {} bytes behind {message:?}", blob.len());
        self.named.notice(&message);
        let member = self.members.entry(to).or_default();
        match &message {
            Message::Registered { incarnation, .. } => {
                let peer = Peer { node: to, incarnation: *incarnation };
                let kept = |record| matches!(record, Record::Life(life) if life.peer == peer && !life.over);
                assert!(self.image.records().any(kept), "{peer:?} was granted before it was kept");
                member.incarnation = Some(*incarnation);
            }
            Message::Lease(LeaseMessage::Fenced { incarnation, .. }) => {
                member.incarnation.take_if(|life| life == incarnation);
            }
            Message::Recovery(RecoveryMessage::Fence { round, .. }) => {
                assert!(round.number <= self.newest.2, "{round:?} began before it was kept");
            }
            _ => {}
        }
        if member.told.len() >= TOLD_MAX {
            member.told.pop_front();
        }
        member.told.push_back(message);
    }

    fn on_reply(&mut self, reply: &SessionReply) {
        let read = wire::decode_session_reply(&wire::encode_session_reply(reply));
        assert!(read.is_ok(), "no player would take {reply:?}: {read:?}");
        if let SessionReply::Entered { session, secret, .. } = reply {
            self.named.keep_session(*session);
            self.named.keep_token(*secret);
            self.reached.insert("entered");
        }
    }
}

fn greeting(node: NodeId, incarnation: Option<Incarnation>, now: Time) -> Message {
    match incarnation {
        Some(incarnation) => Message::Heartbeat {
            incarnation,
            sent_at: now,
            map_version: u64::MAX,
            mesh_time: Some(now),
            reported: Term(u64::MAX),
            load: Load::default(),
        },
        None => Message::Register {
            node,
            process: u64::try_from(node.as_u128()).unwrap_or(0),
            life: u32::try_from(now.as_micros() / 1_000).unwrap_or(u32::MAX),
            sent_at: now,
            mesh_addr: "10.0.0.9:1".to_owned(),
            client_addr: "10.0.0.9:2".to_owned(),
            server_name: "node-9".to_owned(),
            schema_min: 1,
            schema_max: 1,
        },
    }
}

fn honest_answer(life: Incarnation, message: Message) -> Option<Message> {
    Some(match message {
        Message::Lease(LeaseMessage::Assign { incarnation, assignment, .. }) => {
            let version = assignment.version;
            Message::Lease(LeaseMessage::Assigned { incarnation, version, heard: version })
        }
        Message::Lease(LeaseMessage::AskPromise { of, .. }) => {
            Message::Lease(LeaseMessage::Promised { by: life, of, answered_ago_us: Some(1_000_000) })
        }
        Message::Recovery(RecoveryMessage::Fence { round, .. }) => {
            let (cuts, claims) = (Vec::new(), Vec::new());
            Message::Recovery(RecoveryMessage::Claims { round, part: 0, parts: 1, cuts, claims })
        }
        Message::Recovery(RecoveryMessage::Verdict { round, .. }) => {
            Message::Recovery(RecoveryMessage::Carried { round })
        }
        Message::Admit { request, .. } => {
            let outcome = AdmitOutcome::Token { token: Token::from_bytes([5; 32]), ttl_us: 1_000_000 };
            Message::AdmitReply { request, outcome }
        }
        Message::Census { request, .. } => Message::CensusReply { request, entries: Vec::new() },
        Message::Why(WhyMessage::Ask { request, .. }) => {
            Message::Why(WhyMessage::Answer { request, whereabouts: Whereabouts::NotHere })
        }
        _ => return None,
    })
}

fn kind(event: &CoordinatorEvent) -> &'static str {
    match event {
        CoordinatorEvent::NodeJoined { .. } => "node joined",
        CoordinatorEvent::Suspected { .. } => "suspected",
        CoordinatorEvent::LifeOver { .. } => "life over",
        CoordinatorEvent::Recovered { .. } => "recovered",
        CoordinatorEvent::RoundClosed { .. } => "round closed",
        CoordinatorEvent::MapChanged { .. } => "map changed",
        CoordinatorEvent::AuthorityViolation { .. } => "authority violation",
        CoordinatorEvent::NodeMisbehaved { .. } => "node misbehaved",
        CoordinatorEvent::StoreFailed { .. } => "store failed",
    }
}
