//! Rules of the client-server API about what clients may send, beyond what rooms allow: they look
//! at more than the room's state.

use hanse_log::Position;
use hanse_room::RoomReader;
use hanse_store::Direction;
use hanse_user::Users;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, RoomAliasId, RoomId, UserId,
    api::error::ErrorKind,
};
use serde::Deserialize;

use crate::error::ApiError;

/// Related events looked at for a repeated annotation; older ones are let pass.
const ANNOTATIONS_MAX: usize = 1_000;

/// Checks contents.
#[derive(Clone, Debug)]
pub(crate) struct ContentRules {
    pub(crate) users: Users,
    pub(crate) reader: RoomReader,
}

impl ContentRules {
    /// Refuses a user's second annotation with the same key ([spec]).
    ///
    /// [spec]: https://spec.matrix.org/v1.16/client-server-api/#avoiding-duplicate-annotations
    pub(crate) async fn check_message(
        &self,
        sender: &UserId,
        room_id: &RoomId,
        event_type: &str,
        content: &CanonicalJsonObject,
    ) -> Result<(), ApiError> {
        let Some((target, key)) = annotation(event_type, content) else {
            return Ok(());
        };
        let (all, end) = (Position::START, Position::END);
        let related = self.reader.related(
            room_id,
            &target,
            all,
            end,
            Direction::Backward,
            ANNOTATIONS_MAX,
        );
        let repeated = related.await?.into_iter().any(|related| {
            let pdu = &related.event.pdu;
            let same = || {
                pdu.content_as::<Annotates>()
                    .is_ok_and(|a| a.relates_to.key == key)
            };
            !related.event.is_redacted()
                && related.rel_type == "m.annotation"
                && pdu.sender() == sender
                && pdu.type_name() == event_type
                && same()
        });
        if repeated {
            let text = "you have annotated this event with this key already";
            return Err(ApiError::bad_request(ErrorKind::DuplicateAnnotation, text));
        }
        Ok(())
    }

    /// Refuses aliases that do not point to the room ([spec]).
    ///
    /// [spec]: https://spec.matrix.org/v1.16/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
    pub(crate) async fn check_state(
        &self,
        room_id: &RoomId,
        event_type: &str,
        content: &CanonicalJsonObject,
    ) -> Result<(), ApiError> {
        if event_type != "m.room.canonical_alias" {
            return Ok(());
        }
        let present = self
            .reader
            .state_event(room_id, event_type, "", Position::END)
            .await?;
        let present: Option<CanonicalJsonObject> =
            present.and_then(|event| event.pdu.content_as().ok());
        let kept: Vec<&str> = present.iter().flat_map(aliases).collect();
        for alias in aliases(content).filter(|alias| !kept.contains(alias)) {
            let parsed = RoomAliasId::parse(alias)
                .map_err(|error| ApiError::invalid_param(format!("{alias:?}: {error}")))?;
            let points_to = self.users.alias(&parsed).await?;
            if points_to.is_none_or(|found| found.room_id != room_id) {
                let text = format!("{alias} does not point to this room");
                return Err(ApiError::bad_request(ErrorKind::BadAlias, text));
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Annotates {
    #[serde(rename = "m.relates_to")]
    relates_to: Annotation,
}

#[derive(Deserialize)]
struct Annotation {
    key: String,
}

/// What an annotation annotates, and its key. Only reactions are looked at: other types of events
/// do not annotate, and sending them shall cost no read.
fn annotation(
    event_type: &str,
    content: &CanonicalJsonObject,
) -> Option<(ruma::OwnedEventId, String)> {
    if event_type != "m.reaction" {
        return None;
    }
    let relation = content.get("m.relates_to")?.as_object()?;
    let text = |key| relation.get(key).and_then(CanonicalJsonValue::as_str);
    if text("rel_type") != Some("m.annotation") {
        return None;
    }
    Some((
        EventId::parse(text("event_id")?).ok()?,
        text("key")?.to_owned(),
    ))
}

/// Every alias that a canonical alias event names.
fn aliases(content: &CanonicalJsonObject) -> impl Iterator<Item = &str> {
    let main = content.get("alias").and_then(CanonicalJsonValue::as_str);
    let others = content
        .get("alt_aliases")
        .and_then(CanonicalJsonValue::as_array);
    let others = others
        .into_iter()
        .flatten()
        .filter_map(CanonicalJsonValue::as_str);
    main.into_iter().chain(others)
}
