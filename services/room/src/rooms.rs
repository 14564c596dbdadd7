//! The handle through which rooms are changed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use hanse_cluster::{Command, Router, travelling};
use hanse_event::{Draft, Judged, Pdu, Placement, ServerKey, build, check_auth};
use hanse_log::{AppendError, Position, SlotLogs, Ticket};
use hanse_runtime::{Clock, Random};
use hanse_store::{Store, StoreError};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedServerName, RoomId, events::StateEventType,
};
use serde::{Deserialize, Serialize};

use crate::{
    MembershipChange, Redaction, RoomError, RoomReader,
    cells::{Cell, Cells},
    commands::ChangeRoom,
    entry::Circumstances,
    graph::{self, Bodies, ForkedRooms},
    hot::Hot,
    install::Installs,
    many_ends::ENDS_NAMED_MAX,
    read::Nodes,
    receive::Before,
    redact::Effect,
    tables::{ROOM_TRANSACTIONS, TransactionKey},
    written::Written,
};

/// How often a change is decided anew after the slot's memory was voided.
pub(crate) const DECISIONS_MAX: usize = 3;

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
    /// Bytes of entries in one batch before what follows from the same event comes in another.
    pub portion_bytes_max: usize,
    /// Where rooms are changed that are served elsewhere.
    pub router: Router,
}

impl RoomParts {
    /// Less than half of what a batch may have: an event with a body of 64 KiB fits on top.
    pub const PORTION_BYTES_MAX: usize = 48 * 1_024;
}

/// Changes rooms, wherever their slots are served. Clones are the same.
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
    pub(crate) bodies: Bodies,
    /// For rows of `Once` tables alone.
    pub(crate) store: Arc<dyn Store>,
    pub(crate) installs: Installs,
    pub(crate) forks: ForkedRooms,
    pub(crate) nodes: Nodes,
    pub(crate) portion_bytes_max: usize,
    router: Router,
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms")
            .field("server_name", &self.inner.server_name)
            .finish_non_exhaustive()
    }
}

/// An event that is in the room, applied and visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The event.
    pub event_id: OwnedEventId,
    /// Where it stands; for a repeated transaction, where the slot stood when it was recognised.
    #[serde(with = "travelling::position")]
    pub position: Position,
}

/// What somebody wants of a room.
#[derive(Debug, Serialize, Deserialize)]
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
    Submit(OwnedEventId, Written),
}

/// An event of our own, signed and allowed.
pub(crate) struct Built {
    pub(crate) pdu: Pdu,
    /// The state before it, unless that is the current one.
    pub(crate) before: Option<Before>,
}

