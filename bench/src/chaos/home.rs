//! The folder of one run: a throw-away CA's identities, configuration files, logs; and the addresses of all processes,
//! which stay the same when one is started again.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rand::RngExt;
use selvedge_certs::{Authority, Overwrite, Role, SpiffeId, SubjectNames, Uuid, WorldName, server_name};
use selvedge_node::config::{IdentitySection, NodeFile};
use selvedge_protocol::id::NodeId;
use selvedge_transport::{ClientLimits, Tuning};
use serde::Serialize;
use tempfile::TempDir;

use super::args::ChaosArgs;
use super::proxy::{COORDINATOR, Ends, Place};

const WORLD: &str = "chaos";
const VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);
const INTEREST_MARGIN_M: f64 = 30.0;
/// Below the ports that the system gives away by itself: nobody takes one while its process is dead.
const PORTS: std::ops::Range<u16> = 15_000..30_000;
const PORT_TRIES: usize = 10_000;

/// Where the processes are.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// The mesh addresses, the coordinator's first.
    pub(crate) mesh: Vec<Ends>,
    /// Where players knock.
    pub(crate) door: SocketAddr,
    /// The coordinator's status.
    pub(crate) http: SocketAddr,
    /// Where players reach each node, from the first on.
    clients: Vec<SocketAddr>,
}

/// The folder of one run. Removed with everything in it when dropped, unless it is to be kept.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    pub(crate) addresses: Addresses,
    /// The nodes' ids, from the first on.
    pub(crate) nodes: Vec<NodeId>,
    /// The door's TLS server name.
    pub(crate) door_name: String,
    /// What clients trust.
    pub(crate) ca_pem: String,
    _temporary: Option<TempDir>,
}

/// The coordinator's configuration file, as far as it isn't the default.
#[derive(Serialize)]
struct CoordinatorFile<'a> {
    world: &'a str,
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
    door_cert: PathBuf,
    door_key: PathBuf,
    bind_mesh: SocketAddr,
    bind_door: SocketAddr,
    bind_http: SocketAddr,
    advertise_mesh: SocketAddr,
    tick_hz: u32,
    interest_margin_m: f64,
    nodes_min: usize,
    lease: String,
    log: &'a str,
    grid: GridSection,
    store: StoreSection,
    door_tuning: Tuning,
    door_limits: ClientLimits,
}

#[derive(Serialize)]
struct GridSection {
    cell_edge_m: f64,
    cells: [u32; 3],
}

/// What a killed coordinator finds again.
#[derive(Serialize)]
struct StoreSection {
    path: PathBuf,
}

impl Home {
    /// Makes the folder, the CA, every identity, and every configuration file.
    ///
    /// # Errors
    /// If something can't be written, or no ports are free.
    pub(crate) fn make(args: &ChaosArgs, keep: Option<&Path>) -> anyhow::Result<Self> {
        let (dir, temporary) = folder(keep)?;
        let world = WorldName::new(WORLD)?;
        let authority = Authority::init(world.clone(), VALIDITY * 2)?;
        let certs = dir.join("certs");
        let issue = |role: Role, stem: &str| -> anyhow::Result<()> {
            let issued = authority.issue(role, &SubjectNames::default(), VALIDITY)?;
            issued.save(&certs, stem, Overwrite::Refuse)?;
            Ok(())
        };
        let door = Role::Server("door".to_owned());
        issue(Role::Coordinator("main".to_owned()), "coordinator")?;
        issue(door.clone(), "door")?;
        let mut nodes = Vec::new();
        for place in 1..=args.nodes {
            let id = Uuid::new_v4();
            nodes.push(NodeId::from_u128(id.as_u128()));
            issue(Role::Node(id), &name(place))?;
            issue(Role::Server(name(place)), &client_stem(place))?;
        }
        let home = Self {
            dir,
            addresses: Addresses::find(args.nodes)?,
            nodes,
            door_name: server_name(&SpiffeId::new(world, door)?),
            ca_pem: authority.ca_pem().to_owned(),
            _temporary: temporary,
        };
        home.write(&home.cert("ca"), authority.ca_pem())?;
        fs::create_dir(home.dir.join("logs")).context("cannot make the folder for logs")?;
        home.write(&home.config(COORDINATOR), &toml::to_string_pretty(&home.coordinator_file(args))?)?;
        for place in 1..=args.nodes {
            home.write(&home.config(place), &toml::to_string_pretty(&home.node_file(args, place))?)?;
        }
        Ok(home)
    }

