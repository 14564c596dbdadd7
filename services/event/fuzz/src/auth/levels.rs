//! Contents of `m.room.power_levels`, sensible and not.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use serde_json::json;

use super::room::USERS;

/// The fields that are one level.
pub(super) const FIELDS: [&str; 7] = [
    "users_default",
    "events_default",
    "state_default",
    "ban",
    "redact",
    "kick",
    "invite",
];
/// Types whose level may be set.
const TYPES: [&str; 4] = [
    "m.room.topic",
    "m.room.power_levels",
    "m.room.message",
    "m.room.member",
];
const NUMBERS: [i64; 10] = [0, 1, 49, 50, 51, 99, 100, 101, -1, 9_007_199_254_740_991];
/// What some server may have written, and none should have.
const ODD: [&str; 12] = [
    "null",
    "1.5",
    "\"abc\"",
    "\" 50 \"",
    "\"+5\"",
    "[]",
    "{}",
    "true",
    "1e2",
    "9007199254740992",
    "-99999999999999999999",
    "\"99999999999999999999\"",
];

/// One level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Number(i64),
    /// A number in a string: until room version 9 as good as the number.
    Text(i64),
    /// JSON.
    Odd(&'static str),
}

/// A map of levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Levels<K> {
    Map(BTreeMap<K, Level>),
    Odd(&'static str),
}

/// A content. What is absent is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PowerLevels {
    pub(super) fields: [Option<Level>; 7],
    pub(super) users: Option<Levels<usize>>,
    pub(super) events: Option<Levels<&'static str>>,
    pub(super) notifications: Option<Levels<&'static str>>,
    /// A key of `users` is no user.
    pub(super) names_nobody: bool,
}

/// The same where all of it are numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) fields: [Option<i64>; 7],
    pub(super) users: BTreeMap<usize, i64>,
    pub(super) events: BTreeMap<&'static str, i64>,
    pub(super) notifications: BTreeMap<&'static str, i64>,
}

impl Level {
    fn draw(dice: &mut Unstructured<'_>) -> Result<Self> {
        let number = *dice.choose(&NUMBERS)?;
        Ok(match dice.int_in_range(0..=31)? {
            0..=27 => Self::Number(number),
            28..=29 => Self::Text(number),
            _ => Self::Odd(dice.choose(&ODD)?),
        })
    }

    fn number(self, version: usize) -> Option<i64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Text(number) if version < 10 => Some(number),
            Self::Text(_) | Self::Odd(_) => None,
        }
    }

    fn json(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(number) => format!("\"{number}\""),
            Self::Odd(json) => json.to_owned(),
        }
    }
}

impl<K: Copy + Ord> Levels<K> {
    fn draw(dice: &mut Unstructured<'_>, keys: &[K]) -> Result<Option<Self>> {
        if dice.ratio(1, 3)? {
            return Ok(None);
        }
        if dice.ratio(1, 40)? {
            return Ok(Some(Self::Odd(dice.choose(&ODD)?)));
        }
        let mut levels = BTreeMap::new();
        for key in keys {
            if dice.arbitrary()? {
                levels.insert(*key, Level::draw(dice)?);
            }
        }
        Ok(Some(Self::Map(levels)))
    }

    /// `None`: not all are numbers.
    fn numbers(&self, version: usize) -> Option<BTreeMap<K, i64>> {
        let Self::Map(levels) = self else { return None };
        let number = |(key, level): (&K, &Level)| Some((*key, level.number(version)?));
        levels.iter().map(number).collect()
    }

    fn json(&self, name: impl Fn(K) -> &'static str) -> String {
        match self {
            Self::Odd(json) => (*json).to_owned(),
            Self::Map(levels) => {
                let entry =
                    |(key, level): (&K, &Level)| format!("\"{}\":{}", name(*key), level.json());
                let entries: Vec<String> = levels.iter().map(entry).collect();
                format!("{{{}}}", entries.join(","))
            }
        }
    }
}

impl PowerLevels {
    pub(super) fn draw(dice: &mut Unstructured<'_>) -> Result<Self> {
        let mut levels = Self::default();
        for field in &mut levels.fields {
            if dice.arbitrary()? {
                *field = Some(Level::draw(dice)?);
            }
        }
        let users: Vec<usize> = (0..USERS.len()).collect();
        levels.users = Levels::draw(dice, &users)?;
        levels.events = Levels::draw(dice, &TYPES)?;
        levels.notifications = Levels::draw(dice, &["room", "org.hanse.x"])?;
        levels.names_nobody = dice.ratio(1, 40)?;
        Ok(levels)
    }

    /// Some levels changed: what a sender does who means no harm.
    pub(super) fn changed(&self, dice: &mut Unstructured<'_>) -> Result<Self> {
        let mut levels = self.clone();
        for _ in 0..dice.int_in_range(0..=2)? {
            let level = dice
                .arbitrary::<bool>()?
                .then(|| Level::draw(dice))
                .transpose()?;
            match dice.int_in_range(0..=3)? {
                0 => levels.fields[dice.choose_index(FIELDS.len())?] = level,
                1 => set(&mut levels.users, dice.choose_index(USERS.len())?, level),
                2 => set(&mut levels.events, *dice.choose(&TYPES)?, level),
                _ => set(&mut levels.notifications, "room", level),
            }
        }
        Ok(levels)
    }

    /// `None`: not all are numbers.
    pub(super) fn numbers(&self, version: usize) -> Option<Numbers> {
        if self.names_nobody {
            return None;
        }
        let mut numbers = Numbers::default();
        for (number, level) in numbers.fields.iter_mut().zip(self.fields) {
            *number = match level {
                Some(level) => Some(level.number(version)?),
                None => None,
            };
        }
        numbers.users = all_numbers(self.users.as_ref(), version)?;
        numbers.events = all_numbers(self.events.as_ref(), version)?;
        numbers.notifications = all_numbers(self.notifications.as_ref(), version)?;
        Some(numbers)
    }

    pub(super) fn json(&self) -> String {
        let fields = FIELDS.iter().zip(self.fields);
        let mut entries: Vec<String> = fields
            .filter_map(|(field, level)| Some(format!("\"{field}\":{}", level?.json())))
            .collect();
        let mut users = self
            .users
            .as_ref()
            .map(|users| users.json(|user| USERS[user]));
        if self.names_nobody {
            users = Some(json!({ "nobody": 0 }).to_string());
        }
        entries.extend(users.map(|json| format!("\"users\":{json}")));
        let events = self.events.as_ref().map(|events| events.json(|name| name));
        entries.extend(events.map(|json| format!("\"events\":{json}")));
        let notifications = self
            .notifications
            .as_ref()
            .map(|levels| levels.json(|name| name));
        entries.extend(notifications.map(|json| format!("\"notifications\":{json}")));
        format!("{{{}}}", entries.join(","))
    }
}

fn set<K: Ord>(levels: &mut Option<Levels<K>>, key: K, level: Option<Level>) {
    let levels = levels.get_or_insert_with(|| Levels::Map(BTreeMap::new()));
    if let Levels::Map(levels) = levels {
        match level {
            Some(level) => levels.insert(key, level),
            None => levels.remove(&key),
        };
    }
}

fn all_numbers<K: Copy + Ord>(
    levels: Option<&Levels<K>>,
    version: usize,
) -> Option<BTreeMap<K, i64>> {
    levels.map_or_else(|| Some(BTreeMap::new()), |levels| levels.numbers(version))
}
