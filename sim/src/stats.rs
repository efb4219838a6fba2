//! What a run, or many, explored: so that nobody takes "no violation" for "nothing happened".

use core::ops::AddAssign;

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident: $what:literal,)*) => {
        /// Counts of one run, or the sum of many.
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        pub struct Stats {
            $(#[doc = $what] pub $name: u64,)*
        }

        impl Stats {
            /// Every count by its name, and what it counts.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $what, self.$name),)*]
            }
        }

        impl AddAssign for Stats {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

stats! {
    seeds: "Seeds.",
    steps: "Steps, each followed by every check.",
    virtual_us: "Virtual time, in microseconds.",
    nodes: "Nodes.",
    players_entered: "Players who entered the world.",
    entities_born: "Entities born.",
    entities_gone: "Entities that left.",
    handoffs_warm: "Handoffs, warm.",
    handoffs_cold: "Handoffs, cold.",
    handoffs_aborted: "Handoffs aborted.",
    handoffs_cancelled: "Of these, cancelled after silence.",
    prepares_refused: "Preparations refused.",
    missed_ticks: "Ticks in which nobody simulated a crossing entity.",
    ticks: "Ticks run.",
    ticks_stalled: "Ticks that a hanging game left out.",
    teleports: "Teleports.",
    messages_sent: "Mesh messages sent.",
    messages_dropped: "Mesh messages lost.",
    messages_unlinked: "Mesh messages lost for want of a link.",
    messages_duplicated: "Mesh messages doubled or replayed.",
    messages_reordered: "Mesh messages held up.",
    message_bytes: "Bytes of mesh messages delivered.",
    link_cuts: "Link cuts.",
    link_bursts: "Bursts of loss.",
    coordinator_outages: "Times that every node lost the coordinator.",
    pauses: "Times that a node's whole process stood still.",
    strikes: "Times that harm was drawn.",
    crashes: "Times that a node's process ended.",
    coordinator_crashes: "Times that the coordinator's process ended.",
    clients_vanished: "Times that a player's program ended, for a while or for good.",
    returns: "Nodes' processes that began anew.",
    partitions: "Partitions.",
    lives_over: "Lives of nodes that ended because nobody witnessed them any more.",
    cuts_confirmed: "Cuts of standby copies that a keeper confirmed.",
    entities_restored: "Entities that a recovery restored.",
    rides_restored: "Of these, from a copy that rode on something.",
    recoveries: "Recovery rounds that were carried out.",
    client_messages: "Client messages delivered.",
    client_cuts: "Client connections cut.",
    clients_attached: "Attachments of clients.",
    clients_lost: "Times that a client asked the door for lost connections.",
    clients_restarted: "Times that a client's program ended without a word.",
    tokens_granted: "Tokens granted.",
    tokens_shown: "Tokens shown.",
    tokens_stolen: "Of these, by a thief.",
    tokens_refused: "Tokens refused.",
    inputs_sent: "Inputs sent.",
    inputs_lost: "Safe inputs lost with both nodes that had them.",
    inputs_applied: "Inputs applied.",
    trades_begun: "Things that somebody began to give away.",
    trades_done: "Of these, taken.",
    trades_failed: "Of these, neither taken nor refused.",
    pokes: "Plain actions.",
    pokes_done: "Of these, answered.",
    boardings: "Times that somebody got on something.",
    groups_frozen: "Groups that were frozen at a border.",
    pins: "Pins.",
    events_caused: "Events.",
    events_met: "Times that one reached somebody.",
    characters_saved: "Characters saved.",
    map_changes: "Changes of the cell map.",
    leases_expired: "Nodes that were suspected.",
    peers_misbehaved: "Times that a machine blamed a peer.",
    clients_misbehaved: "Times that a machine blamed a client.",
    undecodable: "Messages that did not survive the codec.",
}
