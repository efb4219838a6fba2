//! What the checks are told of standby copies: read off the messages between nodes, not asked of the machines.

use std::collections::BTreeMap;

use selvedge_protocol::id::{EntityId, Peer};
use selvedge_protocol::time::Tick;
use selvedge_protocol::wire::{Message, Order, RecoveryMessage, StandbyMessage};

use super::World;
use crate::invariant::Fact;

/// Cuts of one life of a node that are remembered.
const CUTS_KEPT: usize = 64;

/// One cut, as it was sent.
#[derive(Debug, Default)]
struct Cut {
    entities: Vec<EntityId>,
    /// None until it was sent to its end.
    tick: Option<Tick>,
    gone: Vec<EntityId>,
}

/// Every cut that was sent lately.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    sent: BTreeMap<Peer, BTreeMap<u64, Cut>>,
}

impl Cuts {
    fn cut(&mut self, of: Peer, cut: u64) -> &mut Cut {
        let cuts = self.sent.entry(of).or_default();
        while cuts.len() > CUTS_KEPT {
            cuts.pop_first();
        }
        cuts.entry(cut).or_default()
    }

    /// A node sends something about a cut.
    fn on_sent(&mut self, from: Peer, said: &StandbyMessage) {
        if let StandbyMessage::Part { cut, copies, .. } = said {
            let known = &mut self.cut(from, *cut).entities;
            for copy in copies {
                if !known.contains(&copy.entity) {
                    known.push(copy.entity);
                }
            }
        } else if let StandbyMessage::End { cut, tick, gone, .. } = said {
            let held = self.cut(from, *cut);
            (held.tick, held.gone) = (Some(*tick), gone.clone());
        }
    }

    /// What a keeper has confirmed: it has this cut, and what it builds on was confirmed before.
    fn confirmed(&mut self, of: Peer, cut: u64) -> Option<(Tick, Cut)> {
        let cut = self.sent.get_mut(&of)?.remove(&cut)?;
        Some((cut.tick?, cut))
    }
}

impl World {
    /// Follows what is sent about copies.
    pub(super) fn note_copies_sent(&mut self, node: usize, message: &Message) {
        if let (Message::Standby(said), Some(me)) = (message, self.nodes[node].me()) {
            self.cuts.on_sent(me, said);
        }
    }

    /// Follows what arrives about copies. The word of a keeper whose life has ended since is worth nothing: the copies
    /// ended with it.
    pub(super) fn note_copies_arrived(
        &mut self,
        (from, sender): (usize, Option<Peer>),
        node: usize,
        message: &Message,
    ) {
        let keeper = &self.nodes[from];
        let keeps = keeper.alive && keeper.me().is_some() && keeper.me() == sender;
        if let (Message::Standby(StandbyMessage::Ack { cut }), Some(me)) = (message, self.nodes[node].me())
            && keeps
            && let Some((tick, Cut { entities, gone, .. })) = self.cuts.confirmed(me, *cut)
        {
            self.stats.cuts_confirmed += 1;
            self.facts.push(Fact::CutSafe { node, keeper: from, tick, entities, gone });
        }
    }

    /// Follows what a recovery restores.
    pub(super) fn note_orders(&mut self, message: &Message) {
        if let Message::Recovery(RecoveryMessage::Verdict { orders, .. }) = message {
            for order in orders {
                if let Order::Restore { entity, contents, .. } = order {
                    self.facts.push(Fact::Restored { entity: *entity, tick: contents.tick });
                }
            }
        }
    }
}
