//! All keys of a backup, or of one room in it, as the body of one answer. The specification has no pages
//! for them: the body is written while the store is read, page by page, and never held as a whole.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, stream};
use hanse_user::{BackedUpKey, RoomKeyPage, Users};
use http::header::CONTENT_TYPE;
use ruma::{OwnedRoomId, OwnedUserId, RoomId};
use serde_json::Value;

use crate::error::ApiError;

/// What is still to be written.
pub(crate) struct RoomKeysBody {
    users: Users,
    user_id: OwnedUserId,
    version: i64,
    /// None: all rooms.
    room_id: Option<OwnedRoomId>,
    /// None: the end was written.
    page: Option<RoomKeyPage>,
    text: Text,
}

impl RoomKeysBody {
    /// The answer. What is wrong with the request is found out before it begins.
    pub(crate) async fn start(
        users: Users,
        user_id: OwnedUserId,
        version: i64,
        room_id: Option<OwnedRoomId>,
    ) -> Result<Response, ApiError> {
        let first = users.room_keys(&user_id, version, room_id.as_deref(), None);
        let body = Self {
            page: Some(first.await?),
            text: Text::new(room_id.is_none()),
            users,
            user_id,
            version,
            room_id,
        };
        let body = Body::from_stream(body.pages());
        Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
    }

    /// A failure in the middle cuts the connection: the client sees that the body is not whole.
    fn pages(self) -> impl Stream<Item = Result<Bytes, ApiError>> {
        stream::try_unfold(self, async |mut body| {
            let Some(page) = body.page.take() else {
                return Ok(None);
            };
            for key in &page.keys {
                body.text.add(key);
            }
            match page.next {
                Some(cursor) => {
                    let room_id = body.room_id.as_deref();
                    let next = body
                        .users
                        .room_keys(&body.user_id, body.version, room_id, Some(cursor))
                        .await?;
                    body.page = Some(next);
                }
                None => body.text.end(),
            }
            let written = std::mem::take(&mut body.text.written);
            Ok(Some((Bytes::from(written), body)))
        })
    }
}

/// The JSON so far.
struct Text {
    written: String,
    by_room: bool,
    room: Option<OwnedRoomId>,
    any: bool,
}

impl Text {
    fn new(by_room: bool) -> Self {
        let begin = if by_room {
            r#"{"rooms":{"#
        } else {
            r#"{"sessions":{"#
        };
        Self {
            written: begin.to_owned(),
            by_room,
            room: None,
            any: false,
        }
    }

    /// Keys of one room come together.
    fn add(&mut self, key: &BackedUpKey) {
        let same_room = self.room.as_deref() == Some(&*key.room_id);
        if self.by_room && !same_room {
            self.begin_room(&key.room_id);
        } else if self.any {
            self.written.push(',');
        }
        self.any = true;
        self.push_name(&key.session_id);
        self.written.push_str(key.data.json().get());
    }

    fn begin_room(&mut self, room_id: &RoomId) {
        if self.room.is_some() {
            self.written.push_str("}},");
        }
        self.push_name(room_id.as_str());
        self.written.push_str(r#"{"sessions":{"#);
        self.room = Some(room_id.to_owned());
    }

    fn push_name(&mut self, name: &str) {
        self.written.push_str(&Value::from(name).to_string());
        self.written.push(':');
    }

    fn end(&mut self) {
        if self.room.is_some() {
            self.written.push_str("}}");
        }
        self.written.push_str("}}");
    }
}

#[cfg(test)]
mod tests {
    use ruma::serde::Raw;
    use serde_json::json;

    use super::*;

    fn key(room_id: &str, session_id: &str) -> BackedUpKey {
        BackedUpKey {
            room_id: room_id.try_into().unwrap(),
            session_id: session_id.to_owned(),
            data: Raw::new(&json!({ "n": session_id }))
                .unwrap()
                .cast_unchecked(),
        }
    }

    fn written(by_room: bool, keys: &[BackedUpKey]) -> Value {
        let mut text = Text::new(by_room);
        for key in keys {
            text.add(key);
        }
        text.end();
        serde_json::from_str(&text.written).unwrap()
    }

    #[test]
    fn keys_stand_in_their_rooms() {
        let keys = [key("!a:x", "1"), key("!a:x", "\"2\""), key("!b:x", "1")];
        let both = json!({ "1": { "n": "1" }, "\"2\"": { "n": "\"2\"" } });
        let rooms = json!({
            "!a:x": { "sessions": both }, "!b:x": { "sessions": { "1": { "n": "1" } } },
        });
        assert_eq!(written(true, &keys), json!({ "rooms": rooms }));
        let of_room = keys.first_chunk::<2>().unwrap();
        assert_eq!(written(false, of_room), json!({ "sessions": both }));
    }

    #[test]
    fn no_keys_are_an_empty_object() {
        assert_eq!(written(true, &[]), json!({ "rooms": {} }));
        assert_eq!(written(false, &[]), json!({ "sessions": {} }));
    }
}
