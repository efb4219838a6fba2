//! What a script may do to a world, and see of it.

use core::time::Duration;

use selvedge_protocol::authority::Standing;
use selvedge_protocol::grid::Position;
use selvedge_protocol::handoff::client::ClientInput;
use selvedge_protocol::id::EntityId;
use selvedge_protocol::time::Time;

use super::World;
use super::tap::{Fate, Is, Parcel, RuleId, Tap};
use crate::event::{Event, Process};
use crate::game::Action;
use crate::invariant::Violation;
use crate::network::Network;

impl World {
    /// Begins a scripted run: nothing is drawn, everything is said.
    pub(crate) fn begin_script(&mut self) {
        self.tap = Some(Tap::default());
    }

    /// Lets the next thing happen. False once everything has settled.
    pub(crate) fn script_step(&mut self) -> Result<bool, Violation> {
        self.advance()
    }

    pub(crate) const fn now(&self) -> Time {
        self.now
    }

    /// Lets time end nothing, but come to a step at `at`.
    pub(crate) fn wake_at(&mut self, at: Time) {
        // A link that doesn't rise is an event without consequences.
        self.queue.push(at, Event::LinkRises { link: Network::of_coordinator(0), life: u32::MAX });
    }

    pub(crate) fn start_node(&mut self, node: usize) {
        self.queue.push(self.now, Event::NodeStarts(node));
    }

    pub(crate) fn enter(&mut self, player: usize) {
        self.queue.push(self.now, Event::PlayerEnters(player));
    }

    pub(crate) fn act_now(&mut self, player: usize, action: Action) {
        self.submit(player, action);
    }

    pub(crate) fn log_out(&mut self, player: usize) {
        self.players[player].wants_in = false;
        self.drive_player(player, ClientInput::Logout);
    }

    /// Cuts all of a player's connections, or only those to one node.
    pub(crate) fn sever_player(&mut self, player: usize, node: Option<usize>) {
        for conn in self.players[player].connections.values().copied().collect::<Vec<_>>() {
            let held = self.connections.conn(conn);
            if !held.severed && node.is_none_or(|node| held.node == node) {
                self.sever(conn);
            }
        }
    }

    /// Cuts the link of two nodes for a while.
    pub(crate) fn cut_nodes(&mut self, a: usize, b: usize, length: Duration) {
        let link = self.network.of_nodes(a, b);
        self.cut(link, length);
    }

    /// Cuts every node off from the coordinator for a while.
    pub(crate) fn cut_coordinator(&mut self, length: Duration) {
        for node in 0..self.nodes.len() {
            self.cut(Network::of_coordinator(node), length);
        }
    }

    pub(crate) fn is_linked(&mut self, a: usize, b: usize) -> bool {
        let link = self.network.of_nodes(a, b);
        self.network.link(link).up
    }

    fn tap(&mut self) -> &mut Tap {
        self.tap.get_or_insert_default()
    }

    pub(crate) fn add_rule(&mut self, is: Is, from: Process, to: Process, fate: Fate) -> RuleId {
        self.tap().add(is, from, to, fate)
    }

    /// Ends a rule; what it held back goes on its way now.
    pub(crate) fn release(&mut self, rule: RuleId) {
        let parcels = self.tap().lift(rule);
        self.post(parcels);
    }

    /// Sends the copies that a rule kept once more.
    pub(crate) fn replay(&mut self, rule: RuleId) {
        let parcels = self.tap().copies(rule);
        self.post(parcels);
    }

    fn post(&mut self, parcels: Vec<Parcel>) {
        for Parcel { from, to, link, sender, lane, message, blob } in parcels {
            self.put_on_link((from, to, link), sender, lane, &message, &blob);
        }
    }

    /// No client reaches this node from now on.
    pub(crate) fn bar(&mut self, node: usize) {
        self.tap().bar(node);
    }

    /// Clients reach this node again.
    pub(crate) fn unbar(&mut self, node: usize) {
        self.tap().unbar(node);
    }

    /// The next connection that a client makes gets a twin with the same token, just ahead of it or just after it.
    pub(crate) fn want_twin(&mut self, ahead: bool) {
        self.tap().want_twin(ahead);
    }

    pub(crate) fn count(&self, is: Is, from: Process, to: Process, arrived: bool) -> usize {
        self.tap.as_ref().map_or(0, |tap| tap.count(is, from, to, arrived))
    }

    /// Faults and movement stop.
    pub(crate) fn calm_script(&mut self) {
        self.tap().lift_all();
        self.on_calm();
    }

    /// Who keeps copies for a node, as it was told.
    pub(crate) fn buddy_of(&self, node: usize) -> Option<usize> {
        let buddy = self.tap.as_ref()?.buddy_of(Process::Node(node))?;
        self.nodes.iter().position(|host| host.id == buddy)
    }

    /// Where a player was last shown to be.
    pub(crate) fn seen_at(&self, player: usize) -> Option<Position> {
        self.players[player].at
    }

    /// Inputs that the player's program has made.
    pub(crate) fn inputs_made(&self, player: usize) -> u32 {
        self.players[player].machine.last_input().0
    }

    /// Whether a rule holds anything.
    pub(crate) fn holds_back(&self, rule: RuleId) -> bool {
        self.tap.as_ref().is_some_and(|tap| tap.holds_back(rule))
    }

    pub(crate) fn entity_of(&self, player: usize) -> Option<EntityId> {
        self.players[player].entity
    }

    pub(crate) fn is_attached(&self, player: usize) -> bool {
        self.players[player].machine.is_attached()
    }

    /// Whether nothing that the player did is still on its way to be done.
    pub(crate) fn is_heard(&self, player: usize) -> bool {
        self.players[player].machine.unacknowledged() == 0
    }

    pub(crate) fn standing(&self, node: usize, entity: EntityId) -> Option<Standing> {
        let host = &self.nodes[node];
        host.machine.standing(entity).filter(|_| host.alive)
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The owner of the cell at a place, by the coordinator's map.
    pub(crate) fn owner_at(&self, at: Position) -> Option<usize> {
        let owner = self.coordinator.machine.map().owner_at(&self.grid, at)?;
        self.nodes.iter().position(|host| host.id == owner)
    }

    /// The version of the map that a node has.
    pub(crate) fn map_version(&self, node: usize) -> u64 {
        self.nodes[node].map.as_ref().map_or(0, |map| map.version())
    }

    pub(crate) fn is_ticking(&self, node: usize) -> bool {
        self.nodes[node].ticking
    }
}
