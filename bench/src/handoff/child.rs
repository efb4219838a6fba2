//! The processes that are measured: this program again, told what to be.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use selvedge_certs::{Identity, WorldName};
use selvedge_coordinator::{AnyName, CoordinatorArgs, CoordinatorService, FileConfig, GridSection, Settings};
use selvedge_node::{MeshNode, MeshNodeConfig, Pacing, TickError};
use selvedge_protocol::config::NodeConfig;
use selvedge_transport::{ClientLimits, MeshLimits, Tuning};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use super::args::Pace;
use super::floor;
use super::home::{self, WORLD};
use super::players;
use super::spec::{CoordinatorSpec, NodeAnswer, NodeSpec, Spec};
use super::world::{CLIENT_INTEREST_M, HYSTERESIS_M, Hoppers, PREPARE_MARGIN_M, grid};

/// The part of a player's stay after which the node that they came from forgets them.
const FORWARD_SHARE: f64 = 0.75;

/// Is what it is told to be, until its standard input ends.
///
/// # Errors
/// If that can't be done.
pub(crate) fn run(spec: &str) -> anyhow::Result<()> {
    match serde_json::from_str(spec).context("not what this program tells its own children")? {
        Spec::Coordinator(spec) => coordinator(&spec),
        Spec::Node(spec) => node(&spec),
        Spec::Bots(spec) => {
            pin(spec.core)?;
            log(&spec.log);
            players::run(&spec)
        }
        Spec::Floor(spec) => {
            pin(spec.core)?;
            floor::run(&spec)
        }
        Spec::Lanes(spec) => {
            pin(spec.core)?;
            crate::transport::run_child(&spec)
        }
        Spec::Ghosts(spec) => {
            pin(spec.core)?;
            log(&spec.log);
            crate::ghosts::run_node(&spec)
        }
    }
}

/// The settings of a link, for nodes and floors alike.
pub(crate) fn tuning(mtu: u16) -> Tuning {
    Tuning { mtu_max: mtu, mtu_max_loopback: mtu, ..Tuning::default() }
}

/// The links' limits; the pace of bulk as by default, unless given.
pub(crate) fn limits(bulk_mb_per_s: Option<u32>) -> MeshLimits {
    let mut limits = MeshLimits::default();
    if let Some(megabytes) = bulk_mb_per_s {
        limits.bulk_bytes_per_s = u64::from(megabytes) * 1_000_000;
    }
    limits
}

/// Keeps this thread, and those that it starts from now on, on one core.
pub(crate) fn pin(core: Option<usize>) -> anyhow::Result<()> {
    let Some(core) = core else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set)
        .with_context(|| format!("this process can't be put on core {core}: use --pin free"))
}

fn log(filter: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter);
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(io::stderr).try_init();
}

/// Says one thing to the process that started this one.
pub(crate) fn say(answer: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    Ok(stdout.flush()?)
}

/// One item for each line of the standard input; disconnected when that ends, with the process that started this one.
pub(crate) fn questions() -> anyhow::Result<Receiver<()>> {
    let (asked, questions) = mpsc::channel();
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        for line in io::stdin().lock().lines() {
            if line.is_err() || asked.send(()).is_err() {
                return;
            }
        }
    })?;
    Ok(questions)
}

/// Ends this process with the one that started it.
pub(crate) fn end_with_parent() -> anyhow::Result<()> {
    let questions = questions()?;
    thread::Builder::new().name("parent".to_owned()).spawn(move || {
        while questions.recv().is_ok() {}
        std::process::exit(0);
    })?;
    Ok(())
}

/// All players come from one address, and each has a connection where it is and one where it goes.
fn client_limits(players: usize) -> ClientLimits {
    let limits = ClientLimits::default();
    ClientLimits {
        connections_max: limits.connections_max.max(players * 4),
        connections_per_address_max: limits.connections_max.max(players * 4),
        // All from one address, which may begin a quarter of them.
        handshakes_per_second_max: limits.handshakes_per_second_max * 40,
        ..limits
    }
}

pub(crate) fn load(dir: &Path, stem: &str) -> anyhow::Result<Identity> {
    Ok(Identity::load(&home::cert(dir, stem), &home::key(dir, stem), &home::cert(dir, "ca"))?)
}

/// The identity that floors show.
pub(crate) fn server_identity(dir: &Path) -> anyhow::Result<Identity> {
    load(dir, "door")
}

