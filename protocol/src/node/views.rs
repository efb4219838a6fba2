//! What players see: each client has a view of this node's scene, ghosts included, around its player.

use bytes::Bytes;

use super::clients::ClientState;
use super::replication::{Ghosts, sight_rules};
use super::{GhostTraffic, Node};
use crate::ghost::{Outlet, SenderSettings, ViewInterest, is_ack};
use crate::id::{AuthorityEpoch, ClientId, EntityId};
use crate::time::{Tick, Time};
use crate::wire::ServerMessage;

/// One client's view.
#[derive(Debug)]
pub(super) struct View {
    outlet: Outlet,
    interest: ViewInterest,
}

impl Node {
    /// Sends each attached client its own state, and what is near.
    pub(super) fn show_clients(&mut self, tick: Tick, now: Time) -> GhostTraffic {
        let mut traffic = GhostTraffic::default();
        let viewers: Vec<(EntityId, AuthorityEpoch, ClientId)> = self
            .held
            .iter()
            .filter_map(|(&entity, held)| {
                let (when, epoch) = held.published?;
                Some((entity, epoch, held.client?)).filter(|_| when == tick)
            })
            .collect();
        for (entity, epoch, client) in viewers {
            // What is frozen told its state at once.
            if self.authority.holds(entity, epoch) {
                self.tell_state(client, entity, epoch, tick);
            }
            traffic.add(self.show_view(client, entity, now));
        }
        let clients = &self.clients;
        let is_attached = |client: &ClientId| matches!(clients.get(client), Some(ClientState::Attached(_)));
        self.ghosts.views.retain(|client, _| is_attached(client));
        traffic
    }

    pub(super) fn tell_state(
        &mut self,
        client: ClientId,
        entity: EntityId,
        epoch: AuthorityEpoch,
        tick: Tick,
    ) {
        let Some(held) = self.held.get(&entity) else {
            return;
        };
        let message = ServerMessage::State {
            entity,
            epoch,
            tick,
            applied: held.inputs.confirmed(),
            durable: self.durable_of(held),
            motion: held.motion,
            own: held.own.to_vec(),
        };
        self.tell_client(client, message);
    }

    fn show_view(&mut self, client: ClientId, entity: EntityId, now: Time) -> GhostTraffic {
        let Some(centre) = self.held.get(&entity).map(|held| held.motion.position) else {
            return GhostTraffic::default();
        };
        let (config, margin_m) = (&self.setup.config, self.membership.interest_margin_m());
        let ghosts = &mut self.ghosts;
        if !ghosts.views.contains_key(&client) {
            let session = Ghosts::next_number(&mut ghosts.numbers);
            let settings =
                SenderSettings { budget_bytes: config.client_budget_bytes, ..SenderSettings::for_client() };
            let rules = sight_rules(config.client_sees_m(margin_m), &config.class_margins_m);
            let view = View { outlet: Outlet::new(session, settings), interest: ViewInterest::new(rules) };
            ghosts.views.insert(client, view);
        }
        let Ghosts { scene, views, numbers, .. } = ghosts;
        let Some(View { outlet, interest }) = views.get_mut(&client) else {
            return GhostTraffic::default();
        };
        let before = outlet.stats();
        let sights = interest.look(scene, centre, Some(entity));
        outlet.tick(scene, sights, now, || Ghosts::next_number(numbers));
        let traffic = GhostTraffic::between(&before, &outlet.stats());
        let mut sent: Vec<Bytes> = Vec::new();
        while let Some(bytes) = outlet.poll() {
            sent.push(bytes);
        }
        for bytes in sent {
            self.tell_client(client, ServerMessage::Ghosts { bytes: bytes.into() });
        }
        traffic
    }

    /// A client says which of its ghosts' bytes have come.
    pub(super) fn on_client_ghosts(&mut self, client: ClientId, bytes: &[u8], now: Time) {
        let Some(view) = self.ghosts.views.get_mut(&client) else {
            return;
        };
        if !is_ack(bytes) || view.outlet.on_ack(bytes, now).is_err() {
            self.client_misbehaved(client, "sent an acknowledgement of ghosts that can't be");
        }
    }
}
