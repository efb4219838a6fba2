//! The links between the processes of the mesh: what they delay, lose, double, reorder and replay.
//!
//! Deliberately absent: the clients' connections ([`connections`](crate::connections)), and what the messages mean.

use core::time::Duration;

use selvedge_protocol::time::Time;
use selvedge_protocol::wire::Lane;

use crate::dice::Dice;
use crate::event::Process;
use crate::scenario::Faults;
use crate::stats::Stats;

/// Which link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LinkId(usize);

/// One link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    /// Whether messages pass.
    pub(crate) up: bool,
    /// Whether it is cut, and can't come up.
    pub(crate) cut: bool,
    /// Whether it is about to come up.
    pub(crate) rising: bool,
    /// Whether one end's process is no more, which the other has not noticed.
    pub(crate) doomed: bool,
    /// Counts how often it came up or went down: what was under way is lost with the life that it was sent in.
    pub(crate) life: u32,
    /// Until when everything is lost, for each direction.
    deaf_until: [Time; 2],
    /// When the last message in order arrives, for each direction.
    in_order: [Time; 2],
    delay_us: u64,
    /// Until when it can't come up.
    pub(crate) barred_until: Time,
}

impl Link {
    /// Nothing passes any more, and what is under way is lost.
    pub(crate) const fn drop_all(&mut self) {
        (self.up, self.rising, self.doomed) = (false, false, false);
        self.life += 1;
    }
}

/// When copies of one message arrive, and whether a copy is a replay.
pub(crate) type Arrivals = [Option<(Time, bool)>; 3];

/// All links.
pub(crate) struct Network {
    nodes: usize,
    links: Vec<Link>,
    faults: Faults,
    dice: Dice,
}

impl Network {
    /// Links for so many nodes, all down.
    pub(crate) fn new(nodes: usize, faults: Faults, mut dice: Dice) -> Self {
        let links = (0..nodes + nodes * nodes)
            .map(|_| Link { delay_us: dice.whole(faults.delay_us.0, faults.delay_us.1), ..Link::default() })
            .collect();
        Self { nodes, links, faults, dice }
    }

    /// The link of two nodes.
    pub(crate) fn of_nodes(&self, a: usize, b: usize) -> LinkId {
        LinkId(self.nodes + a.min(b) * self.nodes + a.max(b))
    }

    /// The link of a node and the coordinator.
    pub(crate) const fn of_coordinator(node: usize) -> LinkId {
        LinkId(node)
    }

    /// Whom a link connects.
    pub(crate) const fn ends(&self, link: LinkId) -> [Process; 2] {
        match link.0.checked_sub(self.nodes) {
            None => [Process::Coordinator, Process::Node(link.0)],
            Some(pair) => [Process::Node(pair / self.nodes), Process::Node(pair % self.nodes)],
        }
    }

    /// Every link that ends at a process.
    pub(crate) fn links_of(&self, process: Process) -> Vec<LinkId> {
        match process {
            Process::Coordinator => (0..self.nodes).map(Self::of_coordinator).collect(),
            Process::Node(node) => {
                let others = (0..self.nodes).filter(|other| *other != node);
                core::iter::once(Self::of_coordinator(node))
                    .chain(others.map(|other| self.of_nodes(node, other)))
                    .collect()
            }
            Process::Player(_) => Vec::new(),
        }
    }

    /// The end of a link that this one isn't.
    pub(crate) fn other_end(&self, link: LinkId, end: Process) -> Process {
        let [first, second] = self.ends(link);
        if first == end { second } else { first }
    }

    /// The link of two processes.
    pub(crate) fn between(&self, a: Process, b: Process) -> Option<LinkId> {
        match (a, b) {
            (Process::Coordinator, Process::Node(node)) | (Process::Node(node), Process::Coordinator) => {
                Some(Self::of_coordinator(node))
            }
            (Process::Node(a), Process::Node(b)) if a != b => Some(self.of_nodes(a, b)),
            (_, _) => None,
        }
    }

    /// The link itself.
    pub(crate) fn link(&mut self, link: LinkId) -> &mut Link {
        &mut self.links[link.0]
    }

    /// From now on nothing is lost, doubled or held up.
    pub(crate) fn calm(&mut self) {
        let Faults { loss, duplicate, reorder, replay, .. } = &mut self.faults;
        for probability in [loss, duplicate, reorder, replay] {
            *probability = 0.0;
        }
        for link in &mut self.links {
            link.deaf_until = [Time::ZERO; 2];
        }
    }

    /// From now on every link can come up.
    pub(crate) fn unbar(&mut self) {
        self.links.iter_mut().for_each(|link| link.barred_until = Time::ZERO);
    }

    /// Every link that is cut.
    pub(crate) fn cut_links(&self) -> Vec<LinkId> {
        (0..self.links.len()).map(LinkId).filter(|link| self.links[link.0].cut).collect()
    }

    /// Loses everything on a link in the chosen directions for a while.
    pub(crate) fn deafen(&mut self, link: LinkId, directions: [bool; 2], until: Time) {
        let deaf_until = &mut self.links[link.0].deaf_until;
        for (deaf, until_then) in directions.into_iter().zip(deaf_until) {
            if deaf {
                *until_then = until;
            }
        }
    }

    /// What becomes of a message that is sent now.
    pub(crate) fn pass(
        &mut self,
        id: LinkId,
        from: Process,
        lane: Lane,
        now: Time,
        stats: &mut Stats,
    ) -> Arrivals {
        let direction = usize::from(self.ends(id)[0] != from);
        let (link, faults, dice) = (&mut self.links[id.0], &self.faults, &mut self.dice);
        stats.messages_sent += 1;
        if !link.up {
            stats.messages_unlinked += 1;
            return [None; 3];
        }
        if link.deaf_until[direction] > now || dice.chance(faults.loss) {
            stats.messages_dropped += 1;
            return [None; 3];
        }
        let delay = |dice: &mut Dice| Duration::from_micros(link.delay_us + dice.whole(0, faults.jitter_us));
        let mut arrival = now + delay(dice);
        if dice.chance(faults.reorder) {
            stats.messages_reordered += 1;
            arrival += dice.micros(faults.reorder_us);
        } else if lane == Lane::Control {
            arrival = arrival.max(link.in_order[direction]);
            link.in_order[direction] = arrival;
        }
        let mut arrivals = [Some((arrival, false)), None, None];
        if dice.chance(faults.duplicate) {
            stats.messages_duplicated += 1;
            arrivals[1] = Some((now + delay(dice), false));
        }
        if lane != Lane::Datagram && dice.chance(faults.replay) {
            stats.messages_duplicated += 1;
            arrivals[2] = Some((now + dice.micros(faults.replay_us), true));
        }
        arrivals
    }
}