    fn coordinator_file<'a>(&self, args: &'a ChaosArgs) -> CoordinatorFile<'a> {
        let [x, y] = args.cells;
        let mesh = self.addresses.mesh[COORDINATOR];
        CoordinatorFile {
            world: WORLD,
            cert: self.cert("coordinator"),
            key: self.key("coordinator"),
            ca: self.cert("ca"),
            door_cert: self.cert("door"),
            door_key: self.key("door"),
            bind_mesh: mesh.home,
            bind_door: self.addresses.door,
            bind_http: self.addresses.http,
            advertise_mesh: mesh.front,
            tick_hz: args.tick_hz,
            interest_margin_m: INTEREST_MARGIN_M.min(args.cell_edge / 3.0),
            nodes_min: args.nodes,
            lease: humantime::format_duration(args.lease).to_string(),
            log: &args.log,
            grid: GridSection { cell_edge_m: args.cell_edge, cells: [x, y, 1] },
            store: StoreSection { path: self.dir.join("store") },
            door_tuning: Tuning::for_clients(),
            door_limits: client_limits(args),
        }
    }

    fn node_file(&self, args: &ChaosArgs, place: Place) -> NodeFile {
        let identity = |stem: &str| IdentitySection {
            cert: Some(self.cert(stem)),
            key: Some(self.key(stem)),
            ca: Some(self.cert("ca")),
        };
        let mut file = NodeFile {
            log: Some(args.log.clone()),
            identity: identity(&name(place)),
            client_identity: identity(&client_stem(place)),
            ..NodeFile::default()
        };
        let mesh = self.addresses.mesh[place];
        file.mesh.bind = Some(mesh.home);
        file.mesh.advertise = Some(mesh.front);
        file.clients.bind = Some(self.addresses.clients[place - 1]);
        file.coordinator.addr = Some(self.addresses.mesh[COORDINATOR].front.to_string());
        file.transport.client_limits = client_limits(args);
        file.arena.npcs = share(args.npcs, args.nodes, place);
        file.arena.snapshot_bytes = args.snapshot_bytes;
        file.arena.seed = arena_seed(args.seed, place, 0);
        file
    }

    fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn cert(&self, stem: &str) -> PathBuf {
        self.dir.join("certs").join(format!("{stem}.pem"))
    }

    fn key(&self, stem: &str) -> PathBuf {
        self.dir.join("certs").join(format!("{stem}.key"))
    }

    /// Where everything is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The configuration file of a process.
    pub(crate) fn config(&self, place: Place) -> PathBuf {
        self.dir.join(format!("{}.toml", name(place)))
    }

    /// The log of a process.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }
}

impl Addresses {
    fn find(nodes: usize) -> anyhow::Result<Self> {
        let mut taken = BTreeSet::new();
        let mut port = || free_port(&mut taken);
        let mesh = (0..=nodes)
            .map(|_| Ok(Ends { home: port()?, front: port()? }))
            .collect::<anyhow::Result<Vec<Ends>>>()?;
        let clients = (0..nodes).map(|_| port()).collect::<anyhow::Result<Vec<SocketAddr>>>()?;
        Ok(Self { mesh, clients, door: port()?, http: port()? })
    }
}

/// A port of this machine that nobody has, neither for UDP nor for TCP.
fn free_port(taken: &mut BTreeSet<u16>) -> anyhow::Result<SocketAddr> {
    let mut chance = rand::rng();
    for _ in 0..PORT_TRIES {
        let port = chance.random_range(PORTS);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() && taken.insert(port) {
            return Ok(address);
        }
    }
    bail!("no port from {} to {} is free: end what uses them", PORTS.start, PORTS.end)
}

/// What a process is called in the folder.
pub(crate) fn name(place: Place) -> String {
    if place == COORDINATOR { "coordinator".to_owned() } else { format!("node-{place}") }
}

fn client_stem(place: Place) -> String {
    format!("{}-clients", name(place))
}

/// Where the arena's chances begin, in each life of a node elsewhere: a new life mustn't make the items of the last one.
pub(crate) const fn arena_seed(seed: u64, place: Place, life: u64) -> u64 {
    // 0 would draw one by chance.
    seed.wrapping_mul(1_000_000).wrapping_add(place as u64 * 10_000 + life + 1)
}

/// The share of the node with this number, from 1 on: shares differ by one at most, and add up.
fn share(all: u32, nodes: usize, number: usize) -> u32 {
    let (all, nodes, number) = (u64::from(all), nodes as u64, number as u64);
    let before = |number: u64| all * number / nodes;
    u32::try_from(before(number) - before(number - 1)).unwrap_or(u32::MAX)
}

/// Every bot comes from one address, and all of a dead node's come back at once.
fn client_limits(args: &ChaosArgs) -> ClientLimits {
    let defaults = ClientLimits::default();
    let connections = args.players * 6 + 64;
    ClientLimits {
        connections_max: defaults.connections_max.max(connections),
        connections_per_address_max: defaults.connections_per_address_max.max(connections),
        handshakes_per_second_max: defaults.handshakes_per_second_max.max(2000),
        datagrams_per_second_max: defaults.datagrams_per_second_max.max(args.tick_hz * 4),
        ..defaults
    }
}

fn folder(keep: Option<&Path>) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    let Some(dir) = keep else {
        // Made with mode 0700.
        let temporary = tempfile::Builder::new()
            .prefix("selvedge-chaos-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let dir = dir.canonicalize().with_context(|| format!("cannot use the folder {}", dir.display()))?;
    let used =
        fs::read_dir(&dir).with_context(|| format!("cannot read the folder {}", dir.display()))?.next();
    ensure!(used.is_none(), "--keep-dir {}: the folder is not empty; choose another", dir.display());
    Ok((dir, None))
}
