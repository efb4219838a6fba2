//! Questions to the authenticator and the store, carried beside the machine so that neither can hold it up.
//!
//! Each runs as a task of its own with a patience; what comes back is an input for the machine. Those that concern
//! one character run one after the other.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_protocol::coordinator::CoordinatorInput;
use selvedge_protocol::id::{NodeId, SessionId};
use selvedge_protocol::limits::REASON_BYTES_MAX;
use tokio::task::{Id, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::authenticator::Authenticator;
use crate::store::CharacterStore;

/// How long the authenticator may take. The door's own patience is shorter by default, so that this only bounds what
/// a hanging authenticator holds.
pub const AUTHENTICATOR_PATIENCE: Duration = Duration::from_secs(10);
/// How long the store may take for one call, not counting the calls for the same character before it.
pub const STORE_PATIENCE: Duration = Duration::from_secs(10);
/// Questions under way at once. One more fails at once, as if the authenticator or the store had failed.
pub const ERRANDS_MAX: usize = 4096;

const BUSY: &str = "too many players are being let in or saved at once";

/// Every question under way.
#[derive(Debug)]
pub(crate) struct Errands {
    authenticator: Arc<dyn Authenticator>,
    store: Arc<dyn CharacterStore>,
    running: JoinSet<CoordinatorInput>,
    /// What to tell the machine if the task panics, and the character whose turn it takes.
    on_panic: HashMap<Id, (CoordinatorInput, Option<String>)>,
    /// The newest call for each character; cancelled when it has ended, whichever way.
    newest: HashMap<String, (Id, CancellationToken)>,
}

impl Errands {
    pub(crate) fn new(authenticator: Arc<dyn Authenticator>, store: Arc<dyn CharacterStore>) -> Self {
        Self {
            authenticator,
            store,
            running: JoinSet::new(),
            on_panic: HashMap::new(),
            newest: HashMap::new(),
        }
    }

    /// Asks the authenticator. Gives the answer at once if the question can't be asked.
    pub(crate) fn authenticate(
        &mut self,
        request: u64,
        name: String,
        credential: Vec<u8>,
    ) -> Option<CoordinatorInput> {
        let answer = move |verdict| CoordinatorInput::Authenticated { request, verdict };
        let failed = |cause: &str| answer(Err(cause.to_owned()));
        if self.running.len() >= ERRANDS_MAX {
            return Some(failed(BUSY));
        }
        let authenticator = Arc::clone(&self.authenticator);
        let panicked = failed("the authenticator failed");
        let handle = self.running.spawn(async move {
            let asked = timeout(AUTHENTICATOR_PATIENCE, authenticator.authenticate(&name, &credential));
            answer(match asked.await {
                Ok(Ok(name)) => Ok(name),
                Ok(Err(denied)) => Err(cut(denied.reason)),
                Err(_) => Err("the authenticator did not answer in time".to_owned()),
            })
        });
        self.on_panic.insert(handle.id(), (panicked, None));
        None
    }

    /// Asks the store for a character. Gives the answer at once if the question can't be asked.
    pub(crate) fn load(&mut self, request: u64, name: String) -> Option<CoordinatorInput> {
        let answer = move |character| CoordinatorInput::CharacterLoaded { request, character };
        let store = Arc::clone(&self.store);
        let asked = name.clone();
        let load = async move { store.load(&asked).await.map_err(|error| error.cause) };
        self.visit_store(name, load, answer)
    }

    /// Gives the store a character. Gives the answer at once if that can't be done.
    pub(crate) fn save(
        &mut self,
        session: SessionId,
        node: NodeId,
        name: String,
        character: Bytes,
    ) -> Option<CoordinatorInput> {
        let answer = move |result| CoordinatorInput::CharacterSaved { session, node, result };
        let store = Arc::clone(&self.store);
        let saved = name.clone();
        let save = async move { store.save(&saved, character).await.map_err(|error| error.cause) };
        self.visit_store(name, save, answer)
    }

    fn visit_store<T: Send + 'static>(
        &mut self,
        name: String,
        visit: impl Future<Output = Result<T, String>> + Send + 'static,
        answer: impl Fn(Result<T, String>) -> CoordinatorInput + Copy + Send + 'static,
    ) -> Option<CoordinatorInput> {
        if self.running.len() >= ERRANDS_MAX {
            return Some(answer(Err(BUSY.to_owned())));
        }
        let before = self.newest.get(&name).map(|(_, ended)| ended.clone());
        let ended = CancellationToken::new();
        let turn = ended.clone().drop_guard();
        let handle = self.running.spawn(async move {
            let _turn = turn;
            if let Some(before) = before {
                before.cancelled().await;
            }
            let result = match timeout(STORE_PATIENCE, visit).await {
                Ok(result) => result.map_err(cut),
                Err(_) => Err("the store did not answer in time".to_owned()),
            };
            answer(result)
        });
        let panicked = answer(Err("the store failed".to_owned()));
        self.on_panic.insert(handle.id(), (panicked, Some(name.clone())));
        self.newest.insert(name, (handle.id(), ended));
        None
    }

    /// The next answer. Never ends while nothing is under way. Can be dropped without losing an answer.
    pub(crate) async fn next(&mut self) -> CoordinatorInput {
        loop {
            let (id, answer) = match self.running.join_next_with_id().await {
                Some(Ok((id, answer))) => (id, Some(answer)),
                Some(Err(error)) => {
                    tracing::error!(%error, "an authenticator or a store panicked");
                    (error.id(), None)
                }
                None => std::future::pending().await,
            };
            let Some((panicked, name)) = self.on_panic.remove(&id) else {
                continue;
            };
            if let Some(name) = name
                && self.newest.get(&name).is_some_and(|(newest, _)| *newest == id)
            {
                self.newest.remove(&name);
            }
            return answer.unwrap_or(panicked);
        }
    }

    /// Waits for the answers that are still out, at most for `patience`: so that a character that is being saved at
    /// the end of the process is saved.
    pub(crate) async fn finish(mut self, patience: Duration) {
        let all = async { while self.running.join_next().await.is_some() {} };
        if timeout(patience, all).await.is_err() {
            tracing::warn!(patience = ?patience, "the store did not finish in time");
        }
    }
}

