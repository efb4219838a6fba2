//! One player: the machine, its connections, and what waits for the player's program.
//!
//! The core is a value behind a lock that is never held over an `.await`: the player's task feeds it what comes
//! from the network, and the player's own calls go straight into it. So an input costs no hand-over between
//! tasks, is sent at once, and its number or its refusal is known on return.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use selvedge_protocol::handoff::client::{
    Client as Machine, ClientEvent, ClientInput, ClientOutput, ConnectionId, Link,
};
use selvedge_protocol::id::InputSeq;
use selvedge_protocol::limits::INPUT_BYTES_MAX;
use selvedge_protocol::time::Time;
use selvedge_protocol::wire::{self, ByeReason, ClientMessage, Invitation, SessionReply, SessionRequest};

use crate::client::{ActError, SeenEntity, SessionTicket};
use crate::endpoint::Target;
use crate::events::{Displaced, EventQueue};
use crate::slot::{Happening, Slot};
use crate::stats::ClientStats;

/// Whether the player has connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Here,
    /// Disconnected on purpose; the machine's timers rest.
    Away,
    /// The player's program holds no handle any more.
    Dropped,
}

/// One player. See the module's page.
#[derive(Debug)]
pub(crate) struct Core {
    machine: Machine,
    target: Arc<Target>,
    slots: BTreeMap<ConnectionId, Slot>,
    /// The question at the door that is waited for.
    question: Option<Slot>,
    events: EventQueue,
    stats: ClientStats,
    ticket: Option<SessionTicket>,
    /// The player came with a ticket: the machine's wish to enter is put to the door as a wish to resume.
    resuming: bool,
    presence: Presence,
    /// The next loss of all connections was the player's own wish.
    loss_expected: bool,
    /// Disconnected on purpose since the last state: the next gap is the player's own doing.
    was_away: bool,
    entered: bool,
    over: Option<Option<ByeReason>>,
    /// Wakes the player's task.
    task: Option<Waker>,
    /// Wakes whoever waits for an event.
    reader: Option<Waker>,
    /// When the task's timer fires.
    armed: Time,
}

impl Core {
    pub(crate) fn new(machine: Machine, target: Arc<Target>, ticket: Option<SessionTicket>) -> Self {
        Self {
            machine,
            target,
            slots: BTreeMap::new(),
            question: None,
            events: EventQueue::default(),
            stats: ClientStats::default(),
            resuming: ticket.is_some(),
            ticket,
            presence: Presence::Here,
            loss_expected: false,
            was_away: false,
            entered: false,
            over: None,
            task: None,
            reader: None,
            armed: Time::ZERO,
        }
    }

    // What the player does.

    /// Asks the door to be let in.
    pub(crate) fn enter(&mut self, name: String, credential: Vec<u8>) {
        self.tell(ClientInput::Enter { name, credential }, self.target.now());
    }

    /// Takes an input and sends it.
    pub(crate) fn act(&mut self, bytes: &[u8]) -> Result<InputSeq, ActError> {
        if self.over.is_some() {
            return Err(ActError::Over);
        }
        if self.presence != Presence::Here || !self.entered {
            self.stats.refused += 1;
            return Err(ActError::NotInWorld);
        }
        if bytes.len() > INPUT_BYTES_MAX {
            self.stats.refused += 1;
            return Err(ActError::TooLong { bytes: bytes.len() });
        }
        let before = self.machine.last_input();
        let now = self.target.now();
        self.tell(ClientInput::Act(Bytes::copy_from_slice(bytes)), now);
        let seq = self.machine.last_input();
        if seq == before {
            return Err(ActError::WindowFull);
        }
        self.stats.inputs_sent += 1;
        if self.deadline().is_some_and(|at| at < self.armed) {
            self.wake_task();
        }
        Ok(seq)
    }

    pub(crate) fn logout(&mut self) {
        self.come_back();
        self.tell(ClientInput::Logout, self.target.now());
        self.wake_task();
    }

    /// Drops every connection; the player lingers in the world.
    pub(crate) fn disconnect(&mut self) {
        if self.presence != Presence::Here {
            return;
        }
        self.presence = Presence::Away;
        self.loss_expected = true;
        self.was_away = true;
        self.drop_connections();
        self.wake_task();
    }

    pub(crate) fn come_back(&mut self) {
        if self.presence == Presence::Away {
            self.presence = Presence::Here;
            self.wake_task();
        }
    }

    /// No handle is left: ends the task.
    pub(crate) fn abandon(&mut self) {
        self.presence = Presence::Dropped;
        self.wake_task();
    }

    pub(crate) fn pop_event(&mut self) -> Option<ClientEvent> {
        self.events.pop()
    }

    pub(crate) fn over(&self) -> Option<Option<ByeReason>> {
        self.over
    }

    pub(crate) fn ticket(&self) -> Option<SessionTicket> {
        self.ticket.clone()
    }

