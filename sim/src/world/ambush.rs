//! Harm that waits for a message, and comes just before or just after its delivery.

use core::time::Duration;

use selvedge_protocol::time::Time;

use super::World;
use crate::event::Process;
use crate::hosts::{Standstill, Timers};
use crate::moment::{MessageKind, Told};

/// When harm comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// The message is still under way.
    Before,
    /// It was delivered, and what that led to was said.
    After,
}

/// To whom harm comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Victim {
    /// Who sent the message.
    Sender,
    /// Who receives it.
    Receiver,
    /// This process.
    This(Process),
}

/// What harm.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// The process ends; a new one begins after a while, or never.
    Kill(Victim, Option<Duration>),
    /// The process stands still for a while.
    Still(Victim, Duration),
    /// Two processes lose their link for a while.
    Cut(Victim, Victim, Duration),
}

/// Harm that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ambush {
    pub(crate) kind: MessageKind,
    /// From whom; none: whoever.
    pub(crate) from: Option<Process>,
    /// To whom; none: whoever.
    pub(crate) to: Option<Process>,
    pub(crate) moment: Moment,
    pub(crate) deed: Deed,
    /// Until when it waits.
    pub(crate) until: Time,
}

impl World {
    /// Harm waits from now on. Replaces what waited before.
    pub(crate) const fn lay_ambush(&mut self, ambush: Ambush) {
        self.ambush = Some(ambush);
    }

    /// Whether harm came, or waits no more.
    pub(crate) const fn was_sprung(&self) -> bool {
        self.ambush.is_none()
    }

    /// Harm comes if it waits for this message, at this moment.
    pub(super) fn spring(&mut self, moment: Moment, from: Process, to: Process, told: Told<'_>) {
        let Some(ambush) = self.ambush else {
            return;
        };
        if self.now > ambush.until {
            self.ambush = None;
            return;
        }
        let is_here = ambush.moment == moment
            && ambush.from.is_none_or(|sender| sender == from)
            && ambush.to.is_none_or(|receiver| receiver == to);
        if !is_here || !(ambush.kind.is)(told) {
            return;
        }
        self.ambush = None;
        self.note(to, || format!("{moment:?} {:?}: {:?}", ambush.kind, ambush.deed));
        let name = |victim| match victim {
            Victim::Sender => from,
            Victim::Receiver => to,
            Victim::This(process) => process,
        };
        match ambush.deed {
            Deed::Kill(victim, back_after) => self.kill(name(victim), back_after),
            Deed::Still(victim, length) => {
                let standstill = Standstill { until: self.now + length, timers: Timers::Last };
                self.stand_still(name(victim), standstill);
            }
            Deed::Cut(a, b, length) => self.part(name(a), name(b), length),
        }
    }

    /// A process ends, and begins anew after a while, or never; the coordinator always does.
    pub(crate) fn kill(&mut self, process: Process, back_after: Option<Duration>) {
        match process {
            Process::Node(node) => self.crash_node(node, back_after),
            Process::Coordinator => self.crash_coordinator(back_after.unwrap_or_default()),
            Process::Player(player) => self.crash_player(self.players[player].stay, back_after),
        }
    }

    /// Two processes lose their link for a while.
    pub(crate) fn part(&mut self, a: Process, b: Process, length: Duration) {
        if let Some(link) = self.network.between(a, b) {
            self.cut(link, length);
            return;
        }
        if let (Process::Player(_), Process::Node(node)) | (Process::Node(node), Process::Player(_)) = (a, b)
        {
            self.shut_clients_out(node, length);
        }
    }
}
