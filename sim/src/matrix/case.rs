//! What is done in each row: which message, what harm, when.

use core::fmt;
use core::time::Duration;

use crate::event::Process;
use crate::moment::{KINDS, MessageKind};
use crate::world::{Deed, Victim};

pub use crate::world::Moment;

/// The one player of the matrix.
pub(super) const PLAYER: Process = Process::Player(0);

/// A process that comes back at once does so before its lease has run out, or anybody has missed it.
const AT_ONCE: Duration = Duration::from_millis(400);
const COORDINATOR_BACK: Duration = Duration::from_secs(1);
const CLIENT_BACK: Duration = Duration::from_secs(2);
/// Longer than a lease lasts.
const STILL: Duration = Duration::from_secs(5);
const CUT: Duration = Duration::from_secs(5);

/// One row: this harm, before or after this message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// Which message, by its place in the list of kinds.
    pub(super) kind: usize,
    /// What harm.
    pub blow: Blow,
    /// When.
    pub moment: Moment,
}

impl Case {
    /// The message's name.
    #[must_use]
    pub fn message(self) -> &'static str {
        KINDS[self.kind].name
    }

    pub(super) const fn message_kind(self) -> MessageKind {
        KINDS[self.kind]
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        write!(f, "{} {moment} {}", self.blow.name(), self.message())
    }
}

/// What harm is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names say it, and `name` says it in words")]
pub enum Blow {
    KillSource,
    KillSourceBriefly,
    KillTarget,
    KillTargetBriefly,
    KillCoordinator,
    KillClient,
    StillSource,
    StillTarget,
    CutSourceTarget,
    CutSourceCoordinator,
    CutTargetCoordinator,
    CutClientSource,
    CutClientTarget,
}

impl Blow {
    /// Every kind of harm.
    pub const ALL: [Self; 13] = [
        Self::KillSource,
        Self::KillSourceBriefly,
        Self::KillTarget,
        Self::KillTargetBriefly,
        Self::KillCoordinator,
        Self::KillClient,
        Self::StillSource,
        Self::StillTarget,
        Self::CutSourceTarget,
        Self::CutSourceCoordinator,
        Self::CutTargetCoordinator,
        Self::CutClientSource,
        Self::CutClientTarget,
    ];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillSource => "kill source",
            Self::KillSourceBriefly => "kill source, back at once",
            Self::KillTarget => "kill target",
            Self::KillTargetBriefly => "kill target, back at once",
            Self::KillCoordinator => "kill coordinator",
            Self::KillClient => "kill client",
            Self::StillSource => "halt source 5 s",
            Self::StillTarget => "halt target 5 s",
            Self::CutSourceTarget => "cut S-T",
            Self::CutSourceCoordinator => "cut S-C",
            Self::CutTargetCoordinator => "cut T-C",
            Self::CutClientSource => "cut client-S",
            Self::CutClientTarget => "cut client-T",
        }
    }

    pub(super) const fn deed(self, source: Process, target: Process) -> Deed {
        let (source, target) = (Victim::This(source), Victim::This(target));
        let (coordinator, client) = (Victim::This(Process::Coordinator), Victim::This(PLAYER));
        match self {
            Self::KillSource => Deed::Kill(source, None),
            Self::KillSourceBriefly => Deed::Kill(source, Some(AT_ONCE)),
            Self::KillTarget => Deed::Kill(target, None),
            Self::KillTargetBriefly => Deed::Kill(target, Some(AT_ONCE)),
            Self::KillCoordinator => Deed::Kill(coordinator, Some(COORDINATOR_BACK)),
            Self::KillClient => Deed::Kill(client, Some(CLIENT_BACK)),
            Self::StillSource => Deed::Still(source, STILL),
            Self::StillTarget => Deed::Still(target, STILL),
            Self::CutSourceTarget => Deed::Cut(source, target, CUT),
            Self::CutSourceCoordinator => Deed::Cut(source, coordinator, CUT),
            Self::CutTargetCoordinator => Deed::Cut(target, coordinator, CUT),
            Self::CutClientSource => Deed::Cut(client, source, CUT),
            Self::CutClientTarget => Deed::Cut(client, target, CUT),
        }
    }
}

pub(super) fn all() -> Vec<Case> {
    let moments = [Moment::Before, Moment::After];
    (0..KINDS.len())
        .flat_map(|kind| {
            Blow::ALL.into_iter().flat_map(move |blow| moments.map(|moment| Case { kind, blow, moment }))
        })
        .collect()
}
