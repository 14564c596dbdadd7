//! A graph that grows from a seed.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use hanse_event::{Draft, Pdu, Placement, Received, build, build_create, check_auth, room_version};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId,
    UInt, events::StateEventType, room_version_rules::RoomVersionRules,
};
use serde_json::json;

use crate::{
    Reference, State,
    cast::{Cast, state},
    chain::auth_chain,
};

/// Versions that a graph may be of.
const VERSIONS: [RoomVersionId; 10] = [
    RoomVersionId::V3,
    RoomVersionId::V4,
    RoomVersionId::V5,
    RoomVersionId::V6,
    RoomVersionId::V7,
    RoomVersionId::V8,
    RoomVersionId::V9,
    RoomVersionId::V10,
    RoomVersionId::V11,
    RoomVersionId::V12,
];

/// Fewest and most events that follow a room's first ones.
const EVENTS: (usize, usize) = (12, 40);
/// How often an action is drawn that the auth rules allow, before one that they do not is sent.
const TRIES_MAX: usize = 6;

/// A graph of events, in the order in which it grew: what an event names comes before it.
pub struct Graph {
    /// What it grew from.
    pub seed: u64,
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its rules.
    pub rules: &'static RoomVersionRules,
    /// Signed and verified.
    pub events: Vec<Received>,
    cast: Cast,
    dice: ChaCha8Rng,
    reference: Reference,
}

impl Graph {
    /// Grows a graph.
    pub fn grow(seed: u64) -> Result<Self> {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let version = VERSIONS.choose(&mut dice).context("no versions")?.clone();
        let rules = room_version::rules(&version)?;
        let cast = Cast::new()?;
        let content = json!({ "n": seed.to_string() });
        let draft = state(cast.creator(), "m.room.create", "", &content)?;
        let localpart = format!("graph{seed}");
        let create = build_create(draft, &version, &localpart, time(0), &cast.key)?;
        let mut graph = Self {
            seed,
            room_id: create.room_id().to_owned(),
            rules,
            events: Vec::new(),
            cast,
            dice,
            reference: Reference::new(rules),
        };
        graph.keep(&create)?;
        graph.furnish()?;
        for _ in 0..graph.dice.random_range(EVENTS.0..EVENTS.1) {
            graph.add()?;
        }
        Ok(graph)
    }

