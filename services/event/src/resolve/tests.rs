use ruma::{RoomVersionId, events::StateEventType};
use serde_json::json;

use super::*;
use crate::{
    room_version::SUPPORTED,
    testing::{ALICE, BOB, Room, member, state},
};

const ALL: usize = 1_000;

fn fetch(rooms: &[&Room], id: &EventId) -> Option<Judged> {
    rooms.iter().find_map(|room| room.event(id))
}

fn resolved(rooms: &[&Room]) -> StateMap<OwnedEventId> {
    let states: Vec<_> = rooms.iter().map(|room| room.state_map()).collect();
    resolve(rooms[0].rules, &states, |id| fetch(rooms, id), ALL).unwrap()
}

fn key(event_type: &str, state_key: &str) -> (StateEventType, String) {
    (event_type.into(), state_key.to_owned())
}

fn topic(sender: &str, text: &str) -> crate::Draft {
    state(sender, "m.room.topic", "", json!({ "topic": text }))
}

fn room(version: &RoomVersionId) -> Room {
    let mut room = Room::new(version);
    room.send(member(BOB, BOB, "join"));
    change_levels(&mut room, 0);
    room
}

/// Alice gives herself and Bob the levels that they have.
fn change_levels(room: &mut Room, events_default: u32) {
    let users = if room.rules.authorization.explicitly_privilege_room_creators {
        json!({ BOB: 50 })
    } else {
        json!({ ALICE: 100, BOB: 50 })
    };
    let levels = json!({ "users": users, "events_default": events_default });
    room.send(state(ALICE, "m.room.power_levels", "", levels));
}

#[test]
fn states_that_agree_resolve_to_themselves() {
    let room = room(&RoomVersionId::V11);
    assert_eq!(resolved(&[&room, &room]), room.state_map());
    assert!(resolve(room.rules, &[], |_| None, ALL).unwrap().is_empty());
}

/// A ban beats what the banned user did on the other branch, in either order of the branches.
#[test]
fn a_ban_wins_over_a_concurrent_topic() {
    for version in SUPPORTED {
        let base = room(&version);
        let (mut left, mut right) = (base.fork(), base.fork());
        let ban = left.send(member(ALICE, BOB, "ban"));
        let lost = right.send(topic(BOB, "new"));
        for state in [resolved(&[&left, &right]), resolved(&[&right, &left])] {
            assert_eq!(
                state[&key("m.room.member", BOB)],
                ban.event_id(),
                "{version}"
            );
            assert!(!state.values().any(|id| id == lost.event_id()), "{version}");
        }
    }
}

#[test]
fn the_later_of_two_allowed_topics_wins() {
    for version in SUPPORTED {
        let base = room(&version);
        let (mut left, mut right) = (base.fork(), base.fork());
        left.send(topic(ALICE, "first"));
        right.send(state(ALICE, "m.room.name", "", json!({ "name": "x" })));
        let later = right.send(topic(BOB, "second"));
        let state = resolved(&[&left, &right]);
        assert_eq!(
            state[&key("m.room.topic", "")],
            later.event_id(),
            "{version}"
        );
        assert!(state.contains_key(&key("m.room.name", "")), "{version}");
    }
}

/// GHSA-p9qp-c452-f9r7 (CVE-2022-39374): a rejected event came into the state by resolution.
#[test]
fn ghsa_p9qp_c452_f9r7_rejected_events_stay_out_of_the_state() {
    for version in SUPPORTED {
        let base = room(&version);
        let (mut left, mut right) = (base.fork(), base.fork());
        let good = left.send(topic(ALICE, "good"));
        right.send(state(ALICE, "m.room.name", "", json!({ "name": "x" })));
        let bad = right.send(topic(BOB, "bad"));
        let states = [left.state_map(), right.state_map()];
        let fetch = |id: &EventId| match fetch(&[&left, &right], id)? {
            Judged::Usable(pdu) if pdu == bad => Some(Judged::Rejected(pdu)),
            other => Some(other),
        };
        let state = resolve(left.rules, &states, fetch, ALL).unwrap();
        assert_eq!(
            state[&key("m.room.topic", "")],
            good.event_id(),
            "{version}"
        );
    }
}

/// GHSA-3h7q-rfh9-xm4v (CVE-2024-31208): auth chains without an end.
#[test]
fn ghsa_3h7q_rfh9_xm4v_auth_chains_are_bounded() {
    let base = room(&RoomVersionId::V11);
    let (mut left, mut right) = (base.fork(), base.fork());
    for at in 0..40 {
        left.send(state(
            ALICE,
            "m.room.member",
            ALICE,
            json!({ "membership": "join", "n": at }),
        ));
    }
    right.send(topic(ALICE, "x"));
    let states = [left.state_map(), right.state_map()];
    let tried = |max| resolve(left.rules, &states, |id| fetch(&[&left, &right], id), max);
    assert!(matches!(tried(20), Err(ResolveError::TooMany { max: 20 })));
    tried(60).unwrap();
}

