//! Tokens and accounts remembered in memory, and how they are forgotten at once.

use std::sync::Arc;

use hanse_proto::{
    log::{Entry, entry},
    user::{UserEntry, user_entry::Kind},
};
use moka::sync::Cache;
use parking_lot::Mutex;
use ruma::{OwnedDeviceId, OwnedUserId};

use crate::TokenHash;

/// An access token that may let somebody in.
#[derive(Debug)]
pub(crate) struct CachedToken {
    pub(crate) user_id: OwnedUserId,
    pub(crate) device_id: OwnedDeviceId,
    /// 0: never.
    pub(crate) expires_at_ms: i64,
}

/// What authentication needs of an account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CachedAccount {
    pub(crate) deactivated: bool,
    pub(crate) admin: bool,
    pub(crate) guest: bool,
}

/// What entries make void.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Voids {
    tokens: Vec<TokenHash>,
    accounts: Vec<String>,
}

impl Voids {
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let mut voids = Self::default();
        for entry in entries {
            if let Some(entry::Kind::User(user)) = &entry.kind {
                voids.add(user);
            }
        }
        voids
    }

    fn add(&mut self, user: &UserEntry) {
        let revoked = match &user.kind {
            Some(Kind::Account(_)) => {
                self.accounts.push(user.user_id.clone());
                return;
            }
            Some(Kind::SessionStarted(started)) => &started.revoked_hashes,
            Some(Kind::SessionRefreshed(refreshed)) => &refreshed.revoked_hashes,
            Some(Kind::SessionConfirmed(confirmed)) => &confirmed.revoked_hashes,
            Some(Kind::SessionEnded(ended)) => &ended.revoked_hashes,
            _ => return,
        };
        self.tokens.extend(
            revoked
                .iter()
                .filter_map(|hash| TokenHash::from_bytes(hash)),
        );
    }

    fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.accounts.is_empty()
    }
}

/// Counts what was made void. What was read from the archives before a count may be void after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fence(u64);

/// Bounded memory of access tokens and of accounts.
pub(crate) struct TokenCache {
    tokens: Cache<TokenHash, Arc<CachedToken>>,
    accounts: Cache<String, CachedAccount>,
    /// Held while anything goes in or out, so that nothing void slips in behind its voiding.
    fence: Mutex<u64>,
}

impl TokenCache {
    pub(crate) fn new(tokens_max: u64) -> Self {
        Self {
            tokens: Cache::new(tokens_max),
            accounts: Cache::new(tokens_max),
            fence: Mutex::new(0),
        }
    }

    /// To be taken before the archives are read for what shall be put in.
    pub(crate) fn fence(&self) -> Fence {
        Fence(*self.fence.lock())
    }

    pub(crate) fn token(&self, hash: &TokenHash) -> Option<Arc<CachedToken>> {
        self.tokens.get(hash)
    }

    pub(crate) fn account(&self, user_id: &str) -> Option<CachedAccount> {
        self.accounts.get(user_id)
    }

    /// Remembers a token, unless anything was made void since the fence.
    pub(crate) fn put_token(&self, fence: Fence, hash: TokenHash, token: Arc<CachedToken>) {
        let now = self.fence.lock();
        if *now == fence.0 {
            self.tokens.insert(hash, token);
        }
    }

    /// Remembers an account, unless anything was made void since the fence.
    pub(crate) fn put_account(&self, fence: Fence, user_id: &str, account: CachedAccount) {
        let now = self.fence.lock();
        if *now == fence.0 {
            self.accounts.insert(user_id.to_owned(), account);
        }
    }

    /// Forgets everything: what became void is not known.
    pub(crate) fn forget_all(&self) {
        let mut now = self.fence.lock();
        *now += 1;
        self.tokens.invalidate_all();
        self.accounts.invalidate_all();
    }

    /// Forgets what became void. Returns when nobody can find it any more.
    pub(crate) fn void(&self, voids: &Voids) {
        if voids.is_empty() {
            return;
        }
        let mut now = self.fence.lock();
        *now += 1;
        for hash in &voids.tokens {
            self.tokens.invalidate(hash);
        }
        for user_id in &voids.accounts {
            self.accounts.invalidate(user_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use hanse_proto::user::{Account, SessionEnded};
    use ruma::owned_user_id;

    use super::*;

    fn entry_of(kind: Kind) -> Entry {
        let user = UserEntry {
            user_id: "@a:b".to_owned(),
            kind: Some(kind),
        };
        Entry {
            kind: Some(entry::Kind::User(user)),
            ..Entry::default()
        }
    }

    fn logout_of(hash: TokenHash) -> Voids {
        let revoked_hashes = vec![hash.to_vec()];
        Voids::of(&[entry_of(Kind::SessionEnded(SessionEnded {
            device_id: "D".to_owned(),
            revoked_hashes,
            device_removed: true,
        }))])
    }

    fn token() -> Arc<CachedToken> {
        Arc::new(CachedToken {
            user_id: owned_user_id!("@a:b"),
            device_id: "D".into(),
            expires_at_ms: 0,
        })
    }

    #[test]
    fn a_voided_token_is_forgotten() {
        let (cache, hash) = (TokenCache::new(10), TokenHash::of("t"));
        cache.put_token(cache.fence(), hash, token());
        assert!(cache.token(&hash).is_some());
        cache.void(&logout_of(hash));
        assert!(cache.token(&hash).is_none());
    }

    /// Sabotage: put without comparing the fence.
    #[test]
    fn what_was_read_before_a_logout_is_not_remembered_after_it() {
        let (cache, hash) = (TokenCache::new(10), TokenHash::of("t"));
        let before = cache.fence();
        cache.void(&logout_of(hash));
        cache.put_token(before, hash, token());
        assert!(cache.token(&hash).is_none());
    }

    #[test]
    fn an_account_entry_forgets_the_account() {
        let cache = TokenCache::new(10);
        let account = CachedAccount {
            deactivated: false,
            admin: true,
            guest: false,
        };
        cache.put_account(cache.fence(), "@a:b", account);
        cache.void(&Voids::of(&[entry_of(Kind::Account(Account::default()))]));
        assert!(cache.account("@a:b").is_none());
    }
}
