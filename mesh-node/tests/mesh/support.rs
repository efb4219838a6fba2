//! A world with its CA, a coordinator, and what a node needs to join.

use std::sync::Arc;
use std::time::Duration;

use selvedge_certs::{
    Authority, CA_VALIDITY, IDENTITY_VALIDITY, Identity, Role, SubjectNames, Uuid, WorldName,
};
use selvedge_client::{ClientEndpoint, ClientSettings};
use selvedge_coordinator::{AnyName, CoordinatorArgs, CoordinatorService, FileConfig, Settings};
use selvedge_node::{MeshNode, MeshNodeBuilder, MeshNodeConfig};
use selvedge_protocol::grid::GridConfig;

/// Two cells side by side, so that there is one border, at x = 30 m.
const GRID: GridConfig = GridConfig { origin_m: [0.0; 3], cell_edge_m: 30.0, cells: [2, 1, 1] };
/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World(pub(crate) Authority);

impl World {
    pub(crate) fn new() -> Self {
        let name = WorldName::new("aerie").expect("a good name");
        Self(Authority::init(name, CA_VALIDITY).expect("the CA works"))
    }

    pub(crate) fn identity(&self, role: Role) -> Identity {
        let issued = self.0.issue(role, &SubjectNames::default(), IDENTITY_VALIDITY).expect("the CA works");
        Identity::from_issued(&issued).expect("what the CA issues is valid")
    }

    /// A coordinator on free ports that waits for so many nodes before it assigns cells.
    pub(crate) async fn coordinator(&self, nodes: usize) -> CoordinatorService {
        self.coordinator_over(GRID, nodes).await
    }

    /// The same over a grid of the test's own.
    pub(crate) async fn coordinator_over(&self, grid: GridConfig, nodes: usize) -> CoordinatorService {
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
        let settings = Settings::resolve(args, FileConfig::default(), None);
        let mut settings = settings.expect("the settings are complete");
        settings.store = None;
        settings.coordinator.world.grid = grid;
        settings.coordinator.world.interest_margin_m = 10.0;
        settings.coordinator.nodes_min = nodes;
        let identity = self.identity(Role::Coordinator("main".to_owned()));
        let door = self.identity(Role::Server("door".to_owned()));
        let started = CoordinatorService::start(&settings, identity, door, Arc::new(AnyName), None);
        started.await.expect("the coordinator starts")
    }

    /// A node that is ready to start.
    pub(crate) fn node(&self, number: u128, coordinator: &CoordinatorService) -> MeshNodeBuilder {
        self.node_with(number, MeshNodeConfig::new(coordinator.addresses().mesh))
    }

    /// A node with a configuration of the test's own.
    pub(crate) fn node_with(&self, number: u128, config: MeshNodeConfig) -> MeshNodeBuilder {
        MeshNode::builder()
            .config(config)
            .identity(self.identity(Role::Node(Uuid::from_u128(number))))
            .client_identity(self.identity(Role::Server(format!("node-{number}"))))
    }

    /// Where the players of a test come from: they knock at this coordinator's door.
    pub(crate) fn players(&self, coordinator: &CoordinatorService) -> ClientEndpoint {
        let door = coordinator.addresses().door;
        let settings = ClientSettings::new(door, "server-door.aerie.selvedge", self.0.ca_pem());
        ClientEndpoint::new(settings).expect("the socket opens")
    }
}