/// CVE-2025-49090, MSC4297: what lies on the auth paths between conflicting events counts, too.
#[test]
fn msc4297_the_subgraph_holds_the_paths_between_conflicts() {
    let mut room = room(&RoomVersionId::V12);
    let first = room.get(&"m.room.power_levels".into(), "").unwrap();
    let between = room.send(state(
        ALICE,
        "m.room.power_levels",
        "",
        json!({ "users": { BOB: 60 } }),
    ));
    let last = room.send(topic(ALICE, "x"));
    let beside = room.get(&"m.room.join_rules".into(), "").unwrap();
    let usable = |id: &EventId| match room.event(id) {
        Some(Judged::Usable(pdu)) => Some(pdu),
        _ => None,
    };
    let ids = room.state_map();
    let graph = AuthGraph::walk(ids.values(), &usable, ALL).unwrap();
    let conflicted = [&first, &last]
        .map(|pdu| pdu.event_id().to_owned())
        .into_iter()
        .collect();
    let subgraph = graph.subgraph(&conflicted);
    assert!(subgraph.contains(between.event_id()));
    assert!(subgraph.contains(first.event_id()) && subgraph.contains(last.event_id()));
    assert!(!subgraph.contains(beside.event_id()));
    assert!(!subgraph.contains(room.events[0].event_id()));
}

#[test]
fn events_that_are_not_known_are_an_error_or_left_out_but_no_panic() {
    let base = room(&RoomVersionId::V11);
    let (mut left, mut right) = (base.fork(), base.fork());
    left.send(topic(ALICE, "a"));
    right.send(topic(BOB, "b"));
    let states = [left.state_map(), right.state_map()];
    let state = resolve(left.rules, &states, |_| None, ALL);
    assert!(state.is_ok_and(|state| !state.contains_key(&key("m.room.topic", ""))));
}

/// An [`AuthIndex`] that reads from rooms what it asks for.
struct Reading<'a> {
    rooms: &'a [&'a Room],
    index: &'a mut AuthIndex,
    events: usize,
}

impl Reading<'_> {
    fn until_its_end(&mut self, mut go_on: impl FnMut(&AuthIndex) -> Unread) {
        loop {
            let unread = go_on(self.index);
            if unread.is_empty() {
                return;
            }
            for event in unread.events() {
                self.read(*event);
            }
        }
    }

    fn read(&mut self, event: EventNumber) {
        let id = self.index.id(event).unwrap().clone();
        let place = self.rooms.iter().find_map(|room| {
            let at = room.events.iter().position(|pdu| *pdu.event_id() == *id)?;
            Some((at, room.events[at].clone()))
        });
        self.events += 1;
        match place {
            Some((at, pdu)) => self.index.add(pdu, Arrival(at as i64)),
            None => self.index.add_absent(event),
        }
    }
}

/// What an [`AuthIndex`] makes of the keys on which rooms do not agree. It is asked twice: what it
/// remembers changes nothing.
fn resolved_conflicts(index: &mut AuthIndex, rooms: &[&Room]) -> StateMap<OwnedEventId> {
    let (first, _) = resolved_once(index, rooms);
    let (again, read) = resolved_once(index, rooms);
    assert_eq!((again, read), (first.clone(), 0));
    first
}

fn resolved_once(index: &mut AuthIndex, rooms: &[&Room]) -> (StateMap<OwnedEventId>, usize) {
    let mut number = |(key, pdu): (&(String, String), &Pdu)| {
        (index.key(&key.0, &key.1), index.number(pdu.event_id()))
    };
    let states: Vec<HashMap<KeyNumber, EventNumber>> = rooms
        .iter()
        .map(|room| room.state.iter().map(&mut number).collect())
        .collect();
    let agreed = |key: KeyNumber| {
        let value = states[0].get(&key)?;
        let all = states.iter().all(|state| state.get(&key) == Some(value));
        all.then_some(*value)
    };
    let conflicting = states.iter().map(|state| {
        let conflicts = state.iter().filter(|(key, _)| agreed(**key).is_none());
        conflicts.map(|(_, event)| *event).collect()
    });
    let mut dispute = Dispute::new(conflicting.collect());
    let mut reading = Reading {
        rooms,
        index,
        events: 0,
    };
    reading.until_its_end(|index| dispute.go_on(index));

    let mut behind_agreed = EventSet::default();
    let mut waiting: Vec<EventNumber> = states[0].keys().filter_map(|key| agreed(*key)).collect();
    while let Some(event) = waiting.pop().filter(|_| !dispute.candidates().is_empty()) {
        reading.until_its_end(|index| Unread::of(index, [event]));
        reading.until_its_end(|index| index.unread_behind([event]));
        let behind = reading.index.auth(event);
        waiting.extend(behind.filter(|behind| behind_agreed.insert(*behind)));
    }
    let mut full = dispute.full_conflict(reading.index, &behind_agreed);
    let mut subgraph = dispute.subgraph(reading.index);
    reading.until_its_end(|index| subgraph.go_on(index));
    full.extend(subgraph.events(reading.index));
    reading.until_its_end(|index| index.unread_behind(full.events().iter().copied()));

    let keys = reading.index.keys_of(&full);
    let always = [("m.room.create", ""), ("m.room.power_levels", "")];
    let always = always.map(|(event_type, key)| reading.index.key(event_type, key));
    let values: Vec<_> = keys
        .iter()
        .chain(&always)
        .filter_map(|key| agreed(*key))
        .collect();
    reading.until_its_end(|index| Unread::of(index, values.iter().copied()));
    let mut resolving = reading.index.resolve(&full, agreed).unwrap();
    reading.until_its_end(|index| resolving.go_on(index));
    let resolved = resolving.finish(reading.index);
    let read = reading.events;
    let value = |key: KeyNumber| {
        let (event_type, state_key) = index.name(key);
        let id = index.id(resolved.get(key)?)?.clone();
        Some(((event_type.into(), state_key.to_owned()), id))
    };
    let open = keys.into_iter().filter(|key| agreed(*key).is_none());
    (open.filter_map(value).collect(), read)
}

