//! What can go wrong, one small enum per operation.

use std::io;
use std::net::SocketAddr;

use selvedge_certs::CertsError;

/// Why an endpoint couldn't be opened or reconfigured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The UDP socket couldn't be opened.
    #[error("cannot open UDP {address}: {source}; is another process on that port?")]
    Socket {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// A setting is outside its range, or two don't go together.
    #[error("setting {setting}: {cause}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// The identity can't be used for this endpoint.
    #[error(transparent)]
    Identity(#[from] CertsError),
    /// The TLS library refused the identity.
    #[error("the identity {id} can't be used for TLS: {cause}")]
    Tls {
        /// Whose identity.
        id: String,
        /// What the library said.
        cause: String,
    },
    /// A reloaded identity is somebody else's.
    #[error(
        "the reloaded identity is {found}, but this endpoint runs as {expected}: restart to change who it is"
    )]
    OtherIdentity {
        /// Whom the endpoint runs as.
        expected: String,
        /// Whose identity was given.
        found: String,
    },
    /// There is no tokio runtime here.
    #[error("an endpoint must be opened inside a tokio runtime")]
    NoRuntime,
}

/// Why a message wasn't taken for sending. Nothing of it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Too much is waiting already; counted as an overflow of the lane.
    #[error("too much is waiting to be sent")]
    QueueFull,
    /// The message is above the limit.
    #[error("{bytes} bytes are more than the {bytes_max} that can be sent")]
    TooLarge {
        /// Size of the message, in bytes.
        bytes: usize,
        /// The limit, in bytes. For datagrams it follows the path and may be 0.
        bytes_max: usize,
    },
    /// The connection is gone.
    #[error("the connection is closed")]
    Closed,
}

/// Why a client's connection didn't come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address or the server name can't be used.
    #[error("cannot connect to {address} as {server_name:?}: {cause}")]
    Target {
        /// The address.
        address: SocketAddr,
        /// The server name.
        server_name: String,
        /// What is wrong.
        cause: String,
    },
    /// The first message is above the limit.
    #[error("the first message has {bytes} bytes, {bytes_max} are possible")]
    FirstMessage {
        /// Its size, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// The server couldn't be reached, was not who it should be, or refused.
    #[error("no connection to {address}: {reason}")]
    Failed {
        /// The address.
        address: SocketAddr,
        /// The reason, as far as it is known.
        reason: String,
    },
}
