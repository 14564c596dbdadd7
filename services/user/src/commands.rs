//! What is decided at the owner of a user or a name, and travels to it. A name is never another's;
//! fields that are added have defaults. Each command stands beside the verb that it carries out.

use hanse_cluster::{Command, Commands, Routed};

use crate::{
    Users,
    account_data::PutAccountData,
    accounts::{ChangePassword, CloseAccount, SetAdmin},
    aliases::{CreateAlias, RemoveAlias},
    backup::{CreateBackup, PutRoomKeys, RemoveBackup, RemoveRoomKeys, UpdateBackup},
    cross_signing::{SignKeys, UploadCrossSigning},
    dehydrated_devices::{PutDehydratedDevice, RemoveDehydratedDevice},
    devices::RenameDevice,
    filters::CreateFilter,
    keys::{ClaimKeys, UploadKeys},
    profiles::ChangeProfileField,
    registration::MakeAccount,
    registration_tokens::{
        GiveBackRegistrationToken, MakeRegistrationToken, RemoveRegistrationToken,
        SpendRegistrationToken,
    },
    rooms::ForgetRoom,
    sessions::{ConfirmSession, DeleteDevices, Logout, LogoutAll, RefreshSession, StartSession},
    to_device::{RemoveToDevice, SendToDevice},
};

/// Makes a type the command of a key: `command!(Type, "name", of its field, the verb at the owner ->
/// what it gives, why it is refused)`; `, repeats safely` where a repeat is told from the first.
macro_rules! command {
    ($command:ty, $name:literal, of $key:ident, $verb:path => $done:ty, $refused:ty) => {
        command!($command, $name, of $key, $verb => $done, $refused, repeats: false);
    };
    ($command:ty, $name:literal, of $key:ident, $verb:path => $done:ty, $refused:ty,
        repeats safely) => {
        command!($command, $name, of $key, $verb => $done, $refused, repeats: true);
    };
    ($command:ty, $name:literal, of $key:ident, $verb:path => $done:ty, $refused:ty,
        repeats: $safely:literal) => {
        impl hanse_cluster::Command<crate::Users> for $command {
            const NAME: &'static str = $name;
            type Done = $done;
            type Refused = $refused;

            fn key(&self) -> &str {
                self.$key.as_str()
            }

            fn repeats_safely(&self) -> bool {
                $safely
            }

            async fn run(&self, users: &crate::Users) -> Result<$done, $refused> {
                $verb(users, self).await
            }
        }
    };
}
pub(crate) use command;

impl Users {
    /// Has a command run where its slot is served. When this returns, what the command made void is
    /// forgotten here, too.
    pub(crate) async fn routed<C>(&self, command: C) -> Result<C::Done, C::Refused>
    where
        C: Command<Self>,
    {
        let Routed { outcome, elsewhere } = self.inner.router.run(self, &command).await;
        if let Some(elsewhere) = elsewhere {
            self.inner.observed(elsewhere).await;
        }
        outcome
    }

