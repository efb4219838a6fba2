//! quinn alone, with the settings, the packet size and the socket buffers of the links.

use std::future::Future;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use selvedge_certs::server_name;
use socket2::SockRef;
use tokio::task::JoinSet;

use super::super::child::{say, server_identity, tuning};
use super::super::spec::{Ask, FloorAnswer, FloorSpec, Opened};
use super::{ANSWER_BYTES, Trips};

/// Largest request.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Runs it as the links run: on one thread.
pub(super) fn run<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// Answers until the process is ended.
pub(super) async fn answer(spec: &FloorSpec) -> anyhow::Result<()> {
    let identity = server_identity(&spec.dir)?;
    let mut server = ServerConfig::with_single_cert(identity.chain().to_vec(), identity.key())?;
    server.transport_config(transport(spec)?);
    let endpoint = open(spec, Some(server))?;
    say(&Opened { address: endpoint.local_addr()? })?;
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Err(error) = serve(incoming).await {
                tracing::debug!(%error, "the asking side is gone");
            }
        });
    }
    Ok(())
}

async fn serve(incoming: quinn::Incoming) -> anyhow::Result<()> {
    let connection = incoming.await?;
    loop {
        let (mut send, mut receive) = connection.accept_bi().await?;
        tokio::spawn(async move {
            while receive.read_chunk(usize::MAX, true).await?.is_some() {}
            send.write_all(&[0; ANSWER_BYTES]).await?;
            send.finish()?;
            anyhow::Ok(())
        });
    }
}

/// Asks, on one connection, so many requests at a time.
pub(super) async fn ask(spec: &FloorSpec, ask: &Ask) -> anyhow::Result<FloorAnswer> {
    let identity = server_identity(&spec.dir)?;
    let mut client = ClientConfig::with_root_certificates(identity.roots().clone())?;
    client.transport_config(transport(spec)?);
    let endpoint = open(spec, None)?;
    let name = server_name(identity.id());
    let connection = endpoint.connect_with(client, ask.address, &name)?.await?;
    let mut asking = JoinSet::new();
    for _ in 0..ask.concurrency {
        asking.spawn(ask_on(connection.clone(), ask.bytes, ask.every, Trips::new(ask)?));
    }
    let mut all = Trips::new(ask)?;
    while let Some(one) = asking.join_next().await {
        let one = one.context("an asking task panicked")??;
        all.histogram.add(one.histogram)?;
    }
    connection.close(VarInt::from_u32(0), b"done");
    Ok(all.answer())
}

async fn ask_on(
    connection: Connection,
    bytes: usize,
    every: Option<Duration>,
    mut trips: Trips,
) -> anyhow::Result<Trips> {
    let request = bytes::Bytes::from(vec![7; bytes.min(REQUEST_BYTES_MAX)]);
    let mut ticks = every.map(tokio::time::interval);
    loop {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let began = Instant::now();
        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_chunk(request.clone()).await?;
        send.finish()?;
        while receive.read_chunk(usize::MAX, true).await?.is_some() {}
        if !trips.count(began) {
            return Ok(trips);
        }
    }
}

/// The links' settings, but for streams with an answer.
fn transport(spec: &FloorSpec) -> anyhow::Result<Arc<TransportConfig>> {
    let tuning = tuning(spec.mtu);
    let mut transport = tuning.transport(tuning.streams_max, Ipv4Addr::LOCALHOST.into())?;
    transport.max_concurrent_bidi_streams(VarInt::from_u32(tuning.streams_max));
    Ok(Arc::new(transport))
}

fn open(spec: &FloorSpec, server: Option<ServerConfig>) -> anyhow::Result<Endpoint> {
    let tuning = tuning(spec.mtu);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let reference = SockRef::from(&socket);
    reference.set_send_buffer_size(tuning.socket_buffer_bytes)?;
    reference.set_recv_buffer_size(tuning.socket_buffer_bytes)?;
    Ok(Endpoint::new(tuning.endpoint()?, server, socket, Arc::new(TokioRuntime))?)
}
