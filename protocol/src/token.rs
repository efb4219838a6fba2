//! The handoff session token: what admits one client to one entity on one node, once.
//!
//! Deliberately absent: which connection presents it, and what it is admitted to do; the table says only what was
//! granted.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::CryptoRng;
use rkyv::{Archive, Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::id::{EntityId, SessionId};
use crate::time::Time;

/// The length of a token: 256 bits.
pub const TOKEN_BYTES: usize = 32;
/// The most tokens that a table holds; a grant past that is refused, so that no flood pushes out what was promised.
pub const TOKENS_MAX: usize = 65_536;
/// The most tokens of which a table remembers how they ended; past that the oldest are as unknown as any.
pub const ENDED_TOKENS_MAX: usize = 4_096;

/// 256 random bits (the seed design's HandoffSessionToken). Compared in constant time, never printed.
#[derive(Clone, Copy, Archive, Serialize, Deserialize)]
pub struct Token([u8; TOKEN_BYTES]);

impl Token {
    /// Draws a token. The generator must be one that nobody can predict.
    #[must_use]
    pub fn generate(random: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; TOKEN_BYTES];
        random.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The token of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; TOKEN_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes to send. Don't log them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; TOKEN_BYTES] {
        &self.0
    }

    /// What a table may order tokens by without giving the whole away through timing.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        let mut half = [0; TOKEN_BYTES / 2];
        half.copy_from_slice(&self.0[..TOKEN_BYTES / 2]);
        TokenDigest(u128::from_be_bytes(half))
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// The first half of a token, as a key for ordered maps. A lookup by it may leak this half through timing; the other
/// 128 bits stay secret if the found token is then compared whole (`==`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenDigest(u128);

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(redacted)")
    }
}

/// What a token was given out for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Archive, Serialize, Deserialize)]
pub enum TokenPurpose {
    /// A new player enters the world.
    Join,
    /// A player crosses from another node.
    Handoff,
    /// A player comes back after losing the connection.
    Resume,
}

/// What a token admits to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenGrant {
    /// The player's session; none where the token isn't bound to one.
    pub session: Option<SessionId>,
    /// The entity that the client will play.
    pub entity: EntityId,
    /// From this time on it admits nobody.
    pub expires_at: Time,
    /// What it was given out for.
    pub purpose: TokenPurpose,
}

/// Why a token doesn't admit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// It was never granted here, or long ago: made up, or meant for another node.
    #[error("the token was never granted here: it is made up, of another node, or long over")]
    Unknown,
    /// Somebody was admitted with it.
    #[error("the token was used already: it admits once")]
    Used,
    /// What it was for didn't come about.
    #[error("the token was taken back: what it was for didn't come about")]
    Revoked,
    /// It came too late.
    #[error("the token expired at {expired_at}")]
    Expired {
        /// When it expired.
        expired_at: Time,
    },
}

/// The table is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{TOKENS_MAX} tokens are outstanding already")]
pub struct TokensFull;

/// The tokens that this node has granted and nobody has used yet (invariant A5). At most [`TOKENS_MAX`].
#[derive(Clone, Debug, Default)]
pub struct TokenTable {
    granted: BTreeMap<TokenDigest, (Token, TokenGrant)>,
    /// The same tokens by expiry. Invariant: one entry for each in `granted`.
    expiries: BTreeSet<(Time, TokenDigest)>,
    /// How those ended that did lately, so that who shows one again can be told from who guesses.
    ended: BTreeMap<TokenDigest, TokenError>,
    /// The same, oldest first. Invariant: one entry for each in `ended`.
    ended_order: VecDeque<TokenDigest>,
}

impl TokenTable {
    /// Lets `token` admit one client. Granting the same token again replaces what it admits to.
    ///
    /// # Errors
    /// If the table is full; what it holds stays.
    pub fn grant(&mut self, token: Token, grant: TokenGrant) -> Result<(), TokensFull> {
        let digest = token.digest();
        self.remove(digest);
        if self.ended.remove(&digest).is_some() {
            self.ended_order.retain(|ended| *ended != digest);
        }
        if self.granted.len() >= TOKENS_MAX {
            return Err(TokensFull);
        }
        self.granted.insert(digest, (token, grant));
        self.expiries.insert((grant.expires_at, digest));
        Ok(())
    }

