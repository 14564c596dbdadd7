//! A large room of other servers, event by event.

use std::collections::BTreeMap;

use anyhow::Context;
use hanse_event::{Draft, Pdu, Placement, Received, ServerKey, build, build_create, content_of};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedUserId, RoomId, RoomVersionId,
    room_version_rules::RoomVersionRules, signatures::PublicKeyMap,
};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

/// The server that is measured.
pub(super) const OUR_SERVER: &str = "hanse.test";
/// Who joins.
const OUR_USER: &str = "@ada:hanse.test";
const VERSION: RoomVersionId = RoomVersionId::V11;
const MEMBER: &str = "m.room.member";
/// The member who leaves in the end.
const LEAVER: u32 = 1;

/// The room as it grows: of its state only what authorises later events is kept, and a hash of all.
pub(super) struct Elsewhere {
    rules: &'static RoomVersionRules,
    /// Of each server, and ours last.
    servers: Vec<(String, ServerKey)>,
    keys: PublicKeyMap,
    create: Pdu,
    /// The room's end, and its depth.
    last: (OwnedEventId, u64),
    /// By type and state key.
    state: BTreeMap<(String, String), OwnedEventId>,
    members: u32,
    hash: u128,
    /// Keys of the state.
    pub(super) size: usize,
}

impl Elsewhere {
    pub(super) fn new(servers: u32) -> anyhow::Result<Self> {
        let names = (0..servers.max(1)).map(|number| format!("s{number}.test"));
        let names = names.chain([OUR_SERVER.to_owned()]);
        let mut servers = Vec::new();
        let mut keys = PublicKeyMap::new();
        for (number, name) in (1_u64..).zip(names) {
            let mut seed = [7; 32];
            let of = number.to_le_bytes();
            seed.iter_mut().zip(of).for_each(|(byte, of)| *byte = of);
            let key = ServerKey::generate(seed, "a")?;
            let set = BTreeMap::from([(key.key_id().to_owned(), key.public_key())]);
            keys.insert(name.clone(), set);
            servers.push((name, key));
        }
        let (first, key) = servers.first().context("no server")?;
        let creator: OwnedUserId = format!("@u0:{first}").try_into()?;
        let draft = Draft::state(creator, "m.room.create", "", content_of(&json!({}))?);
        let create = build_create(draft, &VERSION, "large", ts(0), key)?;
        let mut room = Self {
            rules: hanse_event::room_version::rules(&VERSION)?,
            last: (create.event_id().to_owned(), create.depth()),
            servers,
            keys,
            create: create.clone(),
            state: BTreeMap::new(),
            members: 0,
            hash: 0,
            size: 0,
        };
        room.keep(&create);
        Ok(room)
    }

    pub(super) fn room_id(&self) -> &RoomId {
        self.create.room_id()
    }

    pub(super) fn version() -> RoomVersionId {
        VERSION
    }

    /// Of the state: the same for the same events, whatever their order.
    pub(super) fn hash(&self) -> u128 {
        self.hash
    }

