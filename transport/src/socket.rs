//! The UDP socket below an endpoint, with buffers that hold a burst.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Weak};
use std::time::Duration;

use quinn::{AsyncUdpSocket, Endpoint, ServerConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::BindError;
use crate::limits::CLOSE_WAIT;
use crate::reset::ResetKey;
use crate::tuning::Tuning;

/// Tells when an endpoint has let its UDP port go.
#[derive(Debug, Clone)]
pub(crate) struct PortWatch(Weak<dyn AsyncUdpSocket>);

impl PortWatch {
    /// Waits until the port is free, at most [`CLOSE_WAIT`]. quinn frees it in tasks of its own, some polls after the
    /// endpoint is dropped, and says nothing; and a connection's handle that somebody still holds keeps it.
    pub(crate) async fn released(&self) {
        const LOOK_AGAIN: Duration = Duration::from_millis(1);
        let waiting = async {
            while self.0.strong_count() > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if tokio::time::timeout(CLOSE_WAIT, waiting).await.is_err() {
            tracing::debug!("the UDP port is still held by a link's handle");
        }
    }
}

/// Opens an endpoint on `address`. With a key, those who talked to its predecessor on that address hear that it is gone.
pub(crate) fn endpoint(
    address: SocketAddr,
    tuning: &Tuning,
    server: Option<ServerConfig>,
    reset: Option<ResetKey>,
) -> Result<(Endpoint, PortWatch), BindError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(BindError::NoRuntime);
    }
    let mut config = tuning.endpoint()?;
    if let Some(reset) = reset {
        reset.apply(&mut config);
    }
    let failed = |source| BindError::Socket { address, source };
    let socket = bind(address, tuning.socket_buffer_bytes).map_err(failed)?;
    let socket = watched(socket).map_err(failed)?;
    let watch = PortWatch(Arc::downgrade(&socket));
    let endpoint =
        Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(TokioRuntime)).map_err(failed)?;
    Ok((endpoint, watch))
}

/// Opens an endpoint on any port, for both address families where the machine has both.
pub(crate) fn any_endpoint(tuning: &Tuning) -> Result<(Endpoint, PortWatch), BindError> {
    endpoint((Ipv6Addr::UNSPECIFIED, 0).into(), tuning, None, None)
        .or_else(|_| endpoint((Ipv4Addr::UNSPECIFIED, 0).into(), tuning, None, None))
}

#[cfg(target_os = "linux")]
fn watched(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    Ok(Arc::new(crate::udp::UdpSocket::new(socket)?))
}

#[cfg(not(target_os = "linux"))]
fn watched(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    quinn::Runtime::wrap_udp_socket(&TokioRuntime, socket)
}

fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    grow_buffers(&socket, buffer_bytes);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The kernel gives what it may and no error; an operator should know when that is too little.
fn grow_buffers(socket: &Socket, wanted_bytes: usize) {
    if let Err(error) = socket.set_send_buffer_size(wanted_bytes) {
        tracing::warn!(%error, wanted_bytes, "cannot set the UDP send buffer");
    }
    if let Err(error) = socket.set_recv_buffer_size(wanted_bytes) {
        tracing::warn!(%error, wanted_bytes, "cannot set the UDP receive buffer");
    }
    let given_bytes = socket.recv_buffer_size().unwrap_or(0);
    if given_bytes < wanted_bytes {
        tracing::info!(
            given_bytes,
            wanted_bytes,
            "the kernel limits the UDP buffers: raise net.core.rmem_max and wmem_max"
        );
    }
}
