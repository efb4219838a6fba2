//! A world with its CA, a coordinator, and what a node needs to join.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use selvedge_certs::{
    Authority, CA_VALIDITY, IDENTITY_VALIDITY, Identity, Role, SubjectNames, Uuid, WorldName,
};
use selvedge_client::{ClientEndpoint, ClientSettings};
use selvedge_coordinator::{AnyName, CoordinatorArgs, CoordinatorService, FileConfig, Settings};
use selvedge_node::arena::{Arena, ArenaConfig};
use selvedge_node::{MeshNode, MeshNodeBuilder, MeshNodeConfig, NodeReport, TickError};
use selvedge_protocol::grid::GridConfig;
use selvedge_transport::DialEvent;
use tokio::sync::mpsc::Receiver;
use tracing_subscriber::fmt::TestWriter;

/// Two cells side by side, so that there is one border, at x = 30 m.
const GRID: GridConfig = GridConfig { origin_m: [0.0; 3], cell_edge_m: 30.0, cells: [2, 1, 1] };
/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What all that runs in this process has logged so far.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().expect("nobody panics with it").extend_from_slice(bytes);
        // For the person who looks at a test that failed.
        TestWriter::default().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to keep the log.
pub(crate) fn keep_log() {
    let log = tracing_subscriber::fmt().with_env_filter("info").with_ansi(false).with_writer(|| LogWriter);
    // Another test of this process may have begun before.
    let _ = log.try_init();
}

/// The lines of the log with all of these words. Tests run side by side, so they name what is their own.
pub(crate) fn log_lines(words: &[&str]) -> Vec<String> {
    let log = LOG.lock().expect("nobody panics with it");
    let text = String::from_utf8_lossy(&log);
    let lines = text.lines().filter(|line| words.iter().all(|word| line.contains(word)));
    lines.map(str::to_owned).collect()
}

/// Waits for a line with all of these words.
pub(crate) async fn logged(words: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    while log_lines(words).is_empty() {
        assert!(Instant::now() < deadline, "no line of the log has all of {words:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Why the other end closed a connection.
pub(crate) async fn closed(events: &mut Receiver<DialEvent>) -> String {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await.expect("something happens");
        if let DialEvent::Closed { reason, .. } = event.expect("the end is told first") {
            return reason;
        }
    }
}

/// A node that ticks on a thread of its own until it is stopped.
pub(crate) struct Running {
    pub(crate) mesh: SocketAddr,
    pub(crate) clients: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<NodeReport>,
}

impl Running {
    pub(crate) fn start(builder: MeshNodeBuilder) -> Self {
        let mut node = builder.start().expect("the node starts");
        let (mesh, clients) = (node.mesh_addr(), node.client_addr());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut arena = Arena::new(ArenaConfig::default()).expect("avatars");
            while !stopped.load(Ordering::Relaxed) {
                match node.tick(&mut arena, Arena::step) {
                    Ok(_) | Err(TickError::NotReady { .. }) => {}
                    Err(error @ (TickError::Unfit { .. } | TickError::Stopped)) => panic!("{error}"),
                }
            }
            let report = node.report();
            node.stop();
            report
        });
        Self { mesh, clients, stop, thread }
    }

    /// Stops it; gives what it measured.
    pub(crate) fn stop(self) -> NodeReport {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the node ends well")
    }
}

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
