//! The rows that entries of users and names write: from the entry and its position alone.

mod backup;
mod cross_signing;
mod keys;

use hanse_log::{Position, Rows};
use hanse_proto::user::{
    Account, AccountData, Device, NameEntry, ProfileField, SessionConfirmed, SessionEnded,
    SessionRefreshed, SessionStarted, TokenPair, UserEntry, name_entry, user_entry,
};

use ruma::profile::ProfileFieldName;

use crate::{
    TokenHash,
    directory::words,
    tables::{
        account::{self, ACCOUNTS, AccountRow},
        account_data::{self, ACCOUNT_DATA},
        account_data_feed::{self, ACCOUNT_DATA_FEED},
        alias::{self, ALIASES},
        device::{self, DEVICES},
        device_keys::{self, DEVICE_KEYS},
        directory::{self, Source, USER_DIRECTORY},
        filter::{self, FILTERS},
        forgotten_room::{self, FORGOTTEN_ROOMS},
        membership_feed::{self, MEMBERSHIP_FEED},
        profile::{self, PROFILES},
        registration_token::{self, REGISTRATION_TOKENS},
        session::{self, PairHashes, SESSIONS},
        spent_login_token::{self, SPENT_LOGIN_TOKENS, SpentLoginTokenRow},
        token::{self, TOKENS},
    },
};

/// Adds the rows of an entry of a user, always in the same order.
pub fn user_rows(user: &UserEntry, position: Position, rows: &mut Rows) {
    let mut of_user = UserRows {
        user_id: &user.user_id,
        position,
        rows,
    };
    match &user.kind {
        Some(user_entry::Kind::Account(account)) => of_user.account(account),
        Some(user_entry::Kind::SessionStarted(started)) => of_user.session_started(started),
        Some(user_entry::Kind::SessionRefreshed(refreshed)) => of_user.refreshed(refreshed),
        Some(user_entry::Kind::SessionConfirmed(confirmed)) => of_user.confirmed(confirmed),
        Some(user_entry::Kind::SessionEnded(ended)) => of_user.session_ended(ended),
        Some(user_entry::Kind::Device(device)) => of_user.device(device),
        Some(user_entry::Kind::Profile(field)) => of_user.profile(field),
        Some(user_entry::Kind::AccountData(data)) => of_user.account_data(data),
        Some(user_entry::Kind::Filter(filter)) => {
            let key = filter::key(&user.user_id, &filter.filter_id);
            rows.put(&FILTERS, key, filter::values(&filter.json, position));
        }
        Some(user_entry::Kind::RoomForgotten(forgotten)) => {
            let key = forgotten_room::key(&user.user_id, &forgotten.room_id);
            let values = forgotten_room::values(forgotten.left_position, position);
            rows.put(&FORGOTTEN_ROOMS, key, values);
        }
        Some(user_entry::Kind::Membership(notice)) => {
            let key = membership_feed::key(&user.user_id, position);
            let values = membership_feed::values(&notice.room_id, &notice.membership);
            rows.put(&MEMBERSHIP_FEED, key, values);
        }
        Some(kind) => of_user.encryption(kind),
        None => {}
    }
}

/// Adds the rows of an entry of a name, always in the same order.
pub fn name_rows(name: &NameEntry, position: Position, rows: &mut Rows) {
    match &name.kind {
        Some(name_entry::Kind::Alias(alias)) => {
            let key = alias::key(&name.name);
            if alias.removed {
                rows.delete(&ALIASES, key);
            } else {
                let values = alias::values(&alias.room_id, &alias.creator, position);
                rows.put(&ALIASES, key, values);
            }
        }
        Some(name_entry::Kind::RegistrationToken(token)) => {
            let key = registration_token::key(&name.name);
            if token.removed {
                rows.delete(&REGISTRATION_TOKENS, key);
            } else {
                rows.put(
                    &REGISTRATION_TOKENS,
                    key,
                    registration_token::values(token, position),
                );
            }
        }
        None => {}
    }
}

