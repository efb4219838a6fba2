//! Which connection to a peer is the link. Pure bookkeeping: no I/O, no clock.
//!
//! The lower name of a pair decides, alone: as dialler by its confirmation, as answerer by its hello. The higher
//! one follows. So two dials that cross never leave the two ends with different connections:
//!
//! * The lower one lets an incoming dial wait for a moment while its own is under way, and prefers its own.
//! * While a link is up, a further dial of the same process is a duplicate, unless it says that it has lost that very
//!   connection. A dial of a restarted process, or with another payload, replaces the link.
//! * The old link goes only when the new one is confirmed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::hello::Hello;
use crate::mesh::link::LinkShared;
use crate::peer::PeerName;

/// All peers that are linked, being linked, or should be.
#[derive(Default)]
pub(crate) struct Registry {
    slots: BTreeMap<PeerName, Slot>,
}

#[derive(Default)]
struct Slot {
    target: Option<Target>,
    dialling: Option<Attempt>,
    accepting: Option<Attempt>,
    current: Option<Current>,
    /// The last connection that ended here and that the peer may still take for the link.
    lost: u64,
    /// Cancelled when the newest link's `Down` was delivered: the next `Up` waits for it.
    ended: Option<CancellationToken>,
    /// Wakes the dial loop.
    changed: Arc<Notify>,
}

/// Where a peer should be dialled.
struct Target {
    address: SocketAddr,
    cancel: CancellationToken,
}

/// A connection on its way to be the link.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) connection: u64,
    /// Cancelled when another connection was preferred.
    pub(crate) abort: CancellationToken,
    /// Cancelled when the attempt is over, either way.
    over: CancellationToken,
}

impl Attempt {
    fn new(connection: u64) -> Self {
        Self { connection, abort: CancellationToken::new(), over: CancellationToken::new() }
    }

    fn give_up(self) {
        self.abort.cancel();
        self.over.cancel();
    }
}

/// The link to a peer.
pub(crate) struct Current {
    pub(crate) connection: u64,
    pub(crate) instance: u64,
    pub(crate) payload: bytes::Bytes,
    pub(crate) link: Arc<LinkShared>,
}

/// A dial loop that has to be started.
#[derive(Debug)]
pub(crate) struct DialLoop {
    pub(crate) cancel: CancellationToken,
    pub(crate) changed: Arc<Notify>,
}

/// What a dial loop does next.
#[derive(Debug)]
pub(crate) enum NextDial {
    Dial { attempt: Attempt, address: SocketAddr, lost: u64 },
    Wait,
    Stop,
}

/// What becomes of an incoming connection whose hello is good.
#[derive(Debug)]
pub(crate) enum Verdict {
    Accept(Attempt),
    Duplicate,
    WaitFor(CancellationToken),
}

/// A connection that has become the link.
pub(crate) struct Promoted {
    /// The link that it replaces.
    pub(crate) replaced: Option<Arc<LinkShared>>,
    /// Cancelled when the previous link's `Down` was delivered.
    pub(crate) previous_ended: Option<CancellationToken>,
    /// To be cancelled when this link's `Down` was delivered.
    pub(crate) ended: CancellationToken,
}

impl Registry {
    /// Wants a link to `peer`. Returns the dial loop to start if there is none yet.
    pub(crate) fn keep(&mut self, peer: &PeerName, address: SocketAddr) -> Option<DialLoop> {
        let slot = self.slots.entry(peer.clone()).or_default();
        if let Some(target) = &mut slot.target {
            if target.address != address {
                target.address = address;
                slot.changed.notify_one();
            }
            return None;
        }
        let cancel = CancellationToken::new();
        slot.target = Some(Target { address, cancel: cancel.clone() });
        slot.changed = Arc::default();
        Some(DialLoop { cancel, changed: slot.changed.clone() })
    }

    /// Wants no link to `peer`. Returns the link to close, if there is one.
    pub(crate) fn discard(&mut self, peer: &PeerName) -> Option<Arc<LinkShared>> {
        let slot = self.slots.get_mut(peer)?;
        if let Some(target) = slot.target.take() {
            target.cancel.cancel();
        }
        for attempt in [slot.dialling.take(), slot.accepting.take()].into_iter().flatten() {
            attempt.give_up();
        }
        let link = slot.current.as_ref().map(|current| current.link.clone());
        self.prune(peer);
        link
    }

    /// Asks for a dial; `connection` numbers it.
    pub(crate) fn begin_dial(&mut self, peer: &PeerName, connection: u64) -> NextDial {
        let Some(slot) = self.slots.get_mut(peer) else { return NextDial::Stop };
        let Some(target) = &slot.target else { return NextDial::Stop };
        if slot.current.is_some() || slot.accepting.is_some() {
            return NextDial::Wait;
        }
        let attempt = Attempt::new(connection);
        slot.dialling = Some(attempt.clone());
        NextDial::Dial { attempt, address: target.address, lost: slot.lost }
    }

