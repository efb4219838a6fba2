//! What the game reports to the network thread, without ever waiting for it.

use std::collections::VecDeque;

use selvedge_protocol::node::GameReport;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// The sending end of the reports: what the channel doesn't take waits here and goes first at the next chance.
///
/// Invariant: `waiting` holds at most one frame.
#[derive(Debug)]
pub(crate) struct Outbox {
    channel: Sender<GameReport>,
    waiting: VecDeque<GameReport>,
    overflows: u64,
}

/// The network thread is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NobodyReads;

impl Outbox {
    pub(crate) const fn new(channel: Sender<GameReport>) -> Self {
        Self { channel, waiting: VecDeque::new(), overflows: 0 }
    }

    /// How often the channel was full since this was last asked.
    pub(crate) const fn take_overflows(&mut self) -> u64 {
        std::mem::replace(&mut self.overflows, 0)
    }

    /// Sends a report, or keeps it if the channel is full. A frame that waits gives way to a newer one: it would only
    /// be stale by the time it is read. Nothing else is ever dropped.
    pub(crate) fn send(&mut self, report: GameReport) -> Result<(), NobodyReads> {
        self.flush()?;
        if self.waiting.is_empty() {
            return match self.channel.try_send(report) {
                Ok(()) => Ok(()),
                Err(TrySendError::Closed(_)) => Err(NobodyReads),
                Err(TrySendError::Full(report)) => {
                    self.overflows += 1;
                    self.waiting.push_back(report);
                    Ok(())
                }
            };
        }
        self.overflows += 1;
        if is_frame(&report) {
            self.waiting.retain(|earlier| !is_frame(earlier));
        }
        self.waiting.push_back(report);
        Ok(())
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) -> Result<(), NobodyReads> {
        while !self.waiting.is_empty() {
            let permit = match self.channel.try_reserve() {
                Ok(permit) => permit,
                Err(TrySendError::Full(())) => return Ok(()),
                Err(TrySendError::Closed(())) => return Err(NobodyReads),
            };
            if let Some(report) = self.waiting.pop_front() {
                permit.send(report);
            }
        }
        Ok(())
    }
}

const fn is_frame(report: &GameReport) -> bool {
    matches!(report, GameReport::Frame { .. })
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::id::EntityId;
    use selvedge_protocol::time::Tick;
    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    fn frame(tick: u64) -> GameReport {
        GameReport::Frame { tick: Tick(tick), published: Vec::new() }
    }

    fn joined(entity: u128) -> GameReport {
        GameReport::Joined {
            entity: EntityId::from_u128(entity),
            accepted: false,
            motion: None,
            tick: Tick(0),
        }
    }

    fn read_all(receiver: &mut Receiver<GameReport>) -> Vec<String> {
        let reports = std::iter::from_fn(|| receiver.try_recv().ok());
        let names = reports.map(|report| {
            if let GameReport::Frame { tick, .. } = report {
                return format!("frame {}", tick.0);
            }
            let GameReport::Joined { entity, .. } = report else { panic!("{report:?}") };
            format!("joined {}", entity.as_u128())
        });
        names.collect()
    }

    #[test]
    fn a_full_channel_drops_old_frames_and_nothing_else() {
        let (sender, mut receiver) = channel(1);
        let mut outbox = Outbox::new(sender);
        for report in [frame(1), frame(2), joined(7), frame(3), joined(8), frame(4)] {
            outbox.send(report).unwrap();
        }
        assert_eq!(outbox.take_overflows(), 5);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.extend(read_all(&mut receiver));
            outbox.flush().unwrap();
        }
        assert_eq!(seen, ["frame 1", "joined 7", "joined 8", "frame 4"]);
    }

    #[test]
    fn a_dead_reader_is_noticed() {
        let (sender, receiver) = channel(1);
        drop(receiver);
        assert_eq!(Outbox::new(sender).send(frame(1)), Err(NobodyReads));
    }
}
