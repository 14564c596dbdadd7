//! Feeding a graph, and comparing what comes out.

mod apart;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::AddAssign,
};

use anyhow::{Context, Result, bail, ensure};
use hanse_event::{Draft, Pdu, Placement, Received, build, check_auth, visibility::is_dummy};
use hanse_log::Position;
use hanse_proto::room::RoomHead;
use hanse_room::{Arrived, Fate, NewEvent, RoomError, StateIds};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use ruma::{
    OwnedEventId,
    events::{StateEventType, room::member::MembershipState},
    uint,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Graph, Pruned, Reference, Standing, State, World,
    cast::{our_server, server_key, state},
};

/// Most events that are handed over at once.
const HANDED_MAX: usize = 6;
/// Fewer events are left than this when the last of them may be left out.
const LEFT_OUT_MAX: usize = 10;
/// Most ends that an event of our users names.
const ENDS_NAMED_MAX: usize = 10;

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Graphs fed, each order counted.
    pub graphs: u64,
    /// Events in the timeline that came from elsewhere.
    pub accepted: u64,
    /// Events that were kept and not shown, though allowed where they stand.
    pub soft_failed: u64,
    /// Events that were not allowed.
    pub rejected: u64,
    /// Events handed over before what they name.
    pub early: u64,
    /// Events of our own users in between.
    pub own: u64,
    /// Those of them sent into rooms with more ends than an event names.
    pub crowded: u64,
    /// Dummy events that the server sent.
    pub dummies: u64,
    /// What our own users were refused.
    pub refused: u64,
    /// Keys of the current state that changed without an event of their own.
    pub resolved: u64,
    /// Events given early, as parts of auth chains or of states.
    pub outliers: u64,
    /// Those of them that took their place later.
    pub placed: u64,
    /// Events taken on states that were fetched.
    pub fetched: u64,
    /// Events that were backfilled.
    pub backfilled: u64,
    /// Those of them before which no state is known.
    pub stateless: u64,
    /// Redactions that took effect.
    pub pruned: u64,
    /// Events pruned by a redaction that came before them.
    #[serde(default)]
    pub pruned_early: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.graphs += other.graphs;
        self.accepted += other.accepted;
        self.soft_failed += other.soft_failed;
        self.rejected += other.rejected;
        self.early += other.early;
        self.own += other.own;
        self.crowded += other.crowded;
        self.dummies += other.dummies;
        self.refused += other.refused;
        self.resolved += other.resolved;
        self.outliers += other.outliers;
        self.placed += other.placed;
        self.fetched += other.fetched;
        self.backfilled += other.backfilled;
        self.stateless += other.stateless;
        self.pruned += other.pruned;
        self.pruned_early += other.pruned_early;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} graphs fed: {} events accepted, {} soft-failed, {} rejected, {} handed over too \
             early; {} sent by our users, {} of them after \
             some of many ends, {} refused to them; {} dummy events; {} keys changed by resolution; {} \
             outliers, {} of them placed later; {} taken on fetched states; {} backfilled, {} of them \
             without a state; {} pruned, {} as they came",
            self.graphs,
            self.accepted,
            self.soft_failed,
            self.rejected,
            self.early,
            self.own,
            self.crowded,
            self.refused,
            self.dummies,
            self.resolved,
            self.outliers,
            self.placed,
            self.fetched,
            self.backfilled,
            self.stateless,
            self.pruned,
            self.pruned_early
        )
    }
}

/// One graph fed in one order to one server, and to the reference.
pub struct Trial<'a> {
    world: &'a World,
    graph: &'a Graph,
    dice: ChaCha8Rng,
    reference: Reference,
    /// What the server has been given, own events included.
    fed: Vec<OwnedEventId>,
    /// What it was given of its past, call by call.
    backfilled: Vec<Vec<OwnedEventId>>,
    counts: Counts,
}

impl<'a> Trial<'a> {
    /// Feeds and compares. `order`: which of the orders of the graph's seed.
    pub async fn run(world: &'a World, graph: &'a Graph, order: u64) -> Result<Counts> {
        let mut trial = Self {
            world,
            graph,
            dice: ChaCha8Rng::seed_from_u64(graph.seed.rotate_left(32) ^ order),
            reference: graph.reference(),
            fed: Vec::new(),
            backfilled: Vec::new(),
            counts: Counts {
                graphs: 1,
                ..Counts::default()
            },
        };
        let named = || format!("seed {}, order {order}", graph.seed);
        trial.feed().await.with_context(named)?;
        trial.compare_all().await.with_context(named)?;
        Ok(trial.counts)
    }