/// All that conflicts comes out as it does of whole states.
fn check_conflicts(left: &Room, right: &Room) -> StateMap<OwnedEventId> {
    let whole = resolved(&[left, right]);
    let mut index = AuthIndex::new(left.rules).unwrap();
    let part = resolved_conflicts(&mut index, &[left, right]);
    assert_eq!(resolved_conflicts(&mut index, &[right, left]), part);
    let (here, there) = (left.state_map(), right.state_map());
    for key in here.keys().chain(there.keys()) {
        if here.get(key) != there.get(key) {
            assert_eq!(part.get(key), whole.get(key), "{key:?}");
        }
    }
    part
}

/// The auth chain of each topic is as long as the room's history of power levels. Sabotage: go on in
/// [`Dispute::go_on`] while anything is open.
#[test]
fn a_long_auth_chain_is_read_as_far_as_the_states_differ() {
    for version in SUPPORTED {
        let mut base = room(&version);
        for at in 0..200 {
            change_levels(&mut base, at % 2);
        }
        let (mut left, mut right) = (base.fork(), base.fork());
        left.send(topic(ALICE, "first"));
        right.send(topic(ALICE, "second"));
        check_conflicts(&left, &right);
        let mut index = AuthIndex::new(left.rules).unwrap();
        let (_, read) = resolved_once(&mut index, &[&left, &right]);
        assert!(read <= 8, "{read} events, {version}");
    }
}

/// One side has seen none of the power levels since; both are behind what conflicts.
#[test]
fn where_the_chains_differ_they_are_read() {
    for version in SUPPORTED {
        let base = room(&version);
        let (mut left, mut right) = (base.fork(), base.fork());
        for at in 0..40 {
            change_levels(&mut left, at % 2);
        }
        left.send(topic(ALICE, "first"));
        right.send(topic(BOB, "second"));
        check_conflicts(&left, &right);
        let mut index = AuthIndex::new(left.rules).unwrap();
        let (_, read) = resolved_once(&mut index, &[&left, &right]);
        assert!(read >= 40, "{read} events, {version}");
    }
}

#[test]
fn given_only_what_conflicts_the_same_comes_out() {
    for version in SUPPORTED {
        let base = room(&version);
        let (mut left, mut right) = (base.fork(), base.fork());
        let ban = left.send(member(ALICE, BOB, "ban"));
        left.send(state(ALICE, "m.room.name", "", json!({ "name": "x" })));
        right.send(topic(BOB, "new"));
        right.send(member(BOB, BOB, "leave"));
        let part = check_conflicts(&left, &right);
        assert_eq!(part[&key("m.room.member", BOB)], ban.event_id());
    }
}

/// The states agree on power levels under which the topic would not have been allowed, and before
/// which it was sent. Sabotage: let nothing be agreed; or ignore `behind_agreed`, so that the older
/// levels are in the auth difference.
#[test]
fn what_all_states_agree_on_counts() {
    for version in SUPPORTED {
        let base = room(&version);
        let (mut left, mut right) = (base.fork(), base.fork());
        let creators_are_above = left.rules.authorization.explicitly_privilege_room_creators;
        let users = if creators_are_above {
            json!({})
        } else {
            json!({ ALICE: 100 })
        };
        let levels = json!({ "users": users });
        let levels = left.send(state(ALICE, "m.room.power_levels", "", levels));
        let topic = right.send(topic(BOB, "new"));
        right.keep(levels);
        let part = check_conflicts(&left, &right);
        // From version 12 on resolution begins without the agreed state.
        let won = part.get(&key("m.room.topic", "")).map(|id| &**id);
        let expected = creators_are_above.then_some(topic.event_id());
        assert_eq!(won, expected, "{version}");
    }
}
