//! What a room's owner keeps in memory: what sending needs, and no more.
//!
//! Invariant: the memory is what the archives will hold once everything submitted is applied; if a
//! submission fails, its [`Basis`] is void and the memory is loaded anew.

use std::collections::{HashMap, HashSet, VecDeque};

use hanse_event::{Judged, Pdu, power, room_version};
use hanse_log::{Basis, Position, Slot};
use hanse_proto::room::RoomHead;
use hanse_store::StoreError;
use ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId,
    events::{StateEventType, room::power_levels::RoomPowerLevels},
    room_version_rules::RoomVersionRules,
};

use crate::{RoomError, RoomReader, StateAt, tables::TransactionKey};

/// Memberships held for one room; beyond, all are forgotten and read again as needed.
const MEMBERS_HELD_MAX: usize = 2_000;
/// Transactions under way or just done, for each room. More than can be under way in a slot: those
/// that wait in its queue (2,048 submissions) and those in batches that are not applied yet.
const TRANSACTIONS_HELD_MAX: usize = 8_192;

/// Events known to be usable, for each room; beyond, all are forgotten and looked up again as needed.
const USABLE_HELD_MAX: usize = 4_096;

/// A loaded room.
pub(crate) struct Hot {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) slot: Slot,
    pub(crate) basis: Basis,
    pub(crate) rules: &'static RoomVersionRules,
    pub(crate) head: RoomHead,
    state: HashMap<String, HashMap<String, Option<Pdu>>>,
    /// Events of the state that are not rejected. One may come into it as an outlier, and be rejected at
    /// its place later.
    usable: HashSet<OwnedEventId>,
    transactions: HashMap<TransactionKey, OwnedEventId>,
    /// Their keys, oldest first.
    transactions_order: VecDeque<TransactionKey>,
    /// Events from elsewhere that were decided since the log was last waited for: they may not be in
    /// the archives yet.
    pub(crate) under_way: HashMap<OwnedEventId, Judged>,
    /// Those of them that have no place in the graph yet.
    pub(crate) outliers: HashSet<OwnedEventId>,
    /// State events that were pruned since.
    pub(crate) pruned: Vec<OwnedEventId>,
    /// Room version 2: those of the forward extremities that were accepted since the room was loaded.
    pub(crate) ends: Vec<Pdu>,
    /// When a dummy event was last sent, or could not be; Unix milliseconds.
    pub(crate) dummy_tried_at_ms: Option<i64>,
}

impl Hot {
    /// A room that has no event yet.
    pub(crate) fn empty(
        room_id: OwnedRoomId,
        slot: Slot,
        basis: Basis,
        version: &RoomVersionId,
    ) -> Result<Self, RoomError> {
        let rules = room_version::rules(version)?;
        let head = RoomHead {
            room_version: version.to_string(),
            ..RoomHead::default()
        };
        Ok(Self {
            room_id,
            slot,
            basis,
            rules,
            head,
            state: HashMap::new(),
            usable: HashSet::new(),
            transactions: HashMap::new(),
            transactions_order: VecDeque::new(),
            under_way: HashMap::new(),
            ends: Vec::new(),
            outliers: HashSet::new(),
            pruned: Vec::new(),
            dummy_tried_at_ms: None,
        })
    }

    /// Loads a room: its head, and all state but the memberships.
    pub(crate) async fn load(
        reader: &RoomReader,
        room_id: &RoomId,
        slot: Slot,
        basis: Basis,
    ) -> Result<Self, RoomError> {
        let Some(head) = reader.head(room_id).await? else {
            return Err(RoomError::UnknownRoom {
                room_id: room_id.to_owned(),
            });
        };
        let version = RoomVersionId::try_from(head.head.room_version.as_str())
            .map_err(RoomError::bad_content)?;
        let mut hot = Self::empty(room_id.to_owned(), slot, basis, &version)?;
        hot.head = head.head;
        for state in reader.plain_state(room_id, Position::END).await? {
            if let Some(event) = reader.state_body(room_id, &state).await? {
                if state.is_in_timeline() {
                    hot.vouch_for(event.pdu.event_id());
                }
                hot.hold(state.event_type, state.state_key, Some(event.pdu));
            }
        }
        Ok(hot)
    }

    /// Makes sure that these keys' values are in memory.
    pub(crate) async fn ensure(
        &mut self,
        reader: &RoomReader,
        keys: &[(StateEventType, String)],
    ) -> Result<(), StoreError> {
        for (event_type, state_key) in keys {
            if *event_type == StateEventType::RoomMember {
                self.ensure_member(reader, state_key).await?;
            }
        }
        Ok(())
    }

