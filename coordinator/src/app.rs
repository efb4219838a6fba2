//! The process: settings, logging, identities, signals. The binary and `selvedge coordinator` both call [`run`].

use std::io::{self, IsTerminal};
use std::sync::Arc;

use anyhow::Context;
use selvedge_certs::{Identity, RoleKind, WorldName};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::authenticator::{AnyName, Authenticator};
use crate::config::{CoordinatorArgs, IdentityFiles, Settings};
use crate::parent;
use crate::service::CoordinatorService;
use crate::store::CharacterStore;

/// Runs a coordinator with the development authenticator ([`AnyName`]), until SIGINT, SIGTERM or a failure ends it. Blocks; makes its own runtime.
///
/// # Errors
/// If the settings, the identities or the addresses can't be used.
pub fn run(args: CoordinatorArgs) -> anyhow::Result<()> {
    run_with(args, Arc::new(AnyName), None)
}

/// As [`run`], with an authenticator of the caller's, and a store for characters if not in the settings' folder.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    args: CoordinatorArgs,
    authenticator: Arc<dyn Authenticator>,
    characters: Option<Arc<dyn CharacterStore>>,
) -> anyhow::Result<()> {
    let settings = Settings::load(args)?;
    init_log(&settings.log);
    let identity = load(&settings.identity, &settings.world, RoleKind::Coordinator)?;
    let door_identity = load(&settings.door_identity, &settings.world, RoleKind::Server)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(&settings, identity, door_identity, authenticator, characters))
}

async fn serve(
    settings: &Settings,
    identity: Identity,
    door_identity: Identity,
    authenticator: Arc<dyn Authenticator>,
    characters: Option<Arc<dyn CharacterStore>>,
) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let starter_gone = CancellationToken::new();
    if settings.die_with_parent {
        parent::follow(starter_gone.clone()).context("cannot follow the process that started this one")?;
    }
    let service =
        CoordinatorService::start(settings, identity, door_identity, authenticator, characters).await?;
    if let Some(path) = &settings.addresses_file {
        service.addresses().write(path).with_context(|| {
            format!("cannot write the addresses to {}: correct --addresses-file", path.display())
        })?;
    }
    let failed = tokio::select! {
        _ = interrupt.recv() => { tracing::info!(signal = "SIGINT", "stopping"); false }
        _ = terminate.recv() => { tracing::info!(signal = "SIGTERM", "stopping"); false }
        () = starter_gone.cancelled() => false,
        () = service.shutdown().cancelled() => true,
    };
    service.stop().await;
    anyhow::ensure!(!failed, "the coordinator ended by itself: the log says why");
    Ok(())
}

fn load(files: &IdentityFiles, world: &WorldName, role: RoleKind) -> anyhow::Result<Identity> {
    let identity = Identity::load(&files.cert, &files.key, &files.ca)?;
    identity.require(world, role)?;
    Ok(identity)
}

/// Logs to stderr, unless the embedding program logs already.
fn init_log(filter: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter);
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init();
}
