//! Every bound of the core, in one place, with what happens when it is reached.

/// How many ticks a source may be ahead of its target. A `Transfer` from further ahead is rejected: the target could not
/// simulate the entity until it has caught up.
pub const TICKS_AHEAD_MAX: u64 = 300;
/// Entities that one node holds. A spawn, a join or a reservation past it is refused.
pub const ENTITIES_MAX: usize = 65_536;
/// Reservations that one node keeps. A preparation past it is refused with `Overloaded`.
pub const RESERVATIONS_MAX: usize = 16_384;
/// Bytes of pre-copies that one node keeps of another's entities. One past it is answered `Overloaded`: that entity comes cold.
pub const PRECOPIED_OF_NODE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Entities of one group: what is attached to each other and handed over at once. Attaching one more is refused.
pub const GROUP_MAX: usize = 32;
/// Pins that hold one entity back at once. A further one is refused.
pub const PINS_MAX: usize = 8;
/// The longest pin, in microseconds. Who needs more pins again under the same name before it ends.
pub const PIN_US_MAX: u64 = 60_000_000;
/// Ticks after which an entity is detached from what has not come here with it: its node died, and they were not copied together.
pub const ORPHAN_TICKS: u64 = 30;
/// Targets prepared at once for one entity. Further candidates wait.
pub const CANDIDATES_MAX: usize = 3;
/// Bytes of one input. A longer one is dropped and counted.
pub const INPUT_BYTES_MAX: usize = 128;
/// How far ahead of the last applied input one may be numbered. One further ahead is dropped: the client repeats it.
pub const INPUT_WINDOW: u32 = 256;
/// Inputs that a client keeps until a checkpoint covers them. Past it the oldest go and are counted: a recovery from a copy
/// that is older still can't replay them.
pub const INPUTS_KEPT_MAX: usize = 4_096;
/// Inputs in one datagram or relay.
pub const INPUTS_PER_MESSAGE_MAX: usize = 256;
/// Bytes of the small state that a game publishes beside an entity's motion. More is an error of the game.
pub const STATE_BYTES_MAX: usize = 64;
/// Bytes of one datagram or piece of the stream of ghosts, to a client or from one.
pub const GHOST_BYTES_MAX: usize = CLIENT_MESSAGE_BYTES_MAX;
/// Ghosts that one node keeps. Further ones are ignored and counted.
pub const GHOSTS_MAX: usize = 65_536;
/// Of these, ghosts that one other node shows. Further ones of it are ignored: it leaves the rest to the others.
pub const GHOSTS_OF_NODE_MAX: usize = GHOSTS_MAX / 8;
/// Ghosts that have vanished whose epochs a node or a client remembers for a while. The oldest are forgotten first.
pub const GHOSTS_GONE_MAX: usize = GHOSTS_MAX;
/// Ghosts of one link whose appearing its peer hasn't acknowledged. Further ones appear once it has.
pub const GHOSTS_UNCONFIRMED_MAX: usize = 16_384;
/// Pieces of a link's ghost stream that wait for one which they have overtaken. A further one is lost, and with it the session:
/// after a while the peer shows everything anew.
pub const GHOST_PIECES_EARLY_MAX: usize = 64;
/// Ghost datagrams, back from the newest, of which both ends of a link keep account. An older one counts as lost, or as taken.
pub const GHOST_WINDOW: u64 = 1_024;
/// Entities whose epochs a node remembers after they left. The oldest are forgotten first.
pub const LEDGER_MAX: usize = 1_048_576;
/// Entities of which a node remembers an id that it refused for good, for each peer that asked. Past it the lowest ids of
/// entities go first: a late double of what was refused could be taken then.
pub const BURNED_OF_PEER_MAX: usize = 65_536;
/// Tombstones that one node keeps; past it the oldest whose forwarding time is over goes first.
pub const TOMBSTONES_MAX: usize = 65_536;
/// Changes of authority that wait for the coordinator. Past it the oldest ones of the same entity go first.
pub const AUTHORITY_CHANGES_MAX: usize = 262_144;
/// Changes of authority in one report to the coordinator; further ones go in the next.
pub const AUTHORITY_CHANGES_PER_MESSAGE: usize = 256;
/// Bytes of a player's name.
pub const NAME_BYTES_MAX: usize = 64;
/// Bytes of a credential that a player shows at the door.
pub const CREDENTIAL_BYTES_MAX: usize = 4_096;
/// Bytes of an address or a server name in a message.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Bytes of a reason in a message; longer ones are cut.
pub const REASON_BYTES_MAX: usize = 512;
/// Bytes of a wire message without its blob.
pub const HEAD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of the blob behind a wire message: a snapshot or a report.
pub const BLOB_BYTES_MAX: usize = 1024 * 1024 + 4096;
/// Bytes of a message from a client.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// How often an input or a request is forwarded from tombstone to tombstone before it is dropped.
pub const HOPS_MAX: u8 = 8;
/// Client connections that one node admits. Further ones are refused.
pub const CLIENTS_MAX: usize = 16_384;
/// Sessions that one coordinator keeps. Further players are refused.
pub const SESSIONS_MAX: usize = 262_144;
/// Cells of one world: the whole map must fit one message. A larger grid is refused.
pub const WORLD_CELLS_MAX: usize = 131_072;
/// Nodes of one mesh. A further registration is refused.
pub const NODES_MAX: usize = 1_024;
/// Lives of one node that aren't settled: the present one, and former ones whose recovery round isn't over. It may not begin
/// another before that.
pub const LIVES_OF_NODE_MAX: usize = 4;
/// Lives of all nodes that aren't settled. A further registration is refused; it is repeated until there is room.
pub const LIVES_MAX: usize = NODES_MAX * LIVES_OF_NODE_MAX;
/// Microseconds of the shortest lease: it is renewed six times while it runs.
pub const LEASE_US_MIN: u64 = 1_000;
/// Other nodes that witness a node's lease. More would make renewals dearer and no lease safer.
pub const VOTERS_MAX: usize = 3;
/// Sets of voters that a node may go by: the one that it does, the next that it has heard of, and a newer one that is under
/// way. Another one waits until the node has answered.
pub const VOTER_SETS_MAX: usize = 3;
/// Claims or orders in one message of a recovery round; further ones go in the next part.
pub const CLAIMS_PER_MESSAGE: usize = 4_096;
/// Parts of one node's answer in a recovery round. A longer answer is malformed.
pub const RECOVERY_PARTS_MAX: u32 = 256;
/// Entities that have left of which a node tells its floor in a recovery round: the last ones that left.
pub const FLOORS_TOLD_MAX: usize = 65_536;
/// Recovery rounds that a coordinator's store may have lost. A claim from further ahead is malformed: it would use up all
/// numbers.
pub const ROUNDS_LOST_MAX: u32 = 1_048_576;
/// Entities of one cut: those that a node holds, and those that it has given away and must be able to bring back.
pub const CUT_ENTITIES_MAX: usize = ENTITIES_MAX + TOMBSTONES_MAX;
/// Entities in one part of a cut; further ones go in the next.
pub const COPIES_PER_PART_MAX: usize = 1_024;
/// Entities that have ended and are named in each cut, until no older copy can come back. Past it further ones are not named:
/// they may come back if their nodes die.
pub const CUT_ENDED_MAX: usize = 16_384;
/// Bytes of snapshots that fill one part of a cut; a single snapshot may be longer.
pub const PART_BYTES_USUAL: usize = 64 * 1024;
/// Unfinished cuts of one node that its buddy collects. When another begins, the oldest is given up.
pub const CUTS_COLLECTED_MAX: usize = 4;
/// Former buddies that a node still tells to forget its copies. Past it the first one is left alone.
pub const FORMER_BUDDIES_MAX: usize = 8;
/// Handoffs in one message that says that they are settled; further ones go in the next.
pub const SETTLED_PER_MESSAGE_MAX: usize = 1_024;
/// Handoffs that a target must still settle. Past it the oldest is left to its source.
pub const SETTLING_MAX: usize = TOMBSTONES_MAX;

