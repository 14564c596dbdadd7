//! A graph that the input draws, and the states that its forks bring together.

use std::{collections::BTreeMap, ops::RangeInclusive};

use arbitrary::{Result, Unstructured};
use hanse_event::{Draft, Judged, Pdu, Verdict, content_of, judge, room_version};
use ruma::{
    EventId, OwnedEventId, OwnedUserId, events::StateEventType,
    room_version_rules::RoomVersionRules,
};
use serde_json::{Value, json};

use super::{State, naive};

const USERS: [&str; 4] = ["@a:x.test", "@b:x.test", "@c:y.test", "@d:y.test"];
/// Events after the room's first ones.
const EVENTS: RangeInclusive<usize> = 4..=20;
/// Sets of states that are looked at.
const MERGES_MAX: usize = 8;

pub(super) struct Graph {
    pub(super) rules: &'static RoomVersionRules,
    /// The create event first.
    pub(super) events: Vec<Event>,
    /// States that were brought together.
    pub(super) merges: Vec<Vec<State>>,
    version: usize,
}

pub(super) struct Event {
    pub(super) pdu: Pdu,
    is_rejected: bool,
    after: State,
}

impl Graph {
    pub(super) fn draw(dice: &mut Unstructured<'_>) -> Result<Self> {
        // Versions differ in the auth rules; the algorithm has two forms.
        let index = dice.choose_index(room_version::SUPPORTED.len())?;
        let mut graph = Self {
            rules: room_version::rules(&room_version::SUPPORTED[index]).expect("supported"),
            events: Vec::new(),
            merges: Vec::new(),
            version: index + 2,
        };
        graph.furnish();
        for _ in 0..dice.int_in_range(EVENTS)? {
            graph.add(dice)?;
        }
        Ok(graph)
    }

    pub(super) fn is_second_version(&self) -> bool {
        self.version >= 12
    }

    /// A usable event.
    pub(super) fn pdu(&self, id: &EventId) -> Option<Pdu> {
        Some(self.placed(id)?.1)
    }

    /// A usable event, and when it came.
    pub(super) fn placed(&self, id: &EventId) -> Option<(i64, Pdu)> {
        let mut numbered = (0..).zip(&self.events);
        let (at, event) = numbered.find(|(_, event)| event.pdu.event_id() == id)?;
        (!event.is_rejected).then(|| (at, event.pdu.clone()))
    }

    /// The create event, the creator, power levels, join rules, and another user.
    fn furnish(&mut self) {
        let mut create = json!({ "room_version": self.version.to_string() });
        if self.version <= 10 {
            create["creator"] = USERS[0].into();
        }
        let users = if self.version >= 12 {
            json!({})
        } else {
            json!({ USERS[0]: 100 })
        };
        let join = json!({ "membership": "join" });
        for (sender, event_type, key, content) in [
            (0, "m.room.create", "", create),
            (0, "m.room.member", USERS[0], join.clone()),
            (0, "m.room.power_levels", "", json!({ "users": users })),
            (0, "m.room.join_rules", "", json!({ "join_rule": "public" })),
            (1, "m.room.member", USERS[1], join),
        ] {
            let last = self.events.len().checked_sub(1);
            let before = last
                .map(|last| self.events[last].after.clone())
                .unwrap_or_default();
            let act = Act {
                sender,
                event_type,
                key,
                content,
                time: 0,
                letter: 'e',
            };
            self.take(act, last.as_slice(), before.clone(), &before);
        }
    }

    /// One more event, somewhere.
    fn add(&mut self, dice: &mut Unstructured<'_>) -> Result<()> {
        let mut prev = Vec::new();
        for _ in 0..dice.int_in_range(1..=3)? {
            // Counted from the end: what is new is likelier.
            let back = dice.int_in_range(0..=5)?.min(self.events.len() - 3);
            prev.push(self.events.len() - 1 - back);
        }
        prev.sort_unstable();
        prev.dedup();
        let states: Vec<State> = prev
            .iter()
            .map(|at| self.events[*at].after.clone())
            .collect();
        let before = naive::resolve(self, &states);
        if states.len() > 1 && self.merges.len() < MERGES_MAX {
            self.merges.push(states);
        }
        // Now and then it names what authorised it elsewhere.
        let authority = if dice.ratio(1, 8)? {
            let at = dice.choose_index(self.events.len() - 3)? + 3;
            self.events[at].after.clone()
        } else {
            before.clone()
        };
        let act = Act::draw(dice, self.version)?;
        self.take(act, &prev, before, &authority);
        Ok(())
    }