    /// Uses `token` up and says what it admits to.
    ///
    /// # Errors
    /// If it was never granted, is used or revoked already, or is expired. An expired one is removed.
    pub fn admit(&mut self, token: &Token, now: Time) -> Result<TokenGrant, TokenError> {
        let grant = self.find(token).ok_or_else(|| self.why_not(token))?;
        let late = (now >= grant.expires_at).then_some(TokenError::Expired { expired_at: grant.expires_at });
        self.end(token.digest(), late.unwrap_or(TokenError::Used));
        late.map_or(Ok(grant), Err)
    }

    /// As [`admit`](Self::admit), with a bug planted in: the token stays usable. Only to prove that the checkers of A5
    /// see it.
    ///
    /// # Errors
    /// If it was never granted or is expired.
    #[cfg(feature = "planted-bugs")]
    pub fn admit_reusable(&mut self, token: &Token, now: Time) -> Result<TokenGrant, TokenError> {
        let grant = self.find(token).ok_or(TokenError::Unknown)?;
        if now >= grant.expires_at {
            return Err(TokenError::Expired { expired_at: grant.expires_at });
        }
        Ok(grant)
    }

    /// Takes `token` back. Says whether it was outstanding.
    pub fn revoke(&mut self, token: &Token) -> bool {
        let known = self.find(token).is_some();
        if known {
            self.end(token.digest(), TokenError::Revoked);
        }
        known
    }

    /// Removes what has expired by `now`, and says how many.
    pub fn expire(&mut self, now: Time) -> usize {
        let mut removed = 0;
        while let Some(&(expired_at, digest)) = self.expiries.first().filter(|(at, _)| *at <= now) {
            self.end(digest, TokenError::Expired { expired_at });
            removed += 1;
        }
        removed
    }

