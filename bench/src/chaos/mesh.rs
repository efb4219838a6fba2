//! A mesh of real processes behind the proxy.

use std::time::{Duration, Instant};

use anyhow::bail;
use selvedge_protocol::coordinator::CoordinatorStatus;
use selvedge_protocol::id::{Incarnation, NodeId};

use super::args::ChaosArgs;
use super::child::Spec;
use super::home::{Home, arena_seed, name};
use super::proxy::{COORDINATOR, Place, Proxy};
use crate::Observer;
use crate::local::{Process, Processes, Signals, is_whole};

/// How long the processes may take until every cell has an owner. On a busy machine a start takes some seconds.
const START_PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// A running mesh. Dropping it kills its processes, ends the proxy and removes the folder, in this order.
#[derive(Debug)]
pub(crate) struct Mesh {
    processes: Processes,
    /// How often each process was started again.
    lives: Vec<u64>,
    seed: u64,
    pub(crate) proxy: Proxy,
    pub(crate) observer: Observer,
    pub(crate) home: Home,
}

impl Mesh {
    /// Starts everything and waits until every cell has an owner. None if somebody interrupts before.
    ///
    /// # Errors
    /// If a process can't be started, ends, or takes too long.
    pub(crate) fn start(
        args: &ChaosArgs,
        seed: u64,
        home: Home,
        signals: &Signals,
    ) -> anyhow::Result<Option<Self>> {
        let places = 0..=args.local.nodes;
        let mut processes = Processes::default();
        for name in places.clone().map(name) {
            processes.add(&name, home.folder.log(&name));
        }
        let mut mesh = Self {
            processes,
            lives: places.clone().map(|_| 0).collect(),
            seed,
            proxy: Proxy::start(&home.addresses.mesh, &home.addresses.doors, seed)?,
            observer: Observer::new(home.addresses.http),
            home,
        };
        for place in places {
            mesh.launch(place)?;
        }
        let until = Instant::now() + START_PATIENCE;
        while !mesh.status().is_some_and(|status| is_whole(&status, args.local.nodes)) {
            if let Some(death) = mesh.deaths().pop() {
                bail!("the mesh could not be started: {death}");
            }
            if signals.asked() {
                return Ok(None);
            }
            if Instant::now() >= until {
                bail!("not every node had registered within {START_PATIENCE:?}\n{}", mesh.processes.tails());
            }
            std::thread::sleep(LOOK);
        }
        Ok(Some(mesh))
    }

    fn launch(&mut self, place: Place) -> anyhow::Result<()> {
        let config = self.home.config(place);
        let life = self.lives[place];
        let spec = if place == COORDINATOR {
            Spec::Coordinator { config }
        } else {
            let seed = arena_seed(self.seed, place, life);
            // Its NPCs live on elsewhere: it must come back with empty hands.
            let again = if life > 0 { vec!["arena.npcs=0".to_owned()] } else { Vec::new() };
            Spec::Node { config, set: [vec![format!("arena.seed={seed}")], again].concat() }
        };
        self.processes.at(place)?.start(&spec.command()?)
    }

    /// Starts a process that was killed, with the same addresses and identity.
    pub(crate) fn restart(&mut self, place: Place) -> anyhow::Result<()> {
        self.lives[place] += 1;
        self.launch(place)
    }

    pub(crate) fn process(&mut self, place: Place) -> anyhow::Result<&mut Process> {
        self.processes.at(place)
    }

    /// None if the coordinator doesn't answer.
    pub(crate) fn status(&self) -> Option<CoordinatorStatus> {
        self.observer.status().ok()
    }

    /// A node's id.
    pub(crate) fn id(&self, place: Place) -> NodeId {
        self.home.folder.nodes()[place - 1]
    }

    /// The newest life of a node that is registered.
    pub(crate) fn life(&self, status: &CoordinatorStatus, place: Place) -> Option<Incarnation> {
        let id = self.id(place);
        status.nodes.iter().find(|node| node.node == id).map(|node| node.incarnation)
    }

    /// Whether a node is registered and has cells.
    pub(crate) fn has_cells(&self, status: &CoordinatorStatus, place: Place) -> bool {
        let id = self.id(place);
        status.nodes.iter().any(|node| node.node == id && node.alive && node.linked && node.cells > 0)
    }

    /// Who ended without being killed; each is told once.
    pub(crate) fn deaths(&mut self) -> Vec<String> {
        self.processes.deaths()
    }

    /// Ends everything, the coordinator last. Says who didn't end in order.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.processes.stop()
    }
}
