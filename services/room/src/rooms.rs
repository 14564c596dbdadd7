//! The handle through which rooms are changed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use hanse_event::{Draft, Pdu, Placement, ServerKey, build, check_auth};
use hanse_log::{AppendError, Position, SlotLogs, Ticket};
use hanse_proto::{log::Entry, room::Redacted};
use hanse_runtime::{Clock, Random};
use hanse_store::{Store, StoreError};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedServerName, RoomId, events::StateEventType,
};

use crate::{
    MembershipChange, Redaction, RoomError, RoomReader,
    cells::{Cell, Cells},
    entry::Circumstances,
    hot::Hot,
    tables::{ROOM_TRANSACTIONS, TransactionKey},
};

/// How often a change is decided anew after the slot's memory was voided.
const DECISIONS_MAX: usize = 3;

/// What [`Rooms`] is built from.
pub struct RoomParts {
    /// The archives.
    pub store: Arc<dyn Store>,
    /// The slots.
    pub logs: SlotLogs,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Room ids.
    pub random: Arc<dyn Random>,
    /// Our name.
    pub server_name: OwnedServerName,
    /// Signs what our users send.
    pub key: Arc<ServerKey>,
    /// Rooms whose memory is kept.
    pub rooms_held_max: u64,
}

/// Changes rooms whose slots this process owns. Clones are the same.
#[derive(Clone)]
pub struct Rooms {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) reader: RoomReader,
    pub(crate) logs: SlotLogs,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) server_name: OwnedServerName,
    pub(crate) key: Arc<ServerKey>,
    pub(crate) cells: Cells,
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms")
            .field("server_name", &self.inner.server_name)
            .finish_non_exhaustive()
    }
}

/// An event that is in the room, applied and visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The event.
    pub event_id: OwnedEventId,
    /// Where it stands; for a repeated transaction, where the slot stood when it was recognised.
    pub position: Position,
}

/// What somebody wants of a room.
pub(crate) enum Change {
    Event(NewEvent),
    Membership(MembershipChange),
    Redaction(Redaction),
}

/// What a decision came to.
pub(crate) enum Decided {
    /// Nothing to do: this event stands for it already, or will in a moment.
    Already(OwnedEventId),
    /// Submit this.
    Submit(OwnedEventId, Box<Entry>),
}

/// An event, and whatever comes with it.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What to send.
    pub draft: Draft,
    /// The client's transaction, if it named one.
    pub transaction: Option<TransactionKey>,
    /// For appservices: the time to claim, Unix milliseconds.
    pub timestamp: Option<MilliSecondsSinceUnixEpoch>,
}

impl NewEvent {
    /// An event that is sent now, without a transaction.
    pub fn now(draft: Draft) -> Self {
        Self {
            draft,
            transaction: None,
            timestamp: None,
        }
    }
}