    pub(super) fn hash_of<'a>(ids: impl Iterator<Item = &'a OwnedEventId>) -> u128 {
        ids.fold(0, |hash, id| hash ^ xxh3_128(id.as_bytes()))
    }

    /// The first events: they make it a public room.
    pub(super) fn outline(&mut self) -> anyhow::Result<Vec<Pdu>> {
        let creator = self.user(0)?;
        let mut events = vec![self.create.clone()];
        events.extend(self.next_members(1)?);
        let levels = json!({ "users": { creator.as_str(): 100 } });
        for (event_type, content) in [
            ("m.room.power_levels", levels),
            ("m.room.join_rules", json!({ "join_rule": "public" })),
            (
                "m.room.history_visibility",
                json!({ "history_visibility": "shared" }),
            ),
            ("m.room.name", json!({ "name": "A large room" })),
            ("m.room.topic", json!({ "topic": "As large as they get" })),
        ] {
            events.push(self.sets(&creator, (event_type, ""), &content)?);
        }
        Ok(events)
    }

    pub(super) fn next_members(&mut self, count: u32) -> anyhow::Result<Vec<Pdu>> {
        let numbers = self.members..self.members + count;
        self.members += count;
        let join = |number| {
            let user = self.user(number)?;
            let avatar = format!("mxc://{}/{number:032}", user.server_name());
            let content = json!({
                "membership": "join", "displayname": format!("Member {number}"), "avatar_url": avatar,
            });
            self.sets(&user.clone(), (MEMBER, user.as_str()), &content)
        };
        numbers.map(join).collect()
    }

    /// The join of our user, as the room stands.
    pub(super) fn joined(&mut self) -> anyhow::Result<Pdu> {
        let content = json!({ "membership": "join", "displayname": "Ada" });
        let ada = our_user()?;
        self.build(&ada, (MEMBER, OUR_USER), &content)
    }

    /// A member's leave, after the join.
    pub(super) fn leaves(&mut self) -> anyhow::Result<Pdu> {
        let user = self.user(LEAVER)?;
        self.build(
            &user,
            (MEMBER, user.as_str()),
            &json!({ "membership": "leave" }),
        )
    }

    /// As it comes over the wire.
    pub(super) fn received(&self, pdu: &Pdu) -> anyhow::Result<Received> {
        let unverified = Pdu::receive(pdu.json().as_bytes(), self.rules)?;
        Ok(unverified.verify(&self.keys)?)
    }

    fn user(&self, number: u32) -> anyhow::Result<OwnedUserId> {
        let ours = self.servers.len() - 1;
        let server = self.servers.get(number as usize % ours.max(1));
        let (server, _) = server.context("no server")?;
        Ok(format!("@u{number}:{server}").try_into()?)
    }

    fn sets(
        &mut self,
        sender: &OwnedUserId,
        key: (&str, &str),
        content: &Value,
    ) -> anyhow::Result<Pdu> {
        let pdu = self.build(sender, key, content)?;
        self.keep(&pdu);
        Ok(pdu)
    }

    /// An event at the room's end, which it is from now on.
    fn build(
        &mut self,
        sender: &OwnedUserId,
        (event_type, state_key): (&str, &str),
        content: &Value,
    ) -> anyhow::Result<Pdu> {
        let draft = Draft::state(sender.clone(), event_type, state_key, content_of(content)?);
        let wanted = draft.auth_types(self.rules)?;
        let held = |(event_type, state_key): &(ruma::events::StateEventType, String)| {
            let key = (event_type.to_string(), state_key.clone());
            self.state.get(&key).cloned()
        };
        let place = Placement {
            room_id: self.room_id().to_owned(),
            rules: self.rules,
            prev_events: vec![self.last.0.clone()],
            auth_events: wanted.iter().filter_map(held).collect(),
            depth: self.last.1 + 1,
            origin_server_ts: ts(u32::try_from(self.last.1)?),
            reference_hashes: BTreeMap::new(),
        };
        let named = |(name, _): &&(String, ServerKey)| *name == sender.server_name().as_str();
        let (_, key) = self.servers.iter().find(named).context("no such server")?;
        let pdu = build(draft, place, key)?;
        self.last = (pdu.event_id().to_owned(), pdu.depth());
        Ok(pdu)
    }

    /// Takes an event into the state.
    fn keep(&mut self, pdu: &Pdu) {
        self.hash ^= xxh3_128(pdu.event_id().as_bytes());
        self.size += 1;
        let authorises = pdu.type_name() != MEMBER || self.members <= LEAVER + 100;
        if let Some(state_key) = pdu.state_key().filter(|_| authorises) {
            let key = (pdu.type_name().to_owned(), state_key.to_owned());
            self.state.insert(key, pdu.event_id().to_owned());
        }
    }
}

/// Who joins.
pub(super) fn our_user() -> anyhow::Result<OwnedUserId> {
    Ok(OUR_USER.try_into()?)
}

fn ts(ms: u32) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(ms.into())
}
