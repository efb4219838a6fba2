//! One value of flags, environment, file and defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_certs::WorldName;
use selvedge_protocol::config::{ConfigError, CoordinatorConfig, WorldConfig};
use selvedge_protocol::grid::{CellId, Grid, GridConfig, GridError};
use selvedge_protocol::id::NodeId;
use selvedge_protocol::limits::NODES_MAX;
use selvedge_transport::Tuning;
use tracing_subscriber::EnvFilter;

use super::args::{CoordinatorArgs, PinArg, StoreArg};
use super::error::SettingError;
use super::file::{FileConfig, PinnedEntry};
use super::{IdentityFiles, Settings};

const MESH_DEFAULT: std::net::SocketAddr = localhost(7400);
const DOOR_DEFAULT: std::net::SocketAddr = localhost(7401);
const HTTP_DEFAULT: std::net::SocketAddr = localhost(7402);
const TICK_HZ_DEFAULT: u32 = 30;
const TICK_HZ_MAX: u32 = 1000;
/// Two heartbeats of a node that is set as usual.
const SILENCE_MIN: Duration = Duration::from_millis(500);
/// Longer than this nobody waits for what a dead node held.
const LEASE_MAX: Duration = Duration::from_secs(3600);
/// The margin of a lease is no smaller part of it than this: each of two clocks may be off by 1 %.
const MARGIN_PART_MIN: u32 = 50;
const MARGIN_PART_DEFAULT: u32 = 20;
const LOG_DEFAULT: &str = "info";

const fn localhost(port: u16) -> std::net::SocketAddr {
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// A key by each of its names.
struct Key {
    file: &'static str,
    flag: &'static str,
    env: &'static str,
}

macro_rules! keys {
    ($($name:ident = $file:literal, $flag:literal, $env:literal;)*) => {
        $(const $name: Key = Key { file: $file, flag: $flag, env: $env };)*
    };
}

keys! {
    WORLD = "world", "--world", "SELVEDGE_WORLD";
    CERT = "cert", "--cert", "SELVEDGE_CERT";
    KEY = "key", "--key", "SELVEDGE_KEY";
    CA = "ca", "--ca", "SELVEDGE_CA";
    DOOR_CERT = "door_cert", "--door-cert", "SELVEDGE_DOOR_CERT";
    DOOR_KEY = "door_key", "--door-key", "SELVEDGE_DOOR_KEY";
    ADVERTISE_MESH = "advertise_mesh", "--advertise-mesh", "SELVEDGE_ADVERTISE_MESH";
    ADVERTISE_DOOR = "advertise_door", "--advertise-door", "SELVEDGE_ADVERTISE_DOOR";
    ORIGIN = "grid.origin_m", "--origin-m", "SELVEDGE_ORIGIN_M";
    CELL_EDGE = "grid.cell_edge_m", "--cell-edge-m", "SELVEDGE_CELL_EDGE_M";
    CELLS = "grid.cells", "--cells", "SELVEDGE_CELLS";
    TICK_HZ = "tick_hz", "--tick-hz", "SELVEDGE_TICK_HZ";
    INTEREST_MARGIN = "interest_margin_m", "--interest-margin-m", "SELVEDGE_INTEREST_MARGIN_M";
    PINNED = "pinned", "--pin", "--pin";
    NODES_MIN = "nodes_min", "--nodes-min", "SELVEDGE_NODES_MIN";
    LEASE = "lease", "--lease", "SELVEDGE_LEASE";
    LEASE_MARGIN = "lease_margin", "--lease-margin", "SELVEDGE_LEASE_MARGIN";
    SUSPECT_AFTER = "suspect_after", "--suspect-after", "SELVEDGE_SUSPECT_AFTER";
    ENTRY_PATIENCE = "entry_patience", "--entry-patience", "SELVEDGE_ENTRY_PATIENCE";
    STORE = "store.path", "--store", "SELVEDGE_STORE";
    LOG = "log", "--log", "SELVEDGE_LOG";
}

/// A value, and what to call the place that it came from.
struct Sourced<T> {
    value: T,
    origin: String,
}

/// The file, if there is one, for choosing between it and the flags.
struct Layers<'a> {
    path: Option<&'a Path>,
}