    /// A dial is over, unless it became the link.
    pub(crate) fn end_dial(&mut self, peer: &PeerName, connection: u64) {
        let Some(slot) = self.slots.get_mut(peer) else { return };
        if let Some(attempt) = slot.dialling.take_if(|attempt| attempt.connection == connection) {
            attempt.over.cancel();
        }
        self.prune(peer);
    }

    /// Judges an incoming connection. `waited` says that it has waited for our own dial already.
    pub(crate) fn judge(&mut self, own: &PeerName, peer: &PeerName, hello: &Hello, waited: bool) -> Verdict {
        let slot = self.slots.entry(peer.clone()).or_default();
        let we_decide = own < peer;
        if let Some(current) = &slot.current {
            let same_process = hello.instance == current.instance && hello.payload == current.payload;
            if we_decide && same_process && hello.lost != current.connection {
                return Verdict::Duplicate;
            }
        } else if let Some(dialling) = &slot.dialling
            && we_decide
            && !waited
        {
            return Verdict::WaitFor(dialling.over.clone());
        }
        if we_decide && let Some(dialling) = slot.dialling.take() {
            dialling.give_up();
        }
        let attempt = Attempt::new(hello.connection);
        if let Some(older) = slot.accepting.replace(attempt.clone()) {
            older.give_up();
        }
        Verdict::Accept(attempt)
    }

    /// An accepted connection failed before it was confirmed.
    pub(crate) fn fail_accept(&mut self, own: &PeerName, peer: &PeerName, connection: u64) {
        let Some(slot) = self.slots.get_mut(peer) else { return };
        if slot.accepting.take_if(|attempt| attempt.connection == connection).is_some() && peer < own {
            // The peer decides, and its confirmation may be what got lost: to it the link may be up.
            slot.lost = connection;
        }
        slot.changed.notify_one();
        self.prune(peer);
    }

    /// Makes an attempt the link, if it still stands. `make` runs only then, and nothing else is decided meanwhile.
    pub(crate) fn promote(
        &mut self,
        peer: &PeerName,
        connection: u64,
        make: impl FnOnce() -> Current,
    ) -> Option<Promoted> {
        let slot = self.slots.get_mut(peer)?;
        let stands = |attempt: &Option<Attempt>| attempt.as_ref().is_some_and(|a| a.connection == connection);
        if !stands(&slot.dialling) && !stands(&slot.accepting) {
            return None;
        }
        for attempt in [slot.dialling.take(), slot.accepting.take()].into_iter().flatten() {
            if attempt.connection == connection {
                attempt.over.cancel();
            } else {
                attempt.give_up();
            }
        }
        let replaced = slot.current.replace(make()).map(|current| current.link);
        let ended = CancellationToken::new();
        let previous_ended = slot.ended.replace(ended.clone());
        slot.changed.notify_one();
        Some(Promoted { replaced, previous_ended, ended })
    }

    /// The connection of a link has ended.
    pub(crate) fn link_ended(&mut self, peer: &PeerName, connection: u64) {
        let Some(slot) = self.slots.get_mut(peer) else { return };
        if slot.current.take_if(|current| current.connection == connection).is_some() {
            slot.lost = connection;
            slot.changed.notify_one();
        }
    }

    /// Forgets a peer about whom there is nothing left to know.
    pub(crate) fn prune(&mut self, peer: &PeerName) {
        let idle = self.slots.get(peer).is_some_and(|slot| {
            slot.target.is_none()
                && slot.dialling.is_none()
                && slot.accepting.is_none()
                && slot.current.is_none()
                && slot.ended.as_ref().is_none_or(CancellationToken::is_cancelled)
        });
        if idle {
            self.slots.remove(peer);
        }
    }

    /// The link to a peer, if it is up.
    pub(crate) fn link(&self, peer: &PeerName) -> Option<Arc<LinkShared>> {
        self.slots.get(peer)?.current.as_ref().map(|current| current.link.clone())
    }

    /// How many links are up.
    pub(crate) fn links(&self) -> usize {
        self.slots.values().filter(|slot| slot.current.is_some()).count()
    }

    /// Ends every dial loop.
    pub(crate) fn stop_dialling(&mut self) {
        for slot in self.slots.values_mut() {
            if let Some(target) = slot.target.take() {
                target.cancel.cancel();
            }
            if let Some(attempt) = slot.dialling.take() {
                attempt.give_up();
            }
        }
    }
}
