//! How far is explored: everything within these numbers, nothing beyond.

/// How much may happen in one history. Each number is a most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What the bound is called.
    pub name: &'static str,
    /// Nodes. The entity begins at the first.
    pub nodes: usize,
    /// Times that a holder freezes the entity and sends it on.
    pub handoffs: u8,
    /// Times that a source asks to cancel.
    pub cancels: u8,
    /// Times that a target refuses what it could take.
    pub refusals: u8,
    /// Times that a holder copies the entity ahead.
    pub precopies: u8,
    /// Nodes that crash or lose their lease.
    pub crashes: u8,
    /// Nodes that come back as a new life with empty hands.
    pub rejoins: u8,
    /// Coordinators that take over while the former one still runs.
    pub takeovers: u8,
    /// Whether one has taken over already, of which neither the former one nor any node has heard.
    pub deposed: bool,
}

impl Bound {
    pub(super) const NONE: Self = Self {
        name: "",
        nodes: 3,
        handoffs: 0,
        cancels: 0,
        refusals: 0,
        precopies: 0,
        crashes: 0,
        rejoins: 0,
        takeovers: 0,
        deposed: false,
    };

    /// Seconds, even in a debug build.
    pub const SMALL: [Self; 3] = [
        Self { name: "two handoffs", handoffs: 2, cancels: 1, refusals: 1, ..Self::NONE },
        Self { name: "a crash, no handoff", crashes: 1, rejoins: 1, ..Self::NONE },
        Self { name: "a crash, one handoff", handoffs: 1, crashes: 1, ..Self::NONE },
    ];
    /// Minutes in a release build.
    pub const LARGE: [Self; 7] = [
        Self { name: "a crash and a takeover", crashes: 1, takeovers: 1, ..Self::NONE },
        Self { name: "two crashes, one after the other", crashes: 2, rejoins: 1, ..Self::NONE },
        Self {
            name: "a crash, one handoff, tried and refused",
            handoffs: 1,
            cancels: 1,
            refusals: 1,
            crashes: 1,
            ..Self::NONE
        },
        Self {
            name: "a crash, one handoff, a copy ahead",
            handoffs: 1,
            precopies: 1,
            crashes: 1,
            ..Self::NONE
        },
        Self { name: "a crash, two handoffs", handoffs: 2, crashes: 1, ..Self::NONE },
        Self {
            name: "a crash, one handoff, a takeover",
            handoffs: 1,
            crashes: 1,
            takeovers: 1,
            ..Self::NONE
        },
        Self {
            name: "a crash, two handoffs, one deposed",
            handoffs: 2,
            crashes: 1,
            deposed: true,
            ..Self::NONE
        },
    ];
}

/// How far the lease is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseBound {
    /// What the bound is called.
    pub name: &'static str,
    /// Other nodes that vote besides the holder and the coordinator.
    pub voters: usize,
    /// Whether they do from the start, or are to be told.
    pub assigned: bool,
    /// Steps of time.
    pub steps: u8,
    /// Renewals that the holder sends.
    pub renewals: u8,
    /// Voters whose life ends.
    pub ends: u8,
    /// Times that the coordinator begins anew.
    pub restarts: u8,
}

impl LeaseBound {
    /// Seconds, even in a debug build.
    pub const SMALL: Self = Self {
        name: "a lease of one voter",
        voters: 1,
        assigned: true,
        steps: 4,
        renewals: 1,
        ends: 0,
        restarts: 0,
    };
    /// A voter dies, so that the set changes.
    pub(super) const CHANGED: Self = Self { name: "a lease whose voter dies", ends: 1, ..Self::SMALL };
    /// Two voters who die before the holder could go by them.
    pub(super) const MISSED: Self = Self {
        name: "a lease whose voters die at once",
        voters: 2,
        assigned: false,
        steps: 0,
        ends: 2,
        renewals: 2,
        ..Self::SMALL
    };
    /// Minutes in a release build.
    pub const LARGE: [Self; 7] = [
        Self { name: "a lease of two voters", voters: 2, steps: 3, ..Self::SMALL },
        Self { name: "a lease whose voters change", assigned: false, ..Self::SMALL },
        Self::CHANGED,
        Self { name: "a lease of two voters, one dies", voters: 2, steps: 1, ends: 1, ..Self::SMALL },
        Self { name: "a lease whose voters change, and one dies", assigned: false, ends: 1, ..Self::SMALL },
        Self::MISSED,
        Self { name: "a lease whose coordinator begins anew", assigned: false, restarts: 1, ..Self::SMALL },
    ];
}
