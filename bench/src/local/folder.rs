//! The folder of one run: a throw-away CA's identities, configuration files, logs.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use selvedge_certs::{Authority, Overwrite, Role, SpiffeId, SubjectNames, Uuid, WorldName, server_name};
use selvedge_client::ClientSettings;
use selvedge_coordinator::{FileConfig, GridSection, StoreArg, StoreSection};
use selvedge_node::config::{IdentitySection, NodeFile};
use selvedge_protocol::grid::{Grid, GridConfig};
use selvedge_protocol::id::NodeId;
use selvedge_transport::{ClientLimits, Tuning};
use serde::Serialize;
use tempfile::TempDir;

use super::{ENTRIES_PER_SECOND, LocalArgs};
use crate::{BotsSettings, Manner, Observer, Plain};

/// How long the throw-away CA's identities hold: a mesh that is left running for longer must be started again.
const VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);
const INTEREST_MARGIN_M: f64 = 30.0;
/// What the coordinator's process is called in the folder.
const COORDINATOR: &str = "coordinator";

/// The folder of one run. Removed with everything in it when dropped, unless it is to be kept.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    world: WorldName,
    /// The door's TLS server name.
    door_name: String,
    /// What clients trust.
    ca_pem: String,
    nodes: Vec<NodeId>,
    _temporary: Option<TempDir>,
}

impl Folder {
    /// Makes the folder of a world, its CA, and the identities of a coordinator, a door and so many nodes. Without a
    /// folder to `keep` it is a temporary one.
    ///
    /// # Errors
    /// If something can't be written, or the folder isn't empty.
    pub fn make(world: &str, nodes: usize, keep: Option<&Path>) -> anyhow::Result<Self> {
        let (dir, temporary) = folder(world, keep)?;
        let world = WorldName::new(world)?;
        let authority = Authority::init(world.clone(), VALIDITY * 2)?;
        let certs = dir.join("certs");
        let issue = |role: Role, stem: &str| {
            let issued = authority.issue(role, &SubjectNames::default(), VALIDITY)?;
            issued.save(&certs, stem, Overwrite::Refuse)
        };
        let door = Role::Server("door".to_owned());
        issue(Role::Coordinator("main".to_owned()), COORDINATOR)?;
        issue(door.clone(), "door")?;
        let mut ids = Vec::new();
        for number in 1..=nodes {
            let id = Uuid::new_v4();
            ids.push(NodeId::from_u128(id.as_u128()));
            issue(Role::Node(id), &node_name(number))?;
            // A server's certificate: what clients are shown needn't be able to speak for a node.
            issue(Role::Server(node_name(number)), &client_stem(number))?;
        }
        fs::create_dir(dir.join("logs")).context("cannot make the folder for logs")?;
        let folder = Self {
            dir,
            door_name: server_name(&SpiffeId::new(world.clone(), door)?),
            world,
            ca_pem: authority.ca_pem().to_owned(),
            nodes: ids,
            _temporary: temporary,
        };
        write(&folder.cert("ca"), authority.ca_pem())?;
        Ok(folder)
    }

    /// The coordinator's configuration, on ports that the system chooses.
    #[must_use]
    pub fn coordinator(&self, args: &LocalArgs) -> FileConfig {
        let local = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let [x, y] = args.cells;
        FileConfig {
            world: Some(self.world.clone()),
            cert: Some(self.cert(COORDINATOR)),
            key: Some(self.key(COORDINATOR)),
            ca: Some(self.cert("ca")),
            door_cert: Some(self.cert("door")),
            door_key: Some(self.key("door")),
            bind_mesh: local,
            bind_door: local,
            bind_http: local,
            tick_hz: Some(args.tick_hz),
            interest_margin_m: Some(INTEREST_MARGIN_M.min(args.cell_edge / 3.0)),
            nodes_min: Some(args.nodes),
            log: Some(args.log.clone()),
            die_with_parent: true,
            grid: GridSection {
                cell_edge_m: Some(args.cell_edge),
                cells: Some([x, y, 1]),
                ..GridSection::default()
            },
            store: StoreSection { path: Some(StoreArg::Folder(self.dir.join("store"))) },
            door_tuning: Some(Tuning::for_clients()),
            door_limits: Some(client_limits(args)),
            ..FileConfig::default()
        }
    }

    /// The configuration of the node with this number, from 1 on, on ports that the system chooses.
    #[must_use]
    pub fn node(&self, args: &LocalArgs, number: usize, coordinator: SocketAddr) -> NodeFile {
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
        file
    }

