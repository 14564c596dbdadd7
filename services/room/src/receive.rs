//! Events from elsewhere ([spec]): judged, given their place in the graph, and kept.
//!
//! Whoever calls has fetched what is missing: an event whose `prev_events` or `auth_events` have not
//! arrived is not taken, and its [`Fate`] says what is missing. Nothing here waits for the network.
//!
//! An event whose `prev_events` are the room's forward extremities takes the way of an event of our
//! own ([`linear`]). Any other waits until everything before it is applied, since it is judged and
//! placed from the archives ([`forked`]).
//!
//! [spec]: https://spec.matrix.org/v1.16/server-server-api/#checks-performed-on-receipt-of-a-pdu

mod backfill;
mod besides;
mod fetched;
mod forked;
mod handed;
mod linear;
mod outliers;
mod placing;
mod redactions;
mod rejoined;
mod resolving;

use std::{collections::HashMap, ops::ControlFlow};

pub(crate) use self::{forked::Before, outliers::outlier_event, placing::ends};

use hanse_event::{Judged, Pdu, Received, Verdict};
use hanse_log::{AppendError, Ticket};
use hanse_proto::room::{EventStatus, EventStatusChanged};
use ruma::{EventId, OwnedEventId, RoomId, events::TimelineEventType};
use serde::{Deserialize, Serialize};

pub use self::fetched::{FETCHED_IDS_MAX, Fetched};
pub(crate) use self::handed::{BackfillEvents, ReceiveFetched, ReceiveOutliers};
use self::handed::{Handed, Way};
use crate::{
    GapAt, RoomError, Rooms,
    commands::{ReceiveEvents, SignedEvent},
    graph::Graph,
    hot::{self, Hot},
    install::version_of,
    rooms::{DECISIONS_MAX, Inner},
    written::{Submitted, Written},
};

/// Events that are taken at once.
pub const RECEIVED_MAX: usize = 100;

/// Events under way that are remembered before the log is waited for.
pub(crate) const UNDER_WAY_MAX: usize = 256;

/// What became of an event from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// The event.
    pub event_id: OwnedEventId,
    /// What became of it.
    pub fate: Fate,
}

/// What became of an event from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It is in the timeline.
    Accepted,
    /// Allowed where it stands, but not by the room's current state: kept, not shown.
    SoftFailed {
        /// The rule, for people.
        reason: String,
    },
    /// Not allowed: kept so as not to be fetched again, and used for nothing.
    Rejected {
        /// The rule, for people.
        reason: String,
    },
    /// Kept without a place in the graph: others may cite it.
    Outlier,
    /// It had arrived before.
    Known,
    /// Not taken: these events have to come before it.
    Missing {
        /// The events.
        events: Vec<OwnedEventId>,
    },
    /// Backfill that was not taken: nothing in the room has it behind itself.
    Unconnected,
}

/// What a decision on an event came to.
struct Decision {
    fate: Fate,
    written: Written,
}

/// The events that an event names as authorising it, and the create event.
type AuthEvents = HashMap<OwnedEventId, Judged>;

/// An event that is to be decided, and what is known of it.
struct Coming<'a> {
    pdu: &'a Pdu,
    auth_events: AuthEvents,
    /// Set if it is known as an outlier.
    changed: Option<EventStatusChanged>,
    /// The gaps in which it was missing.
    fills: Vec<GapAt>,
    /// Whether it is all that the room ends in from now on.
    begins_anew: bool,
}

impl Rooms {
    /// Takes events of one room from elsewhere, in this order; those before others first. Returns
    /// when what was taken is durable and visible.
    ///
    /// A room that is not known here begins with its create event.
    pub async fn receive(
        &self,
        room_id: &RoomId,
        events: Vec<Received>,
    ) -> Result<Vec<Arrived>, RoomError> {
        check_events(room_id, events.iter())?;
        let command = ReceiveEvents {
            room_id: room_id.to_owned(),
            events: signed(events),
        };
        self.routed(command).await
    }
}

/// Bounds what is handed over at once.
fn check_events<'a>(
    room_id: &RoomId,
    events: impl ExactSizeIterator<Item = &'a Received>,
) -> Result<(), RoomError> {
    if events.len() > RECEIVED_MAX {
        let reason = format!("more than {RECEIVED_MAX} events at once");
        return Err(RoomError::TooLarge { reason });
    }
    for event in events {
        if event.pdu.room_id() != room_id {
            return Err(RoomError::bad_content("an event of another room"));
        }
    }
    Ok(())
}

fn signed(events: Vec<Received>) -> Vec<SignedEvent> {
    let events = events.into_iter();
    events.map(|event| SignedEvent(event.pdu)).collect()
}

impl Inner {
    /// Decides on events one after the other under the room's lock.
    pub(crate) async fn receive_here(
        &self,
        handed: &Handed<'_>,
    ) -> Result<Vec<Arrived>, RoomError> {
        for _ in 0..DECISIONS_MAX {
            match self.receive_once(handed).await {
                // What had landed is known the next time.
                Err(RoomError::Append(AppendError::Stale)) => {}
                done => return done,
            }
        }
        Err(AppendError::Stale.into())
    }

