//! The folder of one run: identities, configuration files, logs.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use selvedge_certs::{Authority, Overwrite, Role, SpiffeId, SubjectNames, Uuid, WorldName, server_name};
use selvedge_protocol::id::NodeId;
use selvedge_transport::Tuning;
use serde_json::json;
use tempfile::TempDir;

use super::args::FloodArgs;

pub(super) const WORLD: &str = "flood";
/// The nodes, each with a cell of its own; the first one is attacked.
pub(super) const NODES: [&str; 2] = ["node-1", "node-2"];
/// Standby copies that a node keeps: reached within an attack, so that the bound shows.
const STANDBY_BYTES_MAX: u64 = 64 << 20;
const CELL_EDGE_M: f64 = 60.0;
const INTEREST_MARGIN_M: f64 = 20.0;
const NPC_SPEED_MPS: f64 = 12.0;
const VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// The folder of one run. Removed when dropped, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    authority: Authority,
    pub(super) ca_pem: String,
    pub(super) ids: [NodeId; 2],
    _temporary: Option<TempDir>,
}

impl Home {
    /// Makes the folder, the CA, and the identities.
    pub(super) fn make(keep: Option<&Path>) -> anyhow::Result<Self> {
        let temporary = match keep {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("selvedge-flood-").tempdir()?),
        };
        let dir = keep.or(temporary.as_ref().map(TempDir::path)).context("no folder")?.to_owned();
        fs::create_dir_all(dir.join("logs")).with_context(|| format!("cannot make {}", dir.display()))?;
        ensure!(!dir.join("certs").exists(), "--keep-dir {}: choose an empty folder", dir.display());
        let authority = Authority::init(WorldName::new(WORLD)?, VALIDITY * 2)?;
        let ids = NODES.map(|_| NodeId::from_u128(Uuid::new_v4().as_u128()));
        let ca_pem = authority.ca_pem().to_owned();
        let home = Self { dir, authority, ca_pem, ids, _temporary: temporary };
        home.issue(Role::Coordinator("main".to_owned()), "coordinator")?;
        home.issue(Role::Server("door".to_owned()), "door")?;
        for (name, id) in NODES.into_iter().zip(ids) {
            home.issue(Role::Node(Uuid::from_u128(id.as_u128())), name)?;
            home.issue(Role::Server(name.to_owned()), &format!("{name}-clients"))?;
        }
        fs::write(home.pem("ca"), &home.ca_pem)?;
        Ok(home)
    }

    /// Issues an identity, and says where it is.
    pub(super) fn issue(&self, role: Role, stem: &str) -> anyhow::Result<()> {
        let issued = self.authority.issue(role, &SubjectNames::default(), VALIDITY)?;
        issued.save(&self.dir.join("certs"), stem, Overwrite::Refuse)?;
        Ok(())
    }

    pub(super) fn pem(&self, stem: &str) -> PathBuf {
        self.dir.join("certs").join(format!("{stem}.pem"))
    }

    pub(super) fn key(&self, stem: &str) -> PathBuf {
        self.dir.join("certs").join(format!("{stem}.key"))
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    /// The TLS server name of a server of this world.
    pub(super) fn server_name(&self, server: &str) -> anyhow::Result<String> {
        let id = SpiffeId::new(self.authority.world().clone(), Role::Server(server.to_owned()))?;
        Ok(server_name(&id))
    }

    /// Where the coordinator writes what it is bound to.
    pub(super) fn addresses_file(&self) -> PathBuf {
        self.dir.join("addresses.json")
    }

    /// Writes the coordinator's configuration: two cells, each pinned to its node, whoever else registers.
    pub(super) fn coordinator_file(&self) -> anyhow::Result<PathBuf> {
        let anywhere = "127.0.0.1:0";
        let pin =
            |(x, id): (usize, NodeId)| json!({ "cell": format!("L0({x},0,0)"), "node": id.to_string() });
        self.write(
            "coordinator",
            &json!({
                "world": WORLD,
                "cert": self.pem("coordinator"),
                "key": self.key("coordinator"),
                "ca": self.pem("ca"),
                "door_cert": self.pem("door"),
                "door_key": self.key("door"),
                "bind_mesh": anywhere,
                "bind_door": anywhere,
                "bind_http": anywhere,
                "addresses_file": self.addresses_file(),
                "interest_margin_m": INTEREST_MARGIN_M,
                "nodes_min": NODES.len(),
                "grid": { "cell_edge_m": CELL_EDGE_M, "cells": [NODES.len(), 1, 1] },
                "pinned": self.ids.into_iter().enumerate().map(pin).collect::<Vec<_>>(),
                "store": { "path": "none" },
                "door_tuning": Tuning::for_clients(),
            }),
        )
    }

    /// Writes a node's configuration: every limit is the default, but for standby copies.
    pub(super) fn node_file(
        &self,
        name: &str,
        args: &FloodArgs,
        mesh: SocketAddr,
    ) -> anyhow::Result<PathBuf> {
        let identity =
            |stem: &str| json!({ "cert": self.pem(stem), "key": self.key(stem), "ca": self.pem("ca") });
        self.write(
            name,
            &json!({
                "identity": identity(name),
                "client_identity": identity(&format!("{name}-clients")),
                "coordinator": { "addr": mesh.to_string() },
                "core": { "standby_bytes_max": STANDBY_BYTES_MAX },
                "arena": { "npcs": args.npcs / 2, "npc_speed_mps": NPC_SPEED_MPS },
            }),
        )
    }

    fn write(&self, name: &str, contents: &serde_json::Value) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(format!("{name}.toml"));
        let text = toml::to_string(contents)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}
