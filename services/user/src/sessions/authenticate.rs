//! From an access token to a session.

use std::sync::Arc;

use hanse_proto::user::{SessionConfirmed, user_entry::Kind};
use ruma::{OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::cache::{CachedAccount, CachedToken};
use crate::{
    TokenHash, Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    secrets::SecretKind,
    tables::{
        session::PairHashes,
        token::{self, TokenRow},
    },
};

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The user.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// The hash of the access token.
    pub token_hash: TokenHash,
    /// When the access token expires, Unix milliseconds.
    pub expires_at_ms: Option<i64>,
    /// Whether the user may administer this server.
    pub admin: bool,
    /// Whether the user is a guest.
    pub guest: bool,
}

/// Why an access token lets nobody in.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum AuthenticateError {
    /// It is none of ours, or was revoked (`M_UNKNOWN_TOKEN`).
    #[error("the access token is unknown")]
    Unknown,
    /// It expired: the device is still there, and a refresh or a login brings it back
    /// (`M_UNKNOWN_TOKEN` with `soft_logout`).
    #[error("the access token has expired")]
    Expired,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(AuthenticateError);
refusals!(AuthenticateError);

/// Puts a refreshed pair of tokens in the place of the one before.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConfirmSession {
    user_id: OwnedUserId,
    device_id: OwnedDeviceId,
    /// The access token's that was used.
    hash: TokenHash,
}
command!(ConfirmSession, "user.confirm_session", of user_id,
    Users::confirm_here => (), AuthenticateError);

impl Users {
    /// Whose an access token is. The first use of a refreshed one voids the pair before it.
    pub async fn authenticate(&self, access_token: &str) -> Result<Session, AuthenticateError> {
        let hash = SecretKind::Access
            .hash(access_token)
            .ok_or(AuthenticateError::Unknown)?;
        let token = match self.inner.cache.token(&hash) {
            Some(token) => token,
            None => self.load_token(hash).await?,
        };
        if token.expires_at_ms != 0 && token.expires_at_ms <= self.now_ms() {
            return Err(AuthenticateError::Expired);
        }
        let account = self.account_for_authentication(&token.user_id).await?;
        if account.deactivated {
            return Err(AuthenticateError::Unknown);
        }
        Ok(Session {
            user_id: token.user_id.clone(),
            device_id: token.device_id.clone(),
            token_hash: hash,
            expires_at_ms: (token.expires_at_ms != 0).then_some(token.expires_at_ms),
            admin: account.admin,
            guest: account.guest,
        })
    }

    async fn load_token(&self, hash: TokenHash) -> Result<Arc<CachedToken>, AuthenticateError> {
        let fence = self.inner.cache.fence();
        let row: Option<TokenRow> = self.archive().get(token::key(&hash)).await?;
        let row = row
            .filter(|row| row.access)
            .ok_or(AuthenticateError::Unknown)?;
        let expired = row.expires_at_ms != 0 && row.expires_at_ms <= self.now_ms();
        if row.pending && !expired {
            let confirm = ConfirmSession {
                user_id: row.user_id.clone(),
                device_id: row.device_id.clone(),
                hash,
            };
            self.routed(confirm).await?;
        }
        let token = Arc::new(CachedToken {
            user_id: row.user_id,
            device_id: row.device_id,
            expires_at_ms: row.expires_at_ms,
        });
        if !row.pending {
            self.inner.cache.put_token(fence, hash, Arc::clone(&token));
        }
        Ok(token)
    }

    /// The first use of a refreshed token.
    async fn confirm_here(&self, confirm: &ConfirmSession) -> Result<(), AuthenticateError> {
        let ConfirmSession {
            user_id,
            device_id,
            hash,
        } = confirm;
        let turn = self.user_turn(user_id).await?;
        let session = self.session_row(user_id, device_id).await?;
        let session = session.ok_or(AuthenticateError::Unknown)?;
        if session.current.access == *hash {
            // Another request was first.
            return Ok(());
        }
        let next = session.next.filter(|next| next.access == *hash);
        let next = next.ok_or(AuthenticateError::Unknown)?;
        let confirmed = SessionConfirmed {
            device_id: device_id.to_string(),
            tokens: Some(PairHashes::to_proto(&next)),
            revoked_hashes: session.current.hashes().map(TokenHash::to_vec).collect(),
        };
        self.commit_user(&turn, [Kind::SessionConfirmed(confirmed)])
            .await?;
        Ok(())
    }

    async fn account_for_authentication(
        &self,
        user_id: &UserId,
    ) -> Result<CachedAccount, AuthenticateError> {
        if let Some(account) = self.inner.cache.account(user_id.as_str()) {
            return Ok(account);
        }
        let fence = self.inner.cache.fence();
        let row = self
            .account_row(user_id)
            .await?
            .ok_or(AuthenticateError::Unknown)?;
        let account = CachedAccount {
            deactivated: row.deactivated,
            admin: row.admin,
            guest: row.guest,
        };
        self.inner
            .cache
            .put_account(fence, user_id.as_str(), account);
        Ok(account)
    }
}
