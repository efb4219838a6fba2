//! A mesh of real processes behind the proxy.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::args::ChaosArgs;
use super::child::Spec;
use super::home::{Home, arena_seed, name};
use super::process::{Process, tail};
use super::proxy::{COORDINATOR, Place, Proxy};
use crate::{Observer, StatusView};

/// How long the processes may take until every cell has an owner. On a busy machine a start takes some seconds.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long they may take to end in order before they are killed.
const GRACE: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(50);

/// A running mesh. Dropping it kills its processes, ends the proxy and removes the folder, in this order.
#[derive(Debug)]
pub(crate) struct Mesh {
    processes: Vec<Process>,
    /// How often each process was started again.
    lives: Vec<u64>,
    seed: u64,
    pub(crate) proxy: Proxy,
    pub(crate) observer: Observer,
    pub(crate) home: Home,
}

impl Mesh {
    /// Starts everything and waits until every cell has an owner.
    ///
    /// # Errors
    /// If a process can't be started, ends, or takes too long.
    pub(crate) fn start(args: &ChaosArgs, seed: u64, home: Home) -> anyhow::Result<Self> {
        let places = 0..=args.nodes;
        let mut mesh = Self {
            processes: places.clone().map(|at| Process::new(name(at), home.log(&name(at)))).collect(),
            lives: places.clone().map(|_| 0).collect(),
            seed,
            proxy: Proxy::start(&home.addresses.mesh, seed)?,
            observer: Observer::new(home.addresses.http),
            home,
        };
        for place in places {
            mesh.launch(place)?;
        }
        let until = Instant::now() + START_PATIENCE;
        while !mesh.status().is_some_and(|status| is_whole(&status, args.nodes)) {
            if let Some(death) = mesh.deaths().pop() {
                bail!("the mesh could not be started: {death}");
            }
            if Instant::now() >= until {
                let logs = mesh.home.log(&name(COORDINATOR));
                bail!(
                    "not every node had registered within {START_PATIENCE:?}; the coordinator's log:\n{}",
                    tail(&logs)
                );
            }
            std::thread::sleep(LOOK);
        }
        Ok(mesh)
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
        self.processes[place].start(&spec)
    }

    /// Starts a process that was killed, with the same addresses and identity.
    pub(crate) fn restart(&mut self, place: Place) -> anyhow::Result<()> {
        self.lives[place] += 1;
        self.launch(place)
    }

    pub(crate) fn process(&mut self, place: Place) -> &mut Process {
        &mut self.processes[place]
    }

    /// None if the coordinator doesn't answer.
    pub(crate) fn status(&self) -> Option<StatusView> {
        self.observer.status().ok()
    }

    /// Whether a node is registered and has cells.
    pub(crate) fn has_cells(&self, status: &StatusView, place: Place) -> bool {
        let id = self.home.nodes[place - 1];
        status.nodes.iter().any(|node| node.node == id && node.alive && node.linked && node.cells > 0)
    }

    /// Who ended without being killed; each is told once.
    pub(crate) fn deaths(&mut self) -> Vec<String> {
        self.processes.iter_mut().filter_map(Process::death).collect()
    }

    /// Ends everything, the coordinator last. Says who didn't end in order.
    pub(crate) fn stop(mut self) -> Vec<String> {
        let mut complaints = self.deaths();
        let (coordinator, nodes) = self.processes.split_at_mut(1);
        for group in [nodes, coordinator] {
            group.iter_mut().for_each(Process::terminate);
            let until = Instant::now() + GRACE;
            complaints.extend(group.iter_mut().filter_map(|process| process.end_until(until)));
        }
        complaints
    }
}

/// Whether every node is there and every cell has an owner.
pub(crate) fn is_whole(status: &StatusView, nodes: usize) -> bool {
    let alive = status.nodes.iter().filter(|node| node.alive && node.linked).count();
    alive == nodes && status.cells > 0 && status.cells_without_owner == 0
}
