//! A whole mesh of real processes on this machine.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use selvedge_bench::Observer;
use selvedge_bench::local::{Folder, Processes, Signals, is_whole, node_name};
use selvedge_coordinator::Addresses;
use selvedge_protocol::coordinator::CoordinatorStatus;

use super::args::UpArgs;
use crate::out;

/// How long the processes may take until every cell has an owner. On a busy machine a start takes some seconds.
const START_PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
const WORD_PERIOD: Duration = Duration::from_secs(5);

/// A running mesh. Dropping it kills its processes and removes its folder.
#[derive(Debug)]
pub(super) struct Mesh {
    // Before the folder: processes end first.
    pub(super) processes: Processes,
    pub(super) addresses: Addresses,
    pub(super) observer: Observer,
    pub(super) folder: Folder,
}

impl Mesh {
    /// Starts everything and waits until every cell has an owner. None if somebody asked to end before.
    pub(super) fn start(args: &UpArgs, folder: Folder, signals: &Signals) -> anyhow::Result<Option<Self>> {
        let mut starting =
            Starting { processes: Processes::default(), signals, until: Instant::now() + START_PATIENCE };
        let local = &args.local;
        let addresses_file = folder.dir().join("addresses.json");
        let mut file = folder.coordinator(local);
        file.addresses_file = Some(addresses_file.clone());
        let config = path_text(&folder.configure("coordinator", &file)?)?;
        let coordinator = starting.processes.add("coordinator", folder.log("coordinator"));
        coordinator.start(&["coordinator", "--config", &config])?;
        let addresses =
            || -> Option<Addresses> { serde_json::from_slice(&fs::read(&addresses_file).ok()?).ok() };
        let Some(addresses) = starting.wait("the coordinator to open its ports", addresses)? else {
            return Ok(None);
        };
        for number in 1..=local.nodes {
            let mut file = folder.node(local, number, addresses.mesh);
            file.arena.seed = args.seed.wrapping_mul(1000).wrapping_add(number as u64);
            let name = node_name(number);
            let config = path_text(&folder.configure(&name, &file)?)?;
            let node = starting.processes.add(&name, folder.log(&name));
            node.start(&["node", "--config", &config, "--die-with-parent"])?;
        }
        let observer = Observer::new(addresses.http);
        let ready = || observer.status().ok().filter(|status| is_whole(status, local.nodes)).map(drop);
        let waited =
            starting.wait("every node to register and every cell to have an owner", ready).with_context(
                || observer.status().map_or_else(|error| error.to_string(), |status| so_far(&status)),
            )?;
        let Starting { processes, .. } = starting;
        Ok(waited.map(|()| Self { processes, addresses, observer, folder }))
    }
}

fn so_far(status: &CoordinatorStatus) -> String {
    format!("{} nodes are there, {} cells have no owner", status.nodes.len(), status.cells_without_owner)
}

fn path_text(path: &std::path::Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not text", path.display()))
}

struct Starting<'a> {
    processes: Processes,
    signals: &'a Signals,
    until: Instant,
}

impl Starting<'_> {
    /// Asks again and again. None if somebody asked to end.
    fn wait<T>(&mut self, what: &str, mut ask: impl FnMut() -> Option<T>) -> anyhow::Result<Option<T>> {
        let (begun, mut said) = (Instant::now(), Instant::now());
        loop {
            if let Some(answer) = ask() {
                return Ok(Some(answer));
            }
            let deaths = self.processes.deaths();
            if !deaths.is_empty() {
                bail!("the mesh could not be started: {}", deaths.join("\n"));
            }
            if self.signals.asked() {
                return Ok(None);
            }
            if Instant::now() >= self.until {
                bail!("waited {START_PATIENCE:?} in vain for {what}\n{}", self.processes.tails());
            }
            if said.elapsed() >= WORD_PERIOD {
                said = Instant::now();
                out::say(&format!("waiting for {what} ({} s)", begun.elapsed().as_secs()));
            }
            std::thread::sleep(LOOK);
        }
    }
}