/// Reasons that a node gives for where an entity is. Further ones are left out.
pub const DELAYS_MAX: usize = 32;
/// Questions about single entities under way at once. Further ones are answered from what the coordinator knows.
pub const INQUIRIES_MAX: usize = 64;
/// What became of one entity's authority, as the coordinator remembers it: the newest so many.
pub const EPISODES_OF_ENTITY_MAX: usize = 16;
/// The same of all entities together. Past it the oldest are forgotten.
pub const EPISODES_MAX: usize = 65_536;

/// Bytes of one action. A longer one is an error of the game.
pub const ACTION_BYTES_MAX: usize = 512;
/// Bytes of the answer to an action. A longer one is cut.
pub const ANSWER_BYTES_MAX: usize = 128;
/// Actions of one entity that are not settled. A further one fails at once.
pub const ACTIONS_PENDING_MAX: usize = 32;
/// Actions that an entity remembers to have answered. Further ones wait until others are settled, or time out.
pub const ACTIONS_REMEMBERED_MAX: usize = 256;
/// Senders that an entity remembers. Actions of further ones wait, or time out.
pub const SENDERS_REMEMBERED_MAX: usize = 256;
/// The longest time that an action may take to reach its receiver, in ticks. A longer one is cut.
pub const ACTION_TICKS_MAX: u64 = 3_600;
/// So many ticks after its deadline the coordinator is asked whether the sender of a durable action that nobody has
/// closed is gone for good; and as often again.
pub const UNCLOSED_TICKS: u64 = 300;
/// Actions to one entity that its game has not answered. Further ones are dropped: their senders repeat them.
pub const ACTIONS_GIVEN_MAX: usize = 256;
/// Bytes of one event. A longer one is an error of the game.
pub const EVENT_BYTES_MAX: usize = 512;
/// How far an event reaches from its centre, in metres. One that reaches further is an error of the game.
pub const EVENT_RADIUS_M_MAX: f64 = 100_000.0;
/// Events that one node causes in a tick. A further one is an error of the game; of others' a node takes four times as
/// many, and drops the rest.
pub const EVENTS_PER_TICK_MAX: usize = 64;
/// Events that a game side keeps: those to come, and those of the last moment. Further ones are dropped.
pub const EVENTS_KEPT_MAX: usize = 1_024;
/// For so many ticks an event is kept for those who come late. One that is older when it comes is dropped.
pub const EVENT_KEPT_TICKS: u64 = 60;
/// The most ticks from an event's cause to its effect.
pub const EVENT_LEAD_TICKS_MAX: u64 = 6;
/// World-wide events that a coordinator passes on at once; it gains as many in a second. Further ones are dropped.
pub const ANNOUNCEMENTS_PER_S: u32 = 16;

// The window is kept in words of 64 bits.
const _: () = assert!(GHOST_WINDOW.is_multiple_of(64));
const _: () = assert!(INPUT_WINDOW as usize <= INPUTS_PER_MESSAGE_MAX);
// What is not applied is never among those that go.
const _: () = assert!((INPUT_WINDOW as usize) < INPUTS_KEPT_MAX);
const _: () = assert!(INPUTS_PER_MESSAGE_MAX * (INPUT_BYTES_MAX + 16) <= CLIENT_MESSAGE_BYTES_MAX);
const _: () = assert!(RESERVATIONS_MAX <= ENTITIES_MAX);
// A cell and its owner in the map's image: 8 + 16 bytes.
const _: () = assert!(WORLD_CELLS_MAX * 24 + NODES_MAX * 512 <= HEAD_BYTES_MAX);
// The entities that are gone stand in one message: 16 bytes each.
const _: () = assert!(CUT_ENTITIES_MAX * 16 + 1024 <= HEAD_BYTES_MAX);
const _: () = assert!(PART_BYTES_USUAL <= BLOB_BYTES_MAX);
