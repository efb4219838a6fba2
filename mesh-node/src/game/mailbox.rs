//! What the network thread leaves for the game to find at its next tick.
//!
//! The lock is held for a push or a swap, never over game code.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::id::EntityId;
use selvedge_protocol::node::{GameCommand, GhostChange, Registration};

/// Everything that has come since the game last looked.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In order; a slot is empty where a ghost came and went unseen.
    commands: Vec<Option<GameCommand>>,
    /// Where in `commands` the newest unread `Appeared` or `Moved` of a ghost stands.
    ghosts: HashMap<EntityId, usize>,
    pub(crate) registration: Option<Registration>,
    pub(crate) map: Option<Arc<CellMap>>,
    /// Another node waits for the game's answer to one of the commands.
    urgent: bool,
}

impl Batch {
    /// Takes the commands out, in order, and keeps the room for the next ones.
    pub(crate) fn drain_commands(&mut self) -> impl Iterator<Item = GameCommand> + '_ {
        self.ghosts.clear();
        self.urgent = false;
        self.commands.drain(..).flatten()
    }

    fn push(&mut self, command: GameCommand) {
        self.urgent |= matches!(command, GameCommand::Admit { .. } | GameCommand::Warm { .. });
        match command {
            GameCommand::Ghost(change) => self.push_ghost(change),
            other @ (GameCommand::Join { .. }
            | GameCommand::Leave { .. }
            | GameCommand::Capture { .. }
            | GameCommand::Arm { .. }
            | GameCommand::Warm { .. }
            | GameCommand::Restore { .. }
            | GameCommand::Admit { .. }
            | GameCommand::Release { .. }
            | GameCommand::Input { .. }
            | GameCommand::Action(_)
            | GameCommand::Event(_)
            | GameCommand::Checkpoint(_)) => self.commands.push(Some(other)),
        }
    }

    /// A game that is slow to look finds one change per ghost, not all that it missed.
    fn push_ghost(&mut self, change: GhostChange) {
        match change {
            GhostChange::Appeared { entity, .. } => self.note_ghost(entity, change),
            GhostChange::Moved { entity, motion, tick } => match self.unread_ghost(entity) {
                Some(unread) => match unread {
                    GhostChange::Appeared { .. } => *unread = GhostChange::Appeared { entity, motion, tick },
                    GhostChange::Moved { .. } | GhostChange::Vanished { .. } => *unread = change,
                },
                None => self.note_ghost(entity, change),
            },
            GhostChange::Vanished { entity } => {
                let unread = self.ghosts.remove(&entity).and_then(|at| self.commands[at].take());
                let unseen = matches!(unread, Some(GameCommand::Ghost(GhostChange::Appeared { .. })));
                if !unseen {
                    self.commands.push(Some(GameCommand::Ghost(change)));
                }
            }
        }
    }

    fn note_ghost(&mut self, entity: EntityId, change: GhostChange) {
        self.ghosts.insert(entity, self.commands.len());
        self.commands.push(Some(GameCommand::Ghost(change)));
    }

    fn unread_ghost(&mut self, entity: EntityId) -> Option<&mut GhostChange> {
        let at = *self.ghosts.get(&entity)?;
        if let Some(GameCommand::Ghost(change)) = &mut self.commands[at] { Some(change) } else { None }
    }
}

/// The box between the two threads.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    batch: Mutex<Batch>,
    urgent: Condvar,
}

impl Mailbox {
    /// Leaves commands, in order.
    pub(crate) fn push(&self, commands: impl Iterator<Item = GameCommand>) {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        commands.for_each(|command| batch.push(command));
        if batch.urgent {
            drop(batch);
            self.urgent.notify_one();
        }
    }

    /// Waits until there is a command whose answer another node waits for, or the time is over.
    pub(crate) fn wait_urgent(&self, timeout: Duration) {
        let batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        if !batch.urgent {
            drop(self.urgent.wait_timeout(batch, timeout));
        }
    }

