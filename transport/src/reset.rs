//! How a process that begins anew tells its peers that the connections of the one before it are gone.
//!
//! They go on sending to its port. It knows nothing of their connections, and answers with a stateless reset (RFC 9000,
//! 10.3): bytes that only its predecessor's key can have made, so the peer believes them at once, instead of waiting for
//! the idle time-out. Hence the key is derived from the identity's private key, which outlives the process. An identity
//! with another key, or none, costs the peers that wait, no more.

use std::sync::Arc;

use quinn::EndpointConfig;
use quinn_proto::{ConnectionIdGenerator, HashedConnectionIdGenerator};
use ring::hmac;
use selvedge_certs::Identity;

/// What a process and its successor have in common.
pub(crate) struct ResetKey {
    sign: hmac::Key,
    /// By which an endpoint knows its predecessor's connections from noise.
    connections: u64,
}

impl ResetKey {
    /// The key of whoever has this identity: HMAC-SHA256 of a purpose under its private key.
    pub(crate) fn of(identity: &Identity) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, identity.key().secret_der());
        let part = |purpose: &[u8]| hmac::sign(&secret, purpose);
        let sign = hmac::Key::new(hmac::HMAC_SHA256, part(b"selvedge stateless resets").as_ref());
        let name = part(b"selvedge connection ids");
        let connections = name.as_ref().iter().take(8).fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        Self { sign, connections }
    }

    pub(crate) fn apply(self, endpoint: &mut EndpointConfig) {
        let Self { sign, connections } = self;
        endpoint.reset_key(Arc::new(sign));
        endpoint.cid_generator(move || -> Box<dyn ConnectionIdGenerator> {
            Box::new(HashedConnectionIdGenerator::from_key(connections))
        });
    }
}
