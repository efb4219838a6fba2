//! Connections of strangers: many at once that say nothing, and many in a row that say nonsense.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use selvedge_transport::CLIENT_ALPN;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::super::attacker::{Deeds, Spec};

/// Connections that are tried, as long as the time lasts.
const ATTEMPTS: u64 = 10_000;
/// Of these, at once.
const AT_ONCE: usize = 256;
/// Addresses that they come from: each has some places of its own.
const ADDRESSES: u8 = 200;
/// Addresses that nonsense comes from: together they may have less than the port's handshakes.
const TALKERS_ADDRESSES: usize = 3;
/// Connections that talk nonsense at the same time.
const TALKERS: usize = 32;
/// A message on the ordered stream begins with its length.
const NONSENSE: [u8; 37] = *b"\x21\0\0\0this is no message of any version";

fn configuration(spec: &Spec) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let pem = fs::read(&spec.ca).with_context(|| format!("cannot read {}", spec.ca.display()))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![CLIENT_ALPN.to_vec()];
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

/// Sockets with an address each.
fn endpoints(spec: &Spec) -> anyhow::Result<Vec<Endpoint>> {
    let configuration = configuration(spec)?;
    let open = |last| {
        let mut endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::new(127, 0, 1, last), 0)))?;
        endpoint.set_default_client_config(configuration.clone());
        Ok(endpoint)
    };
    (1..=ADDRESSES).map(open).collect()
}

async fn dial(endpoint: Endpoint, spec: Arc<Spec>) -> Option<Connection> {
    endpoint.connect(spec.clients, &spec.clients_name).ok()?.await.ok()
}

/// Opens all that it can and keeps what it gets, without a word.
pub(super) async fn open_many(spec: &Spec) -> anyhow::Result<Deeds> {
    let (endpoints, spec) = (endpoints(spec)?, Arc::new(spec.clone()));
    let until = Instant::now() + spec.duration;
    let (mut deeds, mut dialling, mut kept) = (Deeds::default(), JoinSet::new(), Vec::new());
    let mut sources = endpoints.iter().cycle();
    loop {
        while dialling.len() < AT_ONCE && deeds.attempts < ATTEMPTS && Instant::now() < until {
            let Some(source) = sources.next() else { break };
            dialling.spawn(dial(source.clone(), spec.clone()));
            deeds.attempts += 1;
        }
        match timeout_at(until.into(), dialling.join_next()).await {
            Ok(Some(Ok(Some(connection)))) => {
                deeds.let_in += 1;
                kept.push(connection);
            }
            Ok(Some(Ok(None) | Err(_))) => {}
            Ok(None) => break,
            Err(_) => break,
        }
    }
    tokio::time::sleep_until(until.into()).await;
    deeds.closed = kept.iter().filter(|connection| connection.close_reason().is_some()).count() as u64;
    Ok(deeds)
}

/// Each talker connects, says nonsense until it is thrown out, and comes back at once.
pub(super) async fn talk_nonsense(spec: &Spec) -> anyhow::Result<Deeds> {
    let (endpoints, spec) = (endpoints(spec)?, Arc::new(spec.clone()));
    let until = Instant::now() + spec.duration;
    let mut talkers = JoinSet::new();
    for talker in 0..TALKERS {
        let endpoints = endpoints.clone();
        let spec = spec.clone();
        talkers.spawn(async move {
            let mut deeds = Deeds::default();
            let mut sources = endpoints.iter().take(TALKERS_ADDRESSES).cycle().skip(talker);
            while let (true, Some(source)) = (Instant::now() < until, sources.next()) {
                deeds.attempts += 1;
                let Some(connection) = dial(source.clone(), spec.clone()).await else {
                    // Refused: at once again would only wait for the answer to the last.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                };
                deeds.let_in += 1;
                let talking = talk(&connection, &mut deeds);
                let _ = timeout_at(until.into(), talking).await;
                deeds.closed += u64::from(connection.close_reason().is_some());
                connection.close(VarInt::from_u32(0), b"");
            }
            deeds
        });
    }
    let mut all = Deeds::default();
    while let Some(one) = talkers.join_next().await {
        all.add(&one?);
    }
    Ok(all)
}

async fn talk(connection: &Connection, deeds: &mut Deeds) -> Option<()> {
    let (mut stream, _answers) = connection.open_bi().await.ok()?;
    loop {
        stream.write_all(&NONSENSE).await.ok()?;
        deeds.sent += 1;
        deeds.bytes += NONSENSE.len() as u64;
        // Each a packet of its own, and the end seen when it comes.
        tokio::task::yield_now().await;
    }
}