    pub(crate) fn set_registration(&self, registration: Registration) {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner).registration = Some(registration);
    }

    pub(crate) fn set_map(&self, map: Arc<CellMap>) {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner).map = Some(map);
    }

    /// The first registration and the newest map, once there is a registration. Commands stay where they are.
    pub(crate) fn take_registration(&self) -> Option<(Registration, Arc<CellMap>)> {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        let registration = batch.registration.take()?;
        Some((registration, batch.map.take().unwrap_or_default()))
    }

    /// Swaps what is there for `empty`, whose room is used again.
    pub(crate) fn swap(&self, empty: &mut Batch) {
        std::mem::swap(&mut *self.batch.lock().unwrap_or_else(PoisonError::into_inner), empty);
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::grid::{Motion, Position, Velocity};
    use selvedge_protocol::id::{Incarnation, NodeId, Peer, ReservationId};
    use selvedge_protocol::snapshot::Assembled;
    use selvedge_protocol::time::Tick;

    use super::*;

    const ENTITY: EntityId = EntityId::from_u128(7);

    fn at(x: f64) -> Motion {
        Motion { position: Position::new(x, 0.0, 0.0), velocity: Velocity::default() }
    }

    fn moved(tick: u64) -> GhostChange {
        GhostChange::Moved { entity: ENTITY, motion: at(tick as f64), tick: Tick(tick) }
    }

    fn appeared(tick: u64) -> GhostChange {
        GhostChange::Appeared { entity: ENTITY, motion: at(tick as f64), tick: Tick(tick) }
    }

    fn read(changes: &[GhostChange]) -> Vec<GhostChange> {
        let mailbox = Mailbox::default();
        mailbox.push(changes.iter().map(|&change| GameCommand::Ghost(change)));
        let mut batch = Batch::default();
        mailbox.swap(&mut batch);
        let ghosts = batch.drain_commands().map(|command| {
            let GameCommand::Ghost(change) = command else { panic!("{command:?}") };
            change
        });
        ghosts.collect()
    }

    #[test]
    fn only_the_newest_of_many_moves_is_found() {
        assert_eq!(read(&[moved(1), moved(2), moved(3)]), [moved(3)]);
    }

    #[test]
    fn a_ghost_that_appeared_and_moved_appears_where_it_is_now() {
        assert_eq!(read(&[appeared(1), moved(2), moved(3)]), [appeared(3)]);
    }

    #[test]
    fn a_ghost_that_came_and_went_was_never_there() {
        assert_eq!(read(&[appeared(1), moved(2), GhostChange::Vanished { entity: ENTITY }]), []);
    }

    #[test]
    fn a_ghost_that_went_and_came_back_is_told_as_both() {
        let vanished = GhostChange::Vanished { entity: ENTITY };
        assert_eq!(read(&[moved(1), vanished, appeared(2), moved(3)]), [vanished, appeared(3)]);
    }

    #[test]
    fn an_admission_wakes_a_game_that_waits_for_its_tick() {
        let mailbox = Mailbox::default();
        let warm = GameCommand::Warm {
            entity: ENTITY,
            reservation: ReservationId {
                entity: ENTITY,
                source: Peer { node: NodeId::from_u128(1), incarnation: Incarnation(1) },
                attempt: 1,
            },
            snapshot: Assembled::default(),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| mailbox.push([warm].into_iter()));
            // Would time the test out if nobody woke it.
            mailbox.wait_urgent(Duration::from_secs(3600));
        });
        let mut batch = Batch::default();
        mailbox.swap(&mut batch);
        assert_eq!(batch.drain_commands().count(), 1);
        // Once read, nothing is urgent any more: this returns by its time-out.
        mailbox.wait_urgent(Duration::from_millis(1));
    }

    #[test]
    fn what_is_read_is_gone() {
        let mailbox = Mailbox::default();
        mailbox.push([GameCommand::Ghost(moved(1))].into_iter());
        let mut batch = Batch::default();
        mailbox.swap(&mut batch);
        assert_eq!(batch.drain_commands().count(), 1);
        mailbox.swap(&mut batch);
        assert_eq!(batch.drain_commands().count(), 0);
        mailbox.push([GameCommand::Ghost(moved(2)), GameCommand::Ghost(moved(3))].into_iter());
        mailbox.swap(&mut batch);
        assert_eq!(batch.drain_commands().count(), 1);
    }
}
