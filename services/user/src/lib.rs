//! Everything keyed by user, and names: accounts, sessions, devices, profiles, account data,
//! filters, aliases, registration tokens, interactive-authentication sessions, keys of devices,
//! cross-signing, key backups, messages to devices.
//!
//! A write is decided in the slot that owns the key, at the process that serves it: lock the key, read
//! the archives, decide, submit, await `applied`, unlock ([`Users`] does all of it; `commands.rs` is
//! how it gets there). What touches two keys is two commands. Rows of `Once` tables (interactive
//! authentication, tokens for a short while) are written by whichever process is asked. Rows are written by applying entries
//! alone: [`user_rows`] and [`name_rows`].
//!
//! Invariant: no token and no password is stored, only SHA-256 and Argon2id hashes.
//! Invariant: a decision that needs exclusiveness holds its key's lock until its entries are
//! applied, also when its caller has gone away.
//! Invariant: a token that is void in the archives is void in the memory of the process that had it made
//! void before its voider is answered, and in every other's as soon as that one has followed the log
//! (`observing.rs`).
//! Invariant: rows depend on the entry and its position alone.
//! Deliberately absent: rooms (profile changes are carried into them by the caller), HTTP, policy
//! about who may register.

mod account_data;
mod accounts;
mod aliases;
mod apply;
mod archive;
mod backup;
mod commands;
mod config;
mod cross_signing;
mod dehydrated_devices;
mod devices;
mod directory;
mod error;
mod filters;
mod keys;
mod locks;
mod observing;
mod passwords;
mod profiles;
mod registration;
mod registration_tokens;
mod rooms;
mod secrets;
mod sessions;
mod short_lived_tokens;
mod tables;
mod to_device;
mod turn;
mod uia;
mod users;

pub use account_data::{AccountDatum, PushRules, PutAccountDataError, SERVER_OWNED_TYPES};
pub use accounts::{Account, AccountError, ChangePasswordError, VerifiedPassword, VerifyError};
pub use aliases::{Alias, CreateAliasError, RemoveAliasError};
pub use apply::{name_rows, user_rows};
pub use backup::{
    BackedUpKey, BackupError, BackupState, BackupVersion, RoomKeyCursor, RoomKeyPage,
};
pub use config::{ConfigError, UserConfig};
pub use cross_signing::{CrossSigningKeys, SignatureRefused, SignedKey, UploadCrossSigningError};
pub use dehydrated_devices::{DehydratedDevice, DehydratedDeviceError};
pub use devices::DeviceError;
pub use directory::FoundUsers;
pub use error::Unavailable;
pub use filters::CreateFilterError;
pub use keys::{BadKeys, KeyStatus, KeysUpload, UploadKeysError, UserKeys};
pub use passwords::{PASSWORD_BYTES_MAX, PasswordRefused};
pub use profiles::{ProfileChange, ProfileError};
pub use registration::{LocalpartRefused, RegisterError, Registration};
pub use registration_tokens::{NewRegistrationToken, RegistrationToken, RegistrationTokenError};
pub use rooms::{ForgottenRoom, MembershipNoticed};
pub use secrets::TokenHash;
pub use sessions::{
    AuthenticateError, NewSession, Proof, RefreshError, Session, StartSessionError, StartedSession,
    Tokens,
};
pub use short_lived_tokens::ShortLivedToken;
pub use tables::tables;
pub use to_device::{DeviceMessage, SendToDeviceError, ToDeviceMessages, ToDevicePage};
pub use uia::{CompletedStage, UiaError, UiaScope, UiaSession};
pub use users::{UserParts, Users};
