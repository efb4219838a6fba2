//! Why connections end: the codes on the wire, and one sentence for people.

use quinn::{Connection, ConnectionError, VarInt};

/// Longest reason that is put on the wire, in bytes: it has to fit into one packet.
const REASON_BYTES_MAX: usize = 800;

/// The code that this crate closes a connection with. Codes from 256 on are the application's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CloseCode {
    /// The endpoint shuts down.
    Shutdown = 0,
    /// The link is no longer wanted.
    Dropped = 1,
    /// A newer connection took this one's place.
    Superseded = 2,
    /// Two connections at once: the other one stays.
    Duplicate = 3,
    /// The hello was understood and refused.
    Refused = 4,
    /// The hello, or its confirmation, didn't come in time.
    HelloTimeout = 5,
    /// A message is above its limit.
    Oversized = 6,
    /// Bytes that no correct peer sends.
    Malformed = 7,
    /// More messages or datagrams a second than allowed.
    TooFast = 8,
    /// The client's first message didn't come in time.
    FirstMessageTimeout = 9,
}

impl CloseCode {
    pub(crate) fn var_int(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }
}

/// Closes with a code and a reason that fits.
pub(crate) fn close(connection: &Connection, code: VarInt, reason: &str) {
    connection.close(code, truncated(reason).as_bytes());
}

/// Cuts a reason at a character's boundary so that it fits on the wire.
pub(crate) fn truncated(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

/// Whether the peer ended the connection with this code.
pub(crate) fn closed_with(error: &ConnectionError, code: CloseCode) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == code.var_int())
}

/// Whether one of the two ends didn't accept the other's certificate or protocol.
pub(crate) fn failed_in_tls(error: &ConnectionError) -> bool {
    // RFC 9001: a TLS alert is a transport error of 0x100 plus the alert.
    let is_alert = |code: quinn::TransportErrorCode| (0x100..0x200).contains(&u64::from(code));
    match error {
        ConnectionError::TransportError(error) => is_alert(error.code),
        ConnectionError::ConnectionClosed(close) => is_alert(close.error_code),
        ConnectionError::VersionMismatch
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => false,
    }
}

/// RFC 9001 and RFC 7301: the TLS alert `no_application_protocol` as a transport error.
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

/// One sentence on why a connection ended.
pub(crate) fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::TransportError(error) if !error.reason.is_empty() => {
            tls_reason(&error.reason).to_owned()
        }
        ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) == NO_APPLICATION_PROTOCOL => {
            "refused by the peer: it speaks another protocol; nodes and players have ports of their own, is this \
             the address of the right one?"
                .to_owned()
        }
        ConnectionError::ConnectionClosed(close) if !close.reason.is_empty() => {
            format!("refused by the peer: {}", tls_reason(&String::from_utf8_lossy(&close.reason)))
        }
        ConnectionError::ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
        {
            "refused by the peer: it is busy or shutting down".to_owned()
        }
        ConnectionError::ApplicationClosed(close) if !close.reason.is_empty() => {
            format!("closed by the peer: {}", String::from_utf8_lossy(&close.reason))
        }
        ConnectionError::Reset => "the peer has restarted and knows nothing of this connection".to_owned(),
        ConnectionError::TimedOut => "nothing was heard from the peer for the idle time-out".to_owned(),
        ConnectionError::LocallyClosed => "closed here".to_owned(),
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::CidsExhausted => error.to_string(),
    }
}

/// One sentence on why a connection ended, where this end may have closed it with a reason of its own.
pub(crate) fn end_reason(error: &ConnectionError, own: Option<&String>) -> String {
    own.filter(|_| matches!(error, ConnectionError::LocallyClosed))
        .cloned()
        .unwrap_or_else(|| describe(error))
}

/// Takes off what rustls puts before the sentences of our own verifiers.
fn tls_reason(reason: &str) -> &str {
    reason.strip_prefix("unexpected error: ").unwrap_or(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let long = "é".repeat(REASON_BYTES_MAX);
        assert!(truncated(&long).len() <= REASON_BYTES_MAX);
        assert_eq!(truncated("short"), "short");
    }
}
