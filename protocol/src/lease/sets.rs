//! The sets of voters that one node may go by, and when none of them can witness it any more.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::Peer;
use crate::time::Time;
use crate::wire::Assignment;

use super::{blocking, majority};

/// Who may promise to witness a life no more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Voter {
    /// The life itself: another process says that it is no more.
    Itself,
    Coordinator,
    Node(Peer),
}

/// Who has promised, and when each last answered, by the coordinator's clock.
pub(super) type Promises = BTreeMap<Voter, Time>;

/// Every set of voters that a node may go by: the one that it does, one that it has heard of and may go over to, and the
/// newest while it is not known to have heard of it. So there are three at most; the next change waits for its answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct OpenSets {
    /// Oldest first.
    older: Vec<Assignment>,
    newest: Assignment,
    /// The newest version that the node is known to have heard of.
    heard: u64,
}

impl OpenSets {
    /// The sets that were kept, oldest first. What the node has heard of is not known.
    pub(super) fn restored(mut sets: Vec<Assignment>) -> Self {
        let newest = sets.pop().unwrap_or_default();
        Self { older: sets, newest, heard: 0 }
    }

    pub(super) const fn newest(&self) -> &Assignment {
        &self.newest
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Assignment> {
        self.older.iter().chain([&self.newest])
    }

    /// Every node that votes in any of them.
    pub(super) fn voters(&self) -> BTreeSet<Peer> {
        self.iter().flat_map(|set| &set.voters).copied().collect()
    }

    /// Opens another set, to be told.
    pub(super) fn open(&mut self, voters: Vec<Peer>, buddy: Option<Peer>) {
        let version = self.newest.version + 1;
        let former = core::mem::replace(&mut self.newest, Assignment { version, voters, buddy });
        self.older.push(former);
    }

    /// The node goes by one version, and has heard of none newer than `heard`: it will never go by any other that is not
    /// newer still. Answers may come late and in any order.
    pub(super) fn answered(&mut self, version: u64, heard: u64) {
        if version <= heard && heard <= self.newest.version {
            self.heard = self.heard.max(heard);
            self.older.retain(|set| set.version == version || set.version >= heard);
        }
    }

    /// Whether the node has heard of the newest set: only then may another be opened.
    pub(super) const fn is_heard(&self) -> bool {
        self.heard >= self.newest.version
    }

    /// Whether the node goes by the newest set.
    pub(super) const fn is_settled(&self) -> bool {
        self.older.is_empty() && self.is_heard()
    }

    /// Whether no majority is left that could witness the life, whichever set it goes by.
    pub(super) fn let_go(&self, promises: &Promises) -> bool {
        self.iter().all(|set| lets_go(set, promises))
    }
}

/// Whether no majority of this set is left. The life's own vote stands on another process' word, which may be wrong: it
/// counts only towards a majority.
pub(super) fn lets_go(set: &Assignment, promises: &Promises) -> bool {
    let others = set.voters.iter().copied().map(Voter::Node).chain([Voter::Coordinator]);
    let promised = others.filter(|voter| promises.contains_key(voter)).count();
    let is_replaced = promises.contains_key(&Voter::Itself);
    promised >= blocking(set.voters.len()) || is_replaced && promised + 1 >= majority(set.voters.len())
}
