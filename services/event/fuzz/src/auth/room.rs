//! A room: its create event, who is in it, who may what.

use arbitrary::{Result, Unstructured};
use hanse_event::{Pdu, room_version};
use ruma::{OwnedEventId, room_version_rules::RoomVersionRules};
use serde_json::{Value, json};

use super::{State, levels::PowerLevels};

/// Who there is.
pub(super) const USERS: [&str; 5] = [
    "@a:x.test",
    "@b:x.test",
    "@c:y.test",
    "@d:y.test",
    "@e:z.test",
];
/// Memberships; the last is none.
pub(super) const MEMBERSHIPS: [&str; 6] =
    ["join", "invite", "leave", "ban", "knock", "org.hanse.guest"];
/// Join rules; the last is none.
pub(super) const JOIN_RULES: [&str; 7] = [
    "public",
    "invite",
    "knock",
    "restricted",
    "knock_restricted",
    "private",
    "org.hanse.none",
];
/// The token of the invite to somebody who has no user id yet.
pub(super) const TOKEN: &str = "token";

#[derive(Debug)]
pub(super) struct Room {
    pub(super) version: usize,
    pub(super) rules: &'static RoomVersionRules,
    /// The create event's sender; until version 10 its content may name another creator.
    pub(super) sender: usize,
    pub(super) creator: usize,
    pub(super) federates: Option<bool>,
    /// From version 12 on: creators beside the sender.
    pub(super) additional: Vec<usize>,
    pub(super) members: [Option<&'static str>; USERS.len()],
    pub(super) levels: Option<PowerLevels>,
    pub(super) join_rule: Option<&'static str>,
    /// Who sent the invite by a third party that is open, if there is one.
    pub(super) third_party: Option<usize>,
}

/// What is common to all events of a room.
pub(super) struct Frame<'a> {
    pub(super) name: &'a str,
    pub(super) event_type: &'a str,
    pub(super) sender: usize,
    pub(super) state_key: Option<&'a str>,
    /// JSON.
    pub(super) content: &'a str,
    pub(super) prev_events: &'a [OwnedEventId],
    pub(super) auth_events: &'a [OwnedEventId],
    /// Until version 10: the event that it redacts.
    pub(super) redacts: Option<&'a str>,
}

impl Room {
    pub(super) fn draw(dice: &mut Unstructured<'_>) -> Result<Self> {
        let index = dice.choose_index(room_version::SUPPORTED.len())?;
        let version = index + 2;
        let rules = room_version::rules(&room_version::SUPPORTED[index]).expect("supported");
        let sender = dice.choose_index(USERS.len())?;
        let other = version <= 10 && dice.ratio(1, 8)?;
        let creator = if other {
            dice.choose_index(USERS.len())?
        } else {
            sender
        };
        let federates = dice
            .arbitrary::<bool>()?
            .then(|| dice.ratio(3, 4))
            .transpose()?;
        let mut additional = Vec::new();
        if version >= 12 && dice.ratio(1, 3)? {
            additional.push(dice.choose_index(USERS.len())?);
        }
        let mut members = [None; USERS.len()];
        for member in &mut members {
            // More are joined than not.
            *member = match dice.int_in_range(0..=15)? {
                0 => None,
                drawn @ 1..=10 if drawn > 4 => Some("join"),
                drawn => Some(MEMBERSHIPS[drawn % MEMBERSHIPS.len()]),
            };
        }
        let levels = dice
            .ratio(5, 6)?
            .then(|| PowerLevels::draw(dice))
            .transpose()?;
        let join_rule = dice
            .ratio(7, 8)?
            .then(|| dice.choose(&JOIN_RULES))
            .transpose()?;
        let third_party = dice
            .ratio(1, 4)?
            .then(|| dice.choose_index(USERS.len()))
            .transpose()?;
        Ok(Self {
            version,
            rules,
            sender,
            creator,
            federates,
            additional,
            members,
            levels,
            join_rule: join_rule.copied(),
            third_party,
        })
    }

    /// An event's id: in version 2 its sender's server is in it.
    pub(super) fn event_id(&self, name: &str, sender: usize) -> OwnedEventId {
        let id = match self.version {
            2 => format!("${name}:{}", server(sender)),
            _ => format!("${name}"),
        };
        id.try_into().expect("an event id")
    }

