//! A link's life: `Up`, its tasks, and `Down` when all of them have ended.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::close::CloseCode;
use crate::frame::FrameReader;
use crate::hello::Hello;
use crate::mesh::endpoint::MeshShared;
use crate::mesh::event::LinkEvent;
use crate::mesh::link::{Link, LinkShared};
use crate::mesh::receive::Receiver;
use crate::mesh::registry::Promoted;

/// Starts a link that the registry has just made the peer's.
pub(crate) fn start(
    mesh: &Arc<MeshShared>,
    link: Arc<LinkShared>,
    mut frames: FrameReader,
    hello: Hello,
    promoted: Promoted,
) {
    frames.set_bytes_max(mesh.limits.control.message_bytes_max);
    if let Some(replaced) = &promoted.replaced {
        replaced.close(CloseCode::Superseded, "replaced by a newer connection of the same peer");
    }
    mesh.tasks.spawn(run(mesh.clone(), link, frames, hello, promoted));
}

async fn run(
    mesh: Arc<MeshShared>,
    link: Arc<LinkShared>,
    frames: FrameReader,
    hello: Hello,
    promoted: Promoted,
) {
    let peer = link.peer.clone();
    if let Some(previous) = promoted.previous_ended {
        previous.cancelled().await;
    }
    tracing::info!(%peer, remote = %link.connection.remote_address(), "link up");
    mesh.counters.ups.increment();
    let up = LinkEvent::Up { peer: peer.clone(), hello: hello.payload, link: Link(link.clone()) };
    let _ = mesh.inbox.deliver(up, 0).await;

    // Every reader ends by itself once the connection has, after it has delivered what had arrived.
    let tasks = TaskTracker::new();
    let receiver = Receiver::new(mesh.clone(), link.clone());
    tasks.spawn(receiver.clone().read_control(frames));
    tasks.spawn(receiver.clone().read_streams(tasks.clone()));
    tasks.spawn(receiver.read_datagrams());
    for queue in &link.queues {
        tasks.spawn(queue.clone().run(link.connection.clone(), tasks.clone()));
    }
    let sender = link.clone();
    tasks.spawn(async move { sender.datagrams.run(sender.connection.clone()).await });
    let writer = link.clone();
    tasks.spawn(async move { writer.control.run().await });

    let error = link.connection.closed().await;
    let reason = link.end_reason(&error);
    mesh.registry().link_ended(&peer, hello.connection);
    link.close_queues();
    tasks.close();
    tasks.wait().await;

    tracing::info!(%peer, reason, "link down");
    mesh.counters.downs.increment();
    let _ = mesh.inbox.deliver(LinkEvent::Down { peer: peer.clone(), reason }, 0).await;
    promoted.ended.cancel();
    mesh.registry().prune(&peer);
}
