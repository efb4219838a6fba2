//! One row: starts a coordinator and the two nodes, and takes the difference of two looks.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hdrhistogram::Histogram;
use selvedge_coordinator::Addresses;

use super::node::{GhostAnswer, GhostNodeSpec, metres};
use super::stage::{CELL_EDGE_M, CORNER_MARGIN_M, MARGIN_M};
use super::{GhostsArgs, as_f64};
use crate::chaos::proxy::{Ends, Proxy};
use crate::chaos::wire::Weather;
use crate::figures::{difference, empty, figures};
use crate::handoff::cpu::{self, Spent};
use crate::handoff::home::{MORE_NODES, NODES};
use crate::handoff::kin::{Kin, LOOK};
use crate::handoff::rows::MESH_THREAD;
use crate::handoff::spec::{CoordinatorSpec, Spec};

/// How long a process may take to start, or to answer.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);

/// What one row measures.
pub(super) struct Trial<'a> {
    pub(super) args: &'a GhostsArgs,
    pub(super) dir: &'a Path,
    /// 0 to 1.
    pub(super) loss: f64,
    /// Whether the crowd is in sight.
    pub(super) near: bool,
}

/// What was measured.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    elapsed_s: f64,
    entity_ticks: f64,
    /// By the neighbour who shows the fewest.
    pub(super) shown: usize,
    bytes: f64,
    send_s: f64,
    receive_s: f64,
    near: Histogram<u64>,
    far: Histogram<u64>,
    staleness: Histogram<u64>,
}

impl Measured {
    /// What is left of it without what `idle` took in its time.
    pub(super) fn less(self, idle: &Self) -> Self {
        let share = self.elapsed_s / idle.elapsed_s;
        Self {
            bytes: self.bytes - idle.bytes * share,
            send_s: (self.send_s - idle.send_s * share).max(0.0),
            receive_s: (self.receive_s - idle.receive_s * share).max(0.0),
            ..self
        }
    }

    pub(super) fn bytes_per_entity_tick(&self) -> f64 {
        self.bytes / self.entity_ticks
    }

    pub(super) fn cpu_per_million(&self) -> (f64, f64) {
        let millions = self.entity_ticks / 1e6;
        (self.send_s / millions, self.receive_s / millions)
    }

    /// Entities kept up to date, each for each neighbour, a second.
    pub(super) fn updates_per_s(&self) -> f64 {
        self.entity_ticks / self.elapsed_s
    }

    pub(super) fn near(&self) -> [f64; 2] {
        let figures = figures(&self.near, 1.0);
        [metres(figures.p50), metres(figures.p99)]
    }

    pub(super) fn far(&self) -> [f64; 2] {
        let figures = figures(&self.far, 1.0);
        [metres(figures.p50), metres(figures.p99)]
    }

    pub(super) fn staleness(&self) -> [f64; 2] {
        let figures = figures(&self.staleness, 1.0);
        [figures.p50, figures.p99]
    }
}

struct Look {
    answers: Vec<GhostAnswer>,
    spent: Vec<Spent>,
    bytes: u64,
}

