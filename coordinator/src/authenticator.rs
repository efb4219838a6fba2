//! Who may enter the world, and under which character's name.
//!
//! Deliberately absent: sessions and their secrets; the machine draws those once somebody is let in.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A boxed future, so that traits with async methods can be used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a player is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Denied {
    /// For the player to act on; longer ones are cut.
    pub reason: String,
}

/// Decides who may enter. It may take its time: players who wait are refused by the door's own patience, and nobody
/// else waits for them.
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// Decides whether the holder of `credential` may play as `name`, and under which name they do.
    ///
    /// Both come from the network: their lengths are checked, their contents are not.
    ///
    /// # Errors
    /// [`Denied`] with a reason that the player is shown.
    fn authenticate<'a>(
        &'a self,
        name: &'a str,
        credential: &'a [u8],
    ) -> BoxFuture<'a, Result<String, Denied>>;
}

/// Lets everybody in under any printable name: for development.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyName;

impl Authenticator for AnyName {
    fn authenticate<'a>(
        &'a self,
        name: &'a str,
        _credential: &'a [u8],
    ) -> BoxFuture<'a, Result<String, Denied>> {
        let usable = !name.trim().is_empty() && !name.chars().any(char::is_control);
        let verdict = if usable {
            Ok(name.to_owned())
        } else {
            Err(Denied { reason: "the name is empty or has characters that can't be shown".to_owned() })
        };
        Box::pin(std::future::ready(verdict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn any_name_takes_printable_names_only() {
        assert_eq!(AnyName.authenticate("ada", b"").await, Ok("ada".to_owned()));
        for bad in ["", "  ", "a\nb", "\u{7}"] {
            assert!(AnyName.authenticate(bad, b"").await.is_err(), "{bad:?} was let in");
        }
    }
}
