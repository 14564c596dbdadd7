//! A room that many join, and a fork of it from before they came.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::ValueEnum;
use hanse_event::{Draft, Pdu, Placement, Received, build, build_create, room_version};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId, UInt,
    UserId, room_version_rules::RoomVersionRules, signatures::PublicKeyMap,
};
use serde_json::json;

use crate::cast::{our_server, server_key, state};

const CREATOR: &str = "@ada:a.test";
/// May do what the creator may.
const SECOND: &str = "@bea:a.test";
/// Servers from which the members come.
const SERVERS: usize = 50;

/// What happens on a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Quarrel {
    /// The topic changes, again and again.
    Topics,
    /// Each event changes a state key of its own.
    Keys,
    /// Each event bans somebody.
    Bans,
    /// Each event changes the power levels.
    Levels,
    /// Topics and keys by turns, and now and then the power levels.
    Mixed,
}

/// What a room goes through.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often the power levels change before the fork.
    pub levels: usize,
    /// How many join before the fork, after that.
    pub crowd: usize,
    /// How many join on the main side.
    pub joins: usize,
    /// State events on the main side, after the joins.
    pub main: usize,
    /// State events on the fork.
    pub fork: usize,
    /// What they do.
    pub quarrel: Quarrel,
    /// Whether the two sides have different senders.
    pub two_senders: bool,
}

/// The events, signed and verified.
pub struct Crowd {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its first events: up to where it forks.
    pub root: Vec<Received>,
    /// One side.
    pub main: Vec<Received>,
    /// The other.
    pub fork: Vec<Received>,
}

struct Growing {
    rules: &'static RoomVersionRules,
    room_id: OwnedRoomId,
    creator: OwnedUserId,
    key: hanse_event::ServerKey,
    keys: PublicKeyMap,
    number: u32,
}

/// A side of the fork, while it grows.
#[derive(Clone)]
struct Side {
    last: OwnedEventId,
    depth: u64,
    state: BTreeMap<(String, String), OwnedEventId>,
    events: Vec<Received>,
}

impl Crowd {
    /// As planned.
    pub fn gather(version: &RoomVersionId, plan: Plan) -> Result<Self> {
        let (mut growing, mut root) = Growing::root(version)?;
        let (creator, second): (OwnedUserId, OwnedUserId) =
            (CREATOR.try_into()?, SECOND.try_into()?);
        let join = json!({ "membership": "join" });
        for number in 0..plan.levels {
            let draft = growing.levels(number, &creator)?;
            growing.grow(&mut root, draft)?;
        }
        let joined = |member| {
            let user: OwnedUserId = member_of(member)?;
            state(user.clone(), "m.room.member", user.as_str(), &join)
        };
        for member in 0..plan.crowd {
            growing.grow(&mut root, joined(member)?)?;
        }
        let (mut one, mut other) = (root.clone(), root.clone());
        one.events.clear();
        other.events.clear();
        for member in plan.crowd..plan.crowd + plan.joins {
            growing.grow(&mut one, joined(member)?)?;
        }
        let by = if plan.two_senders { &second } else { &creator };
        for (side, count, by) in [(&mut one, plan.main, &creator), (&mut other, plan.fork, by)] {
            for at in 0..count {
                let draft = growing.quarrel(at, plan.quarrel, by)?;
                growing.grow(side, draft)?;
            }
        }
        Ok(Self {
            room_id: growing.room_id,
            root: root.events,
            main: one.events,
            fork: other.events,
        })
    }
}

/// A room in which many events follow the same one, and of whose users one is ours.
pub struct Scattered {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Our user, who has joined.
    pub ours: OwnedUserId,
    /// Its first events.
    pub root: Vec<Received>,
    /// Each follows the last of those, and nothing else.
    pub ends: Vec<Received>,
}

impl Scattered {
    /// So many ends.
    pub fn with_ends(version: &RoomVersionId, ends: usize) -> Result<Self> {
        let (mut growing, mut root) = Growing::root(version)?;
        let ours: OwnedUserId = format!("@eve:{}", our_server()?).try_into()?;
        let join = json!({ "membership": "join" });
        growing.grow(
            &mut root,
            state(ours.clone(), "m.room.member", ours.as_str(), &join)?,
        )?;
        let mut scattered = Vec::new();
        for at in 0..ends {
            let mut side = root.clone();
            let creator = growing.creator.clone();
            let draft = growing.quarrel(at, Quarrel::Keys, &creator)?;
            growing.grow(&mut side, draft)?;
            scattered.extend(side.events.pop());
        }
        Ok(Self {
            room_id: growing.room_id,
            ours,
            root: root.events,
            ends: scattered,
        })
    }
}