impl Trial<'_> {
    pub(super) fn run(&self) -> anyhow::Result<Measured> {
        let args = self.args;
        let (corner, nodes) = (args.neighbours > 1, args.neighbours + 1);
        let spec = CoordinatorSpec {
            dir: self.dir.to_owned(),
            core: None,
            tick: args.tick(),
            mtu: args.mtu,
            players: 0,
            nodes,
            cells: if corner { [2, 2, 1] } else { [2, 1, 1] },
            cell_edge_m: CELL_EDGE_M,
            margin_m: if corner { CORNER_MARGIN_M } else { MARGIN_M },
            log: args.log.clone(),
        };
        let mut coordinator = Kin::start("the coordinator", &Spec::Coordinator(spec))?;
        let addresses: Addresses = coordinator.hear(PATIENCE)?;
        let ends = free_ends(1 + nodes)?;
        let proxy = Proxy::start(&ends, &[], 1)?;
        let mut kin = Vec::new();
        for (place, name) in (1..=nodes).zip(NODES.into_iter().chain(MORE_NODES)) {
            let end: &Ends = &ends[place];
            let spec = GhostNodeSpec {
                dir: self.dir.to_owned(),
                name: name.to_owned(),
                core: None,
                coordinator: addresses.mesh,
                bind: end.home,
                advertise: end.front,
                tick: args.tick(),
                mtu: args.mtu,
                entities: args.entities,
                near: self.near,
                corner,
                shows: place == 1,
                log: args.log.clone(),
            };
            kin.push(Kin::start(name, &Spec::Ghosts(spec))?);
        }
        wait_until(&mut kin, |answers| {
            answers[0].simulated == args.entities
                && (!self.near || answers[1..].iter().all(|answer| answer.shown > 0))
        })?;
        proxy.set_weather(Weather { loss: self.loss, ..Weather::default() });
        thread::sleep(args.warm_up);
        let (before, began) = (look(&mut kin, &proxy)?, Instant::now());
        thread::sleep(args.duration);
        let after = look(&mut kin, &proxy)?;
        let elapsed = began.elapsed();
        kin.iter_mut().for_each(Kin::let_go);
        coordinator.let_go();
        drop(kin);
        self.measured(&before, &after, elapsed)
    }

    fn measured(&self, before: &Look, after: &Look, elapsed: Duration) -> anyhow::Result<Measured> {
        let fewest = after.answers[1..].iter().map(|answer| answer.shown).min().unwrap_or(0);
        ensure!(
            !self.near || fewest >= self.args.entities * 95 / 100,
            "only {fewest} of {} entities were shown: this machine is too slow for that many",
            self.args.entities
        );
        let mesh_s = |place: usize| {
            let of = |look: &Look| look.spent[place].get(MESH_THREAD).copied().unwrap_or(0.0);
            of(after) - of(before)
        };
        let staleness = |answer: &GhostAnswer| answer.report.histograms.ghost_staleness_ticks.clone();
        let mut figures = [empty(), empty(), empty()];
        for (before, after) in before.answers.iter().zip(&after.answers).skip(1) {
            figures[0].add(after.near.decode()?)?;
            figures[1].add(after.far.decode()?)?;
            figures[2].add(difference(&staleness(before), &staleness(after))?)?;
        }
        let [near, far, staleness] = figures;
        let neighbours = after.answers.len() - 1;
        Ok(Measured {
            elapsed_s: elapsed.as_secs_f64(),
            entity_ticks: as_f64(after.answers[0].ticks) * as_f64((self.args.entities * neighbours) as u64),
            shown: fewest,
            bytes: as_f64(after.bytes - before.bytes),
            send_s: mesh_s(0),
            receive_s: (1..=neighbours).map(mesh_s).sum(),
            near,
            far,
            staleness,
        })
    }
}

fn look(nodes: &mut [Kin], proxy: &Proxy) -> anyhow::Result<Look> {
    nodes.iter_mut().try_for_each(|kin| kin.ask(LOOK))?;
    let answers = nodes.iter().map(|kin| kin.hear(PATIENCE)).collect::<anyhow::Result<_>>()?;
    let spent = nodes.iter().map(|kin| cpu::spent(kin.id())).collect();
    Ok(Look { answers, spent, bytes: proxy.carried().mesh_bytes })
}

fn wait_until(nodes: &mut [Kin], is_so: impl Fn(&[GhostAnswer]) -> bool) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        nodes.iter_mut().try_for_each(|kin| kin.ask(LOOK))?;
        let answers =
            nodes.iter().map(|kin| kin.hear(PATIENCE)).collect::<anyhow::Result<Vec<GhostAnswer>>>()?;
        if is_so(&answers) {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "after {PATIENCE:?} {} entities are simulated and {} shown",
            answers[0].simulated,
            answers[1..].iter().map(|answer| answer.shown).min().unwrap_or(0)
        );
        thread::sleep(PAUSE);
    }
}

/// Addresses that nobody uses, for processes and their fronts.
fn free_ends(count: usize) -> anyhow::Result<Vec<Ends>> {
    let sockets: Vec<UdpSocket> =
        (0..2 * count).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> = sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?;
    Ok(addresses.chunks_exact(2).map(|pair| Ends { home: pair[0], front: pair[1] }).collect())
}