fn coordinator(spec: &CoordinatorSpec) -> anyhow::Result<()> {
    pin(spec.core)?;
    log(&spec.log);
    end_with_parent()?;
    let dir = &spec.dir;
    let (local, world) = (([127, 0, 0, 1], 0).into(), grid(spec.cell_edge_m));
    let file = FileConfig {
        world: Some(WorldName::new(WORLD)?),
        cert: Some(home::cert(dir, "coordinator")),
        key: Some(home::key(dir, "coordinator")),
        ca: Some(home::cert(dir, "ca")),
        door_cert: Some(home::cert(dir, "door")),
        door_key: Some(home::key(dir, "door")),
        bind_mesh: Some(local),
        bind_door: Some(local),
        bind_http: Some(local),
        grid: GridSection {
            origin_m: Some(world.origin_m),
            cell_edge_m: Some(world.cell_edge_m),
            cells: Some(spec.cells),
        },
        interest_margin_m: Some(spec.margin_m),
        nodes_min: Some(spec.nodes),
        mesh_tuning: Some(tuning(spec.mtu)),
        door_tuning: Some(Tuning::for_clients()),
        door_limits: Some(client_limits(spec.players)),
        ..FileConfig::default()
    };
    let mut settings = Settings::resolve(CoordinatorArgs::default(), file, None)?;
    settings.store = None;
    // Faster than a file may say: unpaced ticks would outrun mesh time.
    settings.coordinator.world.tick_interval = spec.tick;
    let (identity, door) = (load(dir, "coordinator")?, load(dir, "door")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let names = Arc::new(AnyName);
        let service = CoordinatorService::start(&settings, identity, door, names, None).await?;
        say(&service.addresses())?;
        service.shutdown().cancelled().await;
        anyhow::bail!("the coordinator ended by itself")
    })
}

fn node(spec: &NodeSpec) -> anyhow::Result<()> {
    pin(spec.core)?;
    log(&spec.log);
    let questions = questions()?;
    let config = MeshNodeConfig {
        core: core(spec),
        pacing: match spec.pace {
            Pace::Ticks => Pacing::MeshTime,
            Pace::Free => Pacing::Free,
        },
        mesh_tuning: tuning(spec.mtu),
        mesh_limits: limits(spec.bulk_mb_per_s),
        client_limits: client_limits(spec.players),
        ..MeshNodeConfig::new(spec.coordinator)
    };
    let mut node = MeshNode::builder()
        .config(config)
        .identity(load(&spec.dir, &spec.name)?)
        .client_identity(load(&spec.dir, &home::clients(&spec.name))?)
        .start()?;
    let mut world = Hoppers::new(spec.path, spec.snapshot_bytes, spec.entities, spec.dwell, spec.restless);
    let mut due = Instant::now();
    loop {
        match node.tick(&mut world, Hoppers::step) {
            Ok(_) | Err(TickError::NotReady { .. }) => {}
            Err(error @ (TickError::Unfit { .. } | TickError::Stopped)) => return Err(error.into()),
        }
        match questions.try_recv() {
            Ok(()) => say(&NodeAnswer {
                report: node.report(),
                population: world.population(),
                copied: world.copied(),
            })?,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => break,
        }
        if spec.pace == Pace::Free {
            due = (due + spec.tick).max(Instant::now());
            idle_until(due, &mut node, &mut world)?;
        }
    }
    node.stop();
    Ok(())
}

/// How the nodes hand off: as by default, but an entity may go on at once, and doesn't sulk after a refusal.
fn core(spec: &NodeSpec) -> NodeConfig {
    let standard = NodeConfig::default();
    // A player comes back within the time that a node keeps the connection of one who left: each crossing would end
    // where the client still is.
    let gone_before_back = spec.dwell.mul_f64(FORWARD_SHARE);
    let forward_for =
        if spec.players > 0 && !spec.dwell.is_zero() { gone_before_back } else { standard.forward_for };
    NodeConfig {
        forward_for,
        precopy_refresh: spec.precopy_refresh.unwrap_or(standard.precopy_refresh),
        prepare_margin_m: PREPARE_MARGIN_M,
        hysteresis_m: HYSTERESIS_M,
        dwell_min: Duration::ZERO,
        client_interest_m: Some(CLIENT_INTEREST_M),
        backoff: Duration::from_millis(1),
        ..standard
    }
}

/// Lets others have the core, but doesn't sleep: that would take longer than the pause. Who simulates nothing lets them
/// even where the next tick is overdue.
fn idle_until(due: Instant, node: &mut MeshNode, world: &mut Hoppers) -> Result<(), TickError> {
    if world.population() == 0 {
        thread::yield_now();
    }
    while Instant::now() < due {
        match node.idle(world, Instant::now()) {
            Ok(()) | Err(TickError::NotReady { .. }) => thread::yield_now(),
            Err(error @ (TickError::Unfit { .. } | TickError::Stopped)) => return Err(error),
        }
    }
    Ok(())
}
