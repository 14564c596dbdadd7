//! Whole states resolved to one, each set of states once.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Context, Result};
use hanse_event::Pdu;
use parking_lot::Mutex;
use ruma::{EventId, OwnedEventId, room_version_rules::RoomVersionRules, state_res};

use crate::{
    State,
    chain::{auth_chain, subgraph},
};

/// Resolves states of one room. Clones share what they have resolved.
///
/// An event's id is the hash of what it says, so that the same states always become the same: whoever
/// feeds a graph in several orders has most of its states resolved once.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    rules: &'static RoomVersionRules,
    resolved: Arc<Mutex<HashMap<Vec<Content>, State>>>,
}

/// Everything that a state says: its values, and so their keys.
type Content = Vec<OwnedEventId>;

impl Resolver {
    pub(crate) fn new(rules: &'static RoomVersionRules) -> Self {
        Self {
            rules,
            resolved: Arc::default(),
        }
    }

    /// `fetch` knows every event of the states and behind them.
    pub(crate) fn resolve(
        &self,
        states: &[&State],
        fetch: impl Fn(&EventId) -> Option<Pdu> + Copy,
    ) -> Result<State> {
        let contents: Vec<Content> = states.iter().map(|state| content(state)).collect();
        if let Some(resolved) = self.resolved.lock().get(&contents) {
            return Ok(resolved.clone());
        }
        let resolved = self.resolve_anew(states, fetch)?;
        self.resolved.lock().insert(contents, resolved.clone());
        Ok(resolved)
    }

    fn resolve_anew(
        &self,
        states: &[&State],
        fetch: impl Fn(&EventId) -> Option<Pdu> + Copy,
    ) -> Result<State> {
        let version = self.rules.state_res.v2_rules();
        let version = version.context("a room version without state resolution")?;
        let chains = states.iter().map(|state| {
            let ids = state.values().cloned().collect();
            auth_chain(ids, fetch).into_iter().collect()
        });
        let resolved = state_res::resolve(
            &self.rules.authorization,
            version,
            states.iter().copied(),
            chains.collect(),
            fetch,
            |conflicts| Some(subgraph(conflicts, fetch).into_iter().collect()),
        );
        Ok(resolved?)
    }
}

fn content(state: &State) -> Content {
    let mut content: Content = state.values().cloned().collect();
    content.sort_unstable();
    content
}
