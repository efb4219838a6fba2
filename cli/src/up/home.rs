//! The folder of one run: a throw-away CA's identities, configuration files, logs.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use selvedge_certs::{Authority, Overwrite, Role, SpiffeId, SubjectNames, Uuid, WorldName, server_name};
use selvedge_node::config::{IdentitySection, NodeFile};
use selvedge_transport::{ClientLimits, Tuning};
use serde::Serialize;
use tempfile::TempDir;

use super::args::UpArgs;

/// The world's name.
const WORLD: &str = "up";
/// How long the throw-away CA holds: a mesh that is left running for longer must be started again.
const VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);
const INTEREST_MARGIN_M: f64 = 30.0;

/// The folder of one run. Removed with everything in it when dropped, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    /// The door's TLS server name.
    pub(super) door_name: String,
    /// What clients trust.
    pub(super) ca_pem: String,
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
    tick_hz: u32,
    interest_margin_m: f64,
    nodes_min: usize,
    log: &'a str,
    addresses_file: PathBuf,
    die_with_parent: bool,
    grid: GridSection,
    store: StoreSection,
    door_tuning: Tuning,
    door_limits: ClientLimits,
}

#[derive(Serialize)]
struct StoreSection {
    path: PathBuf,
}

#[derive(Serialize)]
struct GridSection {
    cell_edge_m: f64,
    cells: [u32; 3],
}

impl Home {
    /// Makes the folder, the CA, every identity, and the coordinator's configuration.
    pub(super) fn make(args: &UpArgs) -> anyhow::Result<Self> {
        let (dir, temporary) = folder(args.keep_dir.as_deref())?;
        let world = WorldName::new(WORLD)?;
        let authority = Authority::init(world.clone(), VALIDITY * 2)?;
        let certs = dir.join("certs");
        let issue = |role: Role, stem: &str| {
            let issued = authority.issue(role, &SubjectNames::default(), VALIDITY)?;
            issued.save(&certs, stem, Overwrite::Refuse)
        };
        let door = Role::Server("door".to_owned());
        issue(Role::Coordinator("main".to_owned()), "coordinator")?;
        issue(door.clone(), "door")?;
        for number in 1..=args.nodes {
            issue(Role::Node(Uuid::new_v4()), &node_name(number))?;
            // A server's certificate: what clients are shown needn't be able to speak for a node.
            issue(Role::Server(node_name(number)), &client_stem(number))?;
        }
        let home = Self {
            dir,
            door_name: server_name(&SpiffeId::new(world, door)?),
            ca_pem: authority.ca_pem().to_owned(),
            _temporary: temporary,
        };
        home.write(&home.cert("ca"), authority.ca_pem())?;
        fs::create_dir(home.dir.join("logs")).context("cannot make the folder for logs")?;
        home.write(&home.coordinator_config(), &toml::to_string_pretty(&home.coordinator_file(args))?)?;
        Ok(home)
    }

    fn coordinator_file<'a>(&self, args: &'a UpArgs) -> CoordinatorFile<'a> {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let [x, y] = args.cells;
        CoordinatorFile {
            world: WORLD,
            cert: self.cert("coordinator"),
            key: self.key("coordinator"),
            ca: self.cert("ca"),
            door_cert: self.cert("door"),
            door_key: self.key("door"),
            bind_mesh: local,
            bind_door: local,
            bind_http: local,
            tick_hz: args.tick_hz,
            interest_margin_m: INTEREST_MARGIN_M.min(args.cell_edge / 3.0),
            nodes_min: args.nodes,
            log: &args.log,
            addresses_file: self.addresses_file(),
            die_with_parent: true,
            store: StoreSection { path: self.dir.join("store") },
            grid: GridSection { cell_edge_m: args.cell_edge, cells: [x, y, 1] },
            door_tuning: Tuning::for_clients(),
            door_limits: client_limits(args),
        }
    }

    /// Writes the configuration of the node with this number, from 1 on, and gives its path.
    pub(super) fn node_config(
        &self,
        args: &UpArgs,
        number: usize,
        coordinator: SocketAddr,
    ) -> anyhow::Result<PathBuf> {
        let identity = |stem: &str| IdentitySection {
            cert: Some(self.cert(stem)),
            key: Some(self.key(stem)),
            ca: Some(self.cert("ca")),
        };
        let mut file = NodeFile {
            log: Some(args.log.clone()),
            identity: identity(&node_name(number)),
            client_identity: identity(&client_stem(number)),
            ..NodeFile::default()
        };
        file.coordinator.addr = Some(coordinator.to_string());
        file.transport.client_limits = client_limits(args);
        file.arena.npcs = share(args.npcs, args.nodes, number);
        file.arena.snapshot_bytes = args.snapshot_bytes;
        file.arena.seed = args.seed.wrapping_mul(1000).wrapping_add(number as u64);
        let path = self.dir.join(format!("{}.toml", node_name(number)));
        self.write(&path, &toml::to_string_pretty(&file)?)?;
        Ok(path)
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
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn coordinator_config(&self) -> PathBuf {
        self.dir.join("coordinator.toml")
    }

    /// Where the coordinator says which ports it got.
    pub(super) fn addresses_file(&self) -> PathBuf {
        self.dir.join("addresses.json")
    }

    /// The log of a process.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }
}

/// What the node with this number, from 1 on, is called on this machine.
pub(super) fn node_name(number: usize) -> String {
    format!("node-{number}")
}

fn client_stem(number: usize) -> String {
    format!("node-{number}-clients")
}

/// The share of the node with this number, from 1 on: shares differ by one at most, and add up.
fn share(all: u32, nodes: usize, number: usize) -> u32 {
    let (all, nodes, number) = (u64::from(all), nodes as u64, number as u64);
    let before = |number: u64| all * number / nodes;
    u32::try_from(before(number) - before(number - 1)).unwrap_or(u32::MAX)
}

/// Every bot comes from one address, and at high tick rates sends more than a person's client.
fn client_limits(args: &UpArgs) -> ClientLimits {
    let defaults = ClientLimits::default();
    // A client connects to several nodes at once while it crosses.
    let connections = args.players * 4 + 64;
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
            .prefix("selvedge-up-")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (all, nodes) in [(200, 4), (7, 3), (1, 4), (0, 2)] {
            let shares: Vec<u32> = (1..=nodes).map(|number| share(all, nodes, number)).collect();
            assert_eq!(shares.iter().sum::<u32>(), all);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
        }
    }

    #[test]
    fn the_files_are_those_that_the_processes_read() {
        let args = UpArgs { nodes: 2, npcs: 3, ..UpArgs::default() };
        let home = Home::make(&args).unwrap();
        selvedge_coordinator::FileConfig::read(&home.coordinator_config()).unwrap();
        for number in 1..=2 {
            let path = home.node_config(&args, number, "127.0.0.1:7".parse().unwrap()).unwrap();
            let args = selvedge_node::config::NodeArgs { config: Some(path), ..Default::default() };
            let loaded = selvedge_node::config::load(&args).unwrap();
            assert_eq!(loaded.arena.npcs, [1, 2][number - 1]);
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine"), "").unwrap();
        let args = UpArgs { keep_dir: Some(dir.path().to_owned()), ..UpArgs::default() };
        assert!(Home::make(&args).unwrap_err().to_string().contains("not empty"));
    }
}
