//! The identities of one run, from a CA that is thrown away with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use selvedge_certs::{Authority, Overwrite, Role, SubjectNames, Uuid, WorldName};
use tempfile::TempDir;

/// The world's name.
pub(crate) const WORLD: &str = "handoff";
/// The two nodes.
pub(crate) const NODES: [&str; 2] = ["node-1", "node-2"];
/// Further ones, where a border has more sides than two.
pub(crate) const MORE_NODES: [&str; 2] = ["node-3", "node-4"];
const VALIDITY: Duration = Duration::from_secs(2 * 24 * 3600);

/// Makes a folder with every identity in it. It is removed when dropped.
///
/// # Errors
/// If it can't be written.
pub(crate) fn make() -> anyhow::Result<TempDir> {
    let dir = tempfile::Builder::new()
        .prefix("selvedge-handoff-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    let authority = Authority::init(WorldName::new(WORLD)?, VALIDITY * 2)?;
    let issue = |role: Role, stem: &str| -> anyhow::Result<()> {
        let issued = authority.issue(role, &SubjectNames::default(), VALIDITY)?;
        issued.save(dir.path(), stem, Overwrite::Refuse)?;
        Ok(())
    };
    issue(Role::Coordinator("main".to_owned()), "coordinator")?;
    issue(Role::Server("door".to_owned()), "door")?;
    for node in NODES.into_iter().chain(MORE_NODES) {
        issue(Role::Node(Uuid::new_v4()), node)?;
        issue(Role::Server(node.to_owned()), &clients(node))?;
    }
    std::fs::write(cert(dir.path(), "ca"), authority.ca_pem())
        .context("cannot write the CA's certificate")?;
    Ok(dir)
}

/// What a node shows to clients is called.
pub(crate) fn clients(node: &str) -> String {
    format!("{node}-clients")
}

pub(crate) fn cert(dir: &Path, stem: &str) -> PathBuf {
    dir.join(format!("{stem}.pem"))
}

pub(crate) fn key(dir: &Path, stem: &str) -> PathBuf {
    dir.join(format!("{stem}.key"))
}
