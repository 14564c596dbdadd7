//! Registration tokens: names that allow a number of registrations.
//!
//! [Specification](https://spec.matrix.org/v1.16/client-server-api/#token-authenticated-registration).

use std::num::NonZeroU32;

use hanse_proto::user::{self as proto, name_entry::Kind};
use hanse_store::Range;
use serde::{Deserialize, Serialize};

use crate::{
    Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    tables::registration_token::{self, ALL, RegistrationTokenRow},
    turn::Turn,
};

/// Longest token, in characters (specification).
const TOKEN_CHARS_MAX: usize = 64;
/// Length of a generated one: 119 random bits.
const GENERATED_CHARS: usize = 20;
/// Most tokens that there can be.
const TOKENS_MAX: usize = 10_000;

/// What a new token shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRegistrationToken {
    /// Its text, of `[A-Za-z0-9._~-]{1,64}`; generated if there is none.
    pub token: Option<String>,
    /// How many registrations it allows; none: any number.
    pub uses_allowed: Option<NonZeroU32>,
    /// When it ends, Unix milliseconds; none: never.
    pub expires_at_ms: Option<i64>,
}

/// A token that allows registrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationToken {
    /// Its text.
    pub token: String,
    /// How many registrations it allows; none: any number.
    pub uses_allowed: Option<NonZeroU32>,
    /// How many it was used for.
    pub uses: u32,
    /// When it ends, Unix milliseconds; none: never.
    pub expires_at_ms: Option<i64>,
}

/// Why nothing was done about a token.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum RegistrationTokenError {
    /// It is unknown, spent or expired (`M_UNAUTHORIZED`).
    #[error("the registration token is not valid")]
    Refused,
    /// Its text breaks the grammar (`M_INVALID_PARAM`).
    #[error("a registration token has 1 to {TOKEN_CHARS_MAX} characters of A-Z a-z 0-9 . _ ~ -")]
    Grammar,
    /// There is one of that text (`M_INVALID_PARAM`).
    #[error("there is such a registration token already")]
    Taken,
    /// There are too many.
    #[error("there are {TOKENS_MAX} registration tokens already")]
    TooMany,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(RegistrationTokenError);
refusals!(RegistrationTokenError);

/// Makes a token, if there is none of this text.
#[derive(Serialize, Deserialize)]
pub(crate) struct MakeRegistrationToken {
    token: String,
    /// 0: any number.
    uses_allowed: u32,
    /// 0: never.
    expires_at_ms: i64,
}
command!(MakeRegistrationToken, "name.make_registration_token", of token,
    Users::make_registration_token_here => (), RegistrationTokenError);

/// Removes a token.
#[derive(Serialize, Deserialize)]
pub(crate) struct RemoveRegistrationToken {
    token: String,
}
command!(RemoveRegistrationToken, "name.remove_registration_token", of token,
    Users::remove_registration_token_here => (), RegistrationTokenError);

/// Takes one use of a token.
#[derive(Serialize, Deserialize)]
pub(crate) struct SpendRegistrationToken {
    token: String,
}
command!(SpendRegistrationToken, "name.spend_registration_token", of token,
    Users::spend_registration_token_here => (), RegistrationTokenError);

/// Gives one use of a token back.
#[derive(Serialize, Deserialize)]
pub(crate) struct GiveBackRegistrationToken {
    token: String,
}
command!(GiveBackRegistrationToken, "name.give_back_registration_token", of token,
    Users::give_back_registration_token_here => (), Unavailable);

impl Users {
    /// Makes a token.
    pub async fn create_registration_token(
        &self,
        new: NewRegistrationToken,
    ) -> Result<RegistrationToken, RegistrationTokenError> {
        let generate = || self.inner.random.alphanumeric(GENERATED_CHARS);
        let token = new.token.unwrap_or_else(generate);
        if !is_well_formed(&token) {
            return Err(RegistrationTokenError::Grammar);
        }
        let (uses_allowed, expires_at_ms) = (new.uses_allowed, new.expires_at_ms);
        let make = MakeRegistrationToken {
            token: token.clone(),
            uses_allowed: uses_allowed.map_or(0, NonZeroU32::get),
            expires_at_ms: expires_at_ms.unwrap_or(0),
        };
        self.routed(make).await?;
        Ok(RegistrationToken {
            token,
            uses_allowed,
            uses: 0,
            expires_at_ms,
        })
    }

    async fn make_registration_token_here(
        &self,
        make: &MakeRegistrationToken,
    ) -> Result<(), RegistrationTokenError> {
        let turn = self.name_turn(&make.token).await?;
        if self.registration_token_row(&make.token).await?.is_some() {
            return Err(RegistrationTokenError::Taken);
        }
        if self.registration_token_rows().await?.len() >= TOKENS_MAX {
            return Err(RegistrationTokenError::TooMany);
        }
        let entry = proto::RegistrationToken {
            uses_allowed: i64::from(make.uses_allowed),
            uses: 0,
            expires_at_ms: make.expires_at_ms,
            removed: false,
        };
        self.commit_name(&turn, Kind::RegistrationToken(entry))
            .await?;
        Ok(())
    }