struct UserRows<'a> {
    user_id: &'a str,
    position: Position,
    rows: &'a mut Rows,
}

impl UserRows<'_> {
    /// Entries of end-to-end encryption.
    fn encryption(&mut self, kind: &user_entry::Kind) {
        match kind {
            user_entry::Kind::DeviceKeys(keys) => self.device_keys(keys),
            user_entry::Kind::OneTimeKeysAdded(added) => self.one_time_keys_added(added),
            user_entry::Kind::OneTimeKeyClaimed(claimed) => self.one_time_key_claimed(claimed),
            user_entry::Kind::FallbackKey(fallback) => self.fallback_key(fallback),
            user_entry::Kind::KeysRemoved(removed) => self.keys_removed(removed),
            user_entry::Kind::DeviceChanged(_) => self.device_changed(),
            user_entry::Kind::CrossSigningKey(key) => self.cross_signing_key(key),
            user_entry::Kind::KeySignatures(signed) => self.key_signatures(signed),
            user_entry::Kind::DehydratedDevice(device) => self.dehydrated_device(device),
            user_entry::Kind::BackupVersion(version) => self.backup_version(version),
            user_entry::Kind::RoomKeys(added) => self.room_keys(added),
            user_entry::Kind::RoomKeysRemoved(removed) => self.room_keys_removed(removed),
            user_entry::Kind::ToDeviceSent(sent) => self.messages_sent(sent),
            user_entry::Kind::ToDevice(messages) => self.messages(messages),
            user_entry::Kind::ToDeviceRemoved(removed) => self.messages_removed(removed),
            _ => {}
        }
    }

    fn account(&mut self, account: &Account) {
        let row = AccountRow {
            password_hash: account.password_hash.clone(),
            created_at_ms: account.created_at_ms,
            deactivated: account.deactivated,
            erased: account.erased,
            admin: account.admin,
            guest: account.guest,
            position: self.position,
        };
        self.rows
            .put(&ACCOUNTS, account::key(self.user_id), row.values());
        let localpart = self.user_id.trim_start_matches('@').split(':').next();
        let found_by = words(localpart.unwrap_or_default());
        if account.deactivated || account.guest {
            self.not_found_by(&found_by, Source::Localpart);
        } else {
            self.found_by(&found_by, Source::Localpart);
        }
    }

    fn session_started(&mut self, started: &SessionStarted) {
        self.revoke(&started.revoked_hashes);
        let Some(device) = &started.device else {
            return;
        };
        self.device(device);
        let pair = TokenPair {
            access_token_hash: started.access_token_hash.clone(),
            access_expires_at_ms: started.access_expires_at_ms,
            refresh_token_hash: started.refresh_token_hash.clone(),
        };
        self.session(&device.device_id, Some(&pair), None);
        if !started.login_token_hash.is_empty() {
            let spent = SpentLoginTokenRow {
                position: self.position,
            };
            let key = spent_login_token::key(&started.login_token_hash);
            let until = started.login_token_expires_at_ms;
            self.rows
                .put_until(&SPENT_LOGIN_TOKENS, key, spent.values(), until);
        }
    }

    fn refreshed(&mut self, refreshed: &SessionRefreshed) {
        self.revoke(&refreshed.revoked_hashes);
        let next = TokenPair {
            access_token_hash: refreshed.access_token_hash.clone(),
            access_expires_at_ms: refreshed.access_expires_at_ms,
            refresh_token_hash: refreshed.refresh_token_hash.clone(),
        };
        self.session(
            &refreshed.device_id,
            refreshed.previous.as_ref(),
            Some(&next),
        );
    }

    fn confirmed(&mut self, confirmed: &SessionConfirmed) {
        self.revoke(&confirmed.revoked_hashes);
        self.session(&confirmed.device_id, confirmed.tokens.as_ref(), None);
    }

    fn session_ended(&mut self, ended: &SessionEnded) {
        self.revoke(&ended.revoked_hashes);
        self.rows
            .delete(&SESSIONS, session::key(self.user_id, &ended.device_id));
        if ended.device_removed {
            self.rows
                .delete(&DEVICES, device::key(self.user_id, &ended.device_id));
            self.rows.delete(
                &DEVICE_KEYS,
                device_keys::key(self.user_id, &ended.device_id),
            );
        }
    }

    fn device(&mut self, device: &Device) {
        let key = device::key(self.user_id, &device.device_id);
        let values = device::values(&device.display_name, device.created_at_ms, self.position);
        self.rows.put(&DEVICES, key, values);
    }

    fn profile(&mut self, field: &ProfileField) {
        if field.field == ProfileFieldName::DisplayName.as_str() {
            let (before, now) = (words_of(&field.previous), words_of(&field.value));
            self.not_found_by(&before, Source::DisplayName);
            self.found_by(&now, Source::DisplayName);
        }
        let key = profile::key(self.user_id, &field.field);
        if field.value.is_empty() {
            self.rows.delete(&PROFILES, key);
        } else {
            self.rows
                .put(&PROFILES, key, profile::values(&field.value, self.position));
        }
    }

    fn account_data(&mut self, data: &AccountData) {
        let key = account_data::key(self.user_id, &data.room_id, &data.data_type);
        let values = account_data::values(&data.content, self.position);
        self.rows.put(&ACCOUNT_DATA, key, values);
        if data.previous_position != 0 {
            let previous = Position::from_packed(data.previous_position);
            let key = account_data_feed::key(self.user_id, previous);
            self.rows.delete(&ACCOUNT_DATA_FEED, key);
        }
        let key = account_data_feed::key(self.user_id, self.position);
        let values = account_data_feed::values(&data.room_id, &data.data_type);
        self.rows.put(&ACCOUNT_DATA_FEED, key, values);
    }

    /// The device's tokens: its row, and a row for each of them.
    fn session(&mut self, device_id: &str, current: Option<&TokenPair>, next: Option<&TokenPair>) {
        let Some(current) = current.and_then(PairHashes::from_proto) else {
            return;
        };
        let next = next.and_then(PairHashes::from_proto);
        let values = session::values(&current, next.as_ref(), self.position);
        self.rows
            .put(&SESSIONS, session::key(self.user_id, device_id), values);
        self.tokens(device_id, &current, false);
        if let Some(next) = next {
            self.tokens(device_id, &next, true);
        }
    }

    fn tokens(&mut self, device_id: &str, pair: &PairHashes, pending: bool) {
        let owner = (self.user_id, device_id);
        let expires = pair.access_expires_at_ms;
        let values = token::values(owner, true, pending, expires, self.position);
        self.rows.put(&TOKENS, token::key(&pair.access), values);
        if let Some(refresh) = &pair.refresh {
            let values = token::values(owner, false, pending, 0, self.position);
            self.rows.put(&TOKENS, token::key(refresh), values);
        }
    }

    fn found_by(&mut self, words: &[String], source: Source) {
        for word in words {
            let key = directory::key(word, self.user_id, source);
            self.rows
                .put(&USER_DIRECTORY, key, vec![self.position.packed().into()]);
        }
    }

    fn not_found_by(&mut self, words: &[String], source: Source) {
        for word in words {
            let key = directory::key(word, self.user_id, source);
            self.rows.delete(&USER_DIRECTORY, key);
        }
    }

    fn revoke(&mut self, hashes: &[Vec<u8>]) {
        for hash in hashes.iter().filter_map(|hash| TokenHash::from_bytes(hash)) {
            self.rows.delete(&TOKENS, token::key(&hash));
        }
    }
}

/// The words of a display name, which is JSON here.
fn words_of(value: &str) -> Vec<String> {
    let name: Option<String> = serde_json::from_str(value).ok();
    words(&name.unwrap_or_default())
}

#[cfg(test)]
mod tests;