impl Layers<'_> {
    fn file_name(&self) -> String {
        self.path.map_or_else(|| "the configuration".to_owned(), |path| path.display().to_string())
    }

    fn optional<T>(&self, key: &Key, flag: Option<T>, file: Option<T>) -> Option<Sourced<T>> {
        match (flag, file) {
            (Some(value), _) => Some(Sourced { value, origin: format!("{} or {}", key.flag, key.env) }),
            (None, Some(value)) => Some(Sourced { value, origin: self.file_name() }),
            (None, None) => None,
        }
    }

    fn or<T>(&self, key: &Key, flag: Option<T>, file: Option<T>, default: T) -> Sourced<T> {
        self.optional(key, flag, file)
            .unwrap_or_else(|| Sourced { value: default, origin: "default".to_owned() })
    }

    fn required<T>(&self, key: &Key, flag: Option<T>, file: Option<T>) -> Result<T, SettingError> {
        self.optional(key, flag, file).map(|sourced| sourced.value).ok_or(SettingError::Missing {
            key: key.file,
            flag: key.flag,
            env: key.env,
        })
    }
}

fn invalid<T>(key: &Key, sourced: &Sourced<T>, cause: String, remedy: &'static str) -> SettingError {
    SettingError::Invalid { key: key.file, origin: sourced.origin.clone(), cause, remedy }
}

impl Settings {
    /// Reads the file that the flags or the environment name, if they do, and resolves.
    ///
    /// # Errors
    /// The first thing that is wrong, see [`SettingError`].
    pub fn load(args: CoordinatorArgs) -> Result<Self, SettingError> {
        let path = args.config.clone();
        let file = path.as_deref().map(FileConfig::read).transpose()?.unwrap_or_default();
        Self::resolve(args, file, path.as_deref())
    }

