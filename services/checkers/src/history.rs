//! What a test wrote down.

use std::collections::BTreeMap;

/// What tells a message from all others: its text, or a part of it. A message that is sent again
/// under the same transaction id has the same mark.
pub type Mark = String;

/// One request to send, in the order in which its session made them. A session makes one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The device that sent; transaction ids are its own.
    pub session: String,
    /// The room.
    pub room: String,
    /// The transaction id.
    pub transaction: String,
    /// The message's mark.
    pub mark: Mark,
    /// What the session was told.
    pub outcome: Outcome,
}

/// What became of a request, as far as its sender knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered 200 with this event id.
    Acknowledged(String),
    /// The server answered that it did not do it.
    Refused,
    /// No answer, or one that leaves it open.
    Unknown,
}

impl Outcome {
    /// The event id of an acknowledgement.
    pub fn event_id(&self) -> Option<&str> {
        match self {
            Self::Acknowledged(event_id) => Some(event_id),
            Self::Refused | Self::Unknown => None,
        }
    }
}

/// An event that a room holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub event_id: String,
    /// Its mark, if it is one of the messages that the test sent.
    pub mark: Option<Mark>,
}

/// What each room holds at the end, oldest first, by room id.
pub type Timelines = BTreeMap<String, Vec<Event>>;

/// One answer of /sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The token that was asked with; none for an initial sync.
    pub since: Option<String>,
    /// The token to go on with.
    pub next: String,
    /// The rooms in it.
    pub rooms: Vec<RoomPage>,
}

/// What an answer of /sync said about one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomPage {
    /// The room.
    pub room: String,
    /// The ids of its timeline's events, oldest first.
    pub events: Vec<String>,
    /// Whether events before these are left out, and were not fetched into `events` since.
    pub limited: bool,
}
