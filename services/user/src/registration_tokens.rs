//! Registration tokens: names that allow a number of registrations.
//!
//! [Specification](https://spec.matrix.org/v1.16/client-server-api/#token-authenticated-registration).

use std::num::NonZeroU32;

use hanse_proto::user::{self as proto, name_entry::Kind};
use hanse_store::Range;

use crate::{
    Unavailable, Users,
    error::from_unavailable,
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
#[derive(Debug, thiserror::Error)]
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
        let turn = self.name_turn(&token).await?;
        if self.registration_token_row(&token).await?.is_some() {
            return Err(RegistrationTokenError::Taken);
        }
        if self.registration_token_rows().await?.len() >= TOKENS_MAX {
            return Err(RegistrationTokenError::TooMany);
        }
        let entry = proto::RegistrationToken {
            uses_allowed: new.uses_allowed.map_or(0, |uses| i64::from(uses.get())),
            uses: 0,
            expires_at_ms: new.expires_at_ms.unwrap_or(0),
            removed: false,
        };
        self.commit_name(&turn, Kind::RegistrationToken(entry))
            .await?;
        let (uses_allowed, expires_at_ms) = (new.uses_allowed, new.expires_at_ms);
        Ok(RegistrationToken {
            token,
            uses_allowed,
            uses: 0,
            expires_at_ms,
        })
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
        let turn = self.name_turn(token).await?;
        if self.registration_token_row(token).await?.is_none() {
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

    /// Takes one use; the row as it was before.
    pub(crate) async fn spend_registration_token(
        &self,
        turn: &Turn,
        token: &str,
    ) -> Result<RegistrationTokenRow, RegistrationTokenError> {
        let row = self.registration_token_row(token).await?;
        let usable = row.filter(|row| is_well_formed(token) && row.usable(self.now_ms()));
        let row = usable.ok_or(RegistrationTokenError::Refused)?;
        let spent = proto::RegistrationToken {
            uses: row.uses + 1,
            ..row.to_proto()
        };
        self.commit_name(turn, Kind::RegistrationToken(spent))
            .await?;
        Ok(row)
    }

    /// Gives a use back, within the same turn.
    pub(crate) async fn give_back_registration_token(
        &self,
        turn: &Turn,
        before: &RegistrationTokenRow,
    ) -> Result<(), Unavailable> {
        self.commit_name(turn, Kind::RegistrationToken(before.to_proto()))
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
