//! What dead nodes held: what this node knows of it, and what becomes of it.

use super::Node;
use crate::time::Time;
use crate::wire::RecoveryMessage;

impl Node {
    pub(super) fn on_recovery(&mut self, message: RecoveryMessage, _now: Time) {
        if let RecoveryMessage::Fence { dead, .. } = message {
            for peer in dead {
                self.shun(peer);
            }
        }
    }
}
