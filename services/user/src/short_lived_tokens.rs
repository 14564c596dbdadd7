//! Tokens for a short while: to log in with (`m.login.token`), and to prove an identity with
//! (`OpenID`).

use std::time::Duration;

use ruma::{OwnedUserId, UserId};

use crate::{
    AccountError, TokenHash, Unavailable, Users,
    config::ttl_ms,
    secrets::SecretKind,
    tables::{
        login_token::{self, LOGIN_TOKENS, LoginTokenRow},
        openid_token::{self, OPENID_TOKENS, OpenIdTokenRow},
        spent_login_token::{self, SpentLoginTokenRow},
    },
};

/// A secret for a short while.
#[derive(Clone)]
pub struct ShortLivedToken {
    /// The secret. Only its hash is kept.
    pub token: String,
    /// How long it lives.
    pub expires_in: Duration,
}

impl std::fmt::Debug for ShortLivedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShortLivedToken")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

impl Users {
    /// Makes a token with which this user can log in once
    /// ([`Proof::LoginToken`](crate::Proof::LoginToken)).
    pub async fn create_login_token(
        &self,
        user_id: &UserId,
    ) -> Result<ShortLivedToken, AccountError> {
        self.open_account(user_id).await?;
        let expires_in = self.inner.config.login_token_ttl;
        let expires_at_ms = self.now_ms() + ttl_ms(expires_in);
        let token = SecretKind::Login.draw(self.inner.random.as_ref());
        let row = LoginTokenRow {
            user_id: user_id.to_owned(),
            expires_at_ms,
        };
        let key = login_token::key(&TokenHash::of(&token));
        let put = self
            .archive()
            .put_once(&LOGIN_TOKENS, key, row.values(), expires_at_ms);
        put.await.map_err(Unavailable::from)?;
        Ok(ShortLivedToken { token, expires_in })
    }

    /// Whom a login token logs in, used or not.
    pub(crate) async fn login_token_row(
        &self,
        hash: &TokenHash,
    ) -> Result<Option<LoginTokenRow>, Unavailable> {
        let row: Option<LoginTokenRow> = self.archive().get(login_token::key(hash)).await?;
        Ok(row.filter(|row| self.now_ms() < row.expires_at_ms))
    }

    /// Whether a login token was used. To be asked in the user's turn.
    pub(crate) async fn login_token_spent(&self, hash: &TokenHash) -> Result<bool, Unavailable> {
        let key = spent_login_token::key(&hash.to_vec());
        let spent: Option<SpentLoginTokenRow> = self.archive().get(key).await?;
        Ok(spent.is_some())
    }

    /// Makes a token that tells third parties who the user is.
    pub async fn create_openid_token(
        &self,
        user_id: &UserId,
    ) -> Result<ShortLivedToken, AccountError> {
        self.open_account(user_id).await?;
        let expires_in = self.inner.config.openid_token_ttl;
        let expires_at_ms = self.now_ms() + ttl_ms(expires_in);
        let token = SecretKind::OpenId.draw(self.inner.random.as_ref());
        let row = OpenIdTokenRow {
            user_id: user_id.to_owned(),
            expires_at_ms,
        };
        let key = openid_token::key(&TokenHash::of(&token));
        let put = self
            .archive()
            .put_once(&OPENID_TOKENS, key, row.values(), expires_at_ms);
        put.await.map_err(Unavailable::from)?;
        Ok(ShortLivedToken { token, expires_in })
    }

    /// Whom an `OpenID` token names, while the account is open.
    pub async fn openid_user(&self, token: &str) -> Result<Option<OwnedUserId>, Unavailable> {
        let Some(hash) = SecretKind::OpenId.hash(token) else {
            return Ok(None);
        };
        let row: Option<OpenIdTokenRow> = self.archive().get(openid_token::key(&hash)).await?;
        let Some(row) = row.filter(|row| self.now_ms() < row.expires_at_ms) else {
            return Ok(None);
        };
        let account = self.account_row(&row.user_id).await?;
        Ok(account
            .filter(|account| !account.deactivated)
            .map(|_| row.user_id))
    }
}