/// An event, and whatever comes with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
            portion_bytes_max,
            router,
        } = parts;
        let reader = RoomReader::new(Arc::clone(&store));
        let cells = Cells::new(rooms_held_max);
        let inner = Inner {
            reader,
            logs,
            clock,
            random,
            server_name,
            key,
            cells,
            bodies: graph::bodies(),
            store,
            installs: Installs::default(),
            forks: ForkedRooms::new(),
            nodes: Nodes::new(),
            portion_bytes_max,
            router,
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
        self.change(room_id, Change::Event(event)).await
    }

    pub(crate) async fn change(&self, room_id: &RoomId, change: Change) -> Result<Sent, RoomError> {
        let room_id = room_id.to_owned();
        self.routed(ChangeRoom { room_id, change }).await
    }

    /// Has a command run where its slot is served.
    pub(crate) async fn routed<C>(&self, command: C) -> Result<C::Done, C::Refused>
    where
        C: Command<Self>,
    {
        // What is remembered of a room is void after another process served it: its basis says so.
        self.inner.router.run(self, &command).await.outcome
    }

    /// Decides on the room's memory under its lock, submits, and waits outside of the lock.
    pub(crate) async fn change_here(
        &self,
        room_id: &RoomId,
        change: &Change,
    ) -> Result<Sent, RoomError> {
        let cell = self.inner.cells.cell(room_id);
        for _ in 0..DECISIONS_MAX {
            let decided = self.inner.decide_under_lock(room_id, &cell, change).await;
            let (event_id, ticket) = match decided {
                Err(RoomError::Append(AppendError::Stale)) => continue,
                decided => decided?,
            };
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
        let mut held = cell.lock().await;
        // Out of the cell while it is changed: whoever is dropped in the middle takes it along.
        let mut hot = self.loaded(room_id, &mut held).await?;
        let decided = match self.decide(&mut hot, change).await {
            Ok(decided) => decided,
            Err(error) => {
                // The memory of any other is ahead of what was submitted.
                let is_refused = !matches!(error, RoomError::Append(_) | RoomError::Store(_));
                *held = Some(hot).filter(|_| is_refused);
                return Err(error);
            }
        };
        let (event_id, written) = match decided {
            // A barrier in the same generation: the event is there when it resolves.
            Decided::Already(event_id) => (event_id, Written::nothing()),
            Decided::Submit(event_id, written) => (event_id, written),
        };
        let submitted = self.submit(&hot, written).await?;
        *held = Some(hot).filter(|_| submitted.whole);
        Ok((event_id, submitted.ticket))
    }

    async fn decide(&self, hot: &mut Hot, change: &Change) -> Result<Decided, RoomError> {
        match change {
            Change::Event(event) => self.decide_event(hot, event.clone()).await,
            Change::Membership(change) => self.decide_membership(hot, change.clone()).await,
            Change::Redaction(redaction) => self.decide_redaction(hot, redaction.clone()).await,
        }
    }

    /// The room's memory, loaded if there is none or if it is void, out of its cell. A room whose
    /// current state was left half way is brought to the end of it first.
    pub(crate) async fn loaded(
        &self,
        room_id: &RoomId,
        held: &mut Option<Hot>,
    ) -> Result<Hot, RoomError> {
        let slot = self.logs.slot_of(room_id.as_str());
        let basis = self.logs.basis(slot)?;
        if let Some(hot) = held.take().filter(|hot| hot.basis == basis) {
            return Ok(hot);
        }
        self.logs.barrier(slot).await?;
        let mut hot = Hot::load(&self.reader, room_id, slot, basis).await?;
        if hot.head.resolving {
            self.resolve_on(&mut hot).await?;
        }
        Ok(hot)
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
        let built = self.build_in(hot, draft, timestamp).await?;
        if let Some(event_id) = hot.holds_already(&built.pdu) {
            return Ok(Decided::Already(event_id));
        }
        self.accept(hot, built, transaction, Effect::Nothing).await
    }

    pub(crate) async fn accept(
        &self,
        hot: &mut Hot,
        built: Built,
        transaction: Option<TransactionKey>,
        effect: Effect,
    ) -> Result<Decided, RoomError> {
        let circumstances = Circumstances {
            now_ms: self.clock.now_ms(),
            server_name: &self.server_name,
            transaction,
            effect,
        };
        let Built { pdu, before } = built;
        let written = match before {
            None => Written::of(hot.accept(&pdu, circumstances)),
            Some(before) => {
                self.take_ours_forked(hot, &pdu, &before, circumstances)
                    .await?
            }
        };
        Ok(Decided::Submit(pdu.event_id().to_owned(), written))
    }

    /// Builds an event at the room's end and checks it against the room's state.
    pub(crate) async fn build_in(
        &self,
        hot: &mut Hot,
        draft: Draft,
        timestamp: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Result<Built, RoomError> {
        let keys = draft
            .auth_types(hot.rules)
            .map_err(|e| RoomError::bad_content(e.reason))?;
        hot.ensure(&self.reader, &keys).await?;
        if draft.event_type == "m.room.member"
            && let Some(user) = &draft.state_key
        {
            hot.ensure_member(&self.reader, user).await?;
        }
        if hot.head.forward_extremities.len() > ENDS_NAMED_MAX {
            return self.build_after_some_ends(hot, draft, timestamp).await;
        }
        let mut place = self.placement(hot, &keys, timestamp);
        if hot.names_with_hashes() {
            let held = |(event_type, key): &(StateEventType, String)| {
                hot.state(&event_type.to_string(), key).cloned()
            };
            let authority = keys.iter().filter_map(held).collect();
            place.reference_hashes = self.reference_hashes(hot, authority, &place).await?;
        }
        let pdu = build(draft, place, &self.key)?;
        allowed_now(hot, &pdu)?;
        self.check_authority(hot, &pdu).await?;
        Ok(Built { pdu, before: None })
    }

    /// That nothing rejected stands behind an event of ours: others would have to reject it. The state
    /// may hold such an event, which came into it as an outlier.
    pub(crate) async fn check_authority(&self, hot: &mut Hot, pdu: &Pdu) -> Result<(), RoomError> {
        for id in pdu.auth_events() {
            if hot.is_usable(id) {
                continue;
            }
            let judged = match hot.under_way.get(id) {
                Some(judged) => Some(judged.clone()),
                None => self.graph(hot).judged(id).await?,
            };
            match judged {
                Some(Judged::Rejected(_)) => {
                    let reason = "what would authorise this is an event that was rejected here";
                    return Err(RoomError::forbidden(reason));
                }
                Some(Judged::Usable(_)) => hot.vouch_for(id),
                None => {}
            }
        }
        Ok(())
    }

    pub(crate) fn placement<'r>(
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

/// Checks an event against the room's state. What decides on it must be in memory.
pub(crate) fn allowed_now(hot: &Hot, pdu: &Pdu) -> Result<(), RoomError> {
    check_auth(pdu, hot.rules, |event_type, state_key| {
        hot.state(&event_type.to_string(), state_key).cloned()
    })?;
    Ok(())
}
