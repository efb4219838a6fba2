//! The one channel of an endpoint to its consumer, bounded in events and in bytes.
//!
//! The consumer holds a plain `mpsc::Receiver`, so nothing tells this side how many bytes it has taken. But the
//! channel is in order: the sizes of what was put in are remembered, and the number of events still in it says
//! which of them count. Who has no room waits until enough of the oldest were taken.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::share::Share;

/// Of the channel, one sender's share of one kind of event is this part.
const SHARES: usize = 8;
/// How long a sender waits that has used up its share. Too long and the consumer runs out of its events.
const NAP: Duration = Duration::from_millis(1);

/// The endpoint closes or its consumer is gone: nothing is delivered any more.
#[derive(Debug)]
pub(crate) struct InboxClosed;

#[derive(Debug)]
pub(crate) struct Inbox<E> {
    sender: mpsc::Sender<E>,
    ledger: Mutex<Ledger>,
    bytes_max: usize,
    closing: CancellationToken,
}

/// The sizes of the newest events, the oldest first. It may remember a few that were taken already.
#[derive(Debug, Default)]
struct Ledger {
    sizes: VecDeque<usize>,
    bytes: usize,
    /// Events put in since the beginning.
    delivered: u64,
}

impl Ledger {
    fn forget_taken(&mut self, still_queued: usize) {
        while self.sizes.len() > still_queued {
            self.bytes -= self.sizes.pop_front().unwrap_or(0);
        }
    }

    /// How many of the oldest events have to be taken before `bytes` more fit. An event always fits an empty channel.
    fn in_the_way(&self, bytes: usize, bytes_max: usize) -> usize {
        let mut left = self.bytes;
        let too_much = |size: &&usize| {
            let over = left + bytes > bytes_max;
            left -= **size;
            over
        };
        self.sizes.iter().take_while(too_much).count()
    }
}

impl<E> Inbox<E> {
    pub(crate) fn new(
        events_max: usize,
        bytes_max: usize,
        closing: CancellationToken,
    ) -> (Self, mpsc::Receiver<E>) {
        let (sender, receiver) = mpsc::channel(events_max);
        (Self { sender, ledger: Mutex::default(), bytes_max, closing }, receiver)
    }

    /// Delivers an event that holds `bytes` bytes, waiting for room. Events of one task arrive in its order.
    pub(crate) async fn deliver(&self, event: E, bytes: usize) -> Result<(), InboxClosed> {
        self.put(event, bytes).await.map(drop)
    }

    /// The same, once this sender has room in its share.
    pub(crate) async fn deliver_within(
        &self,
        share: &Share,
        event: E,
        bytes: usize,
    ) -> Result<(), InboxClosed> {
        let events_max = (self.sender.max_capacity() / SHARES).max(1);
        while !share.has_room(bytes, self.taken().await, events_max, self.bytes_max / SHARES) {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return Err(InboxClosed),
                () = tokio::time::sleep(NAP) => {}
            }
        }
        let number = self.put(event, bytes).await?;
        share.add(number, bytes);
        Ok(())
    }

    /// Events that the consumer has taken since the beginning, or fewer.
    async fn taken(&self) -> u64 {
        let delivered = self.ledger.lock().await.delivered;
        delivered.saturating_sub(self.queued() as u64)
    }

    /// Gives the event's number.
    async fn put(&self, event: E, bytes: usize) -> Result<u64, InboxClosed> {
        let mut ledger = tokio::select! {
            biased;
            ledger = self.ledger.lock() => ledger,
            () = self.closing.cancelled() => return Err(InboxClosed),
        };
        ledger.forget_taken(self.queued());
        let slots = match ledger.in_the_way(bytes, self.bytes_max) {
            0 => 1,
            // So many slots are free only once that many of the oldest events were taken.
            blocking => self.sender.max_capacity() - (ledger.sizes.len() - blocking),
        };
        let mut permits = tokio::select! {
            biased;
            permits = self.sender.reserve_many(slots) => permits.map_err(|_| InboxClosed)?,
            () = self.closing.cancelled() => return Err(InboxClosed),
        };
        let Some(permit) = permits.next() else { return Err(InboxClosed) };
        // The permits that are reserved now hold free slots: whatever isn't free or reserved is still queued.
        ledger.forget_taken(self.queued().saturating_sub(slots));
        permit.send(event);
        ledger.sizes.push_back(bytes);
        ledger.bytes += bytes;
        ledger.delivered += 1;
        Ok(ledger.delivered - 1)
    }

    /// Resolves when the consumer has dropped its receiver.
    pub(crate) async fn abandoned(&self) {
        self.sender.closed().await;
    }

    fn queued(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(events_max: usize, bytes_max: usize) -> (Inbox<u32>, mpsc::Receiver<u32>) {
        Inbox::new(events_max, bytes_max, CancellationToken::new())
    }

    /// Delivers until nothing more fits, and says how many did.
    async fn fill(inbox: &Inbox<u32>, bytes: usize) -> u32 {
        let mut delivered = 0;
        let wait = std::time::Duration::from_millis(20);
        while tokio::time::timeout(wait, inbox.deliver(delivered, bytes)).await.is_ok() {
            delivered += 1;
        }
        delivered
    }

    #[tokio::test]
    async fn bytes_bound_the_channel_before_the_count_does() {
        let (inbox, mut events) = inbox(100, 1000);
        assert_eq!(fill(&inbox, 300).await, 3);
        assert_eq!(events.recv().await, Some(0));
        assert_eq!(fill(&inbox, 300).await, 1);
        while events.try_recv().is_ok() {}
        assert_eq!(fill(&inbox, 100).await, 10);
    }

    #[tokio::test]
    async fn the_count_bounds_small_events() {
        let (inbox, mut events) = inbox(4, 1000);
        assert_eq!(fill(&inbox, 0).await, 4);
        assert!(events.try_recv().is_ok() && events.try_recv().is_ok());
        assert_eq!(fill(&inbox, 0).await, 2);
    }

    #[tokio::test]
    async fn an_event_above_the_bound_passes_when_nothing_else_waits() {
        let (inbox, mut events) = inbox(4, 1000);
        inbox.deliver(1, 10).await.unwrap();
        assert_eq!(fill(&inbox, 5000).await, 0);
        assert_eq!(events.recv().await, Some(1));
        assert_eq!(fill(&inbox, 5000).await, 1);
    }

    #[tokio::test]
    async fn a_waiting_delivery_ends_when_the_endpoint_closes() {
        let closing = CancellationToken::new();
        let (inbox, _events) = Inbox::new(1, 1000, closing.clone());
        inbox.deliver(1, 0).await.unwrap();
        let (result, ()) = tokio::join!(inbox.deliver(2, 0), async { closing.cancel() });
        assert!(result.is_err());
    }
}
