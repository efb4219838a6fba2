//! The process that answers, and what both have in common: the link's ends and the form of a message.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use selvedge_transport::{LinkEvent, MeshConfig, MeshEndpoint, MeshLimits, SendError, Tuning};
use tokio::sync::mpsc::Receiver;

use super::spec::LanesSpec;
use crate::handoff::child::{end_with_parent, limits, load, say, tuning};
use crate::handoff::home::NODES;
use crate::handoff::spec::Opened;

/// Bytes of an answer: a token and an id, as `Accepted` has them.
pub(super) const ANSWER_BYTES: usize = 64;

/// What stands at the beginning of each message and comes back in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// In which stretch it was sent.
    pub(super) stretch: u32,
    /// Whether it is measured, or a load.
    pub(super) measured: bool,
    /// When it was due, in nanoseconds since the asking process began.
    pub(super) due_ns: u64,
    /// When it was sent, likewise.
    pub(super) sent_ns: u64,
}

impl Head {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (stretch, rest) = bytes.split_first_chunk()?;
        let (&measured, rest) = rest.split_first()?;
        let (due, rest) = rest.split_first_chunk()?;
        let (sent, _) = rest.split_first_chunk()?;
        Some(Self {
            stretch: u32::from_le_bytes(*stretch),
            measured: measured == 1,
            due_ns: u64::from_le_bytes(*due),
            sent_ns: u64::from_le_bytes(*sent),
        })
    }

    pub(super) fn bytes(self) -> Bytes {
        let mut bytes = Vec::with_capacity(ANSWER_BYTES);
        bytes.extend_from_slice(&self.stretch.to_le_bytes());
        bytes.push(u8::from(self.measured));
        bytes.extend_from_slice(&self.due_ns.to_le_bytes());
        bytes.extend_from_slice(&self.sent_ns.to_le_bytes());
        bytes.into()
    }
}

/// Opens an end of the link.
pub(super) fn open(name: &str, spec: &LanesSpec) -> anyhow::Result<(MeshEndpoint, Receiver<LinkEvent>)> {
    let limits = limits(spec.bulk_mb_per_s);
    let config = MeshConfig {
        bind: (Ipv4Addr::LOCALHOST, 0).into(),
        identity: Arc::new(load(&spec.dir, name)?),
        hello: Bytes::from_static(b"lanes"),
        tuning: Tuning { resume_sessions: spec.resume, ..tuning(spec.mtu) },
        limits: match spec.datagram_mb_per_s {
            Some(megabytes) => {
                MeshLimits { datagram_bytes_per_s: u64::from(megabytes) * 1_000_000, ..limits }
            }
            None => limits,
        },
    };
    Ok(MeshEndpoint::bind(config, Arc::new(|_, _| Ok(())))?)
}

/// Answers every message on the lane on which it came, until the process is ended.
pub(super) async fn answer(spec: &LanesSpec) -> anyhow::Result<()> {
    end_with_parent()?;
    let (mesh, mut events) = open(NODES[0], spec)?;
    say(&Opened { address: mesh.local_addr()? })?;
    let mut link = None;
    while let Some(event) = events.recv().await {
        let sent = match (event, &link) {
            (LinkEvent::Up { link: new, .. }, _) => {
                link = Some(new);
                Ok(())
            }
            (LinkEvent::Message { lane, payload, .. }, Some(link)) => {
                link.send(lane, payload.slice(..payload.len().min(ANSWER_BYTES)), Bytes::new())
            }
            // An answer without room is lost, as a datagram may be.
            (LinkEvent::Datagram { payload, .. }, Some(link)) => {
                link.send_datagram(payload.slice(..payload.len().min(ANSWER_BYTES)))
            }
            (_, _) => Ok(()),
        };
        if let Err(error @ SendError::TooLarge { .. }) = sent {
            return Err(error.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_as_it_was_sent() {
        let head = Head { stretch: 7, measured: true, due_ns: u64::MAX - 1, sent_ns: 3 };
        assert_eq!(Head::read(&head.bytes()), Some(head));
        assert_eq!(Head::read(&head.bytes()[..20]), None);
    }
}
