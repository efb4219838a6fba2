//! What a script sees of the messages between processes, and which of them it holds back or keeps a copy of.

use std::collections::BTreeSet;

use bytes::Bytes;
use selvedge_protocol::id::{NodeId, Peer};
use selvedge_protocol::wire::{Lane, LeaseMessage, Message};

use crate::event::Process;
use crate::network::LinkId;

/// What kind of message.
pub(crate) type Is = fn(&Message) -> bool;

/// What becomes of a message that a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It waits until the script releases it.
    Hold,
    /// It passes, and a copy is kept for later.
    Copy,
}

/// Names a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RuleId(usize);

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) from: Process,
    pub(super) to: Process,
    pub(super) link: LinkId,
    pub(super) sender: Option<Peer>,
    pub(super) lane: Lane,
    pub(super) message: Message,
    pub(super) blob: Bytes,
}

#[derive(Debug)]
struct Rule {
    is: Is,
    from: Process,
    to: Process,
    fate: Fate,
    on: bool,
    kept: Vec<Parcel>,
}

#[derive(Debug)]
struct Seen {
    from: Process,
    to: Process,
    message: Message,
    arrived: bool,
}

/// A script's hand on the network.
#[derive(Debug, Default)]
pub(super) struct Tap {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    /// Nodes that no client reaches.
    barred: BTreeSet<usize>,
    /// Whether the next connection gets a twin, and whether the twin comes first.
    twin: Option<bool>,
}

impl Tap {
    /// Whether a message that is sent now goes on its way.
    pub(super) fn lets_pass(&mut self, parcel: Parcel) -> bool {
        let Parcel { from, to, .. } = parcel;
        self.note(from, to, &parcel.message, false);
        let rule = self
            .rules
            .iter_mut()
            .find(|rule| rule.on && rule.from == from && rule.to == to && (rule.is)(&parcel.message));
        let Some(rule) = rule else {
            return true;
        };
        rule.kept.push(parcel);
        rule.fate == Fate::Copy
    }

    pub(super) fn on_arrival(&mut self, from: Process, to: Process, message: &Message) {
        self.note(from, to, message, true);
    }

    fn note(&mut self, from: Process, to: Process, message: &Message, arrived: bool) {
        let chatter = matches!(
            message,
            Message::Ghosts
                | Message::Heartbeat { .. }
                | Message::HeartbeatReply { .. }
                | Message::Lease(LeaseMessage::Renew { .. } | LeaseMessage::Renewed { .. })
        );
        if !chatter {
            self.seen.push(Seen { from, to, message: message.clone(), arrived });
        }
    }

    /// How many such messages were sent, or arrived.
    pub(super) fn count(&self, is: Is, from: Process, to: Process, arrived: bool) -> usize {
        let such =
            |seen: &&Seen| seen.arrived == arrived && seen.from == from && seen.to == to && is(&seen.message);
        self.seen.iter().filter(such).count()
    }

    pub(super) fn add(&mut self, is: Is, from: Process, to: Process, fate: Fate) -> RuleId {
        self.rules.push(Rule { is, from, to, fate, on: true, kept: Vec::new() });
        RuleId(self.rules.len() - 1)
    }

    /// Ends a rule; returns what it held back.
    pub(super) fn lift(&mut self, rule: RuleId) -> Vec<Parcel> {
        let rule = &mut self.rules[rule.0];
        rule.on = false;
        core::mem::take(&mut rule.kept)
    }

    /// The buddy that a node was last told to have, as far as it has heard.
    pub(super) fn buddy_of(&self, node: Process) -> Option<NodeId> {
        let told = |seen: &Seen| {
            let Message::Lease(LeaseMessage::Assign { assignment, .. }) = &seen.message else {
                return None;
            };
            (seen.arrived && seen.to == node).then_some(assignment.buddy)
        };
        self.seen.iter().rev().find_map(told).flatten().map(|buddy| buddy.node)
    }

    /// Whether a rule holds anything.
    pub(super) fn holds_back(&self, rule: RuleId) -> bool {
        !self.rules[rule.0].kept.is_empty()
    }

    /// What a rule has kept so far.
    pub(super) fn copies(&self, rule: RuleId) -> Vec<Parcel> {
        self.rules[rule.0].kept.clone()
    }

    /// Ends every rule; what is held back is lost.
    pub(super) fn lift_all(&mut self) {
        self.rules.iter_mut().for_each(|rule| rule.on = false);
        self.barred.clear();
        self.twin = None;
    }

    pub(super) fn bar(&mut self, node: usize) {
        self.barred.insert(node);
    }

    pub(super) fn unbar(&mut self, node: usize) {
        self.barred.remove(&node);
    }

    pub(super) fn bars(&self, node: usize) -> bool {
        self.barred.contains(&node)
    }

    pub(super) const fn want_twin(&mut self, ahead: bool) {
        self.twin = Some(ahead);
    }

    pub(super) const fn take_twin(&mut self) -> Option<bool> {
        self.twin.take()
    }
}
