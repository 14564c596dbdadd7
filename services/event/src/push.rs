//! Push rules ([spec]) against events.
//!
//! Rules and their kinds are ruma's; the evaluation is ours. ruma's is async, builds a flat copy of
//! every event, compiles users' patterns to regular expressions with a panic where these grow too
//! large, and recurses once per near match in a body: all that on input from outside.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#push-rules

use std::{ops::RangeBounds, sync::OnceLock};

use ruma::push::{
    Action, AnyPushRuleRef, ConditionalPushRule, PushCondition, PushConditionRoomCtx, Ruleset,
    ScalarJsonValue,
};
use serde_json::Value;

use crate::{
    glob::{Glob, has_wildcards},
    pdu::Pdu,
};

mod path;

/// An event about to be evaluated for many users: its content is read at most once.
#[derive(Debug)]
pub struct PushEvent<'e> {
    pdu: &'e Pdu,
    content: OnceLock<Value>,
}

/// What the matching rule asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The event counts as a notification.
    pub notify: bool,
    /// The event counts as a highlight.
    pub highlight: bool,
}

/// Evaluates one event for one user. For many users, keep the [`PushEvent`].
pub fn evaluate(pdu: &Pdu, rules: &Ruleset, context: &PushConditionRoomCtx) -> Outcome {
    PushEvent::new(pdu).evaluate(rules, context)
}

impl Outcome {
    fn of(actions: &[Action]) -> Self {
        Self {
            notify: actions.iter().any(Action::should_notify),
            highlight: actions.iter().any(Action::is_highlight),
        }
    }
}

impl<'e> PushEvent<'e> {
    /// Wraps an event.
    pub fn new(pdu: &'e Pdu) -> Self {
        Self {
            pdu,
            content: OnceLock::new(),
        }
    }

    /// What the first matching rule asks for; nothing if none matches.
    pub fn evaluate(&self, rules: &Ruleset, context: &PushConditionRoomCtx) -> Outcome {
        self.matching_rule(rules, context)
            .map_or_else(Outcome::default, |rule| Outcome::of(rule.actions()))
    }

    /// The first rule that matches. A user's own events match none.
    pub fn matching_rule<'r>(
        &self,
        rules: &'r Ruleset,
        context: &PushConditionRoomCtx,
    ) -> Option<AnyPushRuleRef<'r>> {
        if self.pdu.sender() == context.user_id {
            return None;
        }
        rules
            .into_iter()
            .find(|rule| rule.enabled() && self.rule_matches(rule, context))
    }

    fn rule_matches(&self, rule: &AnyPushRuleRef<'_>, context: &PushConditionRoomCtx) -> bool {
        match rule {
            AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => {
                self.conditions_match(rule, context)
            }
            AnyPushRuleRef::Content(rule) => {
                let outdated = rule.rule_id == ".m.rule.contains_user_name";
                !(outdated && self.has_mentions()) && self.body_matches(&Glob::new(&rule.pattern))
            }
            AnyPushRuleRef::Room(rule) => rule.rule_id == self.pdu.room_id(),
            AnyPushRuleRef::Sender(rule) => rule.rule_id == self.pdu.sender(),
            _ => false,
        }
    }

    fn conditions_match(&self, rule: &ConditionalPushRule, context: &PushConditionRoomCtx) -> bool {
        // Clients that set `m.mentions` have said who is meant; guessing from the text is over.
        let guesses = [".m.rule.contains_display_name", ".m.rule.roomnotif"];
        if guesses.contains(&rule.rule_id.as_str()) && self.has_mentions() {
            return false;
        }
        rule.conditions
            .iter()
            .all(|condition| self.condition_matches(condition, context))
    }

    fn condition_matches(&self, condition: &PushCondition, context: &PushConditionRoomCtx) -> bool {
        match condition {
            PushCondition::EventMatch(data) => self.key_matches(&data.key, &data.pattern),
            PushCondition::RoomMemberCount(data) => data.is.contains(&context.member_count),
            PushCondition::SenderNotificationPermission(data) => {
                context.power_levels.as_ref().is_some_and(|levels| {
                    levels.has_sender_notification_permission(self.pdu.sender(), &data.key)
                })
            }
            PushCondition::EventPropertyIs(data) => self
                .property(&data.key)
                .is_some_and(|property| property.is(&data.value)),
            PushCondition::EventPropertyContains(data) => self
                .property(&data.key)
                .is_some_and(|property| property.contains(&data.value)),
            other if other.kind() == "contains_display_name" => {
                self.body_matches(&Glob::literal(&context.user_display_name))
            }
            // Conditions that are not known never match.
            _ => false,
        }
    }

    fn key_matches(&self, key: &str, pattern: &str) -> bool {
        if key == "content.body" {
            return self.body_matches(&Glob::new(pattern));
        }
        let property = self.property(key);
        property
            .and_then(Property::as_str)
            .is_some_and(|text| text_matches(pattern, text))
    }

    fn body_matches(&self, glob: &Glob) -> bool {
        self.content()
            .get("body")
            .and_then(Value::as_str)
            .is_some_and(|body| glob.matches_word(body))
    }

    /// Looks a dotted path up in the event as clients see it.
    fn property(&self, key: &str) -> Option<Property<'_>> {
        let pdu = self.pdu;
        match key {
            "type" => Some(Property::Text(pdu.type_name())),
            "sender" => Some(Property::Text(pdu.sender().as_str())),
            "room_id" => Some(Property::Text(pdu.room_id().as_str())),
            "event_id" => Some(Property::Text(pdu.event_id().as_str())),
            "state_key" => pdu.state_key().map(Property::Text),
            _ => path::find(self.content(), key.strip_prefix("content.")?).map(Property::Json),
        }
    }

    fn has_mentions(&self) -> bool {
        self.content().get("m.mentions").is_some()
    }

    fn content(&self) -> &Value {
        self.content
            .get_or_init(|| self.pdu.content_as().unwrap_or_default())
    }
}

fn text_matches(pattern: &str, text: &str) -> bool {
    if !has_wildcards(pattern) && pattern.is_ascii() {
        return pattern.eq_ignore_ascii_case(text);
    }
    Glob::new(pattern).matches(text)
}

/// A value found in an event.
#[derive(Clone, Copy)]
enum Property<'p> {
    Text(&'p str),
    Json(&'p Value),
}

impl<'p> Property<'p> {
    fn as_str(self) -> Option<&'p str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(value) => value.as_str(),
        }
    }

    fn is(self, wanted: &ScalarJsonValue) -> bool {
        match (self, wanted) {
            (_, ScalarJsonValue::String(wanted)) => self.as_str() == Some(wanted),
            (Self::Json(value), ScalarJsonValue::Null) => value.is_null(),
            (Self::Json(value), ScalarJsonValue::Bool(wanted)) => value.as_bool() == Some(*wanted),
            (Self::Json(value), ScalarJsonValue::Integer(wanted)) => {
                value.as_i64() == Some(i64::from(*wanted))
            }
            (Self::Text(_), _) => false,
        }
    }

    fn contains(self, wanted: &ScalarJsonValue) -> bool {
        let Self::Json(Value::Array(entries)) = self else {
            return false;
        };
        entries.iter().any(|entry| Property::Json(entry).is(wanted))
    }
}

#[cfg(test)]
mod tests;