    /// An order in which to feed the events: what an event names comes before it, all else is left
    /// to the dice.
    pub fn order(&self, dice: &mut ChaCha8Rng) -> Vec<&Received> {
        let mut waiting: Vec<&Received> = self.events.iter().collect();
        let mut order: Vec<&Received> = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let waits = |id: &OwnedEventId| waiting.iter().any(|e| e.pdu.event_id() == id);
            let ready = |event: &&Received| {
                let pdu = &event.pdu;
                !pdu.prev_events().iter().chain(pdu.auth_events()).any(waits)
            };
            let ready: Vec<usize> = (0..waiting.len())
                .filter(|at| waiting.get(*at).is_some_and(ready))
                .collect();
            let Some(next) = ready.choose(dice) else {
                break;
            };
            order.push(waiting.remove(*next));
        }
        order
    }

    /// A reference without events that knows what states of this graph are resolved to.
    pub(crate) fn reference(&self) -> Reference {
        self.reference.anew()
    }

    /// The state after an event, as another server tells it that has the whole graph.
    pub(crate) fn told(&self, id: &EventId) -> Result<&State> {
        Ok(&self.reference.around(id)?.after)
    }

    /// Events with everything in their auth chains, in the order of the graph.
    pub(crate) fn with_chains<'a>(
        &'a self,
        ids: impl IntoIterator<Item = &'a OwnedEventId>,
    ) -> Vec<&'a Received> {
        let ids: Vec<OwnedEventId> = ids.into_iter().cloned().collect();
        let fetch = |id: &EventId| Some(self.reference.held(id).ok()?.pdu.clone());
        let mut wanted = auth_chain(ids.clone(), fetch);
        wanted.extend(ids);
        let events = self.events.iter();
        events
            .filter(|event| wanted.contains(event.pdu.event_id()))
            .collect()
    }

    /// The creator joins, and lets others in.
    fn furnish(&mut self) -> Result<()> {
        let creator = self.cast.creator();
        let join = json!({ "membership": "join" });
        self.append(state(
            creator.clone(),
            "m.room.member",
            creator.as_str(),
            &join,
        )?)?;
        let above = self.rules.authorization.explicitly_privilege_room_creators;
        let users = if above {
            json!({})
        } else {
            json!({ creator.as_str(): 100 })
        };
        let levels = json!({ "users": users });
        self.append(state(creator.clone(), "m.room.power_levels", "", &levels)?)?;
        let rules = json!({ "join_rule": "public" });
        self.append(state(creator, "m.room.join_rules", "", &rules)?)
    }

    fn append(&mut self, draft: Draft) -> Result<()> {
        let last = self.events.last().context("no create event")?;
        let prev = vec![last.pdu.event_id().to_owned()];
        let before = self.reference.state_before(&prev)?;
        let pdu = self.build(draft, prev, &before)?;
        self.keep(&pdu)
    }

    /// One more event, somewhere.
    fn add(&mut self) -> Result<()> {
        let prev = self.somewhere();
        let before = self.reference.state_before(&prev)?;
        // Now and then an event names what authorised it elsewhere.
        let stale = self.dice.random_bool(0.05);
        let authority = if stale {
            self.state_elsewhere()?
        } else {
            before.clone()
        };
        let known: Vec<OwnedEventId> = self
            .events
            .iter()
            .map(|event| event.pdu.event_id().to_owned())
            .collect();
        for tried in 1..=TRIES_MAX {
            let sender = self.sender()?;
            let draft = self
                .cast
                .action(&mut self.dice, sender, self.rules, &known)?;
            if draft.auth_types(self.rules).is_err() {
                continue;
            }
            let pdu = self.build(draft, prev.clone(), &authority)?;
            let held = |event_type: &StateEventType, key: &str| {
                self.reference.event_in(&before, event_type, key)
            };
            if tried == TRIES_MAX || check_auth(&pdu, self.rules, held).is_ok() {
                return self.keep(&pdu);
            }
        }
        Ok(())
    }

    /// The room's ends, some of them, or something in its past.
    fn somewhere(&mut self) -> Vec<OwnedEventId> {
        let ends: Vec<OwnedEventId> = self.reference.ends().iter().cloned().collect();
        let count = self.dice.random_range(1..=3);
        let from: Vec<OwnedEventId> = match self.dice.random_range(0..10) {
            0..3 => return ends.into_iter().take(10).collect(),
            3..5 => ends,
            5..8 => self.known().into_iter().rev().take(8).collect(),
            _ => self.known(),
        };
        from.choose_multiple(&mut self.dice, count)
            .cloned()
            .collect()
    }

    fn known(&self) -> Vec<OwnedEventId> {
        let furnished = self.events.iter().skip(3);
        furnished
            .map(|event| event.pdu.event_id().to_owned())
            .collect()
    }

    fn state_elsewhere(&mut self) -> Result<State> {
        let elsewhere = self.known();
        let elsewhere = elsewhere.choose(&mut self.dice).context("an empty graph")?;
        Ok(self.reference.around(elsewhere)?.before.clone())
    }

    fn sender(&mut self) -> Result<OwnedUserId> {
        let users = &self.cast.users;
        let bound = if self.dice.random_bool(0.4) {
            1
        } else {
            users.len()
        };
        let sender = users.get(self.dice.random_range(0..bound));
        sender.cloned().context("nobody is there")
    }

    fn build(&mut self, draft: Draft, prev: Vec<OwnedEventId>, state: &State) -> Result<Pdu> {
        let keys = draft.auth_types(self.rules)?;
        let mut depth = 0;
        for id in &prev {
            depth = depth.max(self.reference.held(id)?.pdu.depth());
        }
        // Clocks differ; some events are of the same moment.
        let now = self.events.len() as u32 * 10;
        let timestamp = time(now + self.dice.random_range(0..6) * 10);
        let place = Placement {
            room_id: self.room_id.clone(),
            rules: self.rules,
            prev_events: prev,
            auth_events: keys
                .iter()
                .filter_map(|key| state.get(key).cloned())
                .collect(),
            depth: depth + 1,
            origin_server_ts: timestamp,
            reference_hashes: BTreeMap::new(),
        };
        Ok(build(draft, place, &self.cast.key)?)
    }

    fn keep(&mut self, pdu: &Pdu) -> Result<()> {
        if self
            .events
            .iter()
            .any(|event| event.pdu.event_id() == pdu.event_id())
        {
            return Ok(());
        }
        let received = Pdu::receive(pdu.json().as_bytes(), self.rules)?;
        self.events.push(received.verify(&self.cast.keys)?);
        self.reference.receive(pdu)?;
        Ok(())
    }
}

fn time(ms: u32) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::from(ms))
}