    /// Makes one checked value of the flags (with the environment) and a file's contents; `path` is only named in
    /// errors.
    ///
    /// # Errors
    /// The first thing that is missing or out of range.
    pub fn resolve(
        args: CoordinatorArgs,
        file: FileConfig,
        path: Option<&Path>,
    ) -> Result<Self, SettingError> {
        let layers = Layers { path };
        let world: WorldName = layers.required(&WORLD, args.world, file.world)?;
        let ca: PathBuf = layers.required(&CA, args.ca, file.ca)?;
        let identity = IdentityFiles {
            cert: layers.required(&CERT, args.cert, file.cert)?,
            key: layers.required(&KEY, args.key, file.key)?,
            ca: ca.clone(),
        };
        let door_identity = IdentityFiles {
            cert: layers.required(&DOOR_CERT, args.door_cert, file.door_cert)?,
            key: layers.required(&DOOR_KEY, args.door_key, file.door_key)?,
            ca,
        };

        let defaults = CoordinatorConfig::default();
        let grid = grid(
            layers.or(
                &ORIGIN,
                args.origin_m.map(|triple| triple.0),
                file.grid.origin_m,
                GridConfig::default().origin_m,
            ),
            layers.or(&CELL_EDGE, args.cell_edge_m, file.grid.cell_edge_m, GridConfig::default().cell_edge_m),
            layers.or(
                &CELLS,
                args.cells.map(|triple| triple.0),
                file.grid.cells,
                GridConfig::default().cells,
            ),
        )?;
        let tick_hz = layers.or(&TICK_HZ, args.tick_hz, file.tick_hz, TICK_HZ_DEFAULT);
        if !(1..=TICK_HZ_MAX).contains(&tick_hz.value) {
            let cause = format!("{} ticks a second are not possible", tick_hz.value);
            return Err(invalid(&TICK_HZ, &tick_hz, cause, "choose 1 to 1000"));
        }
        let margin = layers.or(
            &INTEREST_MARGIN,
            args.interest_margin_m,
            file.interest_margin_m,
            defaults.world.interest_margin_m,
        );
        let lease = layers.or(&LEASE, args.lease, file.lease, defaults.lease);
        let part = |of: u32| lease.value / of;
        let lease_margin =
            layers.or(&LEASE_MARGIN, args.lease_margin, file.lease_margin, part(MARGIN_PART_DEFAULT));
        let suspect_default = (part(3) * 2).max(SILENCE_MIN);
        let suspect_after =
            layers.or(&SUSPECT_AFTER, args.suspect_after, file.suspect_after, suspect_default);
        check_lease(&lease, &lease_margin, &suspect_after)?;
        let patience =
            layers.or(&ENTRY_PATIENCE, args.entry_patience, file.entry_patience, defaults.entry_patience);
        if patience.value.is_zero() {
            return Err(invalid(&ENTRY_PATIENCE, &patience, "nobody could ever enter".into(), "choose 5s"));
        }
        let nodes_min = layers.or(&NODES_MIN, args.nodes_min, file.nodes_min, defaults.nodes_min);
        if !(1..=NODES_MAX).contains(&nodes_min.value) {
            let cause = format!("{} nodes are not possible", nodes_min.value);
            return Err(invalid(&NODES_MIN, &nodes_min, cause, "choose 1 to 1024"));
        }
        let log = layers.or(&LOG, args.log, file.log, LOG_DEFAULT.to_owned());
        if let Err(error) = EnvFilter::builder().parse(&log.value) {
            return Err(invalid(
                &LOG,
                &log,
                error.to_string(),
                "write it as in 'info,selvedge_coordinator=debug'",
            ));
        }
        let world_config = WorldConfig {
            grid,
            tick_interval: Duration::from_micros(1_000_000 / u64::from(tick_hz.value)),
            interest_margin_m: margin.value,
        };
        check_world(&world_config, &margin)?;
        let pinned =
            pinned(&layers, &args.pinned, &file.pinned, &Grid::new(grid).map_err(ConfigError::Grid)?)?;

        let bind_mesh = args.bind_mesh.or(file.bind_mesh).unwrap_or(MESH_DEFAULT);
        let bind_door = args.bind_door.or(file.bind_door).unwrap_or(DOOR_DEFAULT);
        let store = match args.store.or(file.store.path) {
            Some(StoreArg::None) => None,
            Some(StoreArg::Folder(path)) => Some(path),
            None => Some(default_store(&world)?),
        };
        let advertise_mesh = layers.optional(&ADVERTISE_MESH, args.advertise_mesh, file.advertise_mesh);
        let advertise_door = layers.optional(&ADVERTISE_DOOR, args.advertise_door, file.advertise_door);
        for (key, advertised) in [(&ADVERTISE_MESH, &advertise_mesh), (&ADVERTISE_DOOR, &advertise_door)] {
            if let Some(address) = advertised
                && address.value.ip().is_unspecified()
            {
                let cause = format!("nobody can connect to {}", address.value);
                return Err(invalid(
                    key,
                    address,
                    cause,
                    "give the address that others reach this machine under",
                ));
            }
        }
        Ok(Self {
            world,
            identity,
            door_identity,
            bind_mesh,
            bind_door,
            bind_http: args.bind_http.or(file.bind_http).unwrap_or(HTTP_DEFAULT),
            advertise_mesh: advertise_mesh.map(|address| address.value),
            advertise_door: advertise_door.map(|address| address.value),
            coordinator: CoordinatorConfig {
                world: world_config,
                lease: lease.value,
                lease_margin: lease_margin.value,
                suspect_after: suspect_after.value,
                entry_patience: patience.value,
                pinned,
                nodes_min: nodes_min.value,
                ..defaults
            },
            mesh_tuning: file.mesh_tuning.unwrap_or_default(),
            mesh_limits: file.mesh_limits.unwrap_or_default(),
            door_tuning: file.door_tuning.unwrap_or_else(Tuning::for_clients),
            door_limits: file.door_limits.unwrap_or_default(),
            log: log.value,
            addresses_file: args.addresses_file.or(file.addresses_file),
            store,
            store_reset: args.store_reset,
            die_with_parent: args.die_with_parent || file.die_with_parent,
        })
    }
}

/// Where a service manager says, or where the user's programs keep their state: not in the working directory, from which
/// a restart may differ.
fn default_store(world: &WorldName) -> Result<PathBuf, SettingError> {
    let folder = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some(PathBuf::from(value)).filter(|path| path.is_absolute())
    };
    if let Some(folder) = folder("STATE_DIRECTORY") {
        return Ok(folder);
    }
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
    let missing = SettingError::Missing { key: STORE.file, flag: STORE.flag, env: STORE.env };
    Ok(state.ok_or(missing)?.join("selvedge").join(world.as_str()))
}

