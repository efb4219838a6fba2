//! A node's process, from its certificates to its end.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use selvedge_certs::{IDENTITY_VALIDITY, Role, SubjectNames, Uuid};
use selvedge_coordinator::CoordinatorService;

use crate::support::World;

/// A `mesh-node` that ends with this value, and with the test.
pub(crate) struct Process(Child);

impl Process {
    /// Starts node `number` with these settings of the arena, as `npcs=3`.
    pub(crate) fn start(
        world: &World,
        number: u128,
        coordinator: &CoordinatorService,
        folder: &Path,
        arena: &[&str],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-node"));
        command.env_clear().arg("--coordinator").arg(coordinator.addresses().mesh.to_string());
        command.args([
            "--bind-mesh",
            "127.0.0.1:0",
            "--bind-clients",
            "127.0.0.1:0",
            "--die-with-parent",
            "--log",
            "warn",
        ]);
        for setting in arena {
            command.arg("--set").arg(format!("arena.{setting}"));
        }
        let write = |name: &str, pem: &str| {
            let path = folder.join(format!("{number}-{name}"));
            std::fs::write(&path, pem).expect("the folder takes files");
            path
        };
        command.arg("--ca").arg(write("ca", world.0.ca_pem()));
        let roles = [
            ("--cert", "--key", Role::Node(Uuid::from_u128(number))),
            ("--client-cert", "--client-key", Role::Server(format!("node-{number}"))),
        ];
        for (cert, key, role) in roles {
            let issued = world.0.issue(role, &SubjectNames::default(), IDENTITY_VALIDITY);
            let issued = issued.expect("the CA works");
            command.arg(cert).arg(write(cert, &issued.chain_pem));
            command.arg(key).arg(write(key, &issued.key_pem));
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        Self(child.expect("the process starts"))
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_none())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
