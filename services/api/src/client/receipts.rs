//! [Receipts](https://spec.matrix.org/v1.16/client-server-api/#receipts) and
//! [fully read markers](https://spec.matrix.org/v1.16/client-server-api/#fully-read-markers).

use axum::extract::State;
use hanse_room::{NewReceipt, Rooms};
use hanse_user::Users;
use ruma::{
    EventId, RoomId, UserId,
    api::client::{
        read_marker::set_read_marker::v3 as set_read_marker,
        receipt::create_receipt::v3::{self as create_receipt, ReceiptType as Marked},
    },
    events::{
        receipt::{ReceiptThread, ReceiptType},
        room::member::MembershipState,
    },
};
use serde_json::{json, value::to_raw_value};

use super::Endpoints;
use crate::{
    admission::Class, error::ApiError, exchange::Ruma, room_view::not_there, session::Session,
};

/// The account data of a room that says how far its user has read everything.
const FULLY_READ: &str = "m.fully_read";

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Write, "receipt", receipt)
        .add(Class::Write, "read_markers", markers)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}` — any joined user.
async fn receipt(
    State(rooms): State<Rooms>,
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<create_receipt::Request>,
) -> Result<Ruma<create_receipt::Response>, ApiError> {
    let create_receipt::Request {
        room_id,
        receipt_type,
        event_id,
        thread,
        ..
    } = request;
    let marks = Marks {
        rooms,
        users,
        user_id: &session.user_id,
        room_id: &room_id,
    };
    marks.may_be_set().await?;
    let thread_id = thread_id(&thread)?;
    match receipt_type {
        Marked::Read => {
            marks
                .receipt(ReceiptType::Read, thread_id, &event_id)
                .await?;
        }
        Marked::ReadPrivate => {
            marks
                .receipt(ReceiptType::ReadPrivate, thread_id, &event_id)
                .await?;
        }
        Marked::FullyRead => marks.fully_read(&event_id).await?,
        _ => return Err(ApiError::invalid_param("there is no such receipt")),
    }
    Ok(Ruma(create_receipt::Response::new()))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/read_markers` — any joined user.
async fn markers(
    State(rooms): State<Rooms>,
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<set_read_marker::Request>,
) -> Result<Ruma<set_read_marker::Response>, ApiError> {
    let marks = Marks {
        rooms,
        users,
        user_id: &session.user_id,
        room_id: &request.room_id,
    };
    marks.may_be_set().await?;
    if let Some(event_id) = &request.fully_read {
        marks.fully_read(event_id).await?;
    }
    let unthreaded = String::new;
    if let Some(event_id) = &request.read_receipt {
        marks
            .receipt(ReceiptType::Read, unthreaded(), event_id)
            .await?;
    }
    if let Some(event_id) = &request.private_read_receipt {
        marks
            .receipt(ReceiptType::ReadPrivate, unthreaded(), event_id)
            .await?;
    }
    Ok(Ruma(set_read_marker::Response::new()))
}

/// As receipts are kept: empty for the unthreaded one.
fn thread_id(thread: &ReceiptThread) -> Result<String, ApiError> {
    match thread.as_str() {
        Some("") => Err(ApiError::invalid_param("thread_id is empty")),
        Some(id) => Ok(id.to_owned()),
        None => Ok(String::new()),
    }
}

/// One user's marks in one room.
struct Marks<'a> {
    rooms: Rooms,
    users: Users,
    user_id: &'a UserId,
    room_id: &'a RoomId,
}

impl Marks<'_> {
    async fn may_be_set(&self) -> Result<(), ApiError> {
        let room = self
            .rooms
            .reader()
            .user_room(self.user_id, self.room_id)
            .await?;
        let joined = room.is_some_and(|room| room.membership == MembershipState::Join);
        if joined { Ok(()) } else { Err(not_there()) }
    }

    async fn receipt(
        &self,
        receipt_type: ReceiptType,
        thread_id: String,
        event_id: &EventId,
    ) -> Result<(), ApiError> {
        let receipt = NewReceipt {
            user_id: self.user_id.to_owned(),
            receipt_type,
            thread_id,
            event_id: event_id.to_owned(),
        };
        self.rooms.receipt(self.room_id, receipt).await?;
        Ok(())
    }

    async fn fully_read(&self, event_id: &EventId) -> Result<(), ApiError> {
        let content = to_raw_value(&json!({ "event_id": event_id }));
        let content = content.map_err(|error| ApiError::internal(&error))?;
        let room_id = Some(self.room_id);
        self.users
            .put_account_data(self.user_id, room_id, FULLY_READ, &content)
            .await?;
        Ok(())
    }
}
