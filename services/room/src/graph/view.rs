//! A state as whoever compares it sees it.

use std::sync::Arc;

use hanse_log::Position;
use ruma::OwnedEventId;

use super::Graph;
use crate::{
    RoomError,
    read::{Chain, Delta, StateKey},
};

/// A state: the linear history at a position, and all that differs from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) base: Position,
    pub(crate) delta: Arc<Delta>,
}

impl View {
    pub(crate) fn of(chain: &Chain) -> Self {
        Self {
            base: chain.base,
            delta: Arc::new(chain.delta()),
        }
    }

    /// The current state as of a position.
    pub(crate) fn linear(base: Position) -> Self {
        Self {
            base,
            delta: Arc::default(),
        }
    }

    /// The state with some more changes on top.
    pub(crate) fn with(&self, over: &Delta) -> Self {
        if over.is_empty() {
            return self.clone();
        }
        let mut delta = Delta::clone(&self.delta);
        delta.extend(over.clone());
        Self {
            base: self.base,
            delta: Arc::new(delta),
        }
    }
}

impl Graph<'_> {
    /// The event that holds a key of a state.
    pub(crate) async fn value(
        &self,
        view: &View,
        key: &StateKey,
    ) -> Result<Option<OwnedEventId>, RoomError> {
        if let Some(value) = view.delta.get(key) {
            return Ok(value.clone());
        }
        let (event_type, state_key) = key;
        let held = self
            .reader
            .state(self.room_id, event_type, state_key, view.base)
            .await?;
        Ok(held.map(|state| state.event_id))
    }
}