    pub(super) fn create_id(&self) -> OwnedEventId {
        self.event_id("create", self.sender)
    }

    pub(super) fn event(&self, frame: &Frame<'_>) -> Pdu {
        let reference = |id: &OwnedEventId| match self.version {
            2 => json!([id, { "sha256": "" }]),
            _ => json!(id),
        };
        let references = |ids: &[OwnedEventId]| ids.iter().map(reference).collect::<Vec<Value>>();
        let mut event = json!({
            "type": frame.event_type,
            "sender": USERS[frame.sender],
            "depth": 1,
            "origin_server_ts": 1,
            "prev_events": references(frame.prev_events),
            "auth_events": references(frame.auth_events),
        });
        let is_create = frame.event_type == "m.room.create";
        if self.version < 12 {
            event["room_id"] = format!("!create:{}", server(self.sender)).into();
        } else if !is_create {
            event["room_id"] = "!create".into();
        }
        if let Some(state_key) = frame.state_key {
            event["state_key"] = state_key.into();
        }
        if let Some(redacts) = frame.redacts {
            event["redacts"] = redacts.into();
        }
        // The content as it is: some of it no JSON value could hold.
        let event = event.to_string();
        let event = event.strip_suffix('}').expect("an object");
        let json = format!("{event},\"content\":{}}}", frame.content);
        let event_id = self.event_id(frame.name, frame.sender);
        Pdu::from_stored(event_id, json).expect("a readable event")
    }

    fn state_event(&self, event_type: &str, sender: usize, key: &str, content: &str) -> Pdu {
        let name = format!(
            "{event_type}-{}",
            key.trim_start_matches('@').replace(':', "-")
        );
        let name = if event_type == "m.room.create" {
            "create"
        } else {
            &name
        };
        self.event(&Frame {
            name,
            event_type,
            sender,
            state_key: Some(key),
            content,
            prev_events: &[],
            auth_events: &[],
            redacts: None,
        })
    }

    /// Its state.
    pub(super) fn state(&self) -> State {
        let mut state = State::new();
        let mut put = |event_type: &str, sender: usize, key: &str, content: String| {
            let pdu = self.state_event(event_type, sender, key, &content);
            state.insert((event_type.to_owned(), key.to_owned()), pdu);
        };
        put("m.room.create", self.sender, "", self.create_content());
        for (user, membership) in self.members.iter().enumerate() {
            if let Some(membership) = membership {
                let content = json!({ "membership": membership });
                put("m.room.member", user, USERS[user], content.to_string());
            }
        }
        if let Some(levels) = &self.levels {
            put("m.room.power_levels", self.sender, "", levels.json());
        }
        if let Some(rule) = self.join_rule {
            put(
                "m.room.join_rules",
                self.sender,
                "",
                json!({ "join_rule": rule }).to_string(),
            );
        }
        if let Some(sender) = self.third_party {
            let key = "A".repeat(43);
            let content = json!({ "display_name": "", "key_validity_url": "", "public_key": key });
            put(
                "m.room.third_party_invite",
                sender,
                TOKEN,
                content.to_string(),
            );
        }
        state
    }

    fn create_content(&self) -> String {
        let mut content = json!({ "room_version": self.version.to_string() });
        if self.version <= 10 {
            content["creator"] = USERS[self.creator].into();
        }
        if let Some(federates) = self.federates {
            content["m.federate"] = federates.into();
        }
        if !self.additional.is_empty() {
            let names: Vec<&str> = self.additional.iter().map(|user| USERS[*user]).collect();
            content["additional_creators"] = names.into();
        }
        content.to_string()
    }

    /// The state at other moments: everybody banned, everybody joined and without power levels.
    pub(super) fn other_states(&self) -> [State; 2] {
        let with = |membership: &'static str| {
            let mut state = self.state();
            for (user, name) in USERS.iter().enumerate() {
                let content = json!({ "membership": membership }).to_string();
                let pdu = self.state_event("m.room.member", user, name, &content);
                state.insert(("m.room.member".to_owned(), (*name).to_owned()), pdu);
            }
            state
        };
        let (banned, mut joined) = (with("ban"), with("join"));
        joined.remove(&("m.room.power_levels".to_owned(), String::new()));
        [banned, joined]
    }
}

/// The server of a user.
pub(super) fn server(user: usize) -> &'static str {
    USERS[user].split_once(':').map_or("", |(_, server)| server)
}
