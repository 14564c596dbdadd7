//! The auth rules, as their text has them, on drawn rooms instead of events.
//!
//! Where a text leaves it open, or where what is written is so odd that implementations differ, the
//! oracle does not know.

use std::collections::BTreeMap;

use super::{
    act::{Act, Kind},
    levels::{Numbers, PowerLevels},
    room::{Room, USERS, server},
};

const USERS_DEFAULT: usize = 0;
const EVENTS_DEFAULT: usize = 1;
const STATE_DEFAULT: usize = 2;
const BAN: usize = 3;
const REDACT: usize = 4;
const KICK: usize = 5;
const INVITE: usize = 6;
/// What a field is worth that is not there, in the order of `levels::FIELDS`.
const DEFAULTS: [i64; 7] = [0, 0, 50, 50, 50, 50, 0];

/// What a user has; from version 12 on creators stand above all levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Power {
    Level(i64),
    Infinite,
}

pub(super) struct Oracle<'a> {
    room: &'a Room,
    /// `None`: not all of them are numbers.
    levels: Option<Numbers>,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(room: &'a Room) -> Self {
        let levels = match &room.levels {
            Some(levels) => levels.numbers(room.version),
            None => Some(Numbers::default()),
        };
        Self { room, levels }
    }

    /// Whether the room's state allows it. `None`: the oracle does not know.
    pub(super) fn allows(&self, act: &Act) -> Option<bool> {
        let room = self.room;
        if room.federates == Some(false) && server(room.sender) != server(act.sender) {
            return Some(false);
        }
        match &act.kind {
            Kind::Aliases { of } if room.version <= 5 => Some(server(*of) == server(act.sender)),
            Kind::Member {
                target,
                membership,
                authorised_by,
                third_party,
            } => match *membership {
                "join" => self.may_join(act, *target, *authorised_by),
                "invite" if *third_party => Some(false),
                "invite" => self.may_invite(act.sender, *target),
                "leave" => self.may_leave(act.sender, *target),
                "ban" => self.may_ban(act.sender, *target),
                "knock" if room.version >= 7 => Some(self.may_knock(act.sender, *target)),
                _ => Some(false),
            },
            Kind::OddMember { .. } | Kind::Memberless => Some(false),
            _ if !self.is(act.sender, "join") => Some(false),
            Kind::ThirdPartyInvite => Some(self.power(act.sender)? >= self.level(INVITE)?),
            kind if self.power(act.sender)? < self.required(kind)? => Some(false),
            Kind::Topic { state_key } => {
                Some(!state_key.starts_with('@') || *state_key == USERS[act.sender])
            }
            Kind::PowerLevels(new) => self.may_set_levels(act.sender, new),
            Kind::Redaction { of } if room.version == 2 => {
                let has_power = self.power(act.sender)? >= self.level(REDACT)?;
                Some(has_power || server(*of) == server(act.sender))
            }
            _ => Some(true),
        }
    }

    /// The power of a user. `None`: the oracle does not know.
    pub(super) fn power(&self, user: usize) -> Option<Power> {
        if self.room.version >= 12 && self.is_creator(user) {
            return Some(Power::Infinite);
        }
        if self.room.levels.is_none() && self.is_creator(user) {
            return Some(Power::Level(100));
        }
        let levels = self.levels.as_ref()?;
        let level = levels.users.get(&user).copied();
        Some(Power::Level(
            level.or(levels.fields[USERS_DEFAULT]).unwrap_or(0),
        ))
    }

    fn is_creator(&self, user: usize) -> bool {
        user == self.creator() || self.room.additional.contains(&user)
    }

    fn creator(&self) -> usize {
        if self.room.version <= 10 {
            self.room.creator
        } else {
            self.room.sender
        }
    }

    fn is(&self, user: usize, membership: &str) -> bool {
        self.room.members[user].unwrap_or("leave") == membership
    }

    fn level(&self, field: usize) -> Option<Power> {
        let level = self.levels.as_ref()?.fields[field];
        Some(Power::Level(level.unwrap_or(DEFAULTS[field])))
    }

    fn required(&self, kind: &Kind) -> Option<Power> {
        let own = self.levels.as_ref()?.events.get(kind.event_type());
        let default = if kind.state_key().is_some() {
            STATE_DEFAULT
        } else {
            EVENTS_DEFAULT
        };
        own.map_or_else(|| self.level(default), |level| Some(Power::Level(*level)))
    }

    fn may_join(&self, act: &Act, target: usize, authorised_by: Option<usize>) -> Option<bool> {
        let version = self.room.version;
        if act.is_first && target == self.creator() {
            return Some(true);
        }
        if act.sender != target || self.is(target, "ban") {
            return Some(false);
        }
        let is_let_in = self.is(target, "invite") || self.is(target, "join");
        let Some(rule) = self.room.join_rule else {
            // The text does not say whether that is `invite`. ruma lets nobody in, others do.
            return if is_let_in { None } else { Some(false) };
        };
        match rule {
            "public" => Some(true),
            "invite" => Some(is_let_in),
            "knock" => Some(version >= 7 && is_let_in),
            "restricted" if version >= 8 => self.may_join_restricted(is_let_in, authorised_by),
            "knock_restricted" if version >= 10 => {
                self.may_join_restricted(is_let_in, authorised_by)
            }
            _ => Some(false),
        }
    }

    fn may_join_restricted(&self, is_let_in: bool, authorised_by: Option<usize>) -> Option<bool> {
        if is_let_in {
            return Some(true);
        }
        let Some(authority) = authorised_by.filter(|user| self.is(*user, "join")) else {
            return Some(false);
        };
        Some(self.power(authority)? >= self.level(INVITE)?)
    }

    fn may_invite(&self, sender: usize, target: usize) -> Option<bool> {
        if !self.is(sender, "join") || self.is(target, "join") || self.is(target, "ban") {
            return Some(false);
        }
        Some(self.power(sender)? >= self.level(INVITE)?)
    }

    fn may_leave(&self, sender: usize, target: usize) -> Option<bool> {
        if sender == target {
            let knocks = self.room.version >= 7 && self.is(sender, "knock");
            return Some(self.is(sender, "join") || self.is(sender, "invite") || knocks);
        }
        if !self.is(sender, "join") {
            return Some(false);
        }
        if self.is(target, "ban") && self.power(sender)? < self.level(BAN)? {
            return Some(false);
        }
        let power = self.power(sender)?;
        Some(power >= self.level(KICK)? && self.power(target)? < power)
    }

    fn may_ban(&self, sender: usize, target: usize) -> Option<bool> {
        if !self.is(sender, "join") {
            return Some(false);
        }
        let power = self.power(sender)?;
        Some(power >= self.level(BAN)? && self.power(target)? < power)
    }

    fn may_knock(&self, sender: usize, target: usize) -> bool {
        let rule = self.room.join_rule.unwrap_or("invite");
        let opens = rule == "knock" || rule == "knock_restricted" && self.room.version >= 10;
        let is_known = ["ban", "invite", "join"]
            .iter()
            .any(|known| self.is(sender, known));
        opens && sender == target && !is_known
    }

    /// The sender has the power to send such an event.
    fn may_set_levels(&self, sender: usize, new: &PowerLevels) -> Option<bool> {
        let version = self.room.version;
        let Some(numbers) = new.numbers(version) else {
            return if version >= 10 { Some(false) } else { None };
        };
        let names_creator = numbers.users.keys().any(|user| self.is_creator(*user));
        if version >= 12 && names_creator {
            return Some(false);
        }
        if self.room.levels.is_none() {
            return Some(true);
        }
        let old = self.levels.as_ref()?;
        let power = self.power(sender)?;
        let above = |level: &i64| Power::Level(*level) > power;
        let mut doubtful = false;
        for field in 0..DEFAULTS.len() {
            let (old, new) = (old.fields[field], numbers.fields[field]);
            if old == new {
                continue;
            }
            if old.iter().chain(&new).any(above) {
                return Some(false);
            }
            // Whether a level that is not there counts as its default is left open.
            doubtful |= (old.is_none() || new.is_none()) && above(&DEFAULTS[field]);
        }
        let is_own = |user: &usize| *user == sender;
        let too_much = exceeds(&old.events, &numbers.events, power, |_, level| above(level))
            || version >= 6
                && exceeds(
                    &old.notifications,
                    &numbers.notifications,
                    power,
                    |_, level| above(level),
                )
            || exceeds(&old.users, &numbers.users, power, |user, level| {
                !is_own(user) && Power::Level(*level) >= power
            });
        match (too_much, doubtful) {
            (true, _) => Some(false),
            (false, true) => None,
            (false, false) => Some(true),
        }
    }
}

/// Whether an entry changes that is out of reach, or to what is above `power`.
fn exceeds<K: Ord>(
    old: &BTreeMap<K, i64>,
    new: &BTreeMap<K, i64>,
    power: Power,
    out_of_reach: impl Fn(&K, &i64) -> bool,
) -> bool {
    let mut keys = old.keys().chain(new.keys());
    keys.any(|key| {
        let (old, new) = (old.get(key), new.get(key));
        let reaches = old.is_none_or(|level| !out_of_reach(key, level));
        let allowed = new.is_none_or(|level| Power::Level(*level) <= power);
        old != new && !(reaches && allowed)
    })
}
