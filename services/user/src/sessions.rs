//! Sessions: what a device's tokens are, who they let in, and how they end.
//!
//! A device has one pair of tokens in use. A refresh issues another pair, and the pair before it
//! stays valid until the new one is first used: so a client that never got the answer can refresh
//! again ([specification](https://spec.matrix.org/v1.16/client-server-api/#refreshing-access-tokens)).
//! A second refresh with the same token voids the pair of the first.

mod authenticate;
mod cache;
mod end;
mod refresh;
mod start;

pub(crate) use authenticate::ConfirmSession;
pub use authenticate::{AuthenticateError, Session};
pub(crate) use cache::{TokenCache, Voids};
pub(crate) use end::{DeleteDevices, Logout, LogoutAll};
pub use refresh::RefreshError;
pub(crate) use refresh::RefreshSession;
pub use start::{NewSession, Proof, StartSessionError, StartedSession};
pub(crate) use start::{StartSession, check_names};

use std::time::Duration;

use ruma::{DeviceId, UserId};

use crate::{
    TokenHash, Unavailable, Users,
    config::ttl_ms,
    secrets::SecretKind,
    tables::session::{self, PairHashes, SessionRow},
};

/// What a client gets. Only its hashes are kept.
#[derive(Clone)]
pub struct Tokens {
    /// The access token.
    pub access_token: String,
    /// The refresh token, if one was asked for.
    pub refresh_token: Option<String>,
    /// How long the access token lives; none: until it is revoked.
    pub expires_in: Option<Duration>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

impl Users {
    /// Draws tokens; those that come with a refresh token expire. Only the hashes leave this process
    /// but for the client.
    fn draw_tokens(&self, refresh: bool) -> (Tokens, PairHashes) {
        let random = self.inner.random.as_ref();
        let access_token = SecretKind::Access.draw(random);
        let refresh_token = refresh.then(|| SecretKind::Refresh.draw(random));
        let expires_in = refresh.then_some(self.inner.config.access_token_ttl);
        let hashes = PairHashes {
            access: TokenHash::of(&access_token),
            access_expires_at_ms: expires_in.map_or(0, |ttl| self.now_ms() + ttl_ms(ttl)),
            refresh: refresh_token.as_deref().map(TokenHash::of),
        };
        (
            Tokens {
                access_token,
                refresh_token,
                expires_in,
            },
            hashes,
        )
    }

    async fn session_row(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<Option<SessionRow>, Unavailable> {
        let key = session::key(user_id.as_str(), device_id.as_str());
        Ok(self.archive().get(key).await?)
    }
}