    /// When the next token expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Time> {
        self.expiries.first().map(|&(expires_at, _)| expires_at)
    }

    /// How many tokens are outstanding.
    #[must_use]
    pub fn len(&self) -> usize {
        self.granted.len()
    }

    /// Whether none is outstanding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.granted.is_empty()
    }

    fn find(&self, token: &Token) -> Option<TokenGrant> {
        self.granted.get(&token.digest()).filter(|(granted, _)| granted == token).map(|&(_, grant)| grant)
    }

    /// Why a token that isn't outstanding admits nobody, as far as that is remembered.
    fn why_not(&self, token: &Token) -> TokenError {
        self.ended.get(&token.digest()).copied().unwrap_or(TokenError::Unknown)
    }

    /// Takes a token out and remembers why.
    fn end(&mut self, digest: TokenDigest, how: TokenError) {
        self.remove(digest);
        if self.ended.insert(digest, how).is_none() {
            self.ended_order.push_back(digest);
        }
        if self.ended_order.len() > ENDED_TOKENS_MAX
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    fn remove(&mut self, digest: TokenDigest) {
        if let Some((_, grant)) = self.granted.remove(&digest) {
            self.expiries.remove(&(grant.expires_at, digest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn grant(expires_at: u64) -> TokenGrant {
        TokenGrant {
            session: Some(SessionId::from_u128(1)),
            entity: EntityId::from_u128(2),
            expires_at: Time::from_micros(expires_at),
            purpose: TokenPurpose::Handoff,
        }
    }

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    #[test]
    fn a_token_admits_once() {
        let (mut table, token) = (TokenTable::default(), Token::from_bytes([7; TOKEN_BYTES]));
        table.grant(token, grant(100)).unwrap();
        assert_eq!(table.admit(&token, at(99)), Ok(grant(100)));
        assert_eq!(table.admit(&token, at(99)), Err(TokenError::Used));
        assert_eq!((table.len(), table.next_expiry()), (0, None));
    }

    #[test]
    fn an_expired_token_admits_nobody_and_is_gone() {
        let (mut table, token) = (TokenTable::default(), Token::from_bytes([7; TOKEN_BYTES]));
        table.grant(token, grant(100)).unwrap();
        assert_eq!(table.admit(&token, at(100)), Err(TokenError::Expired { expired_at: at(100) }));
        assert_eq!(table.admit(&token, at(0)), Err(TokenError::Expired { expired_at: at(100) }));
        assert!(table.is_empty());
    }

    #[test]
    fn how_a_token_ended_is_remembered_for_a_while_and_forgotten_when_it_is_granted_anew() {
        let (mut table, mut random) = (TokenTable::default(), ChaCha20Rng::seed_from_u64(1));
        let [revoked, expired] = [(); 2].map(|()| Token::generate(&mut random));
        table.grant(revoked, grant(100)).unwrap();
        table.revoke(&revoked);
        assert_eq!(table.admit(&revoked, at(0)), Err(TokenError::Revoked));
        table.grant(expired, grant(100)).unwrap();
        table.expire(at(100));
        assert_eq!(table.admit(&expired, at(200)), Err(TokenError::Expired { expired_at: at(100) }));
        table.grant(expired, grant(300)).unwrap();
        assert_eq!(table.admit(&expired, at(200)), Ok(grant(300)));
        for _ in 0..ENDED_TOKENS_MAX {
            let token = Token::generate(&mut random);
            table.grant(token, grant(300)).unwrap();
            table.revoke(&token);
        }
        assert_eq!(table.admit(&revoked, at(0)), Err(TokenError::Unknown));
        assert_eq!((table.ended.len(), table.ended_order.len()), (ENDED_TOKENS_MAX, ENDED_TOKENS_MAX));
    }

    #[test]
    fn a_token_that_shares_only_the_first_half_is_unknown() {
        let (mut table, token) = (TokenTable::default(), Token::from_bytes([7; TOKEN_BYTES]));
        table.grant(token, grant(100)).unwrap();
        let mut forged = [7; TOKEN_BYTES];
        forged[TOKEN_BYTES - 1] ^= 1;
        let forged = Token::from_bytes(forged);
        assert_eq!(table.admit(&forged, at(0)), Err(TokenError::Unknown));
        assert!(!table.revoke(&forged));
        assert!(table.revoke(&token));
        assert!(table.is_empty());
    }

    #[test]
    fn expire_removes_exactly_what_is_due() {
        let mut table = TokenTable::default();
        for n in 1..=10u8 {
            table.grant(Token::from_bytes([n; TOKEN_BYTES]), grant(u64::from(n) * 10)).unwrap();
        }
        assert_eq!(table.next_expiry(), Some(at(10)));
        assert_eq!(table.expire(at(9)), 0);
        assert_eq!(table.expire(at(50)), 5);
        assert_eq!((table.len(), table.next_expiry()), (5, Some(at(60))));
    }

    #[test]
    fn granting_again_replaces_and_leaves_one_expiry() {
        let (mut table, token) = (TokenTable::default(), Token::from_bytes([7; TOKEN_BYTES]));
        table.grant(token, grant(100)).unwrap();
        table.grant(token, grant(200)).unwrap();
        assert_eq!(table.expire(at(150)), 0);
        assert_eq!(table.admit(&token, at(150)), Ok(grant(200)));
    }

    #[test]
    fn a_full_table_refuses_and_keeps_what_it_promised() {
        let mut table = TokenTable::default();
        let mut random = ChaCha20Rng::seed_from_u64(1);
        let first = Token::generate(&mut random);
        table.grant(first, grant(100)).unwrap();
        for _ in 1..TOKENS_MAX {
            table.grant(Token::generate(&mut random), grant(200)).unwrap();
        }
        assert_eq!(table.grant(Token::generate(&mut random), grant(200)), Err(TokensFull));
        assert_eq!(table.admit(&first, at(0)), Ok(grant(100)));
        assert_eq!(table.grant(Token::generate(&mut random), grant(200)), Ok(()));
    }

    #[test]
    fn nothing_prints_the_bits() {
        let token = Token::from_bytes([0xab; TOKEN_BYTES]);
        let printed = format!("{token:?} {token} {:?}", token.digest());
        assert!(!printed.contains("ab") && !printed.contains("171"), "{printed}");
    }

    #[cfg(feature = "planted-bugs")]
    #[test]
    fn the_planted_bug_admits_twice() {
        let (mut table, token) = (TokenTable::default(), Token::from_bytes([7; TOKEN_BYTES]));
        table.grant(token, grant(100)).unwrap();
        assert!(table.admit_reusable(&token, at(0)).is_ok());
        assert!(table.admit_reusable(&token, at(0)).is_ok());
    }
}
