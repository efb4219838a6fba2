//! The UDP socket below an endpoint, with buffers that hold a burst.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::{Endpoint, ServerConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::BindError;
use crate::tuning::Tuning;

/// Opens an endpoint on `address`.
pub(crate) fn endpoint(
    address: SocketAddr,
    tuning: &Tuning,
    server: Option<ServerConfig>,
) -> Result<Endpoint, BindError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(BindError::NoRuntime);
    }
    let config = tuning.endpoint()?;
    let socket =
        bind(address, tuning.socket_buffer_bytes).map_err(|source| BindError::Socket { address, source })?;
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime))
        .map_err(|source| BindError::Socket { address, source })
}

/// Opens an endpoint on any port, for both address families where the machine has both.
pub(crate) fn any_endpoint(tuning: &Tuning) -> Result<Endpoint, BindError> {
    endpoint((Ipv6Addr::UNSPECIFIED, 0).into(), tuning, None)
        .or_else(|_| endpoint((Ipv4Addr::UNSPECIFIED, 0).into(), tuning, None))
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