fn grid(
    origin: Sourced<[f64; 3]>,
    edge: Sourced<f64>,
    cells: Sourced<[u32; 3]>,
) -> Result<GridConfig, SettingError> {
    let config = GridConfig { origin_m: origin.value, cell_edge_m: edge.value, cells: cells.value };
    let Err(error) = Grid::new(config) else {
        return Ok(config);
    };
    let cause = error.to_string();
    Err(match error {
        GridError::OriginNotFinite { .. } => invalid(&ORIGIN, &origin, cause, "give three finite numbers"),
        GridError::CellEdgeNotFinite { .. } | GridError::CellEdgeTooSmall { .. } => {
            invalid(&CELL_EDGE, &edge, cause, "100 is usual")
        }
        GridError::NoCells { .. } => invalid(&CELLS, &cells, cause, "give at least 1 along each axis"),
        GridError::TooManyCells { .. } => invalid(&CELLS, &cells, cause, "give fewer or larger cells"),
        GridError::TooFar { .. } => {
            invalid(&CELL_EDGE, &edge, cause, "make the world smaller or move its origin")
        }
    })
}

/// When a node stops by itself, when it is given up, and when it is replaced: in this order.
fn check_lease(
    lease: &Sourced<Duration>,
    margin: &Sourced<Duration>,
    suspect_after: &Sourced<Duration>,
) -> Result<(), SettingError> {
    let (lease_is, from) = (lease.value, &lease.origin);
    if lease_is < SILENCE_MIN {
        let cause = format!("{lease_is:?} would run out between two heartbeats");
        return Err(invalid(&LEASE, lease, cause, "choose at least 500ms; 3s is usual"));
    }
    if lease_is > LEASE_MAX {
        let cause = format!("what a dead node held would stand still for {lease_is:?}");
        return Err(invalid(&LEASE, lease, cause, "choose at most 1h; 3s is usual"));
    }
    let least = lease_is / MARGIN_PART_MIN;
    if !(least..=lease_is).contains(&margin.value) {
        let cause = format!(
            "{:?} does not go with a lease of {lease_is:?} (set by {from}), for which {least:?} to {lease_is:?} is possible",
            margin.value
        );
        let remedy = "leave it out for a twentieth of the lease, which covers clocks that differ by 5 %";
        return Err(invalid(&LEASE_MARGIN, margin, cause, remedy));
    }
    if suspect_after.value < SILENCE_MIN {
        let cause = format!("{:?} of silence is less than two heartbeats", suspect_after.value);
        return Err(invalid(&SUSPECT_AFTER, suspect_after, cause, "choose at least 500ms; 2s is usual"));
    }
    if suspect_after.value > lease_is {
        let cause = format!(
            "after {:?} of silence a node with a lease of {lease_is:?} (set by {from}) has long stopped by itself",
            suspect_after.value
        );
        let remedy = "choose no more than the lease; two thirds of it is usual";
        return Err(invalid(&SUSPECT_AFTER, suspect_after, cause, remedy));
    }
    Ok(())
}

fn check_world(config: &WorldConfig, margin: &Sourced<f64>) -> Result<(), SettingError> {
    config.check().map_err(|error| match error {
        ConfigError::NotPositive { name: "interest_margin_m", .. }
        | ConfigError::LongerThanCell { name: "interest_margin_m", .. } => {
            invalid(&INTEREST_MARGIN, margin, error.to_string(), "choose about a third of a cell's edge")
        }
        ConfigError::NotPositive { .. }
        | ConfigError::LongerThanCell { .. }
        | ConfigError::ZeroDuration { .. }
        | ConfigError::TooLong { .. }
        | ConfigError::BelowLeast { .. }
        | ConfigError::TooManyCells { .. }
        | ConfigError::Grid(_) => SettingError::Machine(error),
    })
}

/// The flags' list replaces the file's.
fn pinned(
    layers: &Layers<'_>,
    flags: &[PinArg],
    file: &[PinnedEntry],
    grid: &Grid,
) -> Result<BTreeMap<CellId, NodeId>, SettingError> {
    let flags: Vec<_> = flags.iter().map(|pin| (pin.cell, pin.node)).collect();
    let file: Vec<_> = file.iter().map(|pin| (pin.cell, pin.node)).collect();
    let some = |list: Vec<_>| (!list.is_empty()).then_some(list);
    let list = layers.or(&PINNED, some(flags), some(file), Vec::new());
    let mut pinned = BTreeMap::new();
    for &(cell, node) in &list.value {
        if cell.level() != 0 || !grid.contains_cell(cell) {
            let cause = format!("{cell} is not a base cell of this world");
            return Err(invalid(&PINNED, &list, cause, "name a cell L0(x,y,z) inside grid.cells"));
        }
        if pinned.insert(cell, node).is_some() {
            let cause = format!("{cell} is pinned twice");
            return Err(invalid(&PINNED, &list, cause, "keep one of the two"));
        }
    }
    Ok(pinned)
}
