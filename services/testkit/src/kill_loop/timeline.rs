//! Reading rooms back over /messages.

use anyhow::Context;
use hanse_checkers::Event;
use hanse_loadtest::User;
use serde::Deserialize;

/// Events of a page.
const PAGE: u32 = 200;
/// The most pages of one room.
const PAGES_MAX: usize = 10_000;

/// An event as clients get it.
#[derive(Debug, Deserialize)]
pub(super) struct WireEvent {
    event_id: String,
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    content: WireContent,
}

#[derive(Debug, Default, Deserialize)]
struct WireContent {
    body: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Messages {
    chunk: Vec<WireEvent>,
    end: Option<String>,
}

impl From<WireEvent> for Event {
    fn from(event: WireEvent) -> Self {
        let is_message = event.event_type == "m.room.message";
        Self {
            event_id: event.event_id,
            mark: event.content.body.filter(|_| is_message),
        }
    }
}

/// A room's events, oldest first, paged from its end to its start or the other way.
pub(crate) async fn whole_room(
    user: &mut User,
    room: &str,
    backwards: bool,
) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    let mut from: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let page = user.messages(room, from.as_deref(), backwards, PAGE).await;
        let page = page.context("cannot read a room back")?;
        let page: Messages = serde_json::from_slice(&page.body)?;
        events.extend(page.chunk.into_iter().map(Event::from));
        from = page.end;
        if from.is_none() {
            break;
        }
    }
    anyhow::ensure!(from.is_none(), "the pages of {room} do not end");
    if backwards {
        events.reverse();
    }
    Ok(events)
}

/// The events before a gap's end, newest first, until `known` says that the gap is closed.
pub(super) async fn fill_gap(
    user: &mut User,
    room: &str,
    gap_end: &str,
    known: impl Fn(&str) -> bool,
) -> anyhow::Result<Vec<String>> {
    let mut missed = Vec::new();
    let mut from = Some(gap_end.to_owned());
    for _ in 0..PAGES_MAX {
        let Some(token) = from else {
            break;
        };
        let page = user.messages(room, Some(&token), true, PAGE).await?;
        let page: Messages = serde_json::from_slice(&page.body)?;
        for event in page.chunk {
            if known(&event.event_id) {
                return Ok(missed);
            }
            missed.push(event.event_id);
        }
        from = page.end;
    }
    Ok(missed)
}
