//! The state at an event, wherever in the graph it stands: by reference to the linear history and
//! to nodes on top of it.

use std::{collections::BTreeMap, sync::Arc};

use hanse_log::Position;
use hanse_proto::room::EventStatus;
use hanse_store::{Range, StoreError};
use moka::sync::Cache;
use ruma::{EventId, OwnedEventId, RoomId};

use super::RoomReader;
use crate::tables::{
    EventStateRow, MEMBER_SHARDS, NodeName, ROOM_EVENT_STATES, ROOM_STATE_NODES, StateNodeRow,
    corrupt,
};

/// Nodes in one chain: each is at least twice as large as the next, so that this is never reached.
const CHAIN_NODES_MAX: usize = 64;

/// Type and state key.
pub(crate) type StateKey = (String, String);

/// Changes of state; `None`: the key has no value.
pub(crate) type Delta = BTreeMap<StateKey, Option<OwnedEventId>>;

/// The events that hold a room's state, by type and state key.
pub type StateIds = BTreeMap<(String, String), OwnedEventId>;

/// A node of a chain.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The event that introduced it.
    pub(crate) id: OwnedEventId,
    pub(crate) values: Arc<Delta>,
}

/// Bytes of nodes that are kept.
const NODES_BYTES_MAX: u64 = 32 * 1_024 * 1_024;

/// Nodes, and what lies below each. A node never changes once it is applied; for readers that do not
/// look beyond that.
#[derive(Clone, Debug)]
pub(crate) struct Nodes(Cache<OwnedEventId, (Node, Option<String>)>);

impl Nodes {
    pub(crate) fn new() -> Self {
        let weight = |_: &OwnedEventId, (node, _): &(Node, _)| {
            u32::try_from(256 * (1 + node.values.len())).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder()
            .weigher(weight)
            .max_capacity(NODES_BYTES_MAX)
            .build();
        Self(cache)
    }
}

/// A state by reference: the linear history at a position, and the nodes on top of it.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) base: Position,
    /// The lowest first.
    pub(crate) nodes: Vec<Node>,
}

impl Chain {
    /// The current state as of a position.
    pub(crate) fn linear(base: Position) -> Self {
        Self {
            base,
            nodes: Vec::new(),
        }
    }

