//! Logging in.

use hanse_proto::user::{self as proto, user_entry::Kind};
use hanse_store::Range;
use ruma::{OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::Tokens;
use crate::{
    TokenHash, Unavailable, Users, VerifiedPassword,
    accounts::AccountError,
    commands::command,
    devices::{DEVICE_ID_BYTES_MAX, DISPLAY_NAME_BYTES_MAX},
    error::{from_unavailable, refusals},
    secrets::SecretKind,
    tables::{
        device::{self, DeviceRow},
        login_token::LoginTokenRow,
        session::{PairHashes, SessionRow},
    },
    turn::Turn,
};

/// Most devices of one user.
const DEVICES_MAX: usize = 5_000;
/// Length of a generated device id.
const GENERATED_CHARS: usize = 10;

/// Why a user may have a session.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The password was right. It must still be the account's.
    Password(VerifiedPassword),
    /// A login token ([`Users::create_login_token`]); it is spent on the session.
    LoginToken(String),
    /// The caller vouches for the user: who just registered, an application service.
    Vouched(OwnedUserId),
}

/// A proof that was looked up.
struct Proven {
    user_id: OwnedUserId,
    password_hash: Option<String>,
    login_token: Option<LoginToken>,
}

/// A login token to spend.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct LoginToken {
    hash: TokenHash,
    expires_at_ms: i64,
}

/// Begins a session, if the proof still holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct StartSession {
    user_id: OwnedUserId,
    /// What the account's must still be.
    password_hash: Option<String>,
    login_token: Option<LoginToken>,
    device_id: OwnedDeviceId,
    initial_display_name: Option<String>,
    pair: PairHashes,
}
command!(StartSession, "user.start_session", of user_id,
    Users::start_session_here => (), StartSessionError);

/// What a new session shall be.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Whose, and why.
    pub proof: Proof,
    /// The device; generated if there is none. One that exists loses its former tokens.
    pub device_id: Option<OwnedDeviceId>,
    /// What to call the device if it is new.
    pub initial_display_name: Option<String>,
    /// Whether the client can refresh tokens.
    pub refresh: bool,
}

/// A session that began.
#[derive(Clone, Debug)]
pub struct StartedSession {
    /// Whose.
    pub user_id: OwnedUserId,
    /// Its device.
    pub device_id: OwnedDeviceId,
    /// Its tokens.
    pub tokens: Tokens,
}

/// Why a session did not begin.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum StartSessionError {
    /// The proof is void: the password was changed meanwhile, the login token was used or expired
    /// (`M_FORBIDDEN`).
    #[error("the login is not valid")]
    Refused,
    /// The account was closed (`M_USER_DEACTIVATED`).
    #[error("the account is deactivated")]
    Deactivated,
    /// The device id is empty or has too many bytes (`M_INVALID_PARAM`).
    #[error("a device id has 1 to {DEVICE_ID_BYTES_MAX} bytes")]
    DeviceId,
    /// The device is dehydrated: no session is on it (`M_INVALID_PARAM`).
    #[error("the device with this id is dehydrated")]
    Dehydrated,
    /// The device's name has too many bytes (`M_INVALID_PARAM`).
    #[error("a device's name has at most {DISPLAY_NAME_BYTES_MAX} bytes")]
    DisplayName,
    /// The user has too many devices (`M_LIMIT_EXCEEDED`).
    #[error("the user has {DEVICES_MAX} devices already")]
    TooManyDevices,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(StartSessionError);
refusals!(StartSessionError);

