//! How often one user or one address may do what is dear: token buckets in memory, per process.

use std::{
    fmt,
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as GovernorClock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::keyed::DashMapStateStore,
};
use hanse_runtime::{
    Clock,
    config::{Rate, RateLimits},
};
use ruma::{OwnedUserId, UserId};

use crate::error::ApiError;

/// After so many checks, buckets that are full again are forgotten.
const FORGET_EVERY: u32 = 4_096;

/// All limits. Clones share the buckets.
#[derive(Clone, Debug)]
pub(crate) struct Rates(Option<Arc<Buckets>>);

#[derive(Debug)]
struct Buckets {
    registration: Bucket<IpAddr>,
    login_address: Bucket<IpAddr>,
    login_account: Bucket<OwnedUserId>,
    messages: Bucket<OwnedUserId>,
    typing: Bucket<OwnedUserId>,
    room_creation: Bucket<OwnedUserId>,
    joins: Bucket<OwnedUserId>,
    invites: Bucket<OwnedUserId>,
}

impl Rates {
    pub(crate) fn new(limits: &RateLimits, clock: &Arc<dyn Clock>) -> Self {
        if !limits.enabled {
            return Self(None);
        }
        Self(Some(Arc::new(Buckets {
            registration: Bucket::new("registration", limits.registration, clock),
            login_address: Bucket::new("login", limits.login, clock),
            login_account: Bucket::new("login", limits.login, clock),
            messages: Bucket::new("messages", limits.messages, clock),
            typing: Bucket::new("typing", limits.typing, clock),
            room_creation: Bucket::new("room_creation", limits.room_creation, clock),
            joins: Bucket::new("joins", limits.joins, clock),
            invites: Bucket::new("invites", limits.invites, clock),
        })))
    }

    /// An account is to be made from this address.
    pub(crate) fn registration(&self, address: Option<IpAddr>) -> Result<(), ApiError> {
        let (Some(buckets), Some(address)) = (&self.0, address) else {
            return Ok(());
        };
        buckets.registration.take(&address)
    }

    /// Somebody tries to log in, with the password of `account` or with another secret.
    pub(crate) fn login(
        &self,
        address: Option<IpAddr>,
        account: Option<&UserId>,
    ) -> Result<(), ApiError> {
        let Some(buckets) = &self.0 else {
            return Ok(());
        };
        if let Some(address) = address {
            buckets.login_address.take(&address)?;
        }
        account.map_or(Ok(()), |account| {
            buckets.login_account.take(&account.to_owned())
        })
    }

    /// A user sends an event.
    pub(crate) fn message(&self, user: &UserId) -> Result<(), ApiError> {
        self.0
            .as_ref()
            .map_or(Ok(()), |buckets| buckets.messages.take(&user.to_owned()))
    }

    /// A user says that they type, or do not.
    pub(crate) fn typing(&self, user: &UserId) -> Result<(), ApiError> {
        self.0
            .as_ref()
            .map_or(Ok(()), |buckets| buckets.typing.take(&user.to_owned()))
    }

    /// A user creates a room.
    pub(crate) fn room_creation(&self, user: &UserId) -> Result<(), ApiError> {
        self.0.as_ref().map_or(Ok(()), |buckets| {
            buckets.room_creation.take(&user.to_owned())
        })
    }

    /// A user joins a room, or knocks on it.
    pub(crate) fn join(&self, user: &UserId) -> Result<(), ApiError> {
        self.0
            .as_ref()
            .map_or(Ok(()), |buckets| buckets.joins.take(&user.to_owned()))
    }

    /// A user invites another.
    pub(crate) fn invite(&self, user: &UserId) -> Result<(), ApiError> {
        self.0
            .as_ref()
            .map_or(Ok(()), |buckets| buckets.invites.take(&user.to_owned()))
    }
}

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, Ticks, NoOpMiddleware<Instant>>;

/// The buckets of one limit, by key.
struct Bucket<K: Hash + Eq + Clone> {
    name: &'static str,
    limiter: Limiter<K>,
    clock: Ticks,
    checks: AtomicU32,
}

impl<K: Hash + Eq + Clone> fmt::Debug for Bucket<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone> Bucket<K> {
    fn new(name: &'static str, rate: Rate, clock: &Arc<dyn Clock>) -> Self {
        let clock = Ticks(Arc::clone(clock));
        let limiter = RateLimiter::new(quota(rate), DashMapStateStore::default(), clock.clone());
        Self {
            name,
            limiter,
            clock,
            checks: AtomicU32::new(0),
        }
    }

    fn take(&self, key: &K) -> Result<(), ApiError> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|until| {
            metrics::counter!("hanse_api_rate_limited_total", "limit" => self.name).increment(1);
            let wait = until.wait_time_from(self.clock.now());
            ApiError::limit_exceeded(wait, "too many requests of this kind")
        })
    }
}

fn quota(rate: Rate) -> Quota {
    let one = NonZeroU32::MIN;
    let per_minute = NonZeroU32::new(rate.per_minute).unwrap_or(one);
    Quota::per_minute(per_minute).allow_burst(NonZeroU32::new(rate.burst).unwrap_or(one))
}

/// The process's clock, as governor wants it.
#[derive(Clone, Debug)]
struct Ticks(Arc<dyn Clock>);

/// Monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Instant(Duration);

impl GovernorClock for Ticks {
    type Instant = Instant;

    fn now(&self) -> Instant {
        Instant(self.0.monotonic())
    }
}

impl std::ops::Add<Nanos> for Instant {
    type Output = Self;

    fn add(self, by: Nanos) -> Self {
        Self(self.0 + Duration::from(by))
    }
}

impl Reference for Instant {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, by: Nanos) -> Self {
        Self(self.0.saturating_sub(by.into()))
    }
}

#[cfg(test)]
mod tests {
    use hanse_runtime::ManualClock;
    use ruma::user_id;

    use super::*;

    fn rates(enabled: bool, manual: &ManualClock) -> Rates {
        let messages = Rate {
            per_minute: 60,
            burst: 2,
        };
        let limits = RateLimits {
            enabled,
            messages,
            typing: messages,
            ..RateLimits::default()
        };
        let clock: Arc<dyn Clock> = Arc::new(manual.clone());
        Rates::new(&limits, &clock)
    }

    #[test]
    fn a_burst_passes_and_then_time_does() {
        let clock = ManualClock::at_ms(0);
        let rates = rates(true, &clock);
        let alice = user_id!("@alice:x");
        assert!(rates.message(alice).is_ok() && rates.message(alice).is_ok());
        assert_eq!(rates.message(alice).unwrap_err().status().as_u16(), 429);
        assert!(
            rates.message(user_id!("@bob:x")).is_ok(),
            "users do not share a bucket"
        );
        clock.advance(Duration::from_secs(1));
        assert!(rates.message(alice).is_ok());
        assert!(rates.message(alice).is_err());
        // Each kind has a bucket of its own.
        assert!(rates.typing(alice).is_ok() && rates.typing(alice).is_ok());
        assert_eq!(rates.typing(alice).unwrap_err().status().as_u16(), 429);
    }

    #[test]
    fn switched_off_they_count_nothing() {
        let rates = rates(false, &ManualClock::at_ms(0));
        assert!((0..100).all(|_| rates.message(user_id!("@alice:x")).is_ok()));
    }
}