impl Rooms {
    /// Takes over the parts.
    pub fn new(parts: RoomParts) -> Self {
        let RoomParts {
            store,
            logs,
            clock,
            random,
            server_name,
            key,
            rooms_held_max,
        } = parts;
        let (reader, cells) = (RoomReader::new(store), Cells::new(rooms_held_max));
        let inner = Inner {
            reader,
            logs,
            clock,
            random,
            server_name,
            key,
            cells,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Reads the same rooms.
    pub fn reader(&self) -> &RoomReader {
        &self.inner.reader
    }

    /// Sends an event into a room; returns when it is durable and everybody may see it. A repeated
    /// transaction gives the event that it became.
    pub async fn send(&self, room_id: &RoomId, event: NewEvent) -> Result<Sent, RoomError> {
        self.change(room_id, &Change::Event(event)).await
    }

    /// Decides on the room's memory under its lock, submits, and waits outside of the lock.
    pub(crate) async fn change(
        &self,
        room_id: &RoomId,
        change: &Change,
    ) -> Result<Sent, RoomError> {
        let cell = self.inner.cells.cell(room_id);
        for _ in 0..DECISIONS_MAX {
            let (event_id, ticket) = self.inner.decide_under_lock(room_id, &cell, change).await?;
            match ticket.applied().await {
                // A barrier's, which has no place of its own: where the slot stands now.
                Ok(Position::START) => {
                    let slot = self.inner.logs.slot_of(room_id.as_str());
                    let position = self.inner.logs.applied(slot);
                    return Ok(Sent { event_id, position });
                }
                Ok(position) => return Ok(Sent { event_id, position }),
                Err(AppendError::Stale) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(AppendError::Stale.into())
    }
}

impl Inner {
    async fn decide_under_lock(
        &self,
        room_id: &RoomId,
        cell: &Cell,
        change: &Change,
    ) -> Result<(OwnedEventId, Ticket), RoomError> {
        let mut guard = cell.lock().await;
        let hot = self.loaded(room_id, &mut guard).await?;
        match self.decide(hot, change).await? {
            // A barrier in the same generation: the event is there when it resolves.
            Decided::Already(event_id) => {
                let ticket = self.logs.submit(hot.slot, Some(hot.basis), Vec::new())?;
                Ok((event_id, ticket))
            }
            Decided::Submit(event_id, entry) => {
                let submitted = self.logs.submit(hot.slot, Some(hot.basis), vec![*entry]);
                if submitted.is_err() {
                    // The memory is ahead of what was submitted.
                    *guard = None;
                }
                Ok((event_id, submitted?))
            }
        }
    }

    async fn decide(&self, hot: &mut Hot, change: &Change) -> Result<Decided, RoomError> {
        match change {
            Change::Event(event) => self.decide_event(hot, event.clone()).await,
            Change::Membership(change) => self.decide_membership(hot, change.clone()).await,
            Change::Redaction(redaction) => self.decide_redaction(hot, redaction.clone()).await,
        }
    }

    /// The room's memory, loaded if there is none or if it is void.
    async fn loaded<'a>(
        &self,
        room_id: &RoomId,
        held: &'a mut Option<Hot>,
    ) -> Result<&'a mut Hot, RoomError> {
        let slot = self.logs.slot_of(room_id.as_str());
        let basis = self.logs.basis(slot)?;
        if held.as_ref().is_none_or(|hot| hot.basis != basis) {
            *held = None;
            self.logs.barrier(slot).await?;
            *held = Some(Hot::load(&self.reader, room_id, slot, basis).await?);
        }
        held.as_mut().ok_or_else(|| RoomError::UnknownRoom {
            room_id: room_id.to_owned(),
        })
    }

    /// Checks for a repeat, builds, authorises, and takes the event into the room's memory.
    pub(crate) async fn decide_event(
        &self,
        hot: &mut Hot,
        event: NewEvent,
    ) -> Result<Decided, RoomError> {
        let NewEvent {
            draft,
            transaction,
            timestamp,
        } = event;
        if let Some(key) = &transaction
            && let Some(event_id) = self.repeated(hot, key).await?
        {
            return Ok(Decided::Already(event_id));
        }
        let pdu = self.build_in(hot, draft, timestamp).await?;
        Ok(self.accept(hot, &pdu, transaction, None))
    }

    pub(crate) fn accept(
        &self,
        hot: &mut Hot,
        pdu: &Pdu,
        transaction: Option<TransactionKey>,
        redacted: Option<Redacted>,
    ) -> Decided {
        let now_ms = self.clock.now_ms();
        let server_name = &self.server_name;
        let circumstances = Circumstances {
            now_ms,
            server_name,
            transaction,
            redacted,
        };
        let entry = hot.accept(pdu, circumstances);
        Decided::Submit(pdu.event_id().to_owned(), Box::new(entry))
    }

    /// Builds an event at the room's end and checks it against the room's state.
    pub(crate) async fn build_in(
        &self,
        hot: &mut Hot,
        draft: Draft,
        timestamp: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Result<Pdu, RoomError> {
        let keys = draft
            .auth_types(hot.rules)
            .map_err(|e| RoomError::bad_content(e.reason))?;
        hot.ensure(&self.reader, &keys).await?;
        if draft.event_type == "m.room.member"
            && let Some(user) = &draft.state_key
        {
            hot.ensure_member(&self.reader, user).await?;
        }
        let pdu = build(draft, self.placement(hot, &keys, timestamp), &self.key)?;
        check_auth(&pdu, hot.rules, |event_type, state_key| {
            hot.state(&event_type.to_string(), state_key).cloned()
        })?;
        Ok(pdu)
    }

    fn placement<'r>(
        &self,
        hot: &Hot,
        keys: &[(StateEventType, String)],
        timestamp: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Placement<'r> {
        let held = |(event_type, key): &(StateEventType, String)| {
            hot.state(&event_type.to_string(), key)
                .map(|pdu| pdu.event_id().to_owned())
        };
        let prev = hot.head.forward_extremities.iter();
        Placement {
            room_id: hot.room_id.clone(),
            rules: hot.rules,
            prev_events: prev
                .filter_map(|id| OwnedEventId::try_from(id.as_str()).ok())
                .collect(),
            auth_events: keys.iter().filter_map(held).collect(),
            depth: (hot.head.depth + 1) as u64,
            origin_server_ts: timestamp.unwrap_or_else(|| self.now()),
            reference_hashes: BTreeMap::new(),
        }
    }

    pub(crate) fn now(&self) -> MilliSecondsSinceUnixEpoch {
        let ms = u64::try_from(self.clock.now_ms()).unwrap_or_default();
        MilliSecondsSinceUnixEpoch(ms.try_into().unwrap_or_default())
    }

    /// The event that a transaction became, in this process or before a restart.
    pub(crate) async fn repeated(
        &self,
        hot: &Hot,
        key: &TransactionKey,
    ) -> Result<Option<OwnedEventId>, StoreError> {
        if let Some(event_id) = hot.transaction(key) {
            return Ok(Some(event_id));
        }
        let key = key.key(hot.room_id.as_str());
        let Some(row) = self.reader.get(&ROOM_TRANSACTIONS, &key).await? else {
            return Ok(None);
        };
        Ok(OwnedEventId::try_from(TransactionKey::read_event_id(&row)?).ok())
    }
}
