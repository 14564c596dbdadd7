//! The list of published rooms: the largest first, filtered, in pages.

use hanse_log::Position;
use hanse_room::RoomReader;
use ruma::{
    OwnedRoomId, RoomId, UInt,
    directory::{Filter, PublicRoomsChunk, PublicRoomsChunkInit, RoomTypeFilter},
    events::room::{
        avatar::RoomAvatarEventContent,
        canonical_alias::RoomCanonicalAliasEventContent,
        guest_access::{GuestAccess, RoomGuestAccessEventContent},
        history_visibility::{HistoryVisibility, RoomHistoryVisibilityEventContent},
        join_rules::RoomJoinRulesEventContent,
        name::RoomNameEventContent,
        topic::RoomTopicEventContent,
    },
    room::RoomType,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::error::ApiError;

/// Rooms of a page that names no limit, and most of any.
const ROOMS_DEFAULT: usize = 100;
const ROOMS_MAX: usize = 500;

/// Reads the directory.
#[derive(Clone, Debug)]
pub(crate) struct PublicRooms {
    pub(crate) reader: RoomReader,
}

/// A part of the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    skip: usize,
    limit: usize,
}

/// A page of the list.
pub(crate) struct Page {
    pub(crate) rooms: Vec<PublicRoomsChunk>,
    pub(crate) next: Option<String>,
    pub(crate) previous: Option<String>,
    /// Rooms that fit the filter, on all pages.
    pub(crate) total: usize,
}

impl Slice {
    /// From a request. A token is the number of rooms before it.
    pub(crate) fn of(since: Option<&str>, limit: Option<UInt>) -> Result<Self, ApiError> {
        let limit = limit.and_then(|limit| usize::try_from(u64::from(limit)).ok());
        let skip = match since {
            Some(token) => token
                .strip_prefix('p')
                .and_then(|number| number.parse().ok()),
            None => Some(0),
        };
        let skip = skip.ok_or_else(|| ApiError::invalid_param("this is no token of this list"))?;
        Ok(Self {
            skip,
            limit: limit.unwrap_or(ROOMS_DEFAULT).clamp(1, ROOMS_MAX),
        })
    }
}

impl PublicRooms {
    /// A page of the rooms that fit a filter.
    pub(crate) async fn page(&self, filter: &Filter, slice: Slice) -> Result<Page, ApiError> {
        let by_size = self.by_size().await?;
        let wants_all = filter.generic_search_term.is_none() && filter.room_types.is_empty();
        let mut rooms = Vec::new();
        let (from, to) = (slice.skip, slice.skip.saturating_add(slice.limit));
        let mut fitting = 0;
        for (index, (members, room_id)) in by_size.iter().enumerate() {
            // Without a filter only the page itself is read.
            if wants_all && !(from..to).contains(&index) {
                continue;
            }
            let room = self.summary(room_id, *members).await?;
            if !fits(&room, filter) {
                continue;
            }
            let place = if wants_all { index } else { fitting };
            fitting += 1;
            if (from..to).contains(&place) {
                rooms.push(room);
            }
        }
        let total = if wants_all { by_size.len() } else { fitting };
        Ok(Page {
            rooms,
            next: (to < total).then(|| format!("p{to}")),
            previous: (from > 0).then(|| format!("p{}", from.saturating_sub(slice.limit))),
            total,
        })
    }

    /// Every published room with its number of members, the largest first.
    async fn by_size(&self) -> Result<Vec<(i64, OwnedRoomId)>, ApiError> {
        let mut rooms = Vec::new();
        for room_id in self.reader.published_rooms().await? {
            if let Some(head) = self.reader.head(&room_id).await? {
                rooms.push((head.head.joined_members, room_id));
            }
        }
        rooms.sort_by(|(a, a_id), (b, b_id)| b.cmp(a).then_with(|| a_id.cmp(b_id)));
        Ok(rooms)
    }