    /// Writes the configuration of a process, and gives its path.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn configure(&self, name: &str, config: &impl Serialize) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(format!("{name}.toml"));
        write(&path, &toml::to_string_pretty(config)?)?;
        Ok(path)
    }

    /// Bots as the arguments say, who knock at this door and know whose cells are whose.
    ///
    /// # Errors
    /// If the coordinator doesn't say that, or there is no such grid.
    pub fn bots(
        &self,
        args: &LocalArgs,
        seed: u64,
        door: SocketAddr,
        observer: Observer,
    ) -> anyhow::Result<BotsSettings> {
        let [x, y] = args.cells;
        let cells = [x, y, 1];
        let grid = Grid::new(GridConfig { cell_edge_m: args.cell_edge, cells, ..GridConfig::default() })?;
        let owners = observer.cells().context("the cells' owners are not known")?.cells;
        Ok(BotsSettings {
            client: ClientSettings::new(door, self.door_name.clone(), self.ca_pem.clone()),
            players: args.players,
            tick_hz: args.tick_hz,
            plain: Plain { grid, owners },
            manner: Manner::Roam,
            speed_mps: args.speed,
            entries_per_second: ENTRIES_PER_SECOND,
            seed,
            name: "bot".to_owned(),
        })
    }

    /// The flags by which `bench handoff` measures this mesh from another terminal, while it runs.
    #[must_use]
    pub fn measure_flags(&self, args: &LocalArgs, http: SocketAddr, door: SocketAddr) -> String {
        let ([x, y], edge) = (args.cells, args.cell_edge);
        let (name, ca) = (&self.door_name, for_shell(&self.cert("ca").display().to_string()));
        format!(
            "--coordinator {http} --door {door} --door-name {name} --ca {ca} --cells {x}x{y} --cell-edge {edge}"
        )
    }

    /// Where everything is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The nodes' ids, from the first on.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The log of a process.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    fn cert(&self, stem: &str) -> PathBuf {
        self.dir.join("certs").join(format!("{stem}.pem"))
    }

    fn key(&self, stem: &str) -> PathBuf {
        self.dir.join("certs").join(format!("{stem}.key"))
    }
}

/// What the node with this number, from 1 on, is called on this machine.
#[must_use]
pub fn node_name(number: usize) -> String {
    format!("node-{number}")
}

fn client_stem(number: usize) -> String {
    format!("node-{number}-clients")
}

/// As a shell takes it for one word.
fn for_shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The share of the node with this number, from 1 on: shares differ by one at most, and add up.
fn share(all: u32, nodes: usize, number: usize) -> u32 {
    let (all, nodes, number) = (u64::from(all), nodes as u64, number as u64);
    let before = |number: u64| all * number / nodes;
    u32::try_from(before(number) - before(number - 1)).unwrap_or(u32::MAX)
}

/// Every bot comes from one address, and at high tick rates sends more than a person's client.
fn client_limits(args: &LocalArgs) -> ClientLimits {
    let defaults = ClientLimits::default();
    // A client connects to several nodes at once while it crosses, and all of a dead node's come back at once.
    let connections = defaults.connections_max.max(args.players * 6 + 64);
    ClientLimits {
        connections_max: connections,
        // All players are on this machine, whoever sends them.
        connections_per_address_max: connections,
        handshakes_per_second_max: defaults.handshakes_per_second_max.max(2000),
        datagrams_per_second_max: defaults.datagrams_per_second_max.max(args.tick_hz * 4),
        ..defaults
    }
}

fn folder(world: &str, keep: Option<&Path>) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    let Some(dir) = keep else {
        // Made with mode 0700.
        let temporary = tempfile::Builder::new()
            .prefix(&format!("selvedge-{world}-"))
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
        let args = LocalArgs { nodes: 2, npcs: 3, ..LocalArgs::default() };
        let folder = Folder::make("there", args.nodes, None).unwrap();
        let written = folder.coordinator(&args);
        let path = folder.configure("coordinator", &written).unwrap();
        assert_eq!(FileConfig::read(&path).unwrap(), written);
        for number in 1..=2 {
            let file = folder.node(&args, number, "127.0.0.1:7".parse().unwrap());
            let path = folder.configure(&node_name(number), &file).unwrap();
            let args = selvedge_node::config::NodeArgs { config: Some(path), ..Default::default() };
            let loaded = selvedge_node::config::load(&args).unwrap();
            assert_eq!(loaded.arena.npcs, [1, 2][number - 1]);
        }
    }

    #[test]
    fn a_path_is_one_word_for_the_shell() {
        assert_eq!(for_shell("/tmp/a-b_1/ca.pem"), "/tmp/a-b_1/ca.pem");
        assert_eq!(for_shell("/my mesh/it's"), r"'/my mesh/it'\''s'");
    }

    #[test]
    fn a_folder_with_something_in_it_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine"), "").unwrap();
        let refused = Folder::make("there", 1, Some(dir.path())).unwrap_err();
        assert!(refused.to_string().contains("not empty"));
    }
}