    pub(crate) fn stats(&self) -> ClientStats {
        let unacknowledged = self.machine.unacknowledged() as u64;
        let without_effect = unacknowledged + self.stats.inputs_lost;
        let inputs_acknowledged = self.stats.inputs_sent.saturating_sub(without_effect);
        let inputs_forgotten = self.machine.inputs_forgotten();
        ClientStats { inputs_acknowledged, inputs_forgotten, ..self.stats.clone() }
    }

    pub(crate) fn link(&self) -> Link {
        match (self.over, self.presence) {
            (Some(_), _) => Link::Over,
            (None, Presence::Here) => self.machine.link(),
            (None, Presence::Away | Presence::Dropped) => Link::Lost,
        }
    }

    pub(crate) fn wait_as_reader(&mut self, cx: &Context<'_>) {
        keep_waker(&mut self.reader, cx);
    }

    // What the player's task does.

    /// Takes everything that has happened on the connections, and lets time pass. False once there is nothing left
    /// to do for good.
    pub(crate) fn progress(&mut self, cx: &mut Context<'_>) -> bool {
        keep_waker(&mut self.task, cx);
        loop {
            if self.presence == Presence::Dropped || self.over.is_some() {
                self.end();
                return false;
            }
            let now = self.target.now();
            let mut moved = self.poll_question(cx, now);
            moved |= self.poll_slots(cx, now);
            if self.deadline().is_some_and(|at| at <= now) {
                self.machine.handle_timeout(now);
                self.work(now);
                moved = true;
            }
            if !moved {
                return true;
            }
        }
    }

    /// When the task must run again if nothing happens; never while the player is away.
    pub(crate) fn deadline(&self) -> Option<Time> {
        if self.presence != Presence::Here {
            return None;
        }
        self.machine.poll_timeout().map(|(at, _)| at)
    }

    /// Remembers when the task's timer fires.
    pub(crate) fn set_armed(&mut self, at: Time) {
        self.armed = at;
    }

    /// Lets go of everything; also when the whole endpoint closes.
    pub(crate) fn end(&mut self) {
        self.question = None;
        self.slots.clear();
        self.task = None;
        if self.over.is_none() {
            self.over = Some(None);
        }
        wake(&mut self.reader);
    }

    fn poll_question(&mut self, cx: &mut Context<'_>, now: Time) -> bool {
        let Some(question) = &mut self.question else {
            return false;
        };
        let Poll::Ready(happening) = question.poll(cx) else {
            return false;
        };
        let answer = match happening {
            Happening::Opened => return true,
            Happening::Said(bytes) => wire::decode_session_reply(&bytes).map_err(|error| error.to_string()),
            Happening::Closed { reason } => Err(reason),
        };
        self.question = None;
        match answer {
            Ok(reply) => {
                if let SessionReply::Entered { session, secret, .. } = &reply {
                    self.ticket = Some(SessionTicket { session: *session, secret: *secret });
                }
                self.tell(ClientInput::Door(reply), now);
            }
            Err(reason) => {
                tracing::debug!(reason, "no answer at the door");
                self.stats.door_failed += 1;
                self.tell(ClientInput::DoorFailed, now);
            }
        }
        true
    }

    fn poll_slots(&mut self, cx: &mut Context<'_>, now: Time) -> bool {
        let mut moved = false;
        let mut from = Bound::Unbounded;
        // What is said on one connection may close another or open one.
        while let Some((&connection, slot)) = self.slots.range_mut((from, Bound::Unbounded)).next() {
            let Poll::Ready(happening) = slot.poll(cx) else {
                from = Bound::Excluded(connection);
                continue;
            };
            moved = true;
            match happening {
                Happening::Opened => self.tell(ClientInput::Connected { connection }, now),
                Happening::Said(bytes) => match wire::decode_server(&bytes) {
                    Ok(message) => self.tell(ClientInput::Message { connection, message }, now),
                    Err(error) => {
                        self.stats.malformed += 1;
                        tracing::debug!(%error, "a node sent what can't be read");
                    }
                },
                Happening::Closed { reason } => {
                    tracing::debug!(connection = connection.0, reason, "connection ended");
                    self.slots.remove(&connection);
                    self.tell(ClientInput::Closed { connection }, now);
                }
            }
        }
        moved
    }

    /// Everybody whom the player sees now.
    pub(crate) fn sights(&self) -> Vec<SeenEntity> {
        self.machine.sights(self.target.now()).map(SeenEntity::of).collect()
    }

    pub(crate) fn sight_time(&self) -> Option<Time> {
        self.machine.sight_time(self.target.now())
    }

    // Between the machine and the rest.

    fn tell(&mut self, input: ClientInput, now: Time) {
        self.machine.handle(input, now);
        self.work(now);
    }

