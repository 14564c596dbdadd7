//! A room's state at a position.

use hanse_log::Position;
use hanse_store::{Direction, Range, StoreError, Value};
use ruma::{EventId, OwnedEventId, RoomId};

use super::{RoomReader, TimelineEvent};
use crate::tables::{
    BY_ID, ChangeRow, MEMBER_SHARDS, ROOM_STATE, ROOM_STATE_CHANGES, ROOM_STATE_VERSIONS, StateRow,
    corrupt, shard_of,
};

/// The value of one state key at a position: which event holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateAt {
    /// The event type.
    pub event_type: String,
    /// The state key.
    pub state_key: String,
    /// The event.
    pub event_id: OwnedEventId,
    /// When it took effect.
    pub position: Position,
    /// For `m.room.member`: `content.membership`.
    pub membership: Option<String>,
    bucket: i64,
}

impl StateAt {
    /// Whether the event stands in the timeline, so that it was never anything but accepted.
    pub(crate) fn is_in_timeline(&self) -> bool {
        self.bucket >= 0
    }
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChangeAt {
    /// When it took effect.
    pub position: Position,
    /// The event type.
    pub event_type: String,
    /// The state key.
    pub state_key: String,
    /// The event that holds the key from here on; `None`: state resolution left it without one.
    pub event_id: Option<OwnedEventId>,
    /// The event that held it before.
    pub previous_event_id: Option<OwnedEventId>,
}

impl StateAt {
    /// `None`: the row says that the key has no value.
    fn of(row: StateRow) -> Result<Option<Self>, StoreError> {
        let Some(event_id) = present_id(row.event_id)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            event_id,
            event_type: row.event_type,
            state_key: row.state_key,
            position: row.position,
            membership: row.membership,
            bucket: row.bucket,
        }))
    }
}

impl RoomReader {
    /// The event that holds a state key as of a position ([`Position::END`]: now).
    pub async fn state(
        &self,
        room_id: &RoomId,
        event_type: &str,
        state_key: &str,
        at: Position,
    ) -> Result<Option<StateAt>, StoreError> {
        if !self.is_here(room_id).await? {
            return Ok(None);
        }
        self.value(room_id, event_type, state_key, at).await
    }

    /// The same, of a state that is shown to nobody yet.
    pub(crate) async fn value(
        &self,
        room_id: &RoomId,
        event_type: &str,
        state_key: &str,
        at: Position,
    ) -> Result<Option<StateAt>, StoreError> {
        let key = StateRow::key(room_id.as_str(), event_type, state_key);
        let Some(row) = self.get(&ROOM_STATE, &key).await? else {
            return Ok(None);
        };
        let current = StateRow::read(&row)?;
        self.as_of(room_id, current, at).await
    }

    /// The same, with the event itself.
    pub async fn state_event(
        &self,
        room_id: &RoomId,
        event_type: &str,
        state_key: &str,
        at: Position,
    ) -> Result<Option<TimelineEvent>, StoreError> {
        match self.state(room_id, event_type, state_key, at).await? {
            Some(state) => self.state_body(room_id, &state).await,
            None => Ok(None),
        }
    }

    /// The event that a state value names.
    pub async fn state_body(
        &self,
        room_id: &RoomId,
        state: &StateAt,
    ) -> Result<Option<TimelineEvent>, StoreError> {
        self.body(room_id, state.bucket, state.position, &state.event_id)
            .await
    }

    /// The event that a change gave its key, shown or not; `None`: the key has no value from there on.
    pub async fn changed_to(
        &self,
        room_id: &RoomId,
        change: &StateChangeAt,
    ) -> Result<Option<TimelineEvent>, StoreError> {
        let Some(event_id) = &change.event_id else {
            return Ok(None);
        };
        self.body(room_id, BY_ID, change.position, event_id).await
    }

    /// The event of a row, at the row's own position unless the row says otherwise. One that is not
    /// shown is given all the same: state may name it.
    pub(crate) async fn body(
        &self,
        room_id: &RoomId,
        bucket: i64,
        position: Position,
        event_id: &EventId,
    ) -> Result<Option<TimelineEvent>, StoreError> {
        if bucket != BY_ID {
            return self.event_at(room_id, bucket, position).await;
        }
        let known = self.known(room_id, event_id).await?;
        Ok(known.map(|known| known.event))
    }

    /// All state but the memberships, as of a position.
    pub async fn plain_state(
        &self,
        room_id: &RoomId,
        at: Position,
    ) -> Result<Vec<StateAt>, StoreError> {
        self.shard(room_id, 0, at).await
    }

    /// All memberships, as of a position.
    pub async fn members(
        &self,
        room_id: &RoomId,
        at: Position,
    ) -> Result<Vec<StateAt>, StoreError> {
        let mut members = Vec::new();
        for shard in 1..=MEMBER_SHARDS {
            members.extend(self.shard(room_id, shard, at).await?);
        }
        Ok(members)
    }