    /// Runs other processes' commands on the users and names that are served here.
    pub fn offer(&self, commands: &mut Commands) {
        commands.add::<_, ChangePassword>(self);
        commands.add::<_, ChangeProfileField>(self);
        commands.add::<_, ClaimKeys>(self);
        commands.add::<_, CloseAccount>(self);
        commands.add::<_, ConfirmSession>(self);
        commands.add::<_, CreateAlias>(self);
        commands.add::<_, CreateBackup>(self);
        commands.add::<_, CreateFilter>(self);
        commands.add::<_, DeleteDevices>(self);
        commands.add::<_, ForgetRoom>(self);
        commands.add::<_, GiveBackRegistrationToken>(self);
        commands.add::<_, Logout>(self);
        commands.add::<_, LogoutAll>(self);
        commands.add::<_, MakeAccount>(self);
        commands.add::<_, MakeRegistrationToken>(self);
        commands.add::<_, PutAccountData>(self);
        commands.add::<_, PutDehydratedDevice>(self);
        commands.add::<_, PutRoomKeys>(self);
        commands.add::<_, RefreshSession>(self);
        commands.add::<_, RemoveAlias>(self);
        commands.add::<_, RemoveBackup>(self);
        commands.add::<_, RemoveDehydratedDevice>(self);
        commands.add::<_, RemoveRegistrationToken>(self);
        commands.add::<_, RemoveRoomKeys>(self);
        commands.add::<_, RemoveToDevice>(self);
        commands.add::<_, RenameDevice>(self);
        commands.add::<_, SendToDevice>(self);
        commands.add::<_, SetAdmin>(self);
        commands.add::<_, SignKeys>(self);
        commands.add::<_, SpendRegistrationToken>(self);
        commands.add::<_, StartSession>(self);
        commands.add::<_, UpdateBackup>(self);
        commands.add::<_, UploadCrossSigning>(self);
        commands.add::<_, UploadKeys>(self);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check<C: Command<Users>>(text: &Value) {
        let command: C = serde_json::from_value(text.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", C::NAME));
        let again = serde_json::to_value(&command).unwrap();
        assert_eq!(again, *text, "{}", C::NAME);
    }

    const USER: &str = "@a:x";

    /// Red if a command is written as another version does not read it: a field is renamed, or there
    /// is one more that has no default (law 11). What is here was written by the first version.
    #[test]
    fn commands_of_the_first_version_are_read() {
        accounts_and_sessions();
        data_keys_and_messages();
        backups();
        names();
    }

    fn accounts_and_sessions() {
        check::<SetAdmin>(&json!({ "user_id": USER, "admin": true }));
        check::<ChangePassword>(&json!({
            "user_id": USER, "password_hash": "h", "log_out_others": true, "keep": "D",
        }));
        check::<CloseAccount>(&json!({ "user_id": USER, "erase": true }));
        check::<MakeAccount>(&json!({
            "user_id": USER, "password_hash": "h", "admin": false, "guest": false,
        }));
        let hash = json!([7_u8; 32].to_vec());
        let pair = json!({ "access": hash, "access_expires_at_ms": 1, "refresh": hash });
        check::<StartSession>(&json!({
            "user_id": USER, "password_hash": null,
            "login_token": { "hash": hash, "expires_at_ms": 2 },
            "device_id": "D", "initial_display_name": "n", "pair": pair,
        }));
        check::<RefreshSession>(&json!({
            "user_id": USER, "device_id": "D", "hash": hash, "pair": pair,
        }));
        check::<ConfirmSession>(&json!({ "user_id": USER, "device_id": "D", "hash": hash }));
        check::<Logout>(&json!({ "user_id": USER, "device_id": "D", "token_hash": hash }));
        check::<LogoutAll>(&json!({ "user_id": USER }));
        check::<DeleteDevices>(&json!({ "user_id": USER, "device_ids": ["D", "E"] }));
        check::<RenameDevice>(&json!({ "user_id": USER, "device_id": "D", "display_name": "n" }));
    }

    fn data_keys_and_messages() {
        check::<ChangeProfileField>(&json!({ "user_id": USER, "field": "f", "value": "1" }));
        check::<PutAccountData>(&json!({
            "user_id": USER, "room_id": "", "data_type": "t", "content": { "n": 1 },
        }));
        check::<CreateFilter>(&json!({ "user_id": USER, "filter_id": "f", "json": "{}" }));
        check::<ForgetRoom>(&json!({ "user_id": USER, "room_id": "!r:x", "left_position": 5 }));
        check::<UploadKeys>(&json!({
            "user_id": USER, "device_id": "D",
            "keys": {
                "identity": "{}", "one_time": { "signed_curve25519": { "AAAA": "{}" } },
                "fallback": { "signed_curve25519": ["AAAB", "{}"] },
            },
        }));
        check::<UploadCrossSigning>(&json!({
            "user_id": USER, "keys": { "master": "{}" }, "authenticated": true,
        }));
        check::<SignKeys>(&json!({
            "user_id": USER, "signed": [{ "user_id": "@b:x", "key_id": "k", "json": "{}" }],
        }));
        check::<ClaimKeys>(&json!({ "user_id": USER, "wanted": [["D", "signed_curve25519"]] }));
        check::<SendToDevice>(&json!({
            "sender": USER, "device_id": "D",
            "messages": {
                "event_type": "t", "txn_id": "t", "messages": { "@b:x": { "*": { "n": 1 } } },
            },
        }));
        check::<PutDehydratedDevice>(&json!({
            "user_id": USER, "device_id": "D", "display_name": "n", "device_data": "{}",
            "keys": { "identity": "{}", "one_time": {}, "fallback": {} },
        }));
        check::<RemoveDehydratedDevice>(&json!({ "user_id": USER }));
        check::<RemoveToDevice>(&json!({ "user_id": USER, "device_id": "D", "up_to": 5 }));
    }

    fn backups() {
        let (algorithm, auth_data) = ("a", "{}");
        check::<CreateBackup>(&json!({
            "user_id": USER, "algorithm": algorithm, "auth_data": auth_data,
        }));
        check::<UpdateBackup>(&json!({
            "user_id": USER, "version": 1, "algorithm": algorithm, "auth_data": auth_data,
        }));
        check::<RemoveBackup>(&json!({ "user_id": USER, "version": 1 }));
        check::<PutRoomKeys>(&json!({
            "user_id": USER, "version": 1,
            "keys": [{
                "room_id": "!r:x", "session_id": "s",
                "data": {
                    "first_message_index": 1, "forwarded_count": 2, "is_verified": true,
                    "session_data": { "n": 1 },
                },
            }],
        }));
        check::<RemoveRoomKeys>(&json!({
            "user_id": USER, "version": 1, "room_id": "!r:x", "session_id": "s",
        }));
    }

    fn names() {
        let alias = "#a:x";
        let (room_id, creator) = ("!r:x", USER);
        check::<CreateAlias>(&json!({ "alias": alias, "room_id": room_id, "creator": creator }));
        check::<RemoveAlias>(&json!({
            "alias": alias,
            "seen": { "alias": alias, "room_id": room_id, "creator": creator, "position": 5 },
        }));
        let token = "t";
        check::<MakeRegistrationToken>(&json!({
            "token": token, "uses_allowed": 1, "expires_at_ms": 0,
        }));
        check::<RemoveRegistrationToken>(&json!({ "token": token }));
        check::<SpendRegistrationToken>(&json!({ "token": token }));
        check::<GiveBackRegistrationToken>(&json!({ "token": token }));
    }
}
