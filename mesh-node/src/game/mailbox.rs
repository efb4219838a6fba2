//! What the network thread leaves for the game to find at its next tick.
//!
//! The lock is held for a push or a swap, never over game code.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use selvedge_protocol::cell_map::CellMap;
use selvedge_protocol::ghost::GhostChange;
use selvedge_protocol::id::EntityId;
use selvedge_protocol::node::{GameCommand, Registration};

/// Changes of ghosts that may wait before those that later ones have made void are looked for.
const GHOST_CHANGES_USUAL: usize = 1_024;

/// Everything that has come since the game last looked.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In order.
    commands: Vec<GameCommand>,
    /// What is to be told of ghosts, in order, after the commands.
    ghosts: Vec<GhostChange>,
    /// How many of these there were when they were last thinned.
    thinned: usize,
    pub(crate) registration: Option<Registration>,
    pub(crate) map: Option<Arc<CellMap>>,
    /// Another node waits for the game's answer to one of the commands.
    urgent: bool,
    /// The game waits for such a command.
    awaited: bool,
}

impl Batch {
    /// Takes the commands out, in order, and keeps the room for the next ones. What there is of ghosts comes last: to
    /// what the game simulates by then it doesn't apply.
    pub(crate) fn drain_commands(&mut self) -> impl Iterator<Item = GameCommand> + '_ {
        self.urgent = false;
        self.thinned = 0;
        let ghosts = std::mem::take(&mut self.ghosts);
        let ghosts = (!ghosts.is_empty()).then_some(GameCommand::Ghosts(ghosts));
        self.commands.drain(..).chain(ghosts)
    }

    fn push(&mut self, command: GameCommand) {
        self.urgent |= matches!(command, GameCommand::Admit { .. } | GameCommand::Warm { .. });
        match command {
            GameCommand::Ghosts(changes) => self.push_ghosts(changes),
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
            | GameCommand::Checkpoint(_)) => self.commands.push(other),
        }
    }

    /// A game that is slow to look finds a few changes for each ghost, not all that it missed.
    fn push_ghosts(&mut self, mut changes: Vec<GhostChange>) {
        if self.ghosts.is_empty() {
            self.ghosts = changes;
            return;
        }
        self.ghosts.append(&mut changes);
        if self.ghosts.len() > 2 * self.thinned + GHOST_CHANGES_USUAL {
            thin(&mut self.ghosts);
            self.thinned = self.ghosts.len();
        }
    }
}

/// What of a ghost's later changes is known, from the newest backwards.
#[derive(Clone, Copy, Default)]
struct Later {
    moved: bool,
    changed: bool,
    appeared: bool,
    vanished: bool,
}

/// Leaves out the changes that later ones make void. At most four of each ghost stay.
fn thin(changes: &mut Vec<GhostChange>) {
    let mut later: HashMap<EntityId, Later> = HashMap::new();
    let mut stays: Vec<bool> = changes
        .iter()
        .rev()
        .map(|change| {
            let later = later.entry(change.entity()).or_default();
            let over = later.vanished || later.appeared;
            match change {
                GhostChange::Moved { .. } => !std::mem::replace(&mut later.moved, true) && !over,
                GhostChange::Changed { .. } => !std::mem::replace(&mut later.changed, true) && !over,
                GhostChange::Appeared { .. } => !over && !std::mem::replace(&mut later.appeared, true),
                GhostChange::Vanished { .. } => !std::mem::replace(&mut later.vanished, true),
            }
        })
        .collect();
    changes.retain(|_| stays.pop().unwrap_or(true));
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
        if batch.urgent && batch.awaited {
            drop(batch);
            self.urgent.notify_one();
        }
    }

    /// Waits until there is a command whose answer another node waits for, or the time is over.
    pub(crate) fn wait_urgent(&self, timeout: Duration) {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        if batch.urgent {
            return;
        }
        batch.awaited = true;
        let waited = self.urgent.wait_timeout(batch, timeout);
        waited.unwrap_or_else(PoisonError::into_inner).0.awaited = false;
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
    use selvedge_protocol::ghost::{Look, State};
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
        GhostChange::Moved {
            entity: ENTITY,
            motion: at(tick as f64),
            rotation: [0.0, 0.0, 0.0, 1.0],
            tick: Tick(tick),
        }
    }

    fn appeared(tick: u64) -> GhostChange {
        GhostChange::Appeared {
            entity: ENTITY,
            motion: at(tick as f64),
            look: Look::default(),
            tick: Tick(tick),
        }
    }

    const VANISHED: GhostChange = GhostChange::Vanished { entity: ENTITY };
    const CHANGED: GhostChange = GhostChange::Changed { entity: ENTITY, state: State::new() };

    fn thinned(changes: &[GhostChange]) -> Vec<GhostChange> {
        let mut changes = changes.to_vec();
        thin(&mut changes);
        changes
    }

    #[test]
    fn only_the_newest_of_many_moves_is_found() {
        assert_eq!(thinned(&[moved(1), CHANGED, moved(2), moved(3)]), [CHANGED, moved(3)]);
    }

    #[test]
    fn what_was_before_a_ghost_went_or_came_is_left_out() {
        assert_eq!(thinned(&[appeared(1), moved(2), VANISHED]), [VANISHED]);
        assert_eq!(thinned(&[moved(1), VANISHED, appeared(2), moved(3)]), [VANISHED, appeared(2), moved(3)]);
        let often: Vec<_> =
            (0..9).flat_map(|tick| [appeared(tick), moved(tick), CHANGED, VANISHED]).collect();
        assert_eq!(thinned(&often), [VANISHED]);
        assert_eq!(thinned(&often[..35]), [VANISHED, appeared(8), moved(8), CHANGED]);
    }

    #[test]
    fn a_game_that_never_looks_costs_a_bounded_box() {
        let mailbox = Mailbox::default();
        for tick in 0..10_000 {
            mailbox.push([GameCommand::Ghosts(vec![moved(tick), CHANGED])].into_iter());
        }
        let mut batch = Batch::default();
        mailbox.swap(&mut batch);
        assert!(batch.ghosts.len() <= 2 * GHOST_CHANGES_USUAL, "{}", batch.ghosts.len());
        assert_eq!(batch.ghosts.iter().rev().nth(1), Some(&moved(9_999)));
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
        mailbox.push([GameCommand::Ghosts(vec![moved(1)])].into_iter());
        let mut batch = Batch::default();
        mailbox.swap(&mut batch);
        assert_eq!(batch.drain_commands().count(), 1);
        mailbox.swap(&mut batch);
        assert_eq!(batch.drain_commands().count(), 0);
        mailbox.push([GameCommand::Ghosts(vec![moved(2)]), GameCommand::Ghosts(vec![moved(3)])].into_iter());
        mailbox.swap(&mut batch);
        assert_eq!(batch.drain_commands().count(), 1);
    }
}
