//! One run: a mesh, players who watch, a quiet time, and the attacks one after the other.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use selvedge_certs::{Role, Uuid};
use selvedge_client::ClientSettings;
use selvedge_protocol::coordinator::{CoordinatorStatus, NodeStatus};
use selvedge_protocol::id::NodeId;
use serde::Deserialize;

use super::args::{Attack, FloodArgs};
use super::attacker::{Attacker, Deeds, Rogue, Spec};
use super::home::{Home, NODES};
use super::measure::{MemoryWatch, Ticks, fresh_reports};
use super::report::{Phase, Report};
use super::witness::Witnesses;
use crate::Observer;
use crate::chaos::ChildSpec;
use crate::local::{Processes, is_whole};

const START_PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
/// How long the players play before anything counts.
const SETTLE: Duration = Duration::from_secs(2);
/// How long after an attack the next one begins, at least.
const PAUSE: Duration = Duration::from_millis(500);

/// Where the coordinator is reached, as it writes it.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Addresses {
    mesh: SocketAddr,
    door: SocketAddr,
    http: SocketAddr,
}

/// The mesh's processes, the coordinator first. Killed when dropped, before their folder goes.
#[derive(Debug)]
struct Mesh {
    processes: Processes,
    addresses: Addresses,
    observer: Observer,
    home: Home,
}

/// Runs everything.
pub(super) fn run(args: &FloodArgs, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let mut mesh = Mesh::start(args)?;
    let settings =
        ClientSettings::new(mesh.addresses.door, mesh.home.server_name("door")?, mesh.home.ca_pem.clone());
    let witnesses = Witnesses::start(settings, args.players)?;
    thread::sleep(SETTLE);
    say("quiet");
    let quiet = mesh.phase(&witnesses, args.duration, None)?;
    let mut attacks = Vec::new();
    for (number, &attack) in args.attacks.iter().enumerate() {
        say(&format!("{attack:?}"));
        let spec = mesh.spec(attack, args.duration, number)?;
        attacks.push((attack, mesh.phase(&witnesses, args.duration, Some(&spec))?));
        thread::sleep(PAUSE);
        if let Some(death) = mesh.processes.deaths().pop() {
            bail!("{attack:?} brought a process down: {death}");
        }
    }
    drop(witnesses);
    Ok(Report::new(args, quiet, attacks))
}

impl Mesh {
    fn start(args: &FloodArgs) -> anyhow::Result<Self> {
        let home = Home::make(args.keep_dir.as_deref())?;
        let mut processes = Processes::default();
        let coordinator = ChildSpec::Coordinator { config: home.coordinator_file()? };
        processes.add("coordinator", home.log("coordinator")).start(&coordinator.command()?)?;
        let addresses = await_addresses(&home.addresses_file(), &mut processes)?;
        for name in NODES {
            let config = home.node_file(name, args, addresses.mesh)?;
            let node = ChildSpec::Node { config, set: Vec::new() };
            processes.add(name, home.log(name)).start(&node.command()?)?;
        }
        let mut mesh = Self { processes, addresses, observer: Observer::new(addresses.http), home };
        let until = Instant::now() + START_PATIENCE;
        while !mesh.observer.status().is_ok_and(|status| is_whole(&status, NODES.len())) {
            if let Some(death) = mesh.processes.deaths().pop() {
                bail!("the mesh could not be started: {death}");
            }
            anyhow::ensure!(Instant::now() < until, "the nodes had not registered within {START_PATIENCE:?}");
            thread::sleep(LOOK);
        }
        Ok(mesh)
    }

    /// Lets the players play, attacked or not, and gives what it was like.
    fn phase(
        &self,
        witnesses: &Witnesses,
        duration: Duration,
        attack: Option<&Spec>,
    ) -> anyhow::Result<Phase> {
        let before = fresh_reports(&self.observer, &self.home.ids)?;
        let victim = self.processes.id(1).context("the first node is gone")?;
        let memory = MemoryWatch::start(victim)?;
        drop(witnesses.take());
        let deeds = match attack {
            Some(spec) => Attacker::start(spec)?.deeds()?,
            None => {
                thread::sleep(duration);
                Deeds::default()
            }
        };
        let seen = witnesses.take();
        let after = fresh_reports(&self.observer, &self.home.ids)?;
        let resident_bytes = memory.end()?;
        let [victim, other] = self.home.ids.map(|id| {
            let (before, after) = (before.get(&id), after.get(&id));
            Ticks::between(before.context("no report")?, after.context("no report")?)
        });
        let mut both = victim?;
        both.add(&other?)?;
        Ok(Phase::new(&seen, &both, resident_bytes, deeds))
    }

    fn spec(&self, attack: Attack, duration: Duration, number: usize) -> anyhow::Result<Spec> {
        let status = self.observer.status()?;
        let [victim, _] = self.home.ids;
        let view = node_of(&status, victim).context("the first node is gone")?;
        let rogue = match attack {
            Attack::Control | Attack::Checkpoints | Attack::Ghosts => {
                let stem = format!("rogue-{number}");
                self.home.issue(Role::Node(Uuid::new_v4()), &stem)?;
                Some(Rogue { cert: self.home.pem(&stem), key: self.home.key(&stem) })
            }
            Attack::Connections | Attack::Noise | Attack::Strangers | Attack::Players | Attack::Deaf => None,
        };
        Ok(Spec {
            attack,
            duration,
            ca: self.home.pem("ca"),
            door: self.addresses.door,
            door_name: self.home.server_name("door")?,
            clients: view.client_addr.parse()?,
            clients_name: self.home.server_name(NODES[0])?,
            mesh: view.mesh_addr.parse()?,
            node: victim,
            rogue,
            coordinator: self.addresses.mesh,
        })
    }
}

fn node_of(status: &CoordinatorStatus, id: NodeId) -> Option<&NodeStatus> {
    status.nodes.iter().find(|node| node.node == id)
}

fn await_addresses(path: &PathBuf, processes: &mut Processes) -> anyhow::Result<Addresses> {
    let until = Instant::now() + START_PATIENCE;
    loop {
        if let Ok(text) = fs::read_to_string(path) {
            return serde_json::from_str(&text)
                .context("the coordinator wrote other addresses than expected");
        }
        if let Some(death) = processes.deaths().pop() {
            bail!("the coordinator could not be started: {death}");
        }
        anyhow::ensure!(Instant::now() < until, "the coordinator was not there within {START_PATIENCE:?}");
        thread::sleep(LOOK);
    }
}
