//! The addresses that were bound, for whoever started this process with port 0.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where a coordinator is reached: the advertised addresses where there are such, else the bound ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// UDP, for nodes.
    pub mesh: SocketAddr,
    /// UDP, for players.
    pub door: SocketAddr,
    /// TCP, for the HTTP status.
    pub http: SocketAddr,
}

impl Addresses {
    /// Writes them as JSON beside `path` and renames, so that a reader never sees half of it.
    ///
    /// # Errors
    /// As the file system has it.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
        let mut draft = name.to_owned();
        draft.push(format!(".{}.new", std::process::id()));
        let draft = path.with_file_name(draft);
        let mut file = fs::File::create(&draft)?;
        serde_json::to_writer(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&draft, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_what_was_bound_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coordinator.json");
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses { mesh: address(1), door: address(2), http: address(3) };
        addresses.write(&path).unwrap();
        addresses.write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"mesh\":\"127.0.0.1:1\",\"door\":\"127.0.0.1:2\",\"http\":\"127.0.0.1:3\"}\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(addresses.write(Path::new("/nowhere/at/all.json")).is_err());
    }
}