    async fn feed(&mut self) -> Result<()> {
        let order = self.graph.order(&mut self.dice);
        ensure!(
            order.len() == self.graph.events.len(),
            "the order is not whole"
        );
        let mut left = order;
        let leaps_at_last = self.dice.random_bool(0.3);
        while !left.is_empty() {
            if self.dice.random_bool(0.1) {
                self.hand_over_early(&left).await?;
            }
            if self.dice.random_bool(0.1) {
                self.hand_over_outliers(&left).await?;
            }
            if leaps_at_last && left.len() < LEFT_OUT_MAX && self.leap_at_last(&left).await? {
                return self.compare_current().await;
            }
            if !self.fed.is_empty() && self.dice.random_bool(0.08) {
                self.leap(&mut left).await?;
                self.compare_current().await?;
            }
            let count = self.dice.random_range(1..=HANDED_MAX).min(left.len());
            let now: Vec<&Received> = left.drain(..count).collect();
            self.hand_over(&now).await?;
            self.compare_current().await?;
            if self.dice.random_bool(0.3) {
                self.send().await?;
                self.compare_current().await?;
            }
        }
        Ok(())
    }

    async fn hand_over(&mut self, events: &[&Received]) -> Result<()> {
        let mut handed: Vec<Received> = events.iter().map(|event| (*event).clone()).collect();
        // Now and then one comes again.
        if self.dice.random_bool(0.2)
            && let Some(again) = events.choose(&mut self.dice)
        {
            handed.push((*again).clone());
        }
        let arrived = self.world.rooms.receive(&self.graph.room_id, handed);
        let arrived = arrived.await.context("received")?;
        for (event, arrived) in events.iter().zip(&arrived) {
            self.count_placed(event);
            let pruned = self.reference.pruned_by(&event.pdu)?;
            let standing = self.reference.receive(&event.pdu)?;
            check(standing, arrived)?;
            self.prune(standing, pruned);
            self.fed.push(event.pdu.event_id().to_owned());
            self.count(standing);
        }
        for again in arrived.iter().skip(events.len()) {
            ensure!(
                again.fate == Fate::Known,
                "{} was taken twice",
                again.event_id
            );
        }
        self.follow_dummy().await
    }

    /// Where there were many ends, the server may have sent a dummy event.
    async fn follow_dummy(&mut self) -> Result<()> {
        if self.reference.ends().len() <= ENDS_NAMED_MAX {
            return Ok(());
        }
        let (reader, room_id) = (self.world.rooms.reader(), &self.graph.room_id);
        let head = reader.head(room_id).await?.context("no head")?.head;
        let last = head.forward_extremities.last().context("no ends")?;
        let last: OwnedEventId = last.as_str().try_into()?;
        if self.fed.contains(&last) {
            return Ok(());
        }
        let dummy = reader.event(room_id, &last).await?.context("no event")?.pdu;
        ensure!(is_dummy(&dummy), "{last} came from nowhere");
        let expected: BTreeSet<OwnedEventId> = self.named_ends()?.into_iter().collect();
        let named: BTreeSet<OwnedEventId> = dummy.prev_events().iter().cloned().collect();
        ensure!(
            named == expected,
            "{last} names {named:?}, not {expected:?}"
        );
        let standing = self.reference.receive(&dummy)?;
        ensure!(
            standing == Standing::Accepted,
            "{last} should be {standing:?}"
        );
        self.fed.push(last);
        self.counts.dummies += 1;
        Ok(())
    }

    /// What redactions do to an event and by it, if it was accepted.
    fn prune(&mut self, standing: Standing, pruned: Pruned) {
        if standing != Standing::Accepted {
            return;
        }
        self.counts.pruned += u64::from(pruned.target.is_some());
        self.counts.pruned_early += u64::from(pruned.itself.is_some());
        for pruned in pruned.target.into_iter().chain(pruned.itself) {
            self.reference.prune(pruned);
        }
    }

    fn count(&mut self, standing: Standing) {
        match standing {
            Standing::Outlier => self.counts.outliers += 1,
            Standing::Accepted => self.counts.accepted += 1,
            Standing::SoftFailed => self.counts.soft_failed += 1,
            Standing::Rejected => self.counts.rejected += 1,
        }
    }

    /// An event before one that it names: it is not taken.
    async fn hand_over_early(&mut self, left: &[&Received]) -> Result<()> {
        let Some(early) = left.choose(&mut self.dice).filter(|_| !self.fed.is_empty()) else {
            return Ok(());
        };
        let pdu = &early.pdu;
        let before = pdu.prev_events().iter();
        let before = before.filter(|id| !self.reference.has_placed(id));
        let behind = pdu.auth_events().iter();
        let behind = behind.filter(|id| !self.reference.knows(id));
        let missing: BTreeSet<&OwnedEventId> = before.chain(behind).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let handed = vec![(*early).clone()];
        let arrived = self
            .world
            .rooms
            .receive(&self.graph.room_id, handed)
            .await?;
        match arrived.first().map(|arrived| &arrived.fate) {
            Some(Fate::Missing { events })
                if !events.is_empty() && events.iter().all(|id| missing.contains(id)) => {}
            other => bail!("{} came too early and was {other:?}", pdu.event_id()),
        }
        self.counts.early += 1;
        Ok(())
    }