impl From<AccountError> for StartSessionError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Unknown => Self::Deactivated,
            AccountError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl Users {
    /// Begins a session on a device.
    pub async fn start_session(
        &self,
        new: NewSession,
    ) -> Result<StartedSession, StartSessionError> {
        let generated = || {
            self.inner
                .random
                .alphanumeric(GENERATED_CHARS)
                .to_ascii_uppercase()
        };
        let device_id = new.device_id.unwrap_or_else(|| generated().into());
        check_names(&device_id, new.initial_display_name.as_deref())?;
        let proven = self.look_up(new.proof).await?;
        let (user_id, (tokens, pair)) = (proven.user_id, self.draw_tokens(new.refresh));
        let start = StartSession {
            user_id: user_id.clone(),
            password_hash: proven.password_hash,
            login_token: proven.login_token,
            device_id: device_id.clone(),
            initial_display_name: new.initial_display_name,
            pair,
        };
        self.routed(start).await?;
        Ok(StartedSession {
            user_id,
            device_id,
            tokens,
        })
    }

    async fn start_session_here(&self, start: &StartSession) -> Result<(), StartSessionError> {
        let (user_id, device_id) = (&start.user_id, &start.device_id);
        let turn = self.user_turn(user_id).await?;
        self.check_proof(start).await?;
        let before = self.session_row(user_id, device_id).await?;
        let dehydrated = self.dehydrated_row(user_id).await?;
        if dehydrated.is_some_and(|dehydrated| dehydrated.device_id == *device_id) {
            return Err(StartSessionError::Dehydrated);
        }
        let display_name = start.initial_display_name.clone();
        let device = self
            .device_at_login(&turn, user_id, device_id, display_name)
            .await?;
        let pair = start.pair.to_proto();
        let login_token = start.login_token.as_ref();
        let started = proto::SessionStarted {
            device: Some(device),
            access_token_hash: pair.access_token_hash,
            access_expires_at_ms: pair.access_expires_at_ms,
            refresh_token_hash: pair.refresh_token_hash,
            revoked_hashes: before.as_ref().map(SessionRow::hashes).unwrap_or_default(),
            login_token_hash: login_token.map_or_else(Vec::new, |token| token.hash.to_vec()),
            login_token_expires_at_ms: login_token.map_or(0, |token| token.expires_at_ms),
        };
        self.commit_user(&turn, [Kind::SessionStarted(started)])
            .await?;
        Ok(())
    }

    async fn look_up(&self, proof: Proof) -> Result<Proven, StartSessionError> {
        let (user_id, password_hash, login_token) = match proof {
            Proof::Password(verified) => (verified.user_id, Some(verified.password_hash), None),
            Proof::Vouched(user_id) => (user_id, None, None),
            Proof::LoginToken(token) => {
                let hash = SecretKind::Login
                    .hash(&token)
                    .ok_or(StartSessionError::Refused)?;
                let row = self.login_token_row(&hash).await?;
                let LoginTokenRow {
                    user_id,
                    expires_at_ms,
                } = row.ok_or(StartSessionError::Refused)?;
                let token = LoginToken {
                    hash,
                    expires_at_ms,
                };
                (user_id, None, Some(token))
            }
        };
        Ok(Proven {
            user_id,
            password_hash,
            login_token,
        })
    }

    /// Whether the proof still holds. In the user's turn: whoever deactivates the account, changes
    /// its password or spends the token comes before or after.
    async fn check_proof(&self, start: &StartSession) -> Result<(), StartSessionError> {
        let account = self.open_account(&start.user_id).await?;
        let password = start.password_hash.as_ref();
        if password.is_some_and(|hash| *hash != account.password_hash) {
            return Err(StartSessionError::Refused);
        }
        match &start.login_token {
            Some(token) if self.login_token_spent(&token.hash).await? => {
                Err(StartSessionError::Refused)
            }
            _ => Ok(()),
        }
    }

    /// The device as it is, or a new one.
    pub(crate) async fn device_at_login(
        &self,
        turn: &Turn,
        user_id: &UserId,
        device_id: &OwnedDeviceId,
        display_name: Option<String>,
    ) -> Result<proto::Device, StartSessionError> {
        let key = device::key(user_id.as_str(), device_id.as_str());
        let known: Option<DeviceRow> = self.archive().get(key).await?;
        if let Some(row) = known {
            return Ok(proto::Device {
                device_id: device_id.to_string(),
                display_name: row.display_name,
                created_at_ms: row.created_at_ms,
            });
        }
        let partition = [user_id.as_str().into()];
        let devices: Vec<DeviceRow> = self
            .archive()
            .range(partition, Range::all(), DEVICES_MAX)
            .await?;
        if devices.len() >= DEVICES_MAX {
            return Err(StartSessionError::TooManyDevices);
        }
        // What reached a former device of this name while it went is not this one's.
        self.clear_device(turn, user_id, device_id).await?;
        Ok(proto::Device {
            device_id: device_id.to_string(),
            display_name: display_name.unwrap_or_default(),
            created_at_ms: self.now_ms(),
        })
    }
}

/// Whether a device may be called so.
pub(crate) fn check_names(
    device_id: &OwnedDeviceId,
    display_name: Option<&str>,
) -> Result<(), StartSessionError> {
    if !(1..=DEVICE_ID_BYTES_MAX).contains(&device_id.as_str().len()) {
        return Err(StartSessionError::DeviceId);
    }
    if display_name.is_some_and(|name| name.len() > DISPLAY_NAME_BYTES_MAX) {
        return Err(StartSessionError::DisplayName);
    }
    Ok(())
}