    async fn receive_once(&self, handed: &Handed<'_>) -> Result<Vec<Arrived>, RoomError> {
        let (arrived, tickets, dummy) = self.receive_under_lock(handed).await?;
        for ticket in tickets {
            ticket.applied().await?;
        }
        if let Some(dummy) = dummy {
            // Should it not land, another one will.
            dummy.applied().await.ok();
        }
        Ok(arrived)
    }

    async fn receive_under_lock(
        &self,
        handed: &Handed<'_>,
    ) -> Result<(Vec<Arrived>, Vec<Ticket>, Option<Ticket>), RoomError> {
        let cell = self.cells.cell(handed.room_id);
        let mut held = cell.lock().await;
        let first = handed.events.first().map(|(pdu, _)| *pdu);
        // Out of the cell while it is changed, and not put back unless all was submitted.
        let mut hot = self
            .loaded_or_begun(handed.room_id, first, &mut held)
            .await?;
        let (mut arrived, mut tickets) = (Vec::new(), Vec::new());
        self.decide_all(&mut hot, handed, &mut arrived, &mut tickets)
            .await?;
        let Ok(dummy) = self.bring_ends_together(&mut hot).await else {
            // What has arrived has arrived.
            metrics::counter!("hanse_room_dummy_events_failed_total").increment(1);
            return Ok((arrived, tickets, None));
        };
        let whole = dummy.as_ref().is_none_or(|dummy| dummy.whole);
        *held = Some(hot).filter(|_| whole);
        Ok((arrived, tickets, dummy.map(|dummy| dummy.ticket)))
    }

    async fn decide_all(
        &self,
        hot: &mut Hot,
        handed: &Handed<'_>,
        arrived: &mut Vec<Arrived>,
        tickets: &mut Vec<Ticket>,
    ) -> Result<(), RoomError> {
        let backfill = match handed.way {
            Way::Backfill => self.plan_backfill(hot, handed).await?,
            Way::Timeline | Way::Outliers => Vec::new(),
        };
        for (number, (pdu, states)) in handed.events.iter().enumerate() {
            let decision = match handed.way {
                Way::Timeline => self.receive_one(hot, pdu, states).await?,
                Way::Outliers => self.keep_outlier(hot, pdu).await?,
                Way::Backfill => match backfill.get(number).copied().flatten() {
                    Some(position) => self.backfill_one(hot, pdu, states, position).await?,
                    None => Decision::nothing(Fate::Unconnected),
                },
            };
            arrived.push(Arrived {
                event_id: pdu.event_id().to_owned(),
                fate: self.submitted(hot, decision, tickets).await?,
            });
        }
        Ok(())
    }

    /// Loads the room; one that is not known begins if its create event is here.
    async fn loaded_or_begun(
        &self,
        room_id: &RoomId,
        first: Option<&Pdu>,
        held: &mut Option<Hot>,
    ) -> Result<Hot, RoomError> {
        let error = match self.loaded(room_id, held).await {
            Ok(hot) => return Ok(hot),
            Err(error) => error,
        };
        let create = first.filter(|pdu| *pdu.event_type() == TimelineEventType::RoomCreate);
        let (RoomError::UnknownRoom { .. }, Some(create)) = (&error, create) else {
            return Err(error);
        };
        if self.installs.is_under_way(room_id) {
            return Err(error);
        }
        let slot = self.logs.slot_of(room_id.as_str());
        let version = version_of(create)?;
        Hot::empty(room_id.to_owned(), slot, self.logs.basis(slot)?, &version)
    }

    async fn submitted(
        &self,
        hot: &Hot,
        decision: Decision,
        tickets: &mut Vec<Ticket>,
    ) -> Result<Fate, RoomError> {
        if decision.written.is_nothing() {
            return Ok(decision.fate);
        }
        let Submitted { ticket, whole } = self.submit(hot, decision.written).await?;
        tickets.push(ticket);
        if whole {
            Ok(decision.fate)
        } else {
            Err(AppendError::Stale.into())
        }
    }

    async fn receive_one(
        &self,
        hot: &mut Hot,
        pdu: &Pdu,
        states: &[Vec<OwnedEventId>],
    ) -> Result<Decision, RoomError> {
        let mut coming = match self.coming(hot, pdu).await? {
            ControlFlow::Continue(coming) => coming,
            ControlFlow::Break(fate) => return Ok(Decision::nothing(fate)),
        };
        if follows_the_end(hot, pdu) {
            let decision = self.receive_linear(hot, pdu, &coming.auth_events).await?;
            return Ok(decision.with(&coming, None));
        }
        self.settle(hot).await?;
        coming.fills = self
            .reader
            .gaps_without(&hot.room_id, pdu.event_id())
            .await?;
        self.receive_forked(hot, &coming, states).await
    }

