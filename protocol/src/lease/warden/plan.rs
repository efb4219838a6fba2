//! Who witnesses whom, and who keeps whose copies.

use std::collections::BTreeSet;

use super::{State, Warden};
use crate::id::Peer;
use crate::limits::VOTERS_MAX;
use crate::time::Time;

impl Warden {
    /// Deals voters and buddies: the next lives in a ring by node id, but no voter that has promised not to be one. The next
    /// change of a set waits until the node has heard of this one; whether it goes by it already does not matter.
    pub(super) fn plan(&mut self) {
        let ring: Vec<(Peer, String)> = self
            .watched
            .iter()
            .filter(|(_, watched)| !watched.is_given_up())
            .map(|(&peer, watched)| (peer, watched.host.clone()))
            .collect();
        for (at, (peer, host)) in ring.iter().enumerate() {
            let others = || ring.iter().cycle().skip(at + 1).take(ring.len() - 1);
            let others = || others().filter(|(other, _)| other.node != peer.node);
            let elsewhere = others().find(|(_, other)| other != host);
            let buddy = elsewhere.or_else(|| others().next()).map(|(other, _)| *other);
            let Some(watched) = self.watched.get_mut(peer) else {
                continue;
            };
            #[cfg(feature = "planted-bugs")]
            if self.bug == Some(crate::config::PlantedBug::KeepVoters) && !watched.sets.is_settled() {
                continue;
            }
            // Who is suspected stays in office, and keeps the voters that are being asked.
            if !watched.sets.is_heard() || !matches!(watched.state, State::Alive) {
                continue;
            }
            let votes = |other: &Peer| !watched.refused_by.contains(other);
            let wanted: BTreeSet<Peer> =
                others().map(|(other, _)| *other).filter(votes).take(VOTERS_MAX).collect();
            let newest = watched.sets.newest();
            // A buddy that lives keeps its office: another would have to be sent everything.
            let kept = newest.buddy.filter(|kept| ring.iter().any(|(other, _)| other == kept));
            let buddy = kept.or(buddy);
            if newest.buddy != buddy || !newest.voters.iter().eq(&wanted) {
                watched.sets.open(wanted.into_iter().collect(), buddy);
                watched.assign_at = Time::ZERO;
            }
        }
    }
}
