//! Room event filters ([spec]) against events.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#filtering

use ruma::{
    RoomId,
    api::client::filter::{RoomEventFilter, UrlFilter},
};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;

use crate::{glob::Glob, pdu::Pdu};

/// A [`RoomEventFilter`] ready to be asked often.
#[derive(Debug, Clone)]
pub struct EventFilter<'f> {
    filter: &'f RoomEventFilter,
    types: Option<Vec<TypePattern>>,
    not_types: Vec<TypePattern>,
}

#[derive(Debug, Clone)]
enum TypePattern {
    Exactly(String),
    Glob(Glob),
}

impl TypePattern {
    fn new(pattern: &str) -> Self {
        if pattern.contains('*') {
            return Self::Glob(Glob::stars(pattern));
        }
        Self::Exactly(pattern.to_owned())
    }

    fn matches(&self, type_name: &str) -> bool {
        match self {
            Self::Exactly(name) => name == type_name,
            Self::Glob(glob) => glob.matches(type_name),
        }
    }
}

impl<'f> EventFilter<'f> {
    /// Compiles the patterns.
    pub fn new(filter: &'f RoomEventFilter) -> Self {
        let patterns = |list: &[String]| list.iter().map(|name| TypePattern::new(name)).collect();
        Self {
            filter,
            types: filter.types.as_deref().map(patterns),
            not_types: patterns(&filter.not_types),
        }
    }

    /// Whether the filter lets the event through. `limit`, lazy loading and thread counts are the
    /// caller's.
    pub fn matches(&self, pdu: &Pdu) -> bool {
        self.matches_room(pdu.room_id())
            && self.matches_type(pdu.type_name())
            && self.matches_sender(pdu)
            && self.matches_url(pdu)
    }

    /// Whether the filter lets anything of this room through.
    pub fn matches_room(&self, room_id: &RoomId) -> bool {
        let filter = self.filter;
        !filter.not_rooms.iter().any(|id| id == room_id)
            && filter
                .rooms
                .as_ref()
                .is_none_or(|rooms| rooms.iter().any(|id| id == room_id))
    }

    /// Whether the filter lets events of this type through; exclusion wins.
    pub fn matches_type(&self, type_name: &str) -> bool {
        let listed = |patterns: &[TypePattern]| patterns.iter().any(|p| p.matches(type_name));
        !listed(&self.not_types) && self.types.as_deref().is_none_or(listed)
    }

    fn matches_sender(&self, pdu: &Pdu) -> bool {
        let filter = self.filter;
        !filter.not_senders.iter().any(|id| id == pdu.sender())
            && filter
                .senders
                .as_ref()
                .is_none_or(|ids| ids.iter().any(|id| id == pdu.sender()))
    }

    fn matches_url(&self, pdu: &Pdu) -> bool {
        match &self.filter.url_filter {
            None => true,
            Some(UrlFilter::EventsWithUrl) => has_url(pdu),
            Some(UrlFilter::EventsWithoutUrl) => !has_url(pdu),
        }
    }
}

fn has_url(pdu: &Pdu) -> bool {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        url: Option<&'a RawJsonValue>,
    }
    pdu.content_as::<Content<'_>>()
        .is_ok_and(|content| content.url.is_some())
}

#[cfg(test)]
mod tests {
    use ruma::RoomVersionId;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{ALICE, BOB, Room, message};

    fn passes(filter: Value, pdu: &Pdu) -> bool {
        let filter: RoomEventFilter = serde_json::from_value(filter).unwrap();
        EventFilter::new(&filter).matches(pdu)
    }

    #[test]
    fn each_field_lets_through_and_keeps_out() {
        let room = Room::new(&RoomVersionId::V11);
        let pdu = room.build(message(ALICE, json!({ "url": "mxc://a/b" })));
        let id = pdu.room_id();
        for (filter, through) in [
            (json!({}), true),
            (json!({ "types": ["m.room.message"] }), true),
            (json!({ "types": ["m.room.*"] }), true),
            (json!({ "types": ["*"] }), true),
            (json!({ "types": [] }), false),
            (json!({ "types": ["m.room.messag"] }), false),
            (json!({ "types": ["m.room.messag?"] }), false),
            (
                json!({ "types": ["*"], "not_types": ["m.*.message"] }),
                false,
            ),
            (json!({ "not_types": ["m.reaction"] }), true),
            (json!({ "senders": [ALICE] }), true),
            (json!({ "senders": [BOB] }), false),
            (json!({ "senders": [] }), false),
            (json!({ "senders": [ALICE], "not_senders": [ALICE] }), false),
            (json!({ "rooms": [id] }), true),
            (json!({ "rooms": ["!x:y"] }), false),
            (json!({ "rooms": [] }), false),
            (json!({ "not_rooms": [id] }), false),
            (json!({ "contains_url": true }), true),
            (json!({ "contains_url": false }), false),
        ] {
            assert_eq!(passes(filter.clone(), &pdu), through, "{filter}");
        }
        let plain = room.build(message(ALICE, json!({ "body": "url" })));
        assert!(!passes(json!({ "contains_url": true }), &plain));
        assert!(passes(json!({ "contains_url": false }), &plain));
    }
}
