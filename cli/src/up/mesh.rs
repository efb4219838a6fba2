//! A whole mesh of real processes on this machine.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use selvedge_bench::{Observer, StatusView};
use selvedge_coordinator::Addresses;

use super::args::UpArgs;
use super::children::Children;
use super::home::{Home, node_name};
use super::signals::Signals;
use crate::out;

/// How long the processes may take until every cell has an owner. On a busy machine a start takes some seconds.
const START_PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
const WORD_PERIOD: Duration = Duration::from_secs(5);

/// A running mesh. Dropping it kills its processes and removes its folder.
#[derive(Debug)]
pub(super) struct Mesh {
    // Before the folder: processes end first.
    pub(super) children: Children,
    pub(super) addresses: Addresses,
    pub(super) observer: Observer,
    pub(super) home: Home,
}

impl Mesh {
    /// Starts everything and waits until every cell has an owner. None if somebody asked to end before.
    pub(super) fn start(args: &UpArgs, home: Home, signals: &Signals) -> anyhow::Result<Option<Self>> {
        let mut starting =
            Starting { children: Children::default(), signals, until: Instant::now() + START_PATIENCE };
        let config = path_text(&home.coordinator_config())?;
        starting.children.start(
            "coordinator",
            &["coordinator", "--config", &config],
            &home.log("coordinator"),
        )?;
        let addresses =
            || -> Option<Addresses> { serde_json::from_slice(&fs::read(home.addresses_file()).ok()?).ok() };
        let Some(addresses) = starting.wait("the coordinator to open its ports", addresses)? else {
            return Ok(None);
        };
        for number in 1..=args.nodes {
            let config = path_text(&home.node_config(args, number, addresses.mesh)?)?;
            let name = node_name(number);
            let command = ["node", "--config", &config, "--die-with-parent"];
            starting.children.start(&name, &command, &home.log(&name))?;
        }
        let observer = Observer::new(addresses.http);
        let ready = || observer.status().ok().filter(|status| is_whole(status, args.nodes)).map(drop);
        let waited =
            starting.wait("every node to register and every cell to have an owner", ready).with_context(
                || observer.status().map_or_else(|error| error.to_string(), |status| so_far(&status)),
            )?;
        let Starting { children, .. } = starting;
        Ok(waited.map(|()| Self { children, addresses, observer, home }))
    }
}

fn is_whole(status: &StatusView, nodes: usize) -> bool {
    let alive = status.nodes.iter().filter(|node| node.alive && node.linked).count();
    alive == nodes && status.cells > 0 && status.cells_without_owner == 0
}

fn so_far(status: &StatusView) -> String {
    format!("{} nodes are there, {} cells have no owner", status.nodes.len(), status.cells_without_owner)
}

fn path_text(path: &std::path::Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not text", path.display()))
}

struct Starting<'a> {
    children: Children,
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
            let deaths = self.children.deaths();
            if !deaths.is_empty() {
                bail!("the mesh could not be started: {}", deaths.join("\n"));
            }
            if self.signals.asked() {
                return Ok(None);
            }
            if Instant::now() >= self.until {
                bail!("waited {START_PATIENCE:?} in vain for {what}\n{}", self.children.tails());
            }
            if said.elapsed() >= WORD_PERIOD {
                said = Instant::now();
                out::say(&format!("waiting for {what} ({} s)", begun.elapsed().as_secs()));
            }
            std::thread::sleep(LOOK);
        }
    }
}
