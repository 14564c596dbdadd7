//! What a user has set for a room goes over to the room that replaces it ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#room-upgrades

use std::collections::BTreeMap;

use ruma::{
    RoomId, UserId,
    push::{ConditionalPushRule, PushCondition, Ruleset},
};
use serde_json::value::{RawValue, to_raw_value};

use super::PutAccountDataError;
use crate::Users;

/// The type of a room's tags.
const TAGS: &str = "m.tag";
/// The type that says which rooms are direct chats, and with whom.
const DIRECT: &str = "m.direct";

/// What replaces a piece of account data.
type Edit = Result<Option<Box<RawValue>>, PutAccountDataError>;

impl Users {
    /// Gives a room the tags, the push rules and the place among direct chats that the user gave the
    /// room which it replaces. What the user has set for the new room stays; repeated, it changes
    /// nothing.
    pub async fn carry_over(
        &self,
        user_id: &UserId,
        old: &RoomId,
        new: &RoomId,
    ) -> Result<(), PutAccountDataError> {
        if let Some(tags) = self.account_data(user_id, Some(old), TAGS).await? {
            self.edit_account_data(user_id, Some(new), TAGS, |now| -> Edit {
                Ok(now.is_none().then(|| tags.content.clone()))
            })
            .await?;
        }
        self.edit_account_data(user_id, None, DIRECT, |now| -> Edit {
            Ok(now.and_then(|now| direct_too(now, old, new)))
        })
        .await?;
        self.edit_push_rules(user_id, |rules| {
            push_too(rules, old, new);
            Ok(())
        })
        .await
    }
}

/// The direct chats with a room beside the one that it replaces; `None`: nothing changes, or it is not
/// what a client should have written there.
fn direct_too(now: &RawValue, old: &RoomId, new: &RoomId) -> Option<Box<RawValue>> {
    let mut direct: BTreeMap<String, Vec<String>> = serde_json::from_str(now.get()).ok()?;
    let mut changed = false;
    for rooms in direct.values_mut() {
        let has = |room: &RoomId| rooms.iter().any(|known| known == room.as_str());
        if has(old) && !has(new) {
            rooms.push(new.to_string());
            changed = true;
        }
    }
    changed.then(|| to_raw_value(&direct).ok()).flatten()
}

/// Adds the rules that are about a room once more, for the room that replaces it.
fn push_too(rules: &mut Ruleset, old: &RoomId, new: &RoomId) {
    if let Some(mut rule) = rules.room.get(old.as_str()).cloned()
        && !rules.room.contains(new.as_str())
    {
        new.clone_into(&mut rule.rule_id);
        rules.room.insert(rule);
    }
    for kind in [&mut rules.override_, &mut rules.underride] {
        let about_old: Vec<(usize, ConditionalPushRule)> = kind
            .iter()
            .enumerate()
            .filter(|(_, rule)| !rule.default && is_about(rule, old))
            .map(|(place, rule)| (place, for_room(rule, old, new)))
            .collect();
        // From the last to the first, so that the places before stay what they were.
        for (place, rule) in about_old.into_iter().rev() {
            if !kind.contains(rule.rule_id.as_str()) {
                kind.shift_insert(place + 1, rule);
            }
        }
    }
}

fn is_about(rule: &ConditionalPushRule, room_id: &RoomId) -> bool {
    let names_room = |condition: &PushCondition| {
        matches!(condition,
        PushCondition::EventMatch(matched) if matched.key == "room_id" && matched.pattern == room_id.as_str())
    };
    rule.conditions.iter().any(names_room)
}

/// The same rule about another room. Clients name such a rule by its room.
fn for_room(rule: &ConditionalPushRule, old: &RoomId, new: &RoomId) -> ConditionalPushRule {
    let mut rule = rule.clone();
    rule.rule_id = if rule.rule_id.contains(old.as_str()) {
        rule.rule_id.replace(old.as_str(), new.as_str())
    } else {
        format!("{} {new}", rule.rule_id)
    };
    for condition in &mut rule.conditions {
        if let PushCondition::EventMatch(matched) = condition
            && matched.key == "room_id"
            && matched.pattern == old.as_str()
        {
            matched.pattern = new.to_string();
        }
    }
    rule
}

#[cfg(test)]
mod tests {
    use ruma::{
        push::{
            Action, EventMatchConditionData, NewConditionalPushRule, NewPushRule, NewSimplePushRule,
        },
        room_id, user_id,
    };
    use serde_json::json;

    use super::*;

    fn muting(rule_id: &str, room_id: &RoomId) -> NewPushRule {
        let matched = EventMatchConditionData::new("room_id".to_owned(), room_id.to_string());
        let conditions = vec![PushCondition::EventMatch(matched)];
        NewPushRule::Override(NewConditionalPushRule::new(
            rule_id.to_owned(),
            conditions,
            vec![],
        ))
    }

    fn ids(rules: &Ruleset) -> Vec<&str> {
        let ids = rules.override_.iter().map(|rule| rule.rule_id.as_str());
        ids.filter(|id| !id.starts_with('.')).collect()
    }

    #[test]
    fn rules_about_a_room_are_there_for_its_successor() {
        let (old, new) = (room_id!("!old:hanse.test"), room_id!("!new:hanse.test"));
        let mut rules = Ruleset::server_default(user_id!("@alice:hanse.test"));
        for rule in [
            muting("!other:hanse.test", room_id!("!other:hanse.test")),
            muting("odd", old),
            muting(old.as_str(), old),
            NewPushRule::Room(NewSimplePushRule::new(old.to_owned(), vec![Action::Notify])),
        ] {
            rules.insert(rule, None, None).unwrap();
        }
        push_too(&mut rules, old, new);
        let copied = format!("odd {new}");
        assert_eq!(
            ids(&rules),
            [
                old.as_str(),
                new.as_str(),
                "odd",
                &copied,
                "!other:hanse.test"
            ]
        );
        assert!(is_about(rules.override_.get(new.as_str()).unwrap(), new));
        let actions = &rules.room.get(new.as_str()).unwrap().actions;
        assert_eq!(json!(actions), json!(["notify"]));

        let once = rules.clone();
        push_too(&mut rules, old, new);
        assert_eq!(json!(once), json!(rules), "repeated, nothing changes");
    }

    #[test]
    fn direct_chats_name_the_successor_too() {
        let (old, new) = (room_id!("!old:hanse.test"), room_id!("!new:hanse.test"));
        let direct = |value| direct_too(&to_raw_value(&value).unwrap(), old, new);
        let bobs = direct(json!({ "@bob:hanse.test": [old], "@carol:hanse.test": [] })).unwrap();
        let want = json!({ "@bob:hanse.test": [old, new], "@carol:hanse.test": [] });
        assert_eq!(bobs.get(), want.to_string());
        assert!(direct(want).is_none());
        assert!(direct(json!({ "@bob:hanse.test": "broken" })).is_none());
    }
}
