//! Puts flags, environment and file together, and checks the whole.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

use selvedge_certs::{Identity, Role, RoleKind};

use super::{ConfigError, EndpointSection, IdentitySection, MeshNodeConfig, NodeArgs, NodeFile, Origin};

/// A configuration that was read and checked, and the identities that it names.
#[derive(Debug)]
pub struct LoadedNode {
    /// How to run the node.
    pub config: MeshNodeConfig,
    /// Who it is.
    pub identity: Identity,
    /// What it shows to clients.
    pub client_identity: Identity,
    /// What to log.
    pub log: String,
    /// The sample world.
    #[cfg(feature = "arena")]
    pub arena: crate::arena::ArenaConfig,
    /// What was put together, as a file would say it.
    pub file: NodeFile,
}

/// Reads the file that the flags name, lays the environment and the flags over it, loads the identities, and checks all.
///
/// # Errors
/// Says where a value stands, what is wrong with it and what to do.
pub fn load(args: &NodeArgs) -> Result<LoadedNode, ConfigError> {
    let mut file = with_settings(read_file(args.config.as_deref())?, &args.set)?;
    lay_over(&mut file, args);
    let origins = Origins { args };
    let identity = load_identity(&file)?;
    check_identity(&identity, &file, &origins)?;
    let client_identity = load_client_identity(&file)?;
    let config = runtime_config(&file, &origins)?;
    Ok(LoadedNode {
        config,
        identity,
        client_identity,
        log: file.log.clone().unwrap_or_else(|| "info".to_owned()),
        #[cfg(feature = "arena")]
        arena: {
            file.arena.check().map_err(|cause| origins.value("arena", "…", false, "--set", cause))?;
            file.arena.clone()
        },
        file,
    })
}

/// Where values came from, for messages.
struct Origins<'a> {
    args: &'a NodeArgs,
}

impl Origins<'_> {
    fn of(&self, from_flag: bool, flag: &'static str) -> Origin {
        match (&self.args.config, from_flag) {
            (_, true) => Origin::Flag(flag),
            (Some(path), false) => Origin::File(path.clone()),
            (None, false) => Origin::Default,
        }
    }

    fn value(
        &self,
        key: &'static str,
        value: impl ToString,
        from_flag: bool,
        flag: &'static str,
        cause: impl Into<String>,
    ) -> ConfigError {
        let remedy = "correct it there";
        let origin = self.of(from_flag || (flag == "--set" && !self.args.set.is_empty()), flag);
        ConfigError::Value { key, value: value.to_string(), origin, cause: cause.into(), remedy }
    }
}

fn read_file(path: Option<&Path>) -> Result<toml::Table, ConfigError> {
    let Some(path) = path else { return Ok(toml::Table::new()) };
    let text =
        fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let wrong =
        |error: toml::de::Error| ConfigError::File { path: path.to_owned(), cause: error.to_string() };
    // Read as what it should be, so that an error shows the line; kept as a table, so that settings can go over it.
    toml::from_str::<NodeFile>(&text).map_err(wrong)?;
    toml::from_str(&text).map_err(wrong)
}

/// Lays `section.key=value` over the file's table.
fn with_settings(mut table: toml::Table, settings: &[String]) -> Result<NodeFile, ConfigError> {
    for setting in settings {
        let wrong = |cause: String| ConfigError::Set { setting: setting.clone(), cause };
        let (key, value) = setting.split_once('=').ok_or_else(|| wrong("there is no '='".to_owned()))?;
        let layer = setting_table(key.trim(), value.trim()).map_err(wrong)?;
        merge(&mut table, layer);
    }
    table.try_into().map_err(|error: toml::de::Error| ConfigError::Set {
        setting: settings.join(" "),
        cause: error.to_string(),
    })
}

/// One setting as a table that is a valid file by itself. Text may stand without quotes.
fn setting_table(key: &str, value: &str) -> Result<toml::Table, String> {
    let quoted = toml::Value::String(value.to_owned()).to_string();
    let mut cause = String::new();
    for value in [value, &quoted] {
        let line = format!("{key} = {value}");
        match toml::from_str::<NodeFile>(&line).and_then(|_| toml::from_str(&line)) {
            Ok(table) => return Ok(table),
            Err(error) => cause = error.message().to_owned(),
        }
    }
    Err(cause)
}

