//! [Sending events](https://spec.matrix.org/v1.16/client-server-api/#sending-events-to-a-room) and
//! [redactions](https://spec.matrix.org/v1.16/client-server-api/#redactions).

use axum::extract::State;
use hanse_event::Draft;
use hanse_room::{NewEvent, Redaction, Rooms, TransactionKey};
use ruma::{
    CanonicalJsonObject, EventId, OwnedEventId, TransactionId,
    api::{
        client::{
            message::send_message_event::v3 as send_message_event,
            redact::redact_event::v3 as redact_event,
            state::send_state_event::v3 as send_state_event,
        },
        error::ErrorKind,
    },
};

use super::Endpoints;
use crate::{
    admission::Class,
    content_rules::ContentRules,
    error::ApiError,
    exchange::{Ruma, RumaContent},
    rates::Rates,
    session::Session,
};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Write, "send", send)
        .add(Class::Write, "set_state", set_state)
        .add(Class::Write, "redact", redact)
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}` — any joined user.
async fn send(
    State(rooms): State<Rooms>,
    State(rules): State<ContentRules>,
    State(rates): State<Rates>,
    session: Session,
    RumaContent { request, content }: RumaContent<send_message_event::Request>,
) -> Result<Ruma<send_message_event::Response>, ApiError> {
    rates.message(&session.user_id)?;
    let event_type = request.event_type.to_string();
    let transaction = transaction(&session, format!("send/{event_type}"), &request.txn_id);
    if event_type == "m.room.redaction" {
        let redaction = redaction(&session, &content, transaction)?;
        let sent = rooms.redact(&request.room_id, redaction).await?;
        return Ok(Ruma(send_message_event::Response::new(sent.event_id)));
    }
    rules
        .check_message(&session.user_id, &request.room_id, &event_type, &content)
        .await?;
    let draft = Draft::message(session.user_id.clone(), event_type, content);
    let event = NewEvent {
        transaction: Some(transaction),
        ..NewEvent::now(draft)
    };
    let sent = rooms.send(&request.room_id, event).await?;
    Ok(Ruma(send_message_event::Response::new(sent.event_id)))
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}` — any joined user.
async fn set_state(
    State(rooms): State<Rooms>,
    State(rules): State<ContentRules>,
    State(rates): State<Rates>,
    session: Session,
    RumaContent { request, content }: RumaContent<send_state_event::Request>,
) -> Result<Ruma<send_state_event::Response>, ApiError> {
    rates.message(&session.user_id)?;
    let event_type = request.event_type.to_string();
    rules
        .check_state(&request.room_id, &event_type, &content)
        .await?;
    let draft = Draft::state(
        session.user_id.clone(),
        event_type,
        request.state_key,
        content,
    );
    let sent = rooms.send(&request.room_id, NewEvent::now(draft)).await?;
    Ok(Ruma(send_state_event::Response::new(sent.event_id)))
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}` — any joined user: their own
/// events, or others' with the power to.
async fn redact(
    State(rooms): State<Rooms>,
    State(rates): State<Rates>,
    session: Session,
    Ruma(request): Ruma<redact_event::Request>,
) -> Result<Ruma<redact_event::Response>, ApiError> {
    rates.message(&session.user_id)?;
    let scope = format!("redact/{}", request.event_id);
    let redaction = Redaction {
        sender: session.user_id.clone(),
        event_id: request.event_id,
        reason: request.reason,
        transaction: Some(transaction(&session, scope, &request.txn_id)),
    };
    let sent = rooms.redact(&request.room_id, redaction).await?;
    Ok(Ruma(redact_event::Response::new(sent.event_id)))
}

fn transaction(session: &Session, scope: String, txn_id: &TransactionId) -> TransactionKey {
    TransactionKey {
        user_id: session.user_id.to_string(),
        device_id: session.device_id.to_string(),
        scope,
        txn_id: txn_id.to_string(),
    }
}

/// A redaction that was sent as a message event: possible since it says what it redacts.
fn redaction(
    session: &Session,
    content: &CanonicalJsonObject,
    transaction: TransactionKey,
) -> Result<Redaction, ApiError> {
    let text = |key| content.get(key).and_then(|value| value.as_str());
    let redacts: Option<OwnedEventId> = text("redacts").and_then(|id| EventId::parse(id).ok());
    let missing = || ApiError::bad_request(ErrorKind::BadJson, "redacts is missing");
    Ok(Redaction {
        sender: session.user_id.clone(),
        event_id: redacts.ok_or_else(missing)?,
        reason: text("reason").map(ToOwned::to_owned),
        transaction: Some(transaction),
    })
}