    async fn summary(&self, room_id: &RoomId, members: i64) -> Result<PublicRoomsChunk, ApiError> {
        #[derive(Deserialize)]
        struct Create {
            #[serde(rename = "type")]
            room_type: Option<RoomType>,
        }
        let visibility: Option<RoomHistoryVisibilityEventContent> =
            self.content(room_id, "m.room.history_visibility").await?;
        let guests: Option<RoomGuestAccessEventContent> =
            self.content(room_id, "m.room.guest_access").await?;
        let mut room = PublicRoomsChunk::from(PublicRoomsChunkInit {
            num_joined_members: UInt::try_from(members).unwrap_or_default(),
            room_id: room_id.to_owned(),
            world_readable: visibility
                .is_some_and(|is| is.history_visibility == HistoryVisibility::WorldReadable),
            guest_can_join: guests.is_some_and(|is| is.guest_access == GuestAccess::CanJoin),
        });
        let name: Option<RoomNameEventContent> = self.content(room_id, "m.room.name").await?;
        room.name = name.map(|is| is.name).filter(|name| !name.is_empty());
        let topic: Option<RoomTopicEventContent> = self.content(room_id, "m.room.topic").await?;
        room.topic = topic.map(|is| is.topic).filter(|topic| !topic.is_empty());
        let alias: Option<RoomCanonicalAliasEventContent> =
            self.content(room_id, "m.room.canonical_alias").await?;
        room.canonical_alias = alias.and_then(|is| is.alias);
        let avatar: Option<RoomAvatarEventContent> = self.content(room_id, "m.room.avatar").await?;
        room.avatar_url = avatar.and_then(|is| is.url);
        let joins: Option<RoomJoinRulesEventContent> =
            self.content(room_id, "m.room.join_rules").await?;
        if let Some(joins) = joins {
            room.join_rule = joins.join_rule.kind();
        }
        let create: Option<Create> = self.content(room_id, "m.room.create").await?;
        room.room_type = create.and_then(|is| is.room_type);
        Ok(room)
    }

    /// The content of a state event; `None` also where it is not as it should be.
    async fn content<T: DeserializeOwned>(
        &self,
        room_id: &RoomId,
        event_type: &str,
    ) -> Result<Option<T>, ApiError> {
        let event = self
            .reader
            .state_event(room_id, event_type, "", Position::END)
            .await?;
        Ok(event.and_then(|event| event.pdu.content_as().ok()))
    }
}

fn fits(room: &PublicRoomsChunk, filter: &Filter) -> bool {
    let kind = RoomTypeFilter::from(room.room_type.clone());
    let right_kind = filter.room_types.is_empty() || filter.room_types.contains(&kind);
    let Some(term) = &filter.generic_search_term else {
        return right_kind;
    };
    let term = term.to_lowercase();
    let alias = room.canonical_alias.as_ref().map(|alias| alias.as_str());
    let texts = [room.name.as_deref(), room.topic.as_deref(), alias];
    let found = |text: &str| text.to_lowercase().contains(&term);
    right_kind && texts.into_iter().flatten().any(found)
}

#[cfg(test)]
mod tests {
    use ruma::{owned_room_id, uint};

    use super::*;

    #[test]
    fn tokens_of_the_list_are_read_and_others_refused() {
        let slice = Slice::of(Some("p40"), Some(uint!(7))).unwrap();
        assert_eq!((slice.skip, slice.limit), (40, 7));
        let all = Slice::of(None, Some(uint!(0))).unwrap();
        assert_eq!((all.skip, all.limit), (0, 1));
        for token in ["", "p", "p-1", "40", "t1_2", "p99999999999999999999999"] {
            assert!(Slice::of(Some(token), None).is_err(), "{token}");
        }
    }

    #[test]
    fn terms_are_found_whatever_the_case() {
        let mut room = PublicRoomsChunk::from(PublicRoomsChunkInit {
            num_joined_members: uint!(1),
            room_id: owned_room_id!("!r:x"),
            world_readable: false,
            guest_can_join: false,
        });
        room.name = Some("The Größe".to_owned());
        let found = |term: &str| {
            let mut filter = Filter::new();
            filter.generic_search_term = Some(term.to_owned());
            fits(&room, &filter)
        };
        assert!(found("größe") && found("GRÖSSE".replace("SS", "ß").as_str()) && found("the"));
        assert!(!found("absent"));
        let mut spaces = Filter::new();
        spaces.room_types = vec![RoomTypeFilter::Space];
        assert!(!fits(&room, &spaces));
    }
}
