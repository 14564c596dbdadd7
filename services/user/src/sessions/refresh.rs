//! Refreshing an access token.

use hanse_proto::user::{SessionRefreshed, user_entry::Kind};
use ruma::{OwnedDeviceId, OwnedUserId};
use serde::{Deserialize, Serialize};

use super::{StartedSession, Tokens};
use crate::{
    AccountError, TokenHash, Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    secrets::SecretKind,
    tables::{
        session::{PairHashes, SessionRow},
        token::{self, TokenRow},
    },
};

/// Why a refresh token gives nothing.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum RefreshError {
    /// It is none of ours, was replaced and its successor used, or its session ended
    /// (`M_UNKNOWN_TOKEN`).
    #[error("the refresh token is unknown")]
    Unknown,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(RefreshError);
refusals!(RefreshError);

/// Gives a session another pair of tokens.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RefreshSession {
    user_id: OwnedUserId,
    device_id: OwnedDeviceId,
    /// The refresh token's that was used.
    hash: TokenHash,
    pair: PairHashes,
}
command!(RefreshSession, "user.refresh_session", of user_id,
    Users::refresh_here => (), RefreshError);

impl From<AccountError> for RefreshError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Unknown => Self::Unknown,
            AccountError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl Users {
    /// Issues a new pair of tokens. The pair of `refresh_token` stays valid until the new one is
    /// first used; a repeated refresh voids the pair of the one before.
    pub async fn refresh(&self, refresh_token: &str) -> Result<StartedSession, RefreshError> {
        let hash = SecretKind::Refresh
            .hash(refresh_token)
            .ok_or(RefreshError::Unknown)?;
        let row: Option<TokenRow> = self.archive().get(token::key(&hash)).await?;
        let TokenRow {
            user_id, device_id, ..
        } = row.ok_or(RefreshError::Unknown)?;
        let (tokens, pair): (Tokens, PairHashes) = self.draw_tokens(true);
        let refresh = RefreshSession {
            user_id: user_id.clone(),
            device_id: device_id.clone(),
            hash,
            pair,
        };
        self.routed(refresh).await?;
        Ok(StartedSession {
            user_id,
            device_id,
            tokens,
        })
    }

    async fn refresh_here(&self, refresh: &RefreshSession) -> Result<(), RefreshError> {
        let RefreshSession {
            user_id,
            device_id,
            hash,
            pair,
        } = refresh;
        let turn = self.user_turn(user_id).await?;
        self.open_account(user_id).await?;
        let session = self.session_row(user_id, device_id).await?;
        let (previous, void) = session
            .and_then(|session| split(session, *hash))
            .ok_or(RefreshError::Unknown)?;
        let pair = pair.to_proto();
        let refreshed = SessionRefreshed {
            device_id: device_id.to_string(),
            access_token_hash: pair.access_token_hash,
            access_expires_at_ms: pair.access_expires_at_ms,
            refresh_token_hash: pair.refresh_token_hash,
            revoked_hashes: void
                .iter()
                .flat_map(PairHashes::hashes)
                .map(TokenHash::to_vec)
                .collect(),
            previous: Some(previous.to_proto()),
        };
        self.commit_user(&turn, [Kind::SessionRefreshed(refreshed)])
            .await?;
        Ok(())
    }
}

/// The pair that holds the refresh token, and the other one: void from now on.
fn split(session: SessionRow, hash: TokenHash) -> Option<(PairHashes, Option<PairHashes>)> {
    if session.current.refresh == Some(hash) {
        return Some((session.current, session.next));
    }
    let next = session.next.filter(|next| next.refresh == Some(hash))?;
    Some((next, Some(session.current)))
}
