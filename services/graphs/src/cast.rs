//! Who is in a graph, and what they do.

use std::collections::BTreeMap;

use anyhow::Result;
use hanse_event::{Draft, ServerKey, content_of};
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedServerName, OwnedUserId, ServerName, owned_event_id,
    room_version_rules::RoomVersionRules, server_name, signatures::PublicKeyMap,
};
use serde_json::{Value, json};

/// The server that is tested. Two of the users are on it.
const OUR_SERVER: &str = "hanse.test";

/// Users; the first creates the rooms.
const USERS: [&str; 6] = [
    "@ada:a.test",
    "@ben:b.test",
    "@cai:c.test",
    "@dan:a.test",
    "@eve:hanse.test",
    "@fay:hanse.test",
];

/// Tokens of invitations by other names.
const TOKENS: [&str; 3] = ["t0", "t1", "t2"];

/// Users and the key of their servers; one key for all, which nobody minds.
pub(crate) struct Cast {
    pub(crate) users: Vec<OwnedUserId>,
    pub(crate) key: ServerKey,
    pub(crate) keys: PublicKeyMap,
}

impl Cast {
    pub(crate) fn new() -> Result<Self> {
        let key = server_key()?;
        let users: Result<Vec<OwnedUserId>, _> =
            USERS.iter().map(|user| (*user).try_into()).collect();
        let users = users?;
        let set = BTreeMap::from([(key.key_id().to_owned(), key.public_key())]);
        let servers = users.iter().map(|user| user.server_name().to_string());
        let keys = servers.map(|server| (server, set.clone())).collect();
        Ok(Self { users, key, keys })
    }

    pub(crate) fn creator(&self) -> OwnedUserId {
        self.users
            .first()
            .cloned()
            .unwrap_or_else(|| unreachable!("USERS has a first"))
    }

    /// Something that a user may, or may not, be allowed to do.
    pub(crate) fn action(
        &self,
        dice: &mut ChaCha8Rng,
        sender: OwnedUserId,
        rules: &RoomVersionRules,
        known: &[OwnedEventId],
    ) -> Result<Draft> {
        Ok(match dice.random_range(0..100) {
            0..17 => message(sender, dice)?,
            17..22 => redaction(sender, dice, known),
            22..36 => named(sender, dice)?,
            36..50 => self.power_levels(sender, dice, rules)?,
            50..57 => join_rules(sender, dice, rules)?,
            57..61 => self.third_party_invite(sender, dice)?,
            61..65 => self.invite_by_token(sender, dice)?,
            _ => self.membership(sender, dice, rules)?,
        })
    }

    /// Somebody known by another name than a Matrix id may come.
    fn third_party_invite(&self, sender: OwnedUserId, dice: &mut ChaCha8Rng) -> Result<Draft> {
        let token = pick(dice, TOKENS);
        let key = self.key.public_key();
        let content = json!({
            "display_name": "somebody", "key_validity_url": "https://id.test/valid",
            "public_key": key, "public_keys": [{ "public_key": key }],
        });
        // Or may not any more.
        let content = if dice.random_bool(0.1) {
            json!({})
        } else {
            content
        };
        state(sender, "m.room.third_party_invite", token, &content)
    }

    /// The identity server found out who that is.
    fn invite_by_token(&self, sender: OwnedUserId, dice: &mut ChaCha8Rng) -> Result<Draft> {
        let target = self.users.choose(dice).cloned();
        let target = target.unwrap_or_else(|| sender.clone());
        let named = if dice.random_bool(0.1) {
            &sender
        } else {
            &target
        };
        let signed = json!({ "mxid": named, "token": pick(dice, TOKENS) });
        let mut signed: CanonicalJsonObject = serde_json::from_value(signed)?;
        self.key.sign_json(server_name!("id.test"), &mut signed)?;
        let content = json!({
            "membership": "invite", "n": dice.random_range(0..1_000),
            "third_party_invite": { "display_name": "somebody", "signed": signed },
        });
        state(sender, "m.room.member", target.as_str(), &content)
    }