    /// Makes sure that a user's membership is in memory; other state always is.
    pub(crate) async fn ensure_member(
        &mut self,
        reader: &RoomReader,
        user_id: &str,
    ) -> Result<(), StoreError> {
        const MEMBER: &str = "m.room.member";
        let members = self.state.entry(MEMBER.to_owned()).or_default();
        if members.contains_key(user_id) {
            return Ok(());
        }
        if members.len() >= MEMBERS_HELD_MAX {
            members.clear();
        }
        let value = reader
            .state(&self.room_id, MEMBER, user_id, Position::END)
            .await?;
        let event = match &value {
            Some(value) => reader.state_body(&self.room_id, value).await?,
            None => None,
        };
        if let Some(value) = value.filter(StateAt::is_in_timeline) {
            self.vouch_for(&value.event_id);
        }
        self.hold(
            MEMBER.to_owned(),
            user_id.to_owned(),
            event.map(|event| event.pdu),
        );
        Ok(())
    }

    /// The current value of a state key. Memberships must be ensured before.
    pub(crate) fn state(&self, event_type: &str, state_key: &str) -> Option<&Pdu> {
        self.state.get(event_type)?.get(state_key)?.as_ref()
    }

    /// The state event that says the same already, from the same sender.
    pub(crate) fn holds_already(&self, pdu: &Pdu) -> Option<OwnedEventId> {
        let held = self.state(pdu.type_name(), pdu.state_key()?)?;
        let same = held.sender() == pdu.sender() && held.content().get() == pdu.content().get();
        same.then(|| held.event_id().to_owned())
    }

    /// Remembers that an event is not rejected.
    pub(crate) fn vouch_for(&mut self, event_id: &EventId) {
        if self.usable.len() >= USABLE_HELD_MAX {
            self.usable.clear();
        }
        self.usable.insert(event_id.to_owned());
    }

    /// Forgets it again.
    pub(crate) fn doubt(&mut self, event_id: &EventId) {
        self.usable.remove(event_id);
    }

    /// Whether an event is known not to be rejected.
    pub(crate) fn is_usable(&self, event_id: &EventId) -> bool {
        self.usable.contains(event_id)
    }

    pub(crate) fn hold(&mut self, event_type: String, state_key: String, pdu: Option<Pdu>) {
        self.state
            .entry(event_type)
            .or_default()
            .insert(state_key, pdu);
    }

    /// Puts a pruned event in the place of the event that it was.
    pub(crate) fn replace_held(&mut self, pruned: &Pdu) {
        let Some(state_key) = pruned.state_key() else {
            return;
        };
        let values = self.state.get_mut(pruned.type_name());
        if let Some(Some(held)) = values.and_then(|values| values.get_mut(state_key))
            && held.event_id() == pruned.event_id()
        {
            *held = pruned.clone();
        }
    }

    /// The power levels in force.
    pub(crate) fn power_levels(&self) -> Result<RoomPowerLevels, RoomError> {
        let unknown = || RoomError::UnknownRoom {
            room_id: self.room_id.clone(),
        };
        let create = self.state("m.room.create", "").ok_or_else(unknown)?;
        let levels = self.state("m.room.power_levels", "");
        power::power_levels(create, levels, self.rules).map_err(RoomError::bad_content)
    }

    /// Those with a power level of their own that lets them invite, creators first.
    pub(crate) fn users_who_may_invite(&self) -> Result<Vec<OwnedUserId>, RoomError> {
        let levels = self.power_levels()?;
        let creators = match self.state("m.room.create", "") {
            Some(create) => power::creators(create, self.rules).map_err(RoomError::bad_content)?,
            None => HashSet::new(),
        };
        let named = creators.into_iter().chain(levels.users.keys().cloned());
        Ok(named.filter(|user| levels.user_can_invite(user)).collect())
    }

    /// The event that a transaction became, if it is under way or just done.
    pub(crate) fn transaction(&self, key: &TransactionKey) -> Option<OwnedEventId> {
        self.transactions.get(key).cloned()
    }

    pub(crate) fn remember(&mut self, key: TransactionKey, event_id: OwnedEventId) {
        if self.transactions_order.len() == TRANSACTIONS_HELD_MAX
            && let Some(oldest) = self.transactions_order.pop_front()
        {
            self.transactions.remove(&oldest);
        }
        self.transactions_order.push_back(key.clone());
        self.transactions.insert(key, event_id);
    }
}

/// From room version 12 on, events do not name the create event: the room's id does.
pub(crate) fn implied_create(room_id: &RoomId, rules: &RoomVersionRules) -> Option<OwnedEventId> {
    if !rules.authorization.room_create_event_id_as_room_id {
        return None;
    }
    EventId::parse(format!("${}", room_id.strip_sigil())).ok()
}