    /// Whether it is the same by reference.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let top = |chain: &Self| chain.nodes.last().map(|node| node.id.clone());
        self.base == other.base && top(self) == top(other)
    }

    /// Everything that differs from the base.
    pub(crate) fn delta(&self) -> Delta {
        let values = self.nodes.iter().flat_map(|node| node.values.iter());
        values
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

impl RoomReader {
    /// The events that hold the state after an event (of a rejected one: before it). `None`: the
    /// event is not known in this room, or not with a state.
    pub async fn state_after(
        &self,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Option<StateIds>, StoreError> {
        match self.chain_of(room_id, event_id, None).await? {
            Some(chain) => self.laid_out(room_id, &chain).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same before the event.
    pub async fn state_before(
        &self,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Option<StateIds>, StoreError> {
        let Some(known) = self.known(room_id, event_id).await? else {
            return Ok(None);
        };
        let Some(row) = self.event_state(event_id).await? else {
            if !follows_the_history(known.status, known.event.position) {
                return Ok(None);
            }
            let before = Position::from_packed(known.event.position.packed() - 1);
            let state = self.laid_out(room_id, &Chain::linear(before)).await?;
            return Ok(Some(state));
        };
        let Some(mut state) = self.state_after(room_id, event_id).await? else {
            return Ok(None);
        };
        let pdu = &known.event.pdu;
        if let Some(state_key) = pdu
            .state_key()
            .filter(|_| known.status != EventStatus::Rejected)
        {
            let key = (pdu.type_name().to_owned(), state_key.to_owned());
            match row.replaced {
                Some(replaced) => state.insert(key, event_id_of(replaced)?),
                None => state.remove(&key),
            };
        }
        Ok(Some(state))
    }

    /// The state after an event, by reference. `known`: only for events that are applied.
    pub(crate) async fn chain_of(
        &self,
        room_id: &RoomId,
        event_id: &EventId,
        known: Option<&Nodes>,
    ) -> Result<Option<Chain>, StoreError> {
        let place = self.place(event_id).await?;
        let Some(place) = place.filter(|place| place.room_id == room_id.as_str()) else {
            return Ok(None);
        };
        let Some(row) = self.event_state(event_id).await? else {
            let status = EventStatus::try_from(place.status).unwrap_or_default();
            let follows = follows_the_history(status, place.position);
            return Ok(follows.then(|| Chain::linear(place.position)));
        };
        let (base, mut next) = (row.base, row.node);
        let mut nodes = Vec::new();
        while let Some(node) = next {
            if nodes.len() == CHAIN_NODES_MAX {
                return Err(corrupt(&ROOM_EVENT_STATES, "a chain without an end"));
            }
            let id = event_id_of(node)?;
            let (node, parent) = match known.and_then(|known| known.0.get(&id)) {
                Some(known) => known,
                None => self.node(room_id, id, known).await?,
            };
            nodes.push(node);
            next = parent;
        }
        nodes.reverse();
        Ok(Some(Chain { base, nodes }))
    }

    /// A node, and the one below it.
    async fn node(
        &self,
        room_id: &RoomId,
        id: OwnedEventId,
        known: Option<&Nodes>,
    ) -> Result<(Node, Option<String>), StoreError> {
        let header = self.event_state(&id).await?;
        let header = header.ok_or_else(|| corrupt(&ROOM_EVENT_STATES, "a node is missing"))?;
        let name = NodeName {
            event_id: id.as_str(),
            apart: header.apart.as_deref(),
        };
        let values = Arc::new(self.node_values(room_id, &name).await?);
        let node = Node {
            id: id.clone(),
            values,
        };
        let read = (node, header.parent);
        if let Some(known) = known {
            known.0.insert(id, read.clone());
        }
        Ok(read)
    }

    pub(crate) async fn event_state(
        &self,
        event_id: &EventId,
    ) -> Result<Option<EventStateRow>, StoreError> {
        let key = EventStateRow::key(event_id.as_str());
        let row = self.get(&ROOM_EVENT_STATES, &key).await?;
        row.as_ref().map(EventStateRow::read).transpose()
    }

    async fn node_values(
        &self,
        room_id: &RoomId,
        node: &NodeName<'_>,
    ) -> Result<Delta, StoreError> {
        let partition = StateNodeRow::partition(room_id.as_str(), node);
        let mut values = Delta::new();
        for row in self.all(&ROOM_STATE_NODES, partition, Range::all()).await? {
            let row = StateNodeRow::read(&row)?;
            let value = row.event_id.map(event_id_of).transpose()?;
            values.insert((row.event_type, row.state_key), value);
        }
        Ok(values)
    }

    /// A whole state.
    pub(crate) async fn laid_out(
        &self,
        room_id: &RoomId,
        chain: &Chain,
    ) -> Result<StateIds, StoreError> {
        let mut state = StateIds::new();
        for shard in 0..=MEMBER_SHARDS {
            for value in self.shard(room_id, shard, chain.base).await? {
                state.insert((value.event_type, value.state_key), value.event_id);
            }
        }
        for (key, value) in chain.delta() {
            match value {
                Some(event_id) => state.insert(key, event_id),
                None => state.remove(&key),
            };
        }
        Ok(state)
    }
}

/// Whether an event without a row has the current state as of its own position: an outlier has no
/// state, nor has backfill before which nothing is known.
fn follows_the_history(status: EventStatus, position: Position) -> bool {
    status == EventStatus::Accepted && position > Position::START
}

fn event_id_of(text: String) -> Result<OwnedEventId, StoreError> {
    text.try_into().map_err(|e| corrupt(&ROOM_EVENT_STATES, e))
}
