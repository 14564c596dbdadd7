//! What somebody does in a room.

use arbitrary::{Result, Unstructured};
use hanse_event::Pdu;
use ruma::OwnedEventId;
use serde_json::json;

use super::{
    levels::PowerLevels,
    room::{Frame, JOIN_RULES, MEMBERSHIPS, Room, TOKEN, USERS, server},
};

/// Contents of a membership that say nothing of use.
const ODD_MEMBERSHIPS: [&str; 4] = ["{}", "[]", "{\"membership\":1}", "{\"membership\":null}"];
const STATE_KEYS: [&str; 4] = ["", "@a:x.test", "@c:y.test", "key"];

#[derive(Debug)]
pub(super) struct Act {
    pub(super) sender: usize,
    /// The create event is the only one before it.
    pub(super) is_first: bool,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Member {
        target: usize,
        membership: &'static str,
        authorised_by: Option<usize>,
        /// An invite by a third party, with a signature of nobody.
        third_party: bool,
    },
    /// A membership whose content is odd.
    OddMember {
        target: usize,
        content: &'static str,
    },
    /// A membership of nobody.
    Memberless,
    PowerLevels(PowerLevels),
    JoinRules(&'static str),
    Topic {
        state_key: &'static str,
    },
    Message,
    Aliases {
        of: usize,
    },
    ThirdPartyInvite,
    /// The event that is redacted is of this user's server, where ids tell.
    Redaction {
        of: usize,
    },
}

impl Act {
    pub(super) fn draw(dice: &mut Unstructured<'_>, room: &Room) -> Result<Self> {
        Ok(Self {
            sender: dice.choose_index(USERS.len())?,
            is_first: dice.ratio(1, 8)?,
            kind: Kind::draw(dice, room)?,
        })
    }

    /// The event, with these authorities.
    pub(super) fn event(&self, room: &Room, auth_events: &[OwnedEventId]) -> Pdu {
        let before = if self.is_first {
            room.create_id()
        } else {
            room.event_id("last", 0)
        };
        let target = match self.kind {
            Kind::Redaction { of } => Some(room.event_id("target", of)),
            _ => None,
        };
        room.event(&Frame {
            name: "event",
            event_type: self.kind.event_type(),
            sender: self.sender,
            state_key: self.kind.state_key(),
            content: &self.kind.content(),
            prev_events: &[before],
            auth_events,
            redacts: target.as_ref().map(|id| id.as_str()),
        })
    }
}

impl Kind {
    fn draw(dice: &mut Unstructured<'_>, room: &Room) -> Result<Self> {
        let user = |dice: &mut Unstructured<'_>| dice.choose_index(USERS.len());
        Ok(match dice.int_in_range(0..=31)? {
            0..=11 => Self::Member {
                target: user(dice)?,
                membership: dice.choose(&MEMBERSHIPS)?,
                authorised_by: dice.ratio(1, 3)?.then(|| user(dice)).transpose()?,
                third_party: dice.ratio(1, 12)?,
            },
            12 => Self::OddMember {
                target: user(dice)?,
                content: dice.choose(&ODD_MEMBERSHIPS)?,
            },
            13 => Self::Memberless,
            14..=23 => Self::PowerLevels(match &room.levels {
                Some(levels) if dice.ratio(3, 4)? => levels.changed(dice)?,
                _ => PowerLevels::draw(dice)?,
            }),
            24 => Self::JoinRules(dice.choose(&JOIN_RULES)?),
            25..=26 => Self::Topic {
                state_key: dice.choose(&STATE_KEYS)?,
            },
            27 => Self::Message,
            28 => Self::Aliases { of: user(dice)? },
            29 => Self::ThirdPartyInvite,
            _ => Self::Redaction { of: user(dice)? },
        })
    }

    pub(super) fn event_type(&self) -> &'static str {
        match self {
            Self::Member { .. } | Self::OddMember { .. } | Self::Memberless => "m.room.member",
            Self::PowerLevels(_) => "m.room.power_levels",
            Self::JoinRules(_) => "m.room.join_rules",
            Self::Topic { .. } => "m.room.topic",
            Self::Message => "m.room.message",
            Self::Aliases { .. } => "m.room.aliases",
            Self::ThirdPartyInvite => "m.room.third_party_invite",
            Self::Redaction { .. } => "m.room.redaction",
        }
    }

    pub(super) fn state_key(&self) -> Option<&'static str> {
        match self {
            Self::Member { target, .. } | Self::OddMember { target, .. } => Some(USERS[*target]),
            Self::PowerLevels(_) | Self::JoinRules(_) => Some(""),
            Self::Topic { state_key } => Some(state_key),
            Self::Aliases { of } => Some(server(*of)),
            Self::ThirdPartyInvite => Some("another token"),
            Self::Memberless | Self::Message | Self::Redaction { .. } => None,
        }
    }

    /// JSON.
    fn content(&self) -> String {
        match self {
            Self::Member {
                target,
                membership,
                authorised_by,
                third_party,
            } => {
                let mut content = json!({ "membership": membership });
                if let Some(user) = authorised_by {
                    content["join_authorised_via_users_server"] = USERS[*user].into();
                }
                if *third_party {
                    let signatures = json!({ "x.test": { "ed25519:0": "A".repeat(86) } });
                    let signed =
                        json!({ "mxid": USERS[*target], "token": TOKEN, "signatures": signatures });
                    content["third_party_invite"] = json!({ "display_name": "", "signed": signed });
                }
                content.to_string()
            }
            Self::OddMember { content, .. } => (*content).to_owned(),
            Self::Memberless => json!({ "membership": "join" }).to_string(),
            Self::PowerLevels(levels) => levels.json(),
            Self::JoinRules(rule) => json!({ "join_rule": rule }).to_string(),
            _ => json!({}).to_string(),
        }
    }
}