    /// Some members whose membership is one of these, at most `limit`: a bounded look, however many
    /// there are.
    pub async fn some_members(
        &self,
        room_id: &RoomId,
        memberships: &[&str],
        limit: usize,
    ) -> Result<Vec<StateAt>, StoreError> {
        const LOOKED_AT_MAX: usize = 64;
        let mut members = Vec::new();
        if !self.is_here(room_id).await? {
            return Ok(members);
        }
        for shard in 1..=MEMBER_SHARDS {
            let partition = StateRow::partition(room_id.as_str(), shard);
            let range = Range::all();
            let page = self
                .page(
                    &ROOM_STATE,
                    partition,
                    range,
                    Direction::Forward,
                    LOOKED_AT_MAX,
                )
                .await?;
            for row in &page.rows {
                let wanted = |member: &StateAt| {
                    let membership = member.membership.as_deref();
                    membership.is_some_and(|m| memberships.contains(&m))
                };
                members.extend(StateAt::of(StateRow::read(row)?)?.filter(wanted));
            }
            if members.len() >= limit {
                break;
            }
        }
        members.truncate(limit);
        Ok(members)
    }

    /// Every value that a key has had up to a position, oldest first, with the position from which it
    /// held; `None`: it had none.
    pub async fn state_versions(
        &self,
        room_id: &RoomId,
        event_type: &str,
        state_key: &str,
        up_to: Position,
    ) -> Result<Vec<(Position, Option<StateAt>)>, StoreError> {
        let from = Position::from_packed(i64::MIN);
        self.state_versions_between(room_id, (event_type, state_key), from, up_to)
            .await
    }

    /// The values that a key got in `(after, up_to]`, oldest first.
    pub async fn state_versions_between(
        &self,
        room_id: &RoomId,
        (event_type, state_key): (&str, &str),
        after: Position,
        up_to: Position,
    ) -> Result<Vec<(Position, Option<StateAt>)>, StoreError> {
        if !self.is_here(room_id).await? {
            return Ok(Vec::new());
        }
        let bound = |at: Position| -> Vec<Value> {
            vec![event_type.into(), state_key.into(), at.packed().into()]
        };
        let range = Range::after(bound(after)).up_to(bound(up_to));
        let partition = StateRow::partition(room_id.as_str(), shard_of(event_type, state_key));
        let rows = self.all(&ROOM_STATE_VERSIONS, partition, range).await?;
        let version = |row| {
            let row = StateRow::read_version(row)?;
            Ok((row.position, StateAt::of(row)?))
        };
        rows.iter().map(version).collect()
    }

    /// The changes in `(after, up_to]`, oldest first.
    pub async fn state_changes(
        &self,
        room_id: &RoomId,
        after: Position,
        up_to: Position,
    ) -> Result<Vec<StateChangeAt>, StoreError> {
        let mut buckets = self.arrival_buckets_back(room_id, after, up_to).await?;
        buckets.reverse();
        let mut changes = Vec::new();
        for bucket in buckets {
            let range =
                Range::after(vec![after.packed().into()]).up_to(vec![up_to.packed().into()]);
            let partition = ChangeRow::partition(room_id.as_str(), bucket);
            for row in self.all(&ROOM_STATE_CHANGES, partition, range).await? {
                changes.push(change_at(ChangeRow::read(&row)?)?);
            }
        }
        Ok(changes)
    }

    pub(crate) async fn shard(
        &self,
        room_id: &RoomId,
        shard: i64,
        at: Position,
    ) -> Result<Vec<StateAt>, StoreError> {
        if !self.is_here(room_id).await? {
            return Ok(Vec::new());
        }
        let partition = StateRow::partition(room_id.as_str(), shard);
        let rows = self.all(&ROOM_STATE, partition, Range::all()).await?;
        let mut state = Vec::with_capacity(rows.len());
        for row in &rows {
            state.extend(self.as_of(room_id, StateRow::read(row)?, at).await?);
        }
        Ok(state)
    }

    /// The current value where it is old enough; else the version that was current then.
    async fn as_of(
        &self,
        room_id: &RoomId,
        current: StateRow,
        at: Position,
    ) -> Result<Option<StateAt>, StoreError> {
        if current.position <= at {
            return StateAt::of(current);
        }
        let StateRow {
            event_type,
            state_key,
            ..
        } = current;
        let key: Vec<Value> = vec![event_type.as_str().into(), state_key.as_str().into()];
        let mut to = key.clone();
        to.push(at.packed().into());
        let partition = StateRow::partition(room_id.as_str(), shard_of(&event_type, &state_key));
        let range = Range::at_least(key).up_to(to);
        let page = self
            .page(
                &ROOM_STATE_VERSIONS,
                partition,
                range,
                Direction::Backward,
                1,
            )
            .await?;
        match page.rows.first() {
            Some(row) => StateAt::of(StateRow::read_version(row)?),
            None => Ok(None),
        }
    }
}

/// An id of a row in which an empty one stands for none.
fn present_id(event_id: String) -> Result<Option<OwnedEventId>, StoreError> {
    if event_id.is_empty() {
        return Ok(None);
    }
    let event_id = event_id.try_into().map_err(|e| corrupt(&ROOM_STATE, e))?;
    Ok(Some(event_id))
}

fn change_at(row: ChangeRow) -> Result<StateChangeAt, StoreError> {
    let wrong = |e| corrupt(&ROOM_STATE_CHANGES, e);
    Ok(StateChangeAt {
        position: row.position,
        event_type: row.event_type,
        state_key: row.state_key,
        event_id: present_id(row.event_id)?,
        previous_event_id: row
            .previous_event_id
            .map(TryInto::try_into)
            .transpose()
            .map_err(wrong)?,
    })
}