    /// Does all that the machine asks for.
    fn work(&mut self, now: Time) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                ClientOutput::Ask(request) => self.ask(request, now),
                ClientOutput::Connect { connection, invitation } => {
                    self.connect(connection, &invitation, now)
                }
                ClientOutput::Send { connection, message } => self.send(connection, &message),
                ClientOutput::Close { connection } => {
                    self.slots.remove(&connection);
                }
                ClientOutput::Event(event) => self.on_event(event),
            }
        }
    }

    fn ask(&mut self, request: SessionRequest, now: Time) {
        if self.presence != Presence::Here {
            self.machine.handle(ClientInput::DoorFailed, now);
            return;
        }
        let request = match (&self.ticket, request) {
            (Some(ticket), SessionRequest::Enter { .. }) if self.resuming => {
                SessionRequest::Resume { session: ticket.session, secret: ticket.secret }
            }
            (_, request) => request,
        };
        if self.question.is_some() {
            self.stats.door_failed += 1;
        }
        self.question = Some(Slot::Dialling(self.target.dial_door(wire::encode_session_request(&request))));
        self.wake_task();
    }

    fn connect(&mut self, connection: ConnectionId, invitation: &Invitation, now: Time) {
        let address = invitation.addr.parse();
        match address {
            Ok(address) if self.presence == Presence::Here => {
                let first = wire::encode_client(&ClientMessage::Hello { token: invitation.token });
                let dial = self.target.dial(address, invitation.server_name.clone(), first);
                self.slots.insert(connection, Slot::Dialling(dial));
                self.wake_task();
            }
            Ok(_) => self.machine.handle(ClientInput::Closed { connection }, now),
            Err(_) => {
                self.stats.malformed += 1;
                tracing::warn!(addr = invitation.addr, "an invitation names no address");
                self.machine.handle(ClientInput::Closed { connection }, now);
            }
        }
    }

    fn send(&mut self, connection: ConnectionId, message: &ClientMessage) {
        let Some(slot) = self.slots.get(&connection) else {
            return;
        };
        let bytes = wire::encode_client(message);
        let sent = match message {
            ClientMessage::Inputs { .. } | ClientMessage::Ghosts { .. } => slot.send_datagram(bytes),
            ClientMessage::Hello { .. } | ClientMessage::Logout => slot.send(bytes),
        };
        if let Err(error) = sent {
            self.stats.unsent += 1;
            tracing::trace!(connection = connection.0, %error, "not sent");
        }
    }

    fn on_event(&mut self, event: ClientEvent) {
        match &event {
            ClientEvent::State(_) => {
                self.stats.states += 1;
                self.was_away = false;
                self.loss_expected = false;
            }
            ClientEvent::Entered { .. } => self.entered = true,
            ClientEvent::Switched { .. } if self.was_away => {}
            ClientEvent::Switched { gap, prepared, .. } => {
                self.stats.switches += 1;
                self.stats.prepared_switches += u64::from(*prepared);
                let gap_us = u64::try_from(gap.as_micros()).unwrap_or(u64::MAX);
                // The histogram resizes itself up to gaps of centuries.
                let _ = self.stats.client_gap.record(gap_us);
            }
            ClientEvent::InputRefused => {
                // The caller of `act` is told on the spot.
                self.stats.refused += 1;
                return;
            }
            ClientEvent::TwoAuthorities { epoch } => {
                self.stats.two_authorities += 1;
                tracing::error!(%epoch, "two nodes claim one authority");
            }
            ClientEvent::Lost => {
                let expected = std::mem::take(&mut self.loss_expected);
                self.stats.lost += u64::from(!expected);
            }
            ClientEvent::Silent => self.stats.silent += 1,
            ClientEvent::Recovered { epoch, silent, replayed, lost } => {
                self.stats.recoveries += 1;
                self.stats.inputs_replayed += u64::from(*replayed);
                self.stats.inputs_lost += u64::from(*lost);
                tracing::info!(%epoch, ?silent, replayed, lost, "another node has restored the player");
            }
            ClientEvent::Refused { .. } => self.stats.door_refused += 1,
            ClientEvent::Over { reason } => self.over = Some(*reason),
        }
        match self.events.push(event) {
            Displaced::Nothing => {}
            Displaced::OlderState => self.stats.states_replaced += 1,
            Displaced::OldestEvent => self.stats.events_lost += 1,
        }
        wake(&mut self.reader);
    }

    fn drop_connections(&mut self) {
        let now = self.target.now();
        for connection in std::mem::take(&mut self.slots).into_keys() {
            self.tell(ClientInput::Closed { connection }, now);
        }
        if self.question.take().is_some() {
            self.tell(ClientInput::DoorFailed, now);
        }
    }

    fn wake_task(&mut self) {
        // Taken by reference: the task keeps its waker here until it runs next.
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }
}

fn keep_waker(kept: &mut Option<Waker>, cx: &Context<'_>) {
    if !kept.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *kept = Some(cx.waker().clone());
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
