//! The folder of one run, and the addresses of all processes, which stay the same when one is started again.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::bail;
use rand::RngExt;

use super::args::ChaosArgs;
use super::proxy::{COORDINATOR, Ends, Place};
use crate::local::{Folder, node_name};

const WORLD: &str = "chaos";
/// Below the ports that the system gives away by itself: nobody takes one while its process is dead.
const PORTS: std::ops::Range<u16> = 15_000..30_000;
const PORT_TRIES: usize = 10_000;

/// Where the processes are.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// The mesh addresses, the coordinator's first.
    pub(crate) mesh: Vec<Ends>,
    /// Where players knock, and where they reach each node, from the first on.
    pub(crate) doors: Vec<Ends>,
    /// The coordinator's status.
    pub(crate) http: SocketAddr,
}

/// The folder of one run, with every configuration file written.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) folder: Folder,
    pub(crate) addresses: Addresses,
    /// The configuration files, the coordinator's first.
    configs: Vec<PathBuf>,
}

impl Home {
    /// Makes the folder, every identity, and every configuration file.
    ///
    /// # Errors
    /// If something can't be written, or no ports are free.
    pub(crate) fn make(args: &ChaosArgs, keep: Option<&Path>) -> anyhow::Result<Self> {
        let local = &args.local;
        let folder = Folder::make(WORLD, local.nodes, keep)?;
        let addresses = Addresses::find(local.nodes)?;
        let coordinator = addresses.mesh[COORDINATOR];
        let mut file = folder.coordinator(local);
        file.bind_mesh = Some(coordinator.home);
        file.advertise_mesh = Some(coordinator.front);
        file.bind_door = Some(addresses.doors[COORDINATOR].home);
        file.bind_http = Some(addresses.http);
        file.lease = Some(args.lease);
        let mut configs = vec![folder.configure(&name(COORDINATOR), &file)?];
        for place in 1..=local.nodes {
            let mut file = folder.node(local, place, coordinator.front);
            file.mesh.bind = Some(addresses.mesh[place].home);
            file.mesh.advertise = Some(addresses.mesh[place].front);
            file.clients.bind = Some(addresses.doors[place].home);
            file.clients.advertise = Some(addresses.doors[place].front);
            file.arena.seed = arena_seed(args.seed, place, 0);
            configs.push(folder.configure(&name(place), &file)?);
        }
        Ok(Self { folder, addresses, configs })
    }

    /// The configuration file of a process.
    pub(crate) fn config(&self, place: Place) -> PathBuf {
        self.configs[place].clone()
    }
}

impl Addresses {
    fn find(nodes: usize) -> anyhow::Result<Self> {
        let mut taken = BTreeSet::new();
        let mut port = || free_port(&mut taken);
        let mut ends =
            || (0..=nodes).map(|_| Ok(Ends { home: port()?, front: port()? })).collect::<anyhow::Result<_>>();
        let (mesh, doors) = (ends()?, ends()?);
        Ok(Self { mesh, doors, http: port()? })
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
    if place == COORDINATOR { "coordinator".to_owned() } else { node_name(place) }
}

/// Where the arena's chances begin, in each life of a node elsewhere: a new life mustn't make the items of the last one.
pub(crate) const fn arena_seed(seed: u64, place: Place, life: u64) -> u64 {
    // 0 would draw one by chance.
    seed.wrapping_mul(1_000_000).wrapping_add(place as u64 * 10_000 + life + 1)
}