    fn take(&mut self, act: Act, prev: &[usize], before: State, authority: &State) {
        let pdu = self.event(&act, prev, authority);
        let is_rejected = !self.allows(&pdu, &before);
        let mut after = before;
        if !is_rejected && let Some((event_type, key)) = pdu.state_address() {
            after.insert((event_type, key.to_owned()), pdu.event_id().to_owned());
        }
        self.events.push(Event {
            pdu,
            is_rejected,
            after,
        });
    }

    fn allows(&self, pdu: &Pdu, before: &State) -> bool {
        if self.events.is_empty() {
            return true;
        }
        let fetch = |id: &EventId| {
            let event = self
                .events
                .iter()
                .find(|event| event.pdu.event_id() == id)?;
            let pdu = event.pdu.clone();
            Some(if event.is_rejected {
                Judged::Rejected(pdu)
            } else {
                Judged::Usable(pdu)
            })
        };
        let state = |event_type: &StateEventType, key: &str| {
            self.pdu(before.get(&(event_type.clone(), key.to_owned()))?)
        };
        matches!(
            judge(pdu.clone(), self.rules, fetch, state, state),
            Verdict::Accepted(_)
        )
    }

    fn event(&self, act: &Act, prev: &[usize], authority: &State) -> Pdu {
        let draft = act.draft();
        let keys = draft.auth_types(self.rules).unwrap_or_default();
        let auth_events: Vec<&OwnedEventId> =
            keys.iter().filter_map(|key| authority.get(key)).collect();
        let prev_events: Vec<&EventId> = prev
            .iter()
            .map(|at| self.events[*at].pdu.event_id())
            .collect();
        let mut event = json!({
            "type": act.event_type,
            "sender": USERS[act.sender],
            "state_key": act.key,
            "content": act.content,
            "depth": self.events.len(),
            "origin_server_ts": act.time,
            "prev_events": prev_events,
            "auth_events": auth_events,
        });
        if self.version < 12 {
            event["room_id"] = "!create:x.test".into();
        } else if act.event_type != "m.room.create" {
            event["room_id"] = "!create".into();
        }
        let name = match self.events.len() {
            0 => "create".to_owned(),
            number => format!("{}{number}", act.letter),
        };
        let id = if self.version == 2 {
            format!("${name}:x.test")
        } else {
            format!("${name}")
        };
        Pdu::from_stored(id.try_into().expect("an event id"), event.to_string()).expect("readable")
    }
}

/// What somebody does.
struct Act {
    sender: usize,
    event_type: &'static str,
    key: &'static str,
    content: Value,
    time: u64,
    /// The id begins with it: ids decide where all else is equal.
    letter: char,
}

impl Act {
    fn draw(dice: &mut Unstructured<'_>, version: usize) -> Result<Self> {
        let sender = dice.choose_index(USERS.len())?;
        let (event_type, key, content) = match dice.int_in_range(0..=15)? {
            0..=3 => ("m.room.topic", "", json!({})),
            4 => ("org.hanse.thing", *dice.choose(&["", "a"])?, json!({})),
            5..=8 => ("m.room.power_levels", "", levels(dice, version)?),
            9..=10 => {
                let rule = dice.choose(&["public", "invite", "knock", "restricted"])?;
                ("m.room.join_rules", "", json!({ "join_rule": rule }))
            }
            _ => {
                let memberships = ["join", "join", "leave", "ban", "invite", "knock"];
                let membership = *dice.choose(&memberships)?;
                let by_others = matches!(membership, "ban" | "invite") || dice.ratio(1, 3)?;
                let target = if by_others {
                    dice.choose_index(USERS.len())?
                } else {
                    sender
                };
                let content = json!({ "membership": membership });
                ("m.room.member", USERS[target], content)
            }
        };
        Ok(Self {
            sender,
            event_type,
            key,
            content,
            time: dice.int_in_range(0..=7)?,
            letter: *dice.choose(&['e', 'a', 'z'])?,
        })
    }

    fn draft(&self) -> Draft {
        let sender: OwnedUserId = USERS[self.sender].try_into().expect("a user");
        let content = content_of(&self.content).expect("an object");
        Draft::state(sender, self.event_type, self.key, content)
    }
}

/// The creator keeps the most, or else soon nobody could do anything.
fn levels(dice: &mut Unstructured<'_>, version: usize) -> Result<Value> {
    let mut users = BTreeMap::new();
    if version < 12 {
        users.insert(USERS[0], 100);
    }
    for user in &USERS[1..] {
        users.insert(*user, *dice.choose(&[0, 50, 100, 49])?);
    }
    let topic = dice.choose(&[50, 0, 100])?;
    Ok(json!({ "users": users, "events": { "m.room.topic": topic } }))
}
