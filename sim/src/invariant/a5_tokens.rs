//! A5: a token admits at most one connection, only at its node, only for its entity, only before it expires.

use std::collections::BTreeMap;

use selvedge_protocol::id::{ClientId, EntityId};
use selvedge_protocol::time::Time;

use super::{Fact, Invariant, Step, TokenBytes, TokenTarget, Violation};

const NAME: &str = "A5 tokens";

/// Follows every token from grant to use. See the module's page.
#[derive(Debug, Default)]
pub struct Tokens {
    granted: BTreeMap<TokenBytes, Grant>,
    asked: BTreeMap<(usize, u64), EntityId>,
    shown: BTreeMap<(usize, ClientId), (TokenBytes, Time)>,
    /// Connections that are in: what follows their admission is none.
    admitted: BTreeMap<(usize, ClientId), EntityId>,
}

#[derive(Debug)]
struct Grant {
    node: usize,
    entity: Option<EntityId>,
    expires_at: Time,
    used: u32,
}

impl Invariant for Tokens {
    fn observe(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        for fact in step.facts {
            match fact {
                Fact::AdmissionAsked { node, request, entity } => {
                    self.asked.insert((*node, *request), *entity);
                }
                Fact::TokenGranted { node, token, to, expires_at } => {
                    self.on_granted(*node, *token, *to, *expires_at);
                }
                Fact::TokenShown { node, client, token, at } => {
                    self.shown.insert((*node, *client), (*token, *at));
                }
                Fact::Admitted { node, client, entity } => self.on_admitted(*node, *client, *entity)?,
                Fact::Standing { .. }
                | Fact::Published { .. }
                | Fact::Born { .. }
                | Fact::Gone { .. }
                | Fact::PlayerBegan { .. }
                | Fact::Ended { .. }
                | Fact::StoodStill { .. }
                | Fact::Stirred { .. }
                | Fact::Acted { .. }
                | Fact::Renumbered { .. }
                | Fact::LifeOver { .. }
                | Fact::LeaseOutlived { .. }
                | Fact::CutSafe { .. }
                | Fact::Restored { .. }
                | Fact::Client { .. }
                | Fact::CoordinatorSawViolation { .. }
                | Fact::Action { .. }
                | Fact::Attached { .. }
                | Fact::Runs { .. }
                | Fact::Event(_)
                | Fact::GhostsShown { .. }
                | Fact::GameComplained { .. }
                | Fact::Inspected(_) => {}
            }
        }
        Ok(())
    }
}

impl Tokens {
    fn on_granted(&mut self, node: usize, token: TokenBytes, to: TokenTarget, expires_at: Time) {
        let entity = match to {
            TokenTarget::Entity(entity) => Some(entity),
            TokenTarget::Admission(request) => self.asked.get(&(node, request)).copied(),
        };
        let grant = self.granted.entry(token).or_insert(Grant { node, entity, expires_at, used: 0 });
        // The same answer said again: it is good for as long as the last of them says.
        grant.expires_at = grant.expires_at.max(expires_at);
    }

    fn on_admitted(&mut self, node: usize, client: ClientId, entity: EntityId) -> Result<(), Violation> {
        if let Some(before) = self.admitted.insert((node, client), entity) {
            if before == entity {
                return Ok(());
            }
            return broken(entity, format!("node {node} moved {client:?} from {before} to {entity}"));
        }
        let shown = self.shown.get(&(node, client));
        let Some((grant, at)) = shown.and_then(|(token, at)| Some((self.granted.get_mut(token)?, *at)))
        else {
            return broken(entity, format!("node {node} admitted {client:?} by a token that nobody granted"));
        };
        grant.used += 1;
        let (used, expires_at) = (grant.used, grant.expires_at);
        if used > 1 {
            broken(entity, format!("node {node} admitted {client:?} by a token already used for {entity}"))
        } else if grant.node != node {
            broken(entity, format!("node {node} admitted {client:?} by a token of node {}", grant.node))
        } else if grant.entity != Some(entity) {
            broken(
                entity,
                format!("node {node} admitted {client:?} to {entity} by a token for {:?}", grant.entity),
            )
        } else if at >= expires_at {
            broken(
                entity,
                format!("node {node} admitted {client:?} by a token shown at {at}, good until {expires_at}"),
            )
        } else {
            Ok(())
        }
    }
}

fn broken(entity: EntityId, what: String) -> Result<(), Violation> {
    Err(Violation { invariant: NAME, what, entity: Some(entity), player: None })
}
