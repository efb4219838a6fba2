//! When the entities that a node held were simulated again, as censuses show it: players and NPCs alike.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use selvedge_protocol::id::{EntityId, NodeId};

use crate::{CensusView, Epoch, Observer, Standing};

/// From one census to the next: as exact as the times are.
const PERIOD: Duration = Duration::from_millis(150);
const LOOK: Duration = Duration::from_millis(20);

/// What a node held before something happened to it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    node: NodeId,
    entities: BTreeMap<EntityId, Epoch>,
}

impl Held {
    pub(crate) fn by(node: NodeId, census: &CensusView) -> Self {
        let held = census.nodes.get(&node).into_iter().flatten();
        Self { node, entities: held.map(|held| (held.entity, held.epoch)).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entities.len()
    }

    /// Of these, the ones that a later census shows to be simulated: by another node, or anew.
    fn back_in(&self, census: &CensusView) -> Vec<EntityId> {
        let mut back = Vec::new();
        for (node, held) in &census.nodes {
            let active = held.iter().filter(|held| held.standing == Standing::Active);
            back.extend(active.filter_map(|held| {
                let before = self.entities.get(&held.entity)?;
                let again = *node != self.node || held.epoch.generation > before.generation;
                again.then_some(held.entity)
            }));
        }
        back
    }
}

/// Takes one census after the other until all are back, on a thread of its own: the coordinator may be slow to answer.
#[derive(Debug)]
pub(crate) struct Watch {
    held: usize,
    back: Arc<Mutex<BTreeMap<EntityId, Instant>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start(observer: Observer, held: Held) -> Self {
        let back: Arc<Mutex<BTreeMap<EntityId, Instant>>> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let (found, ended, all) = (Arc::clone(&back), Arc::clone(&over), held.len());
        let look = move || {
            while !ended.load(Ordering::Relaxed) {
                let asked = Instant::now();
                if let Ok(census) = observer.census() {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    for entity in held.back_in(&census) {
                        found.entry(entity).or_insert_with(Instant::now);
                    }
                    if found.len() >= all {
                        return;
                    }
                }
                while asked.elapsed() < PERIOD && !ended.load(Ordering::Relaxed) {
                    thread::sleep(LOOK);
                }
            }
        };
        let thread = thread::Builder::new().name("census".to_owned()).spawn(look).ok();
        Self { held: all, back, over, thread }
    }

    /// When the last of them was back; none as long as one isn't.
    pub(crate) fn all_back(&self) -> Option<Option<Instant>> {
        let back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        (back.len() >= self.held).then(|| back.values().max().copied())
    }

    /// How many aren't.
    pub(crate) fn missing(&self) -> usize {
        let back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        self.held.saturating_sub(back.len())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeldView;

    fn held(entity: u128, generation: u32, standing: Standing) -> HeldView {
        let epoch = Epoch { generation, step: 0 };
        HeldView { entity: EntityId::from_u128(entity), session: None, epoch, standing }
    }

    fn census(one: Vec<HeldView>, two: Vec<HeldView>) -> CensusView {
        let nodes = [(NodeId::from_u128(1), one), (NodeId::from_u128(2), two)].into();
        CensusView { nodes, missing: Vec::new() }
    }

    #[test]
    fn an_entity_is_back_with_another_node_or_with_the_same_one_anew() {
        let all = (1..=4).map(|entity| held(entity, 1, Standing::Active)).collect();
        let before = Held::by(NodeId::from_u128(1), &census(all, vec![held(9, 1, Standing::Active)]));
        assert_eq!(before.len(), 4);
        let after = census(
            vec![held(1, 1, Standing::Active), held(2, 2, Standing::Active)],
            vec![held(3, 1, Standing::Active), held(4, 2, Standing::Frozen), held(9, 1, Standing::Active)],
        );
        assert_eq!(before.back_in(&after), [2, 3].map(EntityId::from_u128));
    }
}
