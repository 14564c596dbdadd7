//! What a checker finds.

/// A breach of what a server promises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Violation {
    /// An acknowledged event is not in its room.
    #[error("{event_id} of {mark:?} was acknowledged and is not in {room}")]
    Lost {
        /// The room.
        room: String,
        /// The acknowledged event.
        event_id: String,
        /// Its message.
        mark: String,
    },
    /// An event in the room has the acknowledged id, but another message.
    #[error("{event_id} was acknowledged for {mark:?} and holds {found:?}")]
    Swapped {
        /// The acknowledged event.
        event_id: String,
        /// What was sent.
        mark: String,
        /// What is there.
        found: Option<String>,
    },
    /// An event stands more than once in the rooms.
    #[error("{event_id} is there {times} times")]
    EventTwice {
        /// The event.
        event_id: String,
        /// How often.
        times: usize,
    },
    /// A message became more than one event.
    #[error("{mark:?} became {times} events in {room}")]
    MessageTwice {
        /// The room.
        room: String,
        /// The message.
        mark: String,
        /// How often.
        times: usize,
    },
    /// An event whose message was refused, or never sent into this room.
    #[error("{mark:?} is in {room} and was {reason}")]
    Unasked {
        /// The room.
        room: String,
        /// The message.
        mark: String,
        /// Why it should not be there.
        reason: &'static str,
    },
    /// A message stands before one that was acknowledged before it was first sent.
    #[error("in {room}, {later:?} of {session} stands before {earlier:?}")]
    Reordered {
        /// The room.
        room: String,
        /// Whose messages.
        session: String,
        /// What was acknowledged first.
        earlier: String,
        /// What was sent after that, and stands before it.
        later: String,
    },
    /// One transaction was acknowledged with more than one event id.
    #[error("transaction {transaction:?} of {session} in {room} gave {first} and {second}")]
    TransactionForked {
        /// Whose transaction.
        session: String,
        /// The room.
        room: String,
        /// Its id.
        transaction: String,
        /// The first event id.
        first: String,
        /// Another.
        second: String,
    },
    /// Two transactions were acknowledged with the same event id.
    #[error("transactions {first:?} and {second:?} of {session} both gave {event_id}")]
    TransactionsMerged {
        /// Whose transactions.
        session: String,
        /// One transaction.
        first: String,
        /// Another.
        second: String,
        /// The event id of both.
        event_id: String,
    },
    /// /sync gave an event again to somebody who went on from a token after it.
    #[error("{reader} got {event_id} again after {since:?}")]
    SyncedAgain {
        /// Who synced.
        reader: String,
        /// The event.
        event_id: String,
        /// The token of the page that repeats it.
        since: Option<String>,
    },
    /// /sync left out an event between others that it gave.
    #[error("{reader} never got {event_id} of {room}")]
    NotSynced {
        /// Who synced.
        reader: String,
        /// The room.
        room: String,
        /// The event.
        event_id: String,
    },
    /// /sync gave an event that the room does not hold.
    #[error("{reader} got {event_id}, which {room} does not hold")]
    SyncedUnheld {
        /// Who synced.
        reader: String,
        /// The room.
        room: String,
        /// The event.
        event_id: String,
    },
    /// /sync gave two events in another order than the room holds them.
    #[error("{reader} got {event_id} of {room} after what stands behind it")]
    SyncedReordered {
        /// Who synced.
        reader: String,
        /// The room.
        room: String,
        /// The event that came too late.
        event_id: String,
    },
    /// A one-time key was handed out more than once.
    #[error("key {key} of {device} was handed out {times} times")]
    KeyAgain {
        /// Whose key.
        device: String,
        /// The key.
        key: String,
        /// How often.
        times: usize,
    },
    /// A one-time key was handed out that its device never uploaded.
    #[error("key {key} was handed out for {device}, which did not upload it")]
    KeyUnasked {
        /// Whose key it should be.
        device: String,
        /// The key.
        key: String,
    },
    /// Acknowledged one-time keys went to nobody.
    #[error("{missing} keys of {device} went to nobody, and {unknown} claims have no answer")]
    KeysLost {
        /// Whose keys.
        device: String,
        /// Keys that nobody was given.
        missing: usize,
        /// Claims that may have taken one.
        unknown: usize,
    },
}