    /// What is known of an event that is to be decided; or what became of it before.
    async fn coming<'a>(
        &self,
        hot: &mut Hot,
        pdu: &'a Pdu,
    ) -> Result<ControlFlow<Fate, Coming<'a>>, RoomError> {
        if hot.under_way.len() >= UNDER_WAY_MAX || hot.outliers.contains(pdu.event_id()) {
            self.settle(hot).await?;
        }
        let Some(changed) = self.before_its_place(hot, pdu.event_id()).await? else {
            return Ok(ControlFlow::Break(Fate::Known));
        };
        let (auth_events, missing) = self.auth_events(hot, pdu).await?;
        if !missing.is_empty() {
            return Ok(ControlFlow::Break(Fate::Missing { events: missing }));
        }
        Ok(ControlFlow::Continue(Coming {
            pdu,
            auth_events,
            changed: Some(changed).filter(|changed| changed.previous != 0),
            fills: Vec::new(),
            begins_anew: false,
        }))
    }

    /// Waits until everything that was decided on the room is in the archives.
    pub(crate) async fn settle(&self, hot: &mut Hot) -> Result<(), RoomError> {
        self.logs.barrier(hot.slot).await?;
        // What was refused meanwhile has voided this memory.
        if self.logs.basis(hot.slot)? != hot.basis {
            return Err(AppendError::Stale.into());
        }
        // Until now the archives had these whole, for whoever read them.
        for pruned in hot.pruned.drain(..) {
            self.bodies.invalidate(&pruned);
            self.forks.forget(&hot.room_id);
        }
        hot.under_way.clear();
        hot.outliers.clear();
        Ok(())
    }

    /// What an event is that has no place in the graph: nothing, or an outlier. `None`: it has one.
    async fn before_its_place(
        &self,
        hot: &Hot,
        event_id: &EventId,
    ) -> Result<Option<EventStatusChanged>, RoomError> {
        if hot.under_way.contains_key(event_id) {
            return Ok(None);
        }
        let Some(place) = self.reader.place(event_id).await? else {
            return Ok(Some(EventStatusChanged::default()));
        };
        let was = |arrived_position| EventStatusChanged {
            previous: place.status,
            arrived_position,
        };
        let has_no_place = match EventStatus::try_from(place.status) {
            Ok(EventStatus::Outlier) => Some(was(place.position.packed())),
            // Refused as an outlier: without a state.
            Ok(EventStatus::Rejected) if !place.is_backfilled() => {
                let state = self.reader.event_state(event_id).await?;
                state.is_none().then(|| was(0))
            }
            _ => None,
        };
        Ok(has_no_place)
    }

    /// The events that authorise an event, and which of them have not arrived.
    async fn auth_events(
        &self,
        hot: &Hot,
        pdu: &Pdu,
    ) -> Result<(AuthEvents, Vec<OwnedEventId>), RoomError> {
        let (mut known, mut missing) = (AuthEvents::new(), Vec::new());
        let implied = implied_create(hot, pdu);
        for id in pdu.auth_events().iter().chain(implied.as_ref()) {
            let judged = match hot.under_way.get(id) {
                Some(judged) => Some(judged.clone()),
                None => self.graph(hot).judged(id).await?,
            };
            match judged {
                Some(judged) => {
                    known.insert(id.clone(), judged);
                }
                None => missing.push(id.clone()),
            }
        }
        Ok((known, missing))
    }

    pub(crate) fn graph<'a>(&'a self, hot: &'a Hot) -> Graph<'a> {
        Graph {
            reader: &self.reader,
            room_id: &hot.room_id,
            rules: hot.rules,
            bodies: &self.bodies,
            forks: &self.forks,
            coming: None,
        }
    }
}

impl Decision {
    fn nothing(fate: Fate) -> Self {
        Self {
            fate,
            written: Written::nothing(),
        }
    }
}

impl Fate {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Accepted(_) => Self::Accepted,
            Verdict::SoftFailed(failed) => Self::SoftFailed {
                reason: failed.reason.reason.clone(),
            },
            Verdict::Rejected(rejected) => Self::Rejected {
                reason: rejected.reason.reason.clone(),
            },
        }
    }
}

/// Whether an event's `prev_events` are all of the room's forward extremities, and no other.
fn follows_the_end(hot: &Hot, pdu: &Pdu) -> bool {
    let ends = &hot.head.forward_extremities;
    let is_end = |id: &OwnedEventId| ends.iter().any(|end| end == id.as_str());
    let is_named = |end: &String| pdu.prev_events().iter().any(|id| id.as_str() == end);
    pdu.prev_events().iter().all(is_end) && ends.iter().all(is_named)
}

/// From room version 12 on, events do not name the create event: the room's id does.
fn implied_create(hot: &Hot, pdu: &Pdu) -> Option<OwnedEventId> {
    let is_create = *pdu.event_type() == TimelineEventType::RoomCreate;
    if is_create {
        return None;
    }
    hot::implied_create(&hot.room_id, hot.rules)
}