impl Growing {
    fn root(version: &RoomVersionId) -> Result<(Self, Side)> {
        let rules = room_version::rules(version)?;
        let key = server_key()?;
        let set = BTreeMap::from([(key.key_id().to_owned(), key.public_key())]);
        let servers = (0..SERVERS).map(|server| format!("s{server}.test"));
        let keys = servers.chain(["a.test".to_owned(), our_server()?.to_string()]);
        let keys = keys.map(|server| (server, set.clone())).collect();
        let creator: OwnedUserId = CREATOR.try_into()?;
        let create = state(creator.clone(), "m.room.create", "", &json!({}))?;
        let create = build_create(create, version, "crowd", time(1), &key)?;
        let mut growing = Self {
            rules,
            room_id: create.room_id().to_owned(),
            creator: creator.clone(),
            key,
            keys,
            number: 1,
        };
        let mut side = Side {
            last: create.event_id().to_owned(),
            depth: 1,
            state: BTreeMap::new(),
            events: Vec::new(),
        };
        growing.keep(&mut side, &create)?;
        let join = json!({ "membership": "join" });
        growing.grow(
            &mut side,
            state(creator.clone(), "m.room.member", CREATOR, &join)?,
        )?;
        let levels = growing.levels(0, &creator)?;
        growing.grow(&mut side, levels)?;
        let public = json!({ "join_rule": "public" });
        growing.grow(&mut side, state(creator, "m.room.join_rules", "", &public)?)?;
        let second: OwnedUserId = SECOND.try_into()?;
        let second = state(second, "m.room.member", SECOND, &join)?;
        growing.grow(&mut side, second)?;
        Ok((growing, side))
    }

    fn levels(&self, number: usize, by: &UserId) -> Result<Draft> {
        let above = self.rules.authorization.explicitly_privilege_room_creators;
        let users = if above {
            json!({ SECOND: 100 })
        } else {
            json!({ CREATOR: 100, SECOND: 100 })
        };
        let content = json!({ "users": users, "events": { "org.hanse.never": number % 97 } });
        state(by.to_owned(), "m.room.power_levels", "", &content)
    }

    fn quarrel(&self, at: usize, quarrel: Quarrel, by: &UserId) -> Result<Draft> {
        let quarrel = match (quarrel, at % 100) {
            (Quarrel::Mixed, 99) => Quarrel::Levels,
            (Quarrel::Mixed, at) if at % 2 == 0 => Quarrel::Topics,
            (Quarrel::Mixed, _) => Quarrel::Keys,
            (quarrel, _) => quarrel,
        };
        let content = json!({ "n": at });
        let levels = self.levels(at, by);
        let by = by.to_owned();
        match quarrel {
            Quarrel::Levels => levels,
            Quarrel::Topics => state(by, "m.room.topic", "", &content),
            Quarrel::Bans => {
                let ban = json!({ "membership": "ban" });
                state(by, "m.room.member", member_of(at)?.as_str(), &ban)
            }
            Quarrel::Keys | Quarrel::Mixed => {
                state(by, "org.hanse.thing", &format!("thing {at}"), &content)
            }
        }
    }

    fn grow(&mut self, side: &mut Side, draft: Draft) -> Result<()> {
        let (depth, prev) = (side.depth, vec![side.last.clone()]);
        let pdu = self.build(draft, prev, depth, &side.state)?;
        self.keep(side, &pdu)
    }

    fn build(
        &mut self,
        draft: Draft,
        prev_events: Vec<OwnedEventId>,
        depth: u64,
        authority: &BTreeMap<(String, String), OwnedEventId>,
    ) -> Result<Pdu> {
        self.number += 1;
        let keys = draft.auth_types(self.rules)?;
        let held = |(event_type, key): &(ruma::events::StateEventType, String)| {
            authority
                .get(&(event_type.to_string(), key.clone()))
                .cloned()
        };
        let place = Placement {
            room_id: self.room_id.clone(),
            rules: self.rules,
            prev_events,
            auth_events: keys.iter().filter_map(held).collect(),
            depth: depth + 1,
            origin_server_ts: time(self.number),
            reference_hashes: BTreeMap::new(),
        };
        Ok(build(draft, place, &self.key)?)
    }

    fn keep(&self, side: &mut Side, pdu: &Pdu) -> Result<()> {
        side.last = pdu.event_id().to_owned();
        side.depth = pdu.depth();
        if let Some(state_key) = pdu.state_key() {
            let key = (pdu.type_name().to_owned(), state_key.to_owned());
            side.state.insert(key, pdu.event_id().to_owned());
        }
        side.events.push(self.received(pdu)?);
        Ok(())
    }

    fn received(&self, pdu: &Pdu) -> Result<Received> {
        let received = Pdu::receive(pdu.json().as_bytes(), self.rules)?;
        Ok(received.verify(&self.keys)?)
    }
}

fn member_of(number: usize) -> Result<OwnedUserId> {
    Ok(format!("@member{number}:s{}.test", number % SERVERS).try_into()?)
}

fn time(number: u32) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::from(number) * UInt::from(10_u32))
}