/// What goes into a message is bounded there: cut at a character.
fn cut(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticator::{AnyName, BoxFuture};
    use crate::store::{MemoryStore, StoreError};

    #[derive(Debug)]
    struct Slow(MemoryStore);

    impl CharacterStore for Slow {
        fn load<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
            assert_ne!(name, "cursed", "this store panics on purpose");
            self.0.load(name)
        }

        fn save<'a>(&'a self, name: &'a str, character: Bytes) -> BoxFuture<'a, Result<(), StoreError>> {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.0.save(name, character).await
            })
        }
    }

    fn errands() -> Errands {
        Errands::new(Arc::new(AnyName), Arc::new(Slow(MemoryStore::default())))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_load_waits_for_the_save_before_it() {
        let mut errands = errands();
        let (session, node) = (SessionId::from_u128(1), NodeId::from_u128(2));
        assert!(errands.save(session, node, "ada".into(), Bytes::from_static(b"new")).is_none());
        assert!(errands.load(7, "ada".into()).is_none());
        let CoordinatorInput::CharacterSaved { result: Ok(()), .. } = errands.next().await else {
            panic!("the save did not end first");
        };
        let CoordinatorInput::CharacterLoaded { request: 7, character } = errands.next().await else {
            panic!("the load did not come back");
        };
        assert_eq!(character, Ok(Some(Bytes::from_static(b"new"))));
        assert!(errands.newest.is_empty() && errands.on_panic.is_empty());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_panic_in_the_store_is_an_answer_and_frees_the_character() {
        let mut errands = errands();
        for request in [1, 2] {
            assert!(errands.load(request, "cursed".into()).is_none());
        }
        for _ in 0..2 {
            let input = errands.next().await;
            assert!(
                matches!(input, CoordinatorInput::CharacterLoaded { character: Err(_), .. }),
                "{input:?}"
            );
        }
        assert!(errands.newest.is_empty());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn past_the_limit_a_question_fails_at_once() {
        let mut errands = errands();
        for request in 0..ERRANDS_MAX as u64 {
            assert!(errands.authenticate(request, "ada".into(), Vec::new()).is_none());
        }
        let refused = errands.authenticate(0, "ada".into(), Vec::new());
        assert!(
            matches!(refused, Some(CoordinatorInput::Authenticated { verdict: Err(_), .. })),
            "{refused:?}"
        );
    }
}
