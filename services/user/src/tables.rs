//! The tables of users and names, one file each.

pub(crate) mod account;
pub(crate) mod account_data;
pub(crate) mod account_data_feed;
pub(crate) mod alias;
pub(crate) mod backup_version;
pub(crate) mod claimed_key;
pub(crate) mod cross_signing_key;
pub(crate) mod dehydrated_device;
pub(crate) mod device;
pub(crate) mod device_change;
pub(crate) mod device_keys;
pub(crate) mod directory;
pub(crate) mod fallback_key;
pub(crate) mod filter;
pub(crate) mod forgotten_room;
pub(crate) mod inbox;
pub(crate) mod key_signature;
pub(crate) mod login_token;
pub(crate) mod membership_feed;
pub(crate) mod one_time_key;
pub(crate) mod one_time_key_pool;
pub(crate) mod openid_token;
pub(crate) mod profile;
pub(crate) mod registration_token;
pub(crate) mod room_key;
pub(crate) mod session;
pub(crate) mod signature_feed;
pub(crate) mod spent_login_token;
pub(crate) mod to_device_transaction;
pub(crate) mod token;
pub(crate) mod uia_session;
pub(crate) mod uia_stage;

use hanse_store::Table;

/// Every table that users and names need: those that entries write, and those of rows that live
/// only for a while.
pub fn tables() -> Vec<&'static Table> {
    vec![
        &account::ACCOUNTS,
        &account_data::ACCOUNT_DATA,
        &account_data_feed::ACCOUNT_DATA_FEED,
        &alias::ALIASES,
        &backup_version::BACKUP_VERSIONS,
        &claimed_key::CLAIMED_KEYS,
        &cross_signing_key::CROSS_SIGNING_KEYS,
        &dehydrated_device::DEHYDRATED_DEVICES,
        &device::DEVICES,
        &device_change::DEVICE_CHANGES,
        &device_keys::DEVICE_KEYS,
        &directory::USER_DIRECTORY,
        &fallback_key::FALLBACK_KEYS,
        &filter::FILTERS,
        &forgotten_room::FORGOTTEN_ROOMS,
        &inbox::TO_DEVICE_INBOX,
        &key_signature::KEY_SIGNATURES,
        &login_token::LOGIN_TOKENS,
        &membership_feed::MEMBERSHIP_FEED,
        &one_time_key::ONE_TIME_KEYS,
        &one_time_key_pool::ONE_TIME_KEY_POOLS,
        &openid_token::OPENID_TOKENS,
        &profile::PROFILES,
        &registration_token::REGISTRATION_TOKENS,
        &room_key::ROOM_KEYS,
        &session::SESSIONS,
        &signature_feed::SIGNATURE_FEED,
        &spent_login_token::SPENT_LOGIN_TOKENS,
        &to_device_transaction::TO_DEVICE_TRANSACTIONS,
        &token::TOKENS,
        &uia_session::UIA_SESSIONS,
        &uia_stage::UIA_STAGES,
    ]
}

/// What a row reads back as, after every check that an engine makes.
#[cfg(test)]
pub(crate) fn read_back<R: crate::archive::StoredRow>(
    key: &hanse_store::Key,
    values: Vec<hanse_store::Value>,
) -> R {
    let table = R::table();
    table.check().unwrap();
    let put = hanse_store::StampedPut {
        table,
        key: key.clone(),
        values: values.clone(),
        stamp: 1,
        expires_at_ms: Some(1),
    };
    hanse_store::Mutation::Put(put).check().unwrap();
    let clustering = key.clustering.clone();
    R::from_row(&hanse_store::Row {
        clustering,
        statics: Vec::new(),
        values,
    })
    .unwrap()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tables_are_well_described() {
        for table in super::tables() {
            table.check().unwrap();
        }
    }
}
