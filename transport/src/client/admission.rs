//! Who may begin a handshake on the client port: a budget per second, a limit in all and per address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::client::bucket::Bucket;
use crate::limits::ClientLimits;

#[derive(Debug)]
pub(crate) struct Admission {
    connections_max: usize,
    per_address_max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    open: usize,
    per_address: HashMap<IpAddr, usize>,
    handshakes: Bucket,
}

/// What to do with a connection attempt.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// Go on; the place is free again when this is dropped.
    Yes(Place),
    /// First let the address prove that it is real.
    Retry,
    Refused(Refusal),
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Connections,
    Address,
    Rate,
}

/// A connection's place among the allowed ones.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(crate) fn new(limits: &ClientLimits, now: Instant) -> Self {
        Self {
            connections_max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            state: Mutex::new(State {
                open: 0,
                per_address: HashMap::new(),
                handshakes: Bucket::new(limits.handshakes_per_second_max, 1.0, now),
            }),
        }
    }

    /// Judges an attempt from `address`; `proven` says that the address has been proven real.
    pub(crate) fn judge(self: &Arc<Self>, address: IpAddr, proven: bool, now: Instant) -> Admitted {
        let address = counted_as(address);
        let mut state = self.lock();
        if state.open >= self.connections_max {
            return Admitted::Refused(Refusal::Connections);
        }
        if state.per_address.get(&address).is_some_and(|open| *open >= self.per_address_max) {
            return Admitted::Refused(Refusal::Address);
        }
        if !proven && state.handshakes.is_low(now) {
            return Admitted::Retry;
        }
        if !state.handshakes.take(now) {
            return Admitted::Refused(Refusal::Rate);
        }
        state.open += 1;
        *state.per_address.entry(address).or_default() += 1;
        Admitted::Yes(Place { admission: self.clone(), address })
    }

    /// Connections that have a place now.
    pub(crate) fn open(&self) -> usize {
        self.lock().open
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        state.open = state.open.saturating_sub(1);
        if let Some(open) = state.per_address.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                state.per_address.remove(&self.address);
            }
        }
    }
}

/// One IPv6 customer has 2^64 addresses, so these count by their network.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(limits: ClientLimits, now: Instant) -> Arc<Admission> {
        Arc::new(Admission::new(&limits, now))
    }

    #[test]
    fn addresses_of_one_network_share_their_limit_and_give_places_back() {
        let now = Instant::now();
        let admission = admission(ClientLimits { connections_per_address_max: 1, ..Default::default() }, now);
        let judge = |address: &str| admission.judge(address.parse().unwrap(), true, now);
        let Admitted::Yes(place) = judge("2001:db8::1") else { panic!("the first was refused") };
        assert!(matches!(judge("2001:db8::2"), Admitted::Refused(Refusal::Address)));
        assert!(matches!(judge("2001:db8:0:1::1"), Admitted::Yes(_)));
        drop(place);
        assert!(matches!(judge("2001:db8::2"), Admitted::Yes(_)));
        assert_eq!(admission.open(), 0);
    }

    #[test]
    fn a_low_budget_asks_for_proof_and_an_empty_one_refuses() {
        let now = Instant::now();
        let admission = admission(ClientLimits { handshakes_per_second_max: 4, ..Default::default() }, now);
        let judge = |proven| admission.judge([127, 0, 0, 1].into(), proven, now);
        let places: Vec<_> = (0..3).map(|_| judge(false)).collect();
        assert!(places.iter().all(|admitted| matches!(admitted, Admitted::Yes(_))));
        assert!(matches!(judge(false), Admitted::Retry));
        assert!(matches!(judge(true), Admitted::Yes(_)));
        assert!(matches!(judge(true), Admitted::Refused(Refusal::Rate)));
    }
}
