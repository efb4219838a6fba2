//! The hello exchange on a fresh connection, for both ends, and what can go wrong with it.

use bytes::Bytes;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use selvedge_certs::spiffe_id_of;

use crate::close::{self, CloseCode};
use crate::frame::{FrameError, FrameReader, prefixed};
use crate::hello::{self, Hello, HelloError, VERSIONS};
use crate::limits::HELLO_FRAME_BYTES_MAX;
use crate::mesh::endpoint::MeshShared;
use crate::ordered::write_all;
use crate::peer::PeerName;

/// Why a connection didn't become a link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// We refused the peer; the reason was sent to it.
    #[error("{0}")]
    Refused(String),
    /// The connection failed, or the peer refused us.
    #[error("{}", close::describe(.0))]
    Connection(#[from] ConnectionError),
    /// The address can't be dialled.
    #[error("cannot dial: {0}")]
    Undiallable(#[from] quinn::ConnectError),
    /// The other connection of a pair stays.
    #[error("another connection to this peer stays")]
    Duplicate,
    /// It took too long.
    #[error("no hello within the time limit")]
    TimedOut,
}

impl HandshakeError {
    /// Whether one of the two ends refused the other, as opposed to not hearing it.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            HandshakeError::Refused(_) => true,
            HandshakeError::Connection(error) => {
                close::closed_with(error, CloseCode::Refused) || close::failed_in_tls(error)
            }
            HandshakeError::Undiallable(_) | HandshakeError::Duplicate | HandshakeError::TimedOut => false,
        }
    }

    /// Whether it only gave way to another connection to the same peer.
    pub(crate) fn is_duplicate(&self) -> bool {
        match self {
            HandshakeError::Duplicate => true,
            HandshakeError::Connection(error) => {
                close::closed_with(error, CloseCode::Duplicate)
                    || close::closed_with(error, CloseCode::Superseded)
            }
            HandshakeError::Refused(_) | HandshakeError::Undiallable(_) | HandshakeError::TimedOut => false,
        }
    }

    /// Tells the peer, if there is a connection to tell it on.
    pub(crate) fn tell(&self, connection: &Connection) {
        let code = match self {
            HandshakeError::Refused(_) => CloseCode::Refused,
            HandshakeError::Duplicate => CloseCode::Duplicate,
            HandshakeError::TimedOut => CloseCode::HelloTimeout,
            HandshakeError::Connection(_) | HandshakeError::Undiallable(_) => return,
        };
        close::close(connection, code.var_int(), &self.to_string());
    }
}

impl From<HelloError> for HandshakeError {
    fn from(error: HelloError) -> Self {
        HandshakeError::Refused(error.to_string())
    }
}

impl From<quinn::WriteError> for HandshakeError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::ConnectionLost(error) => error.into(),
            quinn::WriteError::Stopped(_)
            | quinn::WriteError::ClosedStream
            | quinn::WriteError::ZeroRttRejected => {
                HandshakeError::Refused("the control stream was stopped during the hello".to_owned())
            }
        }
    }
}

impl From<FrameError> for HandshakeError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Read(quinn::ReadError::ConnectionLost(error)) => error.into(),
            FrameError::Read(_) | FrameError::Truncated | FrameError::Oversized { .. } => {
                HandshakeError::Refused(format!("the hello could not be read: {error}"))
            }
        }
    }
}

/// Both halves of a control stream during and after the hello.
pub(crate) struct ControlStream {
    pub(crate) send: SendStream,
    pub(crate) frames: FrameReader,
}

impl ControlStream {
    pub(crate) fn new(send: SendStream, recv: RecvStream) -> Self {
        Self { send, frames: FrameReader::new(recv, HELLO_FRAME_BYTES_MAX) }
    }

    pub(crate) async fn write(&mut self, frame: Bytes) -> Result<(), HandshakeError> {
        Ok(write_all(&mut self.send, &mut prefixed(frame, Bytes::new())).await?)
    }

    async fn read(&mut self) -> Result<Bytes, HandshakeError> {
        self.frames.next().await?.ok_or_else(|| {
            HandshakeError::Refused("the control stream was ended during the hello".to_owned())
        })
    }

    pub(crate) async fn read_hello(&mut self) -> Result<Hello, HandshakeError> {
        Ok(Hello::decode(self.read().await?)?)
    }

    pub(crate) async fn read_confirm(&mut self) -> Result<(), HandshakeError> {
        Ok(hello::decode_confirm(self.read().await?)?)
    }
}

/// Our own hello for a connection.
pub(crate) fn own_hello(mesh: &MeshShared, connection: u64, lost: u64) -> Hello {
    Hello {
        versions: VERSIONS,
        instance: mesh.instance,
        connection,
        lost,
        identity: mesh.name.to_string(),
        payload: mesh.hello(),
    }
}

/// Checks what a peer says of itself, the core's verdict included.
pub(crate) fn check_hello(mesh: &MeshShared, peer: &PeerName, hello: &Hello) -> Result<(), HandshakeError> {
    hello.check_identity(peer)?;
    if *peer == mesh.name {
        return Err(HandshakeError::Refused(format!(
            "both ends are {peer}: an address leads back to its own process, or an identity was copied"
        )));
    }
    (mesh.hello_check)(peer, &hello.payload).map_err(HandshakeError::Refused)
}

/// Who is at the other end, by its certificate, which TLS has verified.
pub(crate) fn certified_peer(connection: &Connection) -> Result<PeerName, HandshakeError> {
    let chain =
        connection.peer_identity().and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let leaf = chain.as_ref().and_then(|chain| chain.first());
    let Some(leaf) = leaf else {
        return Err(HandshakeError::Refused("the peer showed no certificate".to_owned()));
    };
    spiffe_id_of(leaf).map(PeerName::new).map_err(|error| HandshakeError::Refused(error.to_string()))
}
