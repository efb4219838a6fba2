//! Two real nodes, a real coordinator and a real player, over real QUIC: the player walks to and fro across the border.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use selvedge_certs::{
    Authority, CA_VALIDITY, IDENTITY_VALIDITY, Identity, Role, SubjectNames, Uuid, WorldName,
};
use selvedge_client::{ClientEndpoint, ClientEvent, ClientSettings};
use selvedge_coordinator::{AnyName, CoordinatorArgs, CoordinatorService, FileConfig, MemoryStore, Settings};
use selvedge_node::arena::{Arena, ArenaConfig, AvatarState, MoveInput};
use selvedge_node::{MeshNode, MeshNodeConfig, NodeReport, TickError};
use selvedge_protocol::grid::GridConfig;
use selvedge_protocol::wire::ServerMessage;

/// Two cells side by side, so that there is one border, at x = 30 m.
const GRID: GridConfig = GridConfig { origin_m: [0.0; 3], cell_edge_m: 30.0, cells: [2, 1, 1] };
const CROSSINGS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);

struct World(Authority);

impl World {
    fn identity(&self, role: Role) -> Identity {
        let issued = self.0.issue(role, &SubjectNames::default(), IDENTITY_VALIDITY).expect("the CA works");
        Identity::from_issued(&issued).expect("what the CA issues is valid")
    }

    async fn coordinator(&self) -> CoordinatorService {
        let path = || Some("unused".into());
        let anywhere = Some(([127, 0, 0, 1], 0).into());
        let args = CoordinatorArgs {
            world: Some(self.0.world().clone()),
            cert: path(),
            key: path(),
            ca: path(),
            door_cert: path(),
            door_key: path(),
            bind_mesh: anywhere,
            bind_door: anywhere,
            bind_http: anywhere,
            ..CoordinatorArgs::default()
        };
        let mut settings =
            Settings::resolve(args, FileConfig::default(), None).expect("the settings are complete");
        settings.coordinator.world.grid = GRID;
        settings.coordinator.world.interest_margin_m = 10.0;
        settings.coordinator.nodes_min = 2;
        let identity = self.identity(Role::Coordinator("main".to_owned()));
        let door = self.identity(Role::Server("door".to_owned()));
        let store = Arc::new(MemoryStore::default());
        CoordinatorService::start(&settings, identity, door, Arc::new(AnyName), store)
            .await
            .expect("it starts")
    }

    /// Runs a node with NPCs on a thread of its own until `stop`; gives what it measured.
    fn node(
        &self,
        number: u128,
        coordinator: &CoordinatorService,
        stop: &Arc<AtomicBool>,
    ) -> JoinHandle<NodeReport> {
        let identity = self.identity(Role::Node(Uuid::from_u128(number)));
        let for_clients = self.identity(Role::Server(format!("node-{number}")));
        let config = MeshNodeConfig::new(coordinator.addresses().mesh);
        let stop = Arc::clone(stop);
        thread::spawn(move || {
            let npcs = ArenaConfig { npcs: 10, npc_speed_mps: 8.0, ..ArenaConfig::default() };
            let mut arena = Arena::new(npcs).expect("the avatars are possible");
            let builder = MeshNode::builder().config(config).identity(identity).client_identity(for_clients);
            let mut node = builder.start().expect("the node starts");
            node.wait_ready(PATIENCE).expect("the coordinator registers the node");
            while !stop.load(Ordering::Relaxed) {
                match node.tick(&mut arena, Arena::step) {
                    Ok(_) | Err(TickError::NotReady { .. }) => {}
                    Err(error @ TickError::Stopped) => panic!("{error}"),
                }
            }
            node.report()
        })
    }
}

/// Walks to and fro until the border was crossed often enough; gives the last account of the player's inputs.
async fn walk(players: &ClientEndpoint) -> AvatarState {
    let mut player = players.enter("ada", *b"");
    let (mut crossed, mut east, mut state) = (0, 1.0, AvatarState::default());
    let deadline = Instant::now() + PATIENCE;
    while crossed < CROSSINGS {
        assert!(Instant::now() < deadline, "only {crossed} crossings in {PATIENCE:?}; last state: {state:?}");
        let event = tokio::time::timeout(PATIENCE, player.next_event()).await.expect("something happens");
        match event.expect("the session goes on") {
            ClientEvent::State(ServerMessage::State { motion, own, .. }) => {
                state = AvatarState::decode(&own).expect("the arena publishes its state");
                let x = motion.position.x;
                east = if x > 40.0 {
                    -1.0
                } else if x < 20.0 {
                    1.0
                } else {
                    east
                };
                let wish = MoveInput { direction: [east, 0.0], speed_mps: 12.0 };
                player.act(&wish.encode()).expect("the inputs are acknowledged in time");
            }
            ClientEvent::Switched { .. } => crossed += 1,
            event @ (ClientEvent::TwoAuthorities { .. } | ClientEvent::Over { .. }) => panic!("{event:?}"),
            ClientEvent::State(_)
            | ClientEvent::Entered { .. }
            | ClientEvent::InputRefused
            | ClientEvent::Lost
            | ClientEvent::Refused { .. } => {}
        }
    }
    player.logout().await.expect("the world says good-bye");
    state
}

#[tokio::test]
async fn a_player_crosses_to_and_fro_and_no_input_is_lost_or_doubled() {
    let _ = tracing_subscriber::fmt().with_env_filter("info").with_test_writer().try_init();
    let name = WorldName::new("aerie").expect("a good name");
    let world = World(Authority::init(name, CA_VALIDITY).expect("the CA works"));
    let coordinator = world.coordinator().await;
    let stop = Arc::new(AtomicBool::new(false));
    let nodes = [1, 2].map(|number| world.node(number, &coordinator, &stop));

    let door = coordinator.addresses().door;
    let settings = ClientSettings::new(door, "server-door.aerie.selvedge", world.0.ca_pem());
    let players = ClientEndpoint::new(settings).expect("the socket opens");
    let state = walk(&players).await;
    players.close().await;

    stop.store(true, Ordering::Relaxed);
    let mut both = NodeReport::default();
    for node in nodes {
        both.merge(&node.join().expect("the node ends well")).expect("the report is readable");
    }
    coordinator.stop().await;

    assert!(state.ledger.applied > 0, "{state:?}");
    assert_eq!((state.ledger.doubled, state.ledger.skipped), (0, 0), "{state:?}");
    assert_eq!(state.ledger.applied, state.ledger.last_seq, "{state:?}");
    let counters = &both.counters;
    assert!(counters.handoffs_out_players >= CROSSINGS as u64, "{both:#?}");
    assert!(counters.handoffs_in > counters.handoffs_in_players, "NPCs cross too: {both:#?}");
    assert_eq!((counters.clients_misbehaved, counters.peers_misbehaved), (0, 0), "{both:#?}");
    let cutovers = both.histograms.cutover_us.decode().expect("the histogram is readable");
    assert_eq!(cutovers.len(), counters.handoffs_out_warm + counters.handoffs_out_cold);
    tracing::info!(?both, "what two nodes measured");
}