fn merge(into: &mut toml::Table, layer: toml::Table) {
    for (key, value) in layer {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

fn lay_over(file: &mut NodeFile, args: &NodeArgs) {
    fn over<T: Clone>(below: &mut Option<T>, above: Option<&T>) {
        if let Some(above) = above {
            *below = Some(above.clone());
        }
    }
    over(&mut file.world, args.world.as_ref());
    over(&mut file.node, args.node.as_ref());
    over(&mut file.log, args.log.as_ref());
    over(&mut file.identity.cert, args.cert.as_ref());
    over(&mut file.identity.key, args.key.as_ref());
    over(&mut file.identity.ca, args.ca.as_ref());
    over(&mut file.client_identity.cert, args.client_cert.as_ref());
    over(&mut file.client_identity.key, args.client_key.as_ref());
    over(&mut file.mesh.bind, args.bind_mesh.as_ref());
    over(&mut file.mesh.advertise, args.advertise_mesh.as_ref());
    over(&mut file.clients.bind, args.bind_clients.as_ref());
    over(&mut file.clients.advertise, args.advertise_clients.as_ref());
    over(&mut file.coordinator.addr, args.coordinator.as_ref());
    over(&mut file.coordinator.name, args.coordinator_name.as_ref());
}

fn load_identity(file: &NodeFile) -> Result<Identity, ConfigError> {
    let IdentitySection { cert, key, ca } = &file.identity;
    let missing = |key, flag, env| ConfigError::Missing { key, flag, env };
    let cert = cert.as_ref().ok_or_else(|| missing("identity.cert", "--cert", "SELVEDGE_NODE_CERT"))?;
    let key = key.as_ref().ok_or_else(|| missing("identity.key", "--key", "SELVEDGE_NODE_KEY"))?;
    let ca = ca.as_ref().ok_or_else(|| missing("identity.ca", "--ca", "SELVEDGE_CA"))?;
    Ok(Identity::load(cert, key, ca)?)
}

fn load_client_identity(file: &NodeFile) -> Result<Identity, ConfigError> {
    let IdentitySection { cert, key, ca } = &file.client_identity;
    let missing = |key, flag, env| ConfigError::Missing { key, flag, env };
    let cert = cert
        .as_ref()
        .ok_or_else(|| missing("client_identity.cert", "--client-cert", "SELVEDGE_CLIENT_CERT"))?;
    let key =
        key.as_ref().ok_or_else(|| missing("client_identity.key", "--client-key", "SELVEDGE_CLIENT_KEY"))?;
    let ca = ca.as_ref().or(file.identity.ca.as_ref());
    let ca = ca.ok_or_else(|| missing("client_identity.ca", "--ca", "SELVEDGE_CA"))?;
    let identity = Identity::load(cert, key, ca)?;
    identity.require(&identity.id().world, RoleKind::Server)?;
    Ok(identity)
}

fn check_identity(identity: &Identity, file: &NodeFile, origins: &Origins<'_>) -> Result<(), ConfigError> {
    let id = identity.id();
    identity.require(&id.world, RoleKind::Node)?;
    if let Some(world) = file.world.as_ref().filter(|world| **world != id.world.as_str()) {
        let cause = format!("the certificate {} is of the world {}", identity.origin(), id.world);
        return Err(origins.value("world", world, origins.args.world.is_some(), "--world", cause));
    }
    let (Some(given), Role::Node(certified)) = (&file.node, &id.role) else { return Ok(()) };
    if given.parse() != Ok(*certified) {
        let cause = format!("the certificate {} is of the node {certified}", identity.origin());
        return Err(origins.value("node", given, origins.args.node.is_some(), "--node", cause));
    }
    Ok(())
}

fn runtime_config(file: &NodeFile, origins: &Origins<'_>) -> Result<MeshNodeConfig, ConfigError> {
    let args = origins.args;
    let coordinator = coordinator(file, origins)?;
    let defaults = MeshNodeConfig::new(coordinator);
    let config = MeshNodeConfig {
        bind_mesh: file.mesh.bind.unwrap_or(defaults.bind_mesh),
        advertise_mesh: file.mesh.advertise,
        bind_clients: file.clients.bind.unwrap_or(defaults.bind_clients),
        advertise_clients: file.clients.advertise,
        coordinator,
        coordinator_name: file.coordinator.name.clone().unwrap_or(defaults.coordinator_name),
        core: file.core.to_config().map_err(|cause| origins.value("core", "…", false, "--set", cause))?,
        pacing: file.pacing,
        mesh_tuning: file.transport.mesh.clone(),
        mesh_limits: file.transport.mesh_limits.clone(),
        client_tuning: file.transport.clients.clone(),
        client_limits: file.transport.client_limits.clone(),
    };
    check_endpoint(&file.mesh, config.bind_mesh, "mesh.bind", |cause| {
        origins.value("mesh.bind", config.bind_mesh, args.bind_mesh.is_some(), "--bind-mesh", cause)
    })?;
    check_endpoint(&file.clients, config.bind_clients, "clients.bind", |cause| {
        origins.value(
            "clients.bind",
            config.bind_clients,
            args.bind_clients.is_some(),
            "--bind-clients",
            cause,
        )
    })?;
    if config.bind_mesh == config.bind_clients && config.bind_mesh.port() != 0 {
        let cause = "the mesh is bound to the same address";
        let from_flag = args.bind_clients.is_some();
        return Err(origins.value("clients.bind", config.bind_clients, from_flag, "--bind-clients", cause));
    }
    Ok(config)
}

fn coordinator(file: &NodeFile, origins: &Origins<'_>) -> Result<SocketAddr, ConfigError> {
    let addr = file.coordinator.addr.as_ref().ok_or(ConfigError::Missing {
        key: "coordinator.addr",
        flag: "--coordinator",
        env: "SELVEDGE_COORDINATOR",
    })?;
    let wrong = |cause: String| {
        let from_flag = origins.args.coordinator.is_some();
        origins.value("coordinator.addr", addr, from_flag, "--coordinator", cause)
    };
    let mut found = addr.to_socket_addrs().map_err(|e| wrong(format!("no address: {e}")))?;
    found.next().ok_or_else(|| wrong("the name has no address".to_owned()))
}

fn check_endpoint(
    section: &EndpointSection,
    bind: SocketAddr,
    key: &str,
    wrong: impl Fn(String) -> ConfigError,
) -> Result<(), ConfigError> {
    let unspecified = |ip: IpAddr| ip.is_unspecified();
    match section.advertise {
        None if unspecified(bind.ip()) => {
            let other = key.replace("bind", "advertise");
            Err(wrong(format!(
                "nobody can reach {}: set {other} to an address that others can reach",
                bind.ip()
            )))
        }
        Some(advertise) if unspecified(advertise.ip()) => {
            Err(wrong(format!("advertised as {advertise}, which nobody can reach")))
        }
        Some(advertise)
            if advertise.ip() == IpAddr::V4(Ipv4Addr::BROADCAST) || advertise.ip().is_multicast() =>
        {
            Err(wrong(format!("advertised as {advertise}, which is no single host")))
        }
        None | Some(_) => Ok(()),
    }
}