    /// One of our users says something, or changes something.
    async fn send(&mut self) -> Result<()> {
        let users = ["@eve:hanse.test", "@fay:hanse.test"];
        let sender = users.choose(&mut self.dice).context("nobody")?;
        let content = json!({ "n": self.dice.random_range(0..1_000_000) });
        let mut draft = state((*sender).try_into()?, "m.room.topic", "", &content)?;
        if self.dice.random_bool(0.5) {
            draft = Draft::message(draft.sender, "m.room.message", draft.content);
        }
        let room_id = &self.graph.room_id;
        let sent = self
            .world
            .rooms
            .send(room_id, NewEvent::now(draft.clone()))
            .await;
        let sent = match sent {
            Ok(sent) => sent,
            Err(RoomError::Forbidden { reason }) => {
                self.counts.refused += 1;
                ensure!(!self.may(draft)?, "{sender} was refused: {reason}");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let event = self
            .world
            .rooms
            .reader()
            .event(room_id, &sent.event_id)
            .await?;
        let event = event.context("what was sent is not there")?;
        let named: BTreeSet<&OwnedEventId> = event.pdu.prev_events().iter().collect();
        let expected = self.named_ends()?;
        ensure!(
            named == expected.iter().collect(),
            "{} names {named:?}, not {expected:?}",
            sent.event_id
        );
        self.counts.crowded += u64::from(self.reference.ends().len() > ENDS_NAMED_MAX);
        let standing = self.reference.receive(&event.pdu)?;
        ensure!(
            standing == Standing::Accepted,
            "{} was sent and should be {standing:?}",
            sent.event_id
        );
        self.fed.push(sent.event_id);
        self.counts.own += 1;
        Ok(())
    }

    /// The ends that an event of ours follows: the deepest, of these the last to arrive.
    fn named_ends(&self) -> Result<Vec<OwnedEventId>> {
        let mut ends = Vec::new();
        for id in self.reference.ends() {
            let arrival = self.fed.iter().position(|fed| fed == id);
            ends.push((self.reference.held(id)?.pdu.depth(), arrival, id.clone()));
        }
        ends.sort();
        let named = ends.into_iter().rev().take(ENDS_NAMED_MAX);
        Ok(named.map(|(.., id)| id).collect())
    }

    /// Whether the reference would let this be sent: by the state before it, and by the current one.
    fn may(&self, draft: Draft) -> Result<bool> {
        let before = self.reference.state_before(&self.named_ends()?)?;
        Ok(self.allows(draft.clone(), &before)? && self.allows(draft, self.reference.current())?)
    }

    fn allows(&self, draft: Draft, current: &State) -> Result<bool> {
        let keys = draft.auth_types(self.graph.rules)?;
        let place = Placement {
            room_id: self.graph.room_id.clone(),
            rules: self.graph.rules,
            prev_events: self.named_ends()?,
            auth_events: keys
                .iter()
                .filter_map(|key| current.get(key).cloned())
                .collect(),
            depth: 1,
            origin_server_ts: ruma::MilliSecondsSinceUnixEpoch(uint!(1)),
            reference_hashes: BTreeMap::new(),
        };
        let pdu = build(draft, place, &server_key()?)?;
        let held = |event_type: &StateEventType, key: &str| {
            self.reference.event_in(current, event_type, key)
        };
        let rejected = |id: &OwnedEventId| self.reference.has_rejected(id);
        let is_refused = pdu.auth_events().iter().any(rejected);
        Ok(!is_refused && check_auth(&pdu, self.graph.rules, held).is_ok())
    }

    /// The current state, and where the room ends.
    async fn compare_current(&mut self) -> Result<()> {
        let (reader, room_id) = (self.world.rooms.reader(), &self.graph.room_id);
        let mut current = StateIds::new();
        let mut state = reader.plain_state(room_id, Position::END).await?;
        state.extend(reader.members(room_id, Position::END).await?);
        for value in state {
            current.insert((value.event_type, value.state_key), value.event_id);
        }
        compare("the current state", &current, self.reference.current())?;
        let head = reader.head(room_id).await?.context("no head")?.head;
        let ends: BTreeSet<&str> = head
            .forward_extremities
            .iter()
            .map(String::as_str)
            .collect();
        let expected = self.reference.ends().iter().map(|id| id.as_str());
        let expected: BTreeSet<&str> = expected.collect();
        ensure!(
            ends == expected,
            "the room ends in {ends:?}, not {expected:?}"
        );
        self.compare_counts(&head)
    }

    fn compare_counts(&self, head: &RoomHead) -> Result<()> {
        let (joined, invited) = (head.joined_members, head.invited_members);
        let (mut expected, mut ours) = (BTreeMap::new(), 0);
        let our_users = format!(":{}", our_server()?);
        for (event_type, key) in self.reference.current().keys() {
            let event = self
                .reference
                .event_in(self.reference.current(), event_type, key);
            let membership = event.as_ref().and_then(Pdu::membership);
            if let Some(membership) = membership {
                let is_ours = key.ends_with(&our_users);
                ours += i64::from(is_ours && membership == MembershipState::Join);
                *expected.entry(membership.to_string()).or_insert(0) += 1;
            }
        }
        let of = |membership: &str| expected.get(membership).copied().unwrap_or(0);
        ensure!(
            (joined, invited) == (of("join"), of("invite")),
            "{joined} joined and {invited} invited, not {expected:?}"
        );
        let local = head.local_members;
        ensure!(local == ours, "{local} of ours, not {ours}");
        Ok(())
    }

    /// The states around every event, and what is shown.
    async fn compare_all(&mut self) -> Result<()> {
        let (reader, room_id) = (self.world.rooms.reader(), &self.graph.room_id);
        for id in self.backfilled.iter().flatten().chain(&self.fed) {
            let before = reader.state_before(room_id, id).await?;
            let after = reader.state_after(room_id, id).await?;
            let Some(around) = &self.reference.held(id)?.around else {
                ensure!(before.is_none() && after.is_none(), "a state at {id}");
                continue;
            };
            let before = before.with_context(|| format!("no state before {id}"))?;
            compare(&format!("the state before {id}"), &before, &around.before)?;
            let after = after.with_context(|| format!("no state after {id}"))?;
            compare(&format!("the state after {id}"), &after, &around.after)?;
        }
        self.compare_gaps().await?;
        let (start, end) = (Position::BEGINNING, Position::END);
        let timeline = reader.arrivals(room_id, start, end, 9_000).await?;
        let shown = timeline
            .events
            .iter()
            .map(|event| event.pdu.event_id().to_owned());
        let shown: Vec<OwnedEventId> = shown.collect();
        let mut expected = Vec::new();
        for id in self.backfilled.iter().rev().flatten().chain(&self.fed) {
            if self.reference.held(id)?.standing == Standing::Accepted {
                expected.push(id.clone());
            }
        }
        ensure!(
            shown == expected,
            "the timeline is {shown:?}, not {expected:?}"
        );
        for event in &timeline.events {
            let id = event.pdu.event_id();
            let (is, should) = (&event.pdu, &self.reference.held(id)?.pdu);
            let (is, should) = (is.content().get(), should.content().get());
            ensure!(is == should, "{id} has {is}, not {should}");
        }
        let changes = reader.state_changes(room_id, start, end).await?;
        let at_events: BTreeSet<Position> =
            timeline.events.iter().map(|event| event.position).collect();
        let resolved = changes
            .iter()
            .filter(|change| !at_events.contains(&change.position));
        self.counts.resolved += resolved.count() as u64;
        Ok(())
    }
}

/// Whether what became of an event is what should have.
fn check(standing: Standing, arrived: &Arrived) -> Result<()> {
    let fate = match &arrived.fate {
        Fate::Accepted => Standing::Accepted,
        Fate::SoftFailed { .. } => Standing::SoftFailed,
        Fate::Rejected { .. } => Standing::Rejected,
        Fate::Outlier => Standing::Outlier,
        other => bail!("{} was {other:?}", arrived.event_id),
    };
    let (id, became) = (&arrived.event_id, &arrived.fate);
    ensure!(
        standing == fate,
        "{id} should be {standing:?} and is {became:?}"
    );
    Ok(())
}

fn compare(what: &str, is: &StateIds, should: &State) -> Result<()> {
    let should: StateIds = should
        .iter()
        .map(|((event_type, key), id)| ((event_type.to_string(), key.clone()), id.clone()))
        .collect();
    if *is == should {
        return Ok(());
    }
    let keys: BTreeSet<_> = is.keys().chain(should.keys()).collect();
    let differs = keys
        .into_iter()
        .filter(|key| is.get(*key) != should.get(*key));
    let differs: Vec<String> = differs
        .map(|key| format!("{key:?}: {:?}, not {:?}", is.get(key), should.get(key)))
        .collect();
    bail!("{what} differs: {}", differs.join("; "))
}
