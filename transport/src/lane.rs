//! The lanes of a link: what goes first when not everything can go at once.

use serde::{Deserialize, Serialize};

/// A priority class of messages on a link, from the most to the least urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Small messages in order, on one stream. The only lane that keeps an order.
    Control,
    /// The authority transfer of a handoff: one stream per message.
    Cutover,
    /// Actions between entities: one stream per message.
    Action,
    /// Snapshots sent ahead of a handoff: one stream per message, with limited concurrency.
    Precopy,
    /// Standby checkpoints: one stream per message, with limited concurrency.
    Checkpoint,
}

impl Lane {
    /// All lanes, the most urgent first.
    pub const ALL: [Lane; 5] = [Lane::Control, Lane::Cutover, Lane::Action, Lane::Precopy, Lane::Checkpoint];

    /// The lane's name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Control => "control",
            Lane::Cutover => "cutover",
            Lane::Action => "action",
            Lane::Precopy => "precopy",
            Lane::Checkpoint => "checkpoint",
        }
    }

    /// Place in arrays that hold something for each lane.
    pub(crate) fn index(self) -> usize {
        match self {
            Lane::Control => 0,
            Lane::Cutover => 1,
            Lane::Action => 2,
            Lane::Precopy => 3,
            Lane::Checkpoint => 4,
        }
    }

    /// The byte that stands for the lane at the head of a stream.
    pub(crate) fn byte(self) -> u8 {
        match self {
            Lane::Control => 1,
            Lane::Cutover => 2,
            Lane::Action => 3,
            Lane::Precopy => 4,
            Lane::Checkpoint => 5,
        }
    }

    /// The lane of a message that has a stream of its own. Control isn't one of them.
    pub(crate) fn from_stream_byte(byte: u8) -> Option<Lane> {
        Lane::ALL.into_iter().filter(|lane| *lane != Lane::Control).find(|lane| lane.byte() == byte)
    }

    /// Priority for the QUIC scheduler: higher goes first.
    pub(crate) fn priority(self) -> i32 {
        match self {
            Lane::Control => 4,
            Lane::Cutover => 3,
            Lane::Action => 2,
            Lane::Precopy => 1,
            Lane::Checkpoint => 0,
        }
    }

    /// Whether the lane carries bulk, which is queued and metered so that it never delays the others.
    pub(crate) fn is_bulk(self) -> bool {
        match self {
            Lane::Control | Lane::Cutover | Lane::Action => false,
            Lane::Precopy | Lane::Checkpoint => true,
        }
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_ordered_by_urgency_and_found_by_their_byte() {
        for pair in Lane::ALL.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].priority() > pair[1].priority());
        }
        for (index, lane) in Lane::ALL.into_iter().enumerate() {
            assert_eq!(lane.index(), index);
            let expected = if lane == Lane::Control { None } else { Some(lane) };
            assert_eq!(Lane::from_stream_byte(lane.byte()), expected);
        }
        assert_eq!(Lane::from_stream_byte(0), None);
    }
}
