//! What an operator may set here.

use std::time::Duration;

/// Settings of the user domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserConfig {
    /// Memory of one password hash, in KiB.
    pub argon2_memory_kib: u32,
    /// Passes over that memory.
    pub argon2_iterations: u32,
    /// The shortest password that is taken, in characters; at least 1.
    pub password_chars_min: usize,
    /// How long an access token lives that comes with a refresh token.
    pub access_token_ttl: Duration,
    /// How long an interactive-authentication session lives.
    pub uia_ttl: Duration,
    /// How long an `OpenID` token lives.
    pub openid_token_ttl: Duration,
    /// How long a login token (`m.login.token`) lives.
    pub login_token_ttl: Duration,
    /// How long it is remembered that a one-time key was handed out.
    pub claimed_key_ttl: Duration,
    /// How long a message waits for a device.
    pub to_device_ttl: Duration,
    /// Most messages that wait for a device. A process that sends counts them now and then: see
    /// `to_device/waiting.rs`.
    pub to_device_waiting_max: usize,
    /// How long it is remembered what a device sent to devices.
    pub to_device_transaction_ttl: Duration,
    /// Access tokens remembered in memory.
    pub tokens_cached_max: u64,
}

impl Default for UserConfig {
    fn default() -> Self {
        Self {
            argon2_memory_kib: 19_456,
            argon2_iterations: 2,
            password_chars_min: 8,
            access_token_ttl: Duration::from_mins(30),
            uia_ttl: Duration::from_hours(1),
            openid_token_ttl: Duration::from_hours(1),
            login_token_ttl: Duration::from_mins(2),
            claimed_key_ttl: Duration::from_hours(30 * 24),
            to_device_ttl: Duration::from_hours(365 * 24),
            to_device_waiting_max: 20_000,
            to_device_transaction_ttl: Duration::from_hours(7 * 24),
            tokens_cached_max: 200_000,
        }
    }
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Argon2 takes no such cost.
    #[error("argon2 does not take {memory_kib} KiB and {iterations} iterations: {reason}")]
    Argon2 {
        /// `argon2_memory_kib`.
        memory_kib: u32,
        /// `argon2_iterations`.
        iterations: u32,
        /// What Argon2 says.
        reason: String,
    },
}

/// A lifetime in the milliseconds of the clock.
pub(crate) fn ttl_ms(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 4)
}