    fn power_levels(
        &self,
        sender: OwnedUserId,
        dice: &mut ChaCha8Rng,
        rules: &RoomVersionRules,
    ) -> Result<Draft> {
        let creators_are_above = rules.authorization.explicitly_privilege_room_creators;
        let mut levels = serde_json::Map::new();
        for user in &self.users {
            let level = pick(dice, [0, 0, 50, 50, 100]);
            if level > 0 && !(creators_are_above && *user == self.creator()) {
                levels.insert(user.to_string(), json!(level));
            }
        }
        // Else most graphs would end with nobody who may do anything.
        if !creators_are_above && dice.random_bool(0.9) {
            levels.insert(self.creator().to_string(), json!(100));
        }
        let topic = pick(dice, [0, 50]);
        let content = json!({ "users": levels, "events": { "m.room.topic": topic } });
        state(sender, "m.room.power_levels", "", &content)
    }

    fn membership(
        &self,
        sender: OwnedUserId,
        dice: &mut ChaCha8Rng,
        rules: &RoomVersionRules,
    ) -> Result<Draft> {
        let other = self.users.choose(dice).cloned();
        let other = other.unwrap_or_else(|| sender.clone());
        let own = sender.clone();
        let (target, membership) = match dice.random_range(0..10) {
            0..5 => (own, "join"),
            5 => (own, "leave"),
            6 => (other, "invite"),
            7 => (other, "leave"),
            8 => (other, "ban"),
            _ if rules.authorization.knocking => (own, "knock"),
            _ => (other, "invite"),
        };
        let mut content = json!({ "membership": membership, "n": dice.random_range(0..1_000) });
        if membership == "join" && rules.authorization.restricted_join_rule {
            self.authorise(&mut content, sender.server_name(), dice);
        }
        state(sender, "m.room.member", target.as_str(), &content)
    }

    /// Sometimes somebody of the same server, whose signature is there anyway, authorises a join.
    fn authorise(&self, content: &mut Value, server: &ServerName, dice: &mut ChaCha8Rng) {
        let same = |user: &&OwnedUserId| user.server_name() == server;
        let same: Vec<&OwnedUserId> = self.users.iter().filter(same).collect();
        if let Some(user) = same.choose(dice).filter(|_| dice.random_bool(0.3))
            && let Some(content) = content.as_object_mut()
        {
            content.insert("join_authorised_via_users_server".to_owned(), json!(user));
        }
    }
}

/// Takes something back: one's own, somebody else's, anything at all.
fn redaction(sender: OwnedUserId, dice: &mut ChaCha8Rng, known: &[OwnedEventId]) -> Draft {
    let target = known.choose(dice).cloned();
    let target = target.unwrap_or_else(|| owned_event_id!("$nothing"));
    Draft::redaction(sender, target, None)
}

fn pick<T: Copy + Default, const N: usize>(dice: &mut ChaCha8Rng, of: [T; N]) -> T {
    of.choose(dice).copied().unwrap_or_default()
}

/// The key of every server.
pub(crate) fn server_key() -> Result<ServerKey> {
    Ok(ServerKey::generate([7; 32], "a")?)
}

/// Our server's name.
pub(crate) fn our_server() -> Result<OwnedServerName> {
    Ok(OUR_SERVER.try_into()?)
}

pub(crate) fn state(
    sender: OwnedUserId,
    event_type: &str,
    state_key: &str,
    content: &Value,
) -> Result<Draft> {
    let content = content_of(content)?;
    Ok(Draft::state(sender, event_type, state_key, content))
}

fn message(sender: OwnedUserId, dice: &mut ChaCha8Rng) -> Result<Draft> {
    let content =
        json!({ "msgtype": "m.text", "body": dice.random_range(0..1_000_000).to_string() });
    Ok(Draft::message(
        sender,
        "m.room.message",
        content_of(&content)?,
    ))
}

fn named(sender: OwnedUserId, dice: &mut ChaCha8Rng) -> Result<Draft> {
    let event_type = pick(dice, ["m.room.topic", "m.room.name", "org.hanse.thing"]);
    let state_key = match event_type {
        "org.hanse.thing" => pick(dice, ["", "a", "b"]),
        _ => "",
    };
    let content = json!({ "n": dice.random_range(0..1_000_000) });
    state(sender, event_type, state_key, &content)
}

fn join_rules(
    sender: OwnedUserId,
    dice: &mut ChaCha8Rng,
    rules: &RoomVersionRules,
) -> Result<Draft> {
    let auth = &rules.authorization;
    let rule = match dice.random_range(0..6) {
        0..3 => "public",
        3 if auth.knocking => "knock",
        4 if auth.restricted_join_rule => "restricted",
        _ => "invite",
    };
    let content = json!({ "join_rule": rule, "n": dice.random_range(0..1_000) });
    state(sender, "m.room.join_rules", "", &content)
}
