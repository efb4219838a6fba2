//! The attacks, each as hard as one process can.

mod connections;
mod crowd;
mod noise;
mod players;
mod rogue;

use super::args::Attack;
use super::attacker::{Deeds, Spec};

/// Attacks for as long as it is told, once everything is ready for it.
pub(super) fn run(spec: &Spec) -> anyhow::Result<Deeds> {
    if spec.attack == Attack::Noise {
        return noise::make(spec);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match spec.attack {
            Attack::Connections => connections::open_many(spec).await,
            Attack::Strangers => connections::talk_nonsense(spec).await,
            Attack::Players => players::babble(spec).await,
            Attack::Deaf => players::turn_deaf(spec).await,
            Attack::Control | Attack::Checkpoints | Attack::Ghosts => rogue::flood(spec).await,
            Attack::Noise => unreachable!("it needs no runtime"),
        }
    })
}