    /// Whether a token allows a registration now.
    pub async fn registration_token_valid(&self, token: &str) -> Result<bool, Unavailable> {
        if !is_well_formed(token) {
            return Ok(false);
        }
        let row = self.registration_token_row(token).await?;
        Ok(row.is_some_and(|row| row.usable(self.now_ms())))
    }

    /// Every token, spent and expired ones too, by text.
    pub async fn registration_tokens(&self) -> Result<Vec<RegistrationToken>, Unavailable> {
        let rows = self.registration_token_rows().await?;
        Ok(rows.into_iter().map(shown).collect())
    }

    /// Removes a token; accounts made with it stay.
    pub async fn remove_registration_token(
        &self,
        token: &str,
    ) -> Result<(), RegistrationTokenError> {
        let token = token.to_owned();
        self.routed(RemoveRegistrationToken { token }).await
    }

    async fn remove_registration_token_here(
        &self,
        remove: &RemoveRegistrationToken,
    ) -> Result<(), RegistrationTokenError> {
        let turn = self.name_turn(&remove.token).await?;
        if self.registration_token_row(&remove.token).await?.is_none() {
            return Err(RegistrationTokenError::Refused);
        }
        let entry = proto::RegistrationToken {
            removed: true,
            ..Default::default()
        };
        self.commit_name(&turn, Kind::RegistrationToken(entry))
            .await?;
        Ok(())
    }

    /// A token that allows a registration now; if there is none, one is made that is good for one
    /// account: what the first start prints.
    pub async fn ensure_first_token(&self) -> Result<String, RegistrationTokenError> {
        let now_ms = self.now_ms();
        let rows = self.registration_token_rows().await?;
        if let Some(row) = rows.into_iter().find(|row| row.usable(now_ms)) {
            return Ok(row.token);
        }
        let first = NewRegistrationToken {
            uses_allowed: Some(NonZeroU32::MIN),
            ..NewRegistrationToken::default()
        };
        Ok(self.create_registration_token(first).await?.token)
    }

    /// Takes one use.
    pub(crate) async fn spend_registration_token(
        &self,
        token: &str,
    ) -> Result<(), RegistrationTokenError> {
        if !is_well_formed(token) {
            return Err(RegistrationTokenError::Refused);
        }
        let token = token.to_owned();
        self.routed(SpendRegistrationToken { token }).await
    }

    async fn spend_registration_token_here(
        &self,
        spend: &SpendRegistrationToken,
    ) -> Result<(), RegistrationTokenError> {
        let turn = self.name_turn(&spend.token).await?;
        let row = self.registration_token_row(&spend.token).await?;
        let usable = row.filter(|row| row.usable(self.now_ms()));
        let row = usable.ok_or(RegistrationTokenError::Refused)?;
        self.write_uses(&turn, &row, row.uses + 1).await?;
        Ok(())
    }

    /// Gives a use back.
    pub(crate) async fn give_back_registration_token(
        &self,
        token: &str,
    ) -> Result<(), Unavailable> {
        let token = token.to_owned();
        self.routed(GiveBackRegistrationToken { token }).await
    }

    async fn give_back_registration_token_here(
        &self,
        back: &GiveBackRegistrationToken,
    ) -> Result<(), Unavailable> {
        let turn = self.name_turn(&back.token).await?;
        // One that was removed meanwhile has no uses any more.
        let row = self.registration_token_row(&back.token).await?;
        match row.filter(|row| row.uses > 0) {
            Some(row) => self.write_uses(&turn, &row, row.uses - 1).await,
            None => Ok(()),
        }
    }

    async fn write_uses(
        &self,
        turn: &Turn,
        row: &RegistrationTokenRow,
        uses: i64,
    ) -> Result<(), Unavailable> {
        let entry = proto::RegistrationToken {
            uses,
            ..row.to_proto()
        };
        self.commit_name(turn, Kind::RegistrationToken(entry))
            .await
            .map(drop)
    }

    async fn registration_token_row(
        &self,
        token: &str,
    ) -> Result<Option<RegistrationTokenRow>, Unavailable> {
        Ok(self.archive().get(registration_token::key(token)).await?)
    }

    async fn registration_token_rows(&self) -> Result<Vec<RegistrationTokenRow>, Unavailable> {
        Ok(self
            .archive()
            .range([ALL.into()], Range::all(), TOKENS_MAX)
            .await?)
    }
}

fn shown(row: RegistrationTokenRow) -> RegistrationToken {
    let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    RegistrationToken {
        token: row.token,
        uses_allowed: NonZeroU32::new(count(row.uses_allowed)),
        uses: count(row.uses),
        expires_at_ms: (row.expires_at_ms != 0).then_some(row.expires_at_ms),
    }
}

fn is_well_formed(token: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=TOKEN_CHARS_MAX).contains(&token.len()) && token.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_the_specifications() {
        for good in ["a", "A-Z.0_9~", &"x".repeat(64)] {
            assert!(is_well_formed(good), "{good}");
        }
        for bad in ["", "a b", "é", "#a", &"x".repeat(65)] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }
}
