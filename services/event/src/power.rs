//! Power levels of a room, read by the same lenient rules as the auth rules read them.
//!
//! The answers are methods of ruma's [`RoomPowerLevels`]: `for_user`, `user_can_send_message`,
//! `user_can_send_state`, `user_can_invite`, `user_can_kick_user`, `user_can_ban_user`,
//! `user_can_trigger_room_notification`, … From room version 12 on creators stand above all levels.

use std::collections::{BTreeMap, HashSet};

use ruma::{
    Int, OwnedUserId, UserId,
    events::room::power_levels::{RoomPowerLevels, RoomPowerLevelsSource},
    power_levels::NotificationPowerLevels,
    room_version_rules::RoomVersionRules,
    state_res::events::{RoomCreateEvent, RoomPowerLevelsEvent, RoomPowerLevelsIntField as Field},
};

use crate::pdu::Pdu;

/// The create event does not name its creator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("create event without a creator: {reason}")]
pub struct NoCreator {
    /// ruma's words.
    pub reason: String,
}

/// Who made the room: the sender or `content.creator`, and from version 12 on those named beside.
pub fn creators(create: &Pdu, rules: &RoomVersionRules) -> Result<HashSet<OwnedUserId>, NoCreator> {
    RoomCreateEvent::new(create)
        .creators(&rules.authorization)
        .map_err(|reason| NoCreator { reason })
}

/// The power levels in force, given the create event and the room's `m.room.power_levels`, if it
/// has one. Fields that cannot be read have their defaults.
pub fn power_levels(
    create: &Pdu,
    power_levels: Option<&Pdu>,
    rules: &RoomVersionRules,
) -> Result<RoomPowerLevels, NoCreator> {
    let creators = creators(create, rules)?;
    let rules = &rules.authorization;
    let mut levels = RoomPowerLevels::new(RoomPowerLevelsSource::None, rules, creators);
    let Some(pdu) = power_levels else {
        return Ok(levels);
    };

    let event = RoomPowerLevelsEvent::new(pdu);
    let level = |field: Field| {
        event
            .get_as_int_or_default(field, rules)
            .unwrap_or_else(|_| field.default_value())
    };
    levels.ban = level(Field::Ban);
    levels.events_default = level(Field::EventsDefault);
    levels.invite = level(Field::Invite);
    levels.kick = level(Field::Kick);
    levels.redact = level(Field::Redact);
    levels.state_default = level(Field::StateDefault);
    levels.users_default = level(Field::UsersDefault);
    levels.events = event.events(rules).ok().flatten().unwrap_or_default();
    levels.users = event
        .users(rules)
        .ok()
        .flatten()
        .cloned()
        .unwrap_or_default();
    levels.notifications = notifications(event.notifications(rules).ok().flatten());
    Ok(levels)
}

fn notifications(levels: Option<BTreeMap<String, Int>>) -> NotificationPowerLevels {
    let mut notifications = NotificationPowerLevels::new();
    if let Some(room) = levels.and_then(|levels| levels.get("room").copied()) {
        notifications.room = room;
    }
    notifications
}

/// Whether a user of ours may redact this event: their own, or anybody's with the power to.
pub fn may_redact(levels: &RoomPowerLevels, user: &UserId, target: &Pdu) -> bool {
    if target.sender() == user {
        return levels.user_can_redact_own_event(user);
    }
    levels.user_can_redact_event_of_other(user)
}

/// Whether a redaction that the auth rules accepted takes effect ([spec]): the sender has the
/// power, or the event is of the same server, which then answers for it.
///
/// [spec]: https://spec.matrix.org/v1.16/rooms/v3/#handling-redactions
pub fn redaction_takes_effect(levels: &RoomPowerLevels, redaction: &Pdu, target: &Pdu) -> bool {
    redaction.room_id() == target.room_id()
        && (levels.for_user(redaction.sender()) >= levels.redact
            || redaction.sender().server_name() == target.sender().server_name())
}

#[cfg(test)]
mod tests;
