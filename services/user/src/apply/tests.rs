use hanse_proto::user::{Alias, Filter, MembershipNotice, RegistrationToken, RoomForgotten};
use prost::Message;

use super::*;

fn pair(seed: &str) -> TokenPair {
    TokenPair {
        access_token_hash: TokenHash::of(seed).to_vec(),
        access_expires_at_ms: 7,
        refresh_token_hash: TokenHash::of(&format!("{seed}r")).to_vec(),
    }
}

fn kinds() -> Vec<user_entry::Kind> {
    use user_entry::Kind;
    let device = Device {
        device_id: "D".to_owned(),
        display_name: "phone".to_owned(),
        created_at_ms: 5,
    };
    let (first, second) = (pair("1"), pair("2"));
    let revoked_hashes = vec![TokenHash::of("0").to_vec()];
    vec![
        Kind::Account(Account {
            created_at_ms: 5,
            ..Account::default()
        }),
        Kind::SessionStarted(SessionStarted {
            device: Some(device.clone()),
            access_token_hash: first.access_token_hash.clone(),
            access_expires_at_ms: 7,
            refresh_token_hash: first.refresh_token_hash.clone(),
            revoked_hashes: revoked_hashes.clone(),
            login_token_hash: TokenHash::of("l").to_vec(),
            login_token_expires_at_ms: 9,
        }),
        Kind::SessionRefreshed(SessionRefreshed {
            device_id: "D".to_owned(),
            access_token_hash: second.access_token_hash.clone(),
            access_expires_at_ms: 8,
            refresh_token_hash: second.refresh_token_hash.clone(),
            revoked_hashes: revoked_hashes.clone(),
            previous: Some(first),
        }),
        Kind::SessionConfirmed(SessionConfirmed {
            device_id: "D".to_owned(),
            tokens: Some(second),
            revoked_hashes: revoked_hashes.clone(),
        }),
        Kind::SessionEnded(SessionEnded {
            device_id: "D".to_owned(),
            revoked_hashes,
            device_removed: true,
        }),
        Kind::Device(device),
        Kind::Profile(ProfileField {
            field: "displayname".to_owned(),
            value: r#""Ada Lovelace""#.to_owned(),
            previous: r#""Ada Byron""#.to_owned(),
        }),
        Kind::AccountData(AccountData {
            previous_position: 3,
            ..AccountData::default()
        }),
        Kind::Filter(Filter::default()),
        Kind::RoomForgotten(RoomForgotten::default()),
        Kind::Membership(MembershipNotice::default()),
    ]
    .into_iter()
    .chain(keys::tests::kinds())
    .chain(cross_signing::tests::kinds())
    .chain(backup::tests::kinds())
    .collect()
}

fn rows_of(user: &UserEntry) -> String {
    let mut rows = Rows::starting_at(100);
    user_rows(user, Position::new(4, 2), &mut rows);
    format!("{rows:?}")
}

/// Sabotage: read a clock or draw a random value while applying.
#[test]
fn replay_writes_the_same_rows() {
    for kind in kinds() {
        let user = UserEntry {
            user_id: "@a:b".to_owned(),
            kind: Some(kind),
        };
        let replayed = UserEntry::decode(user.encode_to_vec().as_slice()).unwrap();
        assert_eq!(rows_of(&user), rows_of(&replayed));
        assert!(
            !rows_of(&user).contains("mutations: []"),
            "{user:?} writes nothing"
        );
    }
}

#[test]
fn broken_entries_write_no_broken_rows() {
    let hashes = vec![vec![1, 2, 3]];
    let ended = SessionEnded {
        revoked_hashes: hashes,
        ..SessionEnded::default()
    };
    let kind = Some(user_entry::Kind::SessionEnded(ended));
    let rows = rows_of(&UserEntry {
        user_id: "@a:b".to_owned(),
        kind,
    });
    assert!(!rows.contains("\"tokens\""), "{rows}");
    let refreshed = Some(user_entry::Kind::SessionRefreshed(
        SessionRefreshed::default(),
    ));
    let rows = rows_of(&UserEntry {
        user_id: "@a:b".to_owned(),
        kind: refreshed,
    });
    assert!(rows.contains("mutations: []"), "{rows}");
}

#[test]
fn a_removed_name_deletes_its_row() {
    for removed in [false, true] {
        let alias = Alias {
            removed,
            ..Alias::default()
        };
        let token = RegistrationToken {
            removed,
            ..RegistrationToken::default()
        };
        for kind in [
            name_entry::Kind::Alias(alias),
            name_entry::Kind::RegistrationToken(token),
        ] {
            let mut rows = Rows::starting_at(100);
            let name = NameEntry {
                name: "n".to_owned(),
                kind: Some(kind),
            };
            name_rows(&name, Position::new(4, 2), &mut rows);
            assert_eq!(format!("{rows:?}").contains("Delete("), removed);
        }
    }
}
