//! Who may begin a handshake on a port: a budget per second and a limit of places, in all and per address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::bucket::Bucket;

/// Of the handshakes in a second, one address may have this part: whoever knocks without end at one place leaves the rest
/// to the others.
const ADDRESS_SHARE: u32 = 4;
/// Addresses that are remembered, for each place that there is. Past it those that have not knocked lately are forgotten.
const REMEMBERED: usize = 2;

/// What a port bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdmissionLimits {
    /// Places in all.
    pub(crate) places_max: usize,
    /// Places of one address.
    pub(crate) per_address_max: usize,
    /// Handshakes begun a second.
    pub(crate) per_second_max: u32,
    /// Whether half of the places, of all and of an address, is for addresses that have proven to be real. Where a place is
    /// held only as long as a handshake, those that are taken in others' names would otherwise be all there are.
    pub(crate) half_for_proven: bool,
}

#[derive(Debug)]
pub(crate) struct Admission {
    limits: AdmissionLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    open: usize,
    per_address: HashMap<IpAddr, Address>,
    handshakes: Bucket,
}

#[derive(Debug)]
struct Address {
    open: usize,
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
    pub(crate) fn new(limits: AdmissionLimits, now: Instant) -> Self {
        let handshakes = Bucket::new(limits.per_second_max, 1.0, now);
        Self { limits, state: Mutex::new(State { open: 0, per_address: HashMap::new(), handshakes }) }
    }

    /// Judges an attempt from `address`; `proven` says that the address has been proven real.
    pub(crate) fn judge(self: &Arc<Self>, address: IpAddr, proven: bool, now: Instant) -> Admitted {
        let address = counted_as(address);
        let AdmissionLimits { places_max, per_address_max, per_second_max, half_for_proven } = self.limits;
        let mut state = self.lock();
        let State { open, per_address, handshakes } = &mut *state;
        if *open >= places_max {
            return Admitted::Refused(Refusal::Connections);
        }
        if per_address.len() >= places_max.saturating_mul(REMEMBERED) {
            per_address.retain(|_, known| known.open > 0 || !known.handshakes.is_full(now));
        }
        let per_second = per_second_max.div_ceil(ADDRESS_SHARE);
        let known = per_address
            .entry(address)
            .or_insert_with(|| Address { open: 0, handshakes: Bucket::new(per_second, 1.0, now) });
        if known.open >= per_address_max {
            return Admitted::Refused(Refusal::Address);
        }
        // Nobody uses up what is another address's by giving that one as theirs.
        let few_places =
            half_for_proven && (*open >= places_max.div_ceil(2) || known.open >= per_address_max.div_ceil(2));
        if !proven && (few_places || handshakes.is_low(now) || known.handshakes.is_low(now)) {
            return Admitted::Retry;
        }
        if !known.handshakes.has_one(now) || !handshakes.take(now) {
            return Admitted::Refused(Refusal::Rate);
        }
        known.handshakes.take(now);
        known.open += 1;
        *open += 1;
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
        if let Some(known) = state.per_address.get_mut(&self.address) {
            known.open = known.open.saturating_sub(1);
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
    use crate::limits::ClientLimits;

    fn admission(limits: AdmissionLimits, now: Instant) -> Arc<Admission> {
        Arc::new(Admission::new(limits, now))
    }

    fn limits() -> AdmissionLimits {
        ClientLimits::default().admission()
    }

    #[test]
    fn addresses_of_one_network_share_their_limit_and_give_places_back() {
        let now = Instant::now();
        let admission = admission(AdmissionLimits { per_address_max: 1, ..limits() }, now);
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
        let admission = admission(AdmissionLimits { per_second_max: 4, ..limits() }, now);
        let judge = |last, proven| admission.judge([127, 0, 0, last].into(), proven, now);
        let places: Vec<_> = (0..3).map(|last| judge(last, false)).collect();
        assert!(places.iter().all(|admitted| matches!(admitted, Admitted::Yes(_))));
        assert!(matches!(judge(3, false), Admitted::Retry));
        assert!(matches!(judge(4, true), Admitted::Yes(_)));
        assert!(matches!(judge(5, true), Admitted::Refused(Refusal::Rate)));
    }

    #[test]
    fn one_address_that_knocks_without_end_leaves_the_budget_to_the_others() {
        let now = Instant::now();
        let admission = admission(AdmissionLimits { per_second_max: 40, ..limits() }, now);
        let judge = |last, proven| admission.judge([127, 0, 0, last].into(), proven, now);
        let let_in = (0..100).filter(|_| matches!(judge(1, true), Admitted::Yes(_))).count();
        assert_eq!(let_in, 10);
        assert!(matches!(judge(1, false), Admitted::Retry), "it may not even be that address");
        assert!((2..7).all(|last| matches!(judge(last, false), Admitted::Yes(_))));
        let later = now + std::time::Duration::from_secs(1);
        assert!(matches!(admission.judge([127, 0, 0, 1].into(), true, later), Admitted::Yes(_)));
    }

    #[test]
    fn attempts_in_others_names_leave_half_of_all_places_and_half_of_each_address_to_the_proven() {
        let now = Instant::now();
        let limits = AdmissionLimits { places_max: 8, per_address_max: 4, half_for_proven: true, ..limits() };
        let admission = admission(limits, now);
        let judge = |last, proven| admission.judge([127, 0, 0, last].into(), proven, now);
        let mut places: Vec<_> = (0..2).map(|_| judge(1, false)).collect();
        assert!(matches!(judge(1, false), Admitted::Retry), "half of that address's places are gone");
        places.extend([judge(1, true), judge(2, false)]);
        assert!(matches!(judge(3, false), Admitted::Retry), "half of all places are gone");
        places.extend([judge(1, true), judge(2, true), judge(3, true), judge(4, true)]);
        assert!(places.iter().all(|admitted| matches!(admitted, Admitted::Yes(_))), "{places:?}");
        assert!(matches!(judge(5, true), Admitted::Refused(Refusal::Connections)));
    }

    #[test]
    fn addresses_that_do_not_knock_any_more_are_forgotten() {
        let now = Instant::now();
        let limits = AdmissionLimits { places_max: 8, per_second_max: 1_000, ..limits() };
        let admission = admission(limits, now);
        for second in 0..50u32 {
            let now = now + std::time::Duration::from_secs(second.into());
            for last in 0..10 {
                drop(admission.judge(std::net::Ipv4Addr::from(second * 100 + last).into(), true, now));
            }
        }
        assert!(admission.lock().per_address.len() <= 8 * REMEMBERED + 10);
    }
}
