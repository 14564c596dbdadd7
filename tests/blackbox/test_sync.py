"""Client-server API: "Syncing" (GET /sync): tokens, timelines and state."""

import threading

import pytest

from client import (
    bodies,
    event_ids,
    fails,
    find,
    has_event,
    has_joined,
    has_left,
    joined,
    left,
    register,
    room_of,
    state_of,
    sync_limit,
    timeline,
)


# The first sync


def test_initial_sync_of_a_new_user(alice):
    """GET /sync without `since`: next_batch is required; nothing to show yet."""
    sync = alice.sync()
    assert isinstance(sync["next_batch"], str)
    assert not sync.get("rooms", {}).get("join")


def test_initial_sync_has_the_room(alice, bob):
    """GET /sync: state and timeline together are the room."""
    room = room_of(alice, bob, name="Full")
    last = alice.send(room, "hello")
    _, part = bob.sync_with(room, last)
    kinds = {e["type"] for e in state_of(part) + timeline(part)}
    assert {"m.room.create", "m.room.member", "m.room.power_levels", "m.room.name"} <= kinds
    assert bodies(timeline(part)) == ["hello"]


def test_events_in_sync_have_no_room_id(alice):
    """GET /sync: ClientEventWithoutRoomID; type, sender, event_id, content, origin_server_ts."""
    room = alice.create_room()
    _, part = alice.sync_with(room, alice.send(room))
    for event in state_of(part) + timeline(part):
        assert {"type", "sender", "event_id", "content", "origin_server_ts"} <= set(event)


def test_timeline_is_oldest_first(alice):
    """GET /sync: timeline events are in the order in which they came."""
    room = alice.create_room()
    ids = [alice.send(room, f"m{n}") for n in range(5)]
    _, part = alice.sync_with(room, ids[-1])
    assert event_ids(timeline(part))[-5:] == ids


def test_limited_timeline(alice):
    """GET /sync: `limited` and `prev_batch` where the timeline has fewer events than there are."""
    room = alice.create_room()
    ids = [alice.send(room, f"m{n}") for n in range(5)]
    _, part = alice.sync_with(room, ids[-1], filter=sync_limit(2))
    assert event_ids(timeline(part)) == ids[-2:]
    assert part["timeline"]["limited"] is True
    assert part["timeline"]["prev_batch"]


def state_at_start(user, room, last, events):
    """The topic in `state` before a timeline of so many events, which end with `last`."""
    _, part = user.sync_with(room, last, filter=sync_limit(events))
    assert len(timeline(part)) == events
    topic = find(state_of(part), "m.room.topic")
    return topic and topic["content"]["topic"]


def test_state_is_that_before_the_timeline(alice):
    """GET /sync `state`: "all state up to the start of the timeline"."""
    room = alice.create_room(topic="old")
    alice.send(room)
    last = alice.set_state(room, "m.room.topic", {"topic": "new"})
    assert state_at_start(alice, room, last, 2) == "old"


@pytest.mark.synapse_differs(
    "GET /sync, state: all state up to the start of the timeline, if since is not given"
)
def test_state_is_that_before_a_timeline_that_starts_with_state(alice):
    """GET /sync `state`: also where the timeline's first event replaces it."""
    room = alice.create_room(topic="old")
    last = alice.set_state(room, "m.room.topic", {"topic": "new"})
    assert state_at_start(alice, room, last, 1) == "old"


def test_state_leaves_out_what_the_timeline_created(alice):
    """GET /sync `state`: a key that was first set within the timeline is not in it."""
    room = alice.create_room()
    first = alice.set_state(room, "org.test.state", {"n": 1})
    last = alice.send(room)
    _, part = alice.sync_with(room, last, filter=sync_limit(2))
    assert event_ids(timeline(part)) == [first, last]
    assert find(state_of(part), "org.test.state") is None


# What comes after


def test_nothing_new(alice):
    """GET /sync with `since`: rooms without news are left out."""
    room = alice.create_room()
    since = alice.token_after(room, alice.send(room))
    assert joined(alice.sync(since), room) is None or not timeline(joined(alice.sync(since), room))


def test_incremental_sync_has_only_the_new(alice, bob):
    """GET /sync with `since`: the events after it, each once."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room, "old"))
    last = alice.send(room, "new")
    _, part = bob.sync_with(room, last, since)
    assert bodies(timeline(part)) == ["new"]
    assert part["timeline"].get("limited", False) is False
    assert state_of(part) == []


def test_chain_of_syncs_shows_each_event_once(alice, bob):
    """GET /sync: following next_batch misses nothing and repeats nothing."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room, "start"))
    seen, expected = [], []
    for n in range(8):
        expected.append(alice.send(room, f"m{n}"))
        sync, part = bob.sync_with(room, expected[-1], since)
        seen += event_ids(timeline(part))
        since = sync["next_batch"]
    assert seen == expected


def test_old_tokens_can_be_replayed(alice):
    """GET /sync: a token is a position; using it again gives the same events."""
    room = alice.create_room()
    since = alice.token_after(room, alice.send(room, "before"))
    ids = [alice.send(room, f"m{n}") for n in range(3)]
    for _ in range(2):
        _, part = alice.sync_with(room, ids[-1], since)
        assert event_ids(timeline(part)) == ids


def test_tokens_work_on_another_session(alice):
    """GET /sync: a token belongs to no device."""
    room = alice.create_room()
    since = alice.token_after(room, alice.send(room))
    last = alice.send(room, "later")
    _, part = alice.login_again().sync_with(room, last, since)
    assert bodies(timeline(part)) == ["later"]


def test_gap_is_limited_and_can_be_paged(alice, bob):
    """GET /sync: more news than the limit sets `limited`; prev_batch leads into the gap."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room, "before"))
    ids = [alice.send(room, f"m{n}") for n in range(8)]
    _, part = bob.sync_with(room, ids[-1], since, filter=sync_limit(3))
    assert part["timeline"]["limited"] is True
    assert event_ids(timeline(part)) == ids[-3:]
    page = bob.messages(room, "b", to=since, **{"from": part["timeline"]["prev_batch"]})
    assert event_ids(page["chunk"]) == ids[4::-1]


def test_gap_brings_the_state_that_changed_in_it(alice, bob):
    """GET /sync `state`: between `since` and the start of the timeline, for limited ones."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    topic = alice.set_state(room, "m.room.topic", {"topic": "in the gap"})
    last = [alice.send(room, f"m{n}") for n in range(4)][-1]
    _, part = bob.sync_with(room, last, since, filter=sync_limit(2))
    assert event_ids(state_of(part)) == [topic]


def test_state_change_without_a_gap_is_in_the_timeline_only(alice, bob):
    """GET /sync: a state event that the timeline has is not repeated in `state`."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    topic = alice.set_state(room, "m.room.topic", {"topic": "here"})
    _, part = bob.sync_with(room, topic, since)
    assert event_ids(timeline(part)) == [topic]
    assert state_of(part) == []


def test_state_set_in_the_gap_and_again_in_the_timeline(alice, bob):
    """GET /sync `state`: a key that the timeline sets, as it was at the timeline's start."""
    room = room_of(alice, bob, topic="before")
    since = bob.token_after(room, alice.send(room))
    gap = alice.set_state(room, "m.room.topic", {"topic": "in the gap"})
    first = alice.send(room)
    last = alice.set_state(room, "m.room.topic", {"topic": "in the timeline"})
    _, part = bob.sync_with(room, last, since, filter=sync_limit(2))
    assert event_ids(timeline(part)) == [first, last]
    assert event_ids(state_of(part)) == [gap]


# The end of the timeline instead of its start


def test_state_after_is_that_at_the_end(alice, bob):
    """GET /sync `use_state_after`: state_after has what changed up to the timeline's end; no `state`."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    topic = alice.set_state(room, "m.room.topic", {"topic": "first"})
    last = alice.set_state(room, "m.room.topic", {"topic": "last"})
    _, part = bob.sync_with(room, last, since, use_state_after=True)
    assert event_ids(timeline(part)) == [topic, last]
    assert event_ids(part["state_after"]["events"]) == [last]
    assert "state" not in part


def test_state_after_at_first_is_the_whole_state(alice):
    """GET /sync `use_state_after` without `since`: all state up to the end of the timeline."""
    room = alice.create_room(topic="old")
    last = alice.set_state(room, "m.room.topic", {"topic": "new"})
    _, part = alice.sync_with(room, last, filter=sync_limit(1), use_state_after=True)
    events = part["state_after"]["events"]
    assert find(events, "m.room.topic")["event_id"] == last
    assert {"m.room.create", "m.room.member", "m.room.power_levels"} <= {e["type"] for e in events}


def test_state_after_is_there_when_it_is_empty(alice, bob):
    """GET /sync `state_after`: "Required if use_state_after was set to true, even if it is empty"."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    _, part = bob.sync_with(room, alice.send(room), since, use_state_after=True)
    assert part["state_after"].get("events", []) == []


def test_state_after_of_a_room_that_was_left(alice, bob):
    """GET /sync, rooms.leave, `state_after`: the user's own leave is in it."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    alice.kick(room, bob)
    sync = bob.sync_when(has_left(room), since, use_state_after=True)
    part = left(sync, room)
    own = find(part["state_after"]["events"], "m.room.member", bob.user_id)
    assert own["content"]["membership"] == "leave"
    assert "state" not in part


def test_full_state(alice):
    """GET /sync `full_state=true`: the state of all rooms, even without news."""
    room = alice.create_room()
    since = alice.token_after(room, alice.send(room))
    part = joined(alice.sync_when(has_joined(room), since, full_state=True), room)
    kinds = {event["type"] for event in state_of(part)}
    assert {"m.room.create", "m.room.member", "m.room.power_levels"} <= kinds
    assert timeline(part) == []


@pytest.mark.parametrize("token", ["forged", "s1_2_3_forged", "\U0001f600", "'--", "%00"])
def test_forged_tokens(alice, token):
    """GET /sync `since`: a token that the server never gave is an error, not a crash."""
    response = alice.get("/sync", params={"since": token, "timeout": "0"})
    assert response.status_code == 400, response.text


@pytest.mark.parametrize(
    "params", [{"timeout": "soon"}, {"full_state": "perhaps"}, {"filter": "{"}], ids=str
)
def test_bad_parameters(alice, params):
    """GET /sync: parameters of the wrong type."""
    assert alice.get("/sync", params=params).status_code == 400


@pytest.mark.parametrize("presence", ["online", "offline", "unavailable"])
def test_set_presence(alice, presence):
    """GET /sync `set_presence`: accepted, whether or not the server has presence."""
    assert alice.sync(set_presence=presence)["next_batch"]


def test_prev_content_of_state(alice, bob):
    """`unsigned.prev_content`: what the event replaced."""
    room = room_of(alice, bob)
    first = alice.set_state(room, "m.room.topic", {"topic": "one"})
    since = bob.token_after(room, first)
    second = alice.set_state(room, "m.room.topic", {"topic": "two"})
    _, part = bob.sync_with(room, second, since)
    assert timeline(part)[0]["unsigned"]["prev_content"] == {"topic": "one"}


# Everything together


def test_many_rooms_at_once(http, bob):
    """GET /sync: all rooms of a user are in a first sync."""
    creator = register(http)
    rooms = {creator.create_room(preset="public_chat") for _ in range(12)}
    for room in rooms:
        bob.join(room)
    bob.sync_when(lambda sync: set(sync.get("rooms", {}).get("join", {})) == rooms)


def test_concurrent_senders(alice, bob):
    """GET /sync: events of concurrent senders come once each, in each sender's order."""
    room = room_of(alice, bob)
    since = alice.token_after(room, alice.send(room))
    sent = {alice.user_id: [], bob.user_id: []}

    def send_all(user):
        sent[user.user_id] = [user.send(room, f"c{n}") for n in range(10)]

    threads = [threading.Thread(target=send_all, args=(user,)) for user in (alice, bob)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    everything = set(sent[alice.user_id] + sent[bob.user_id])

    def complete(s):
        return everything <= set(event_ids(timeline(joined(s, room))))

    events = timeline(joined(alice.sync_when(complete, since, filter=sync_limit(50)), room))
    assert len(events) == 20
    for user_id, ids in sent.items():
        assert [e["event_id"] for e in events if e["sender"] == user_id] == ids


def test_sync_needs_get_or_fails(alice):
    """GET /sync: there is no POST."""
    fails(alice.post("/sync"), 405, "M_UNRECOGNIZED")


def test_event_is_in_sync_and_by_id_the_same(alice):
    """GET /sync and GET .../event agree on an event."""
    room = alice.create_room()
    event_id = alice.send(room, "same")
    sync = alice.sync_when(has_event(room, event_id))
    shown = next(e for e in timeline(joined(sync, room)) if e["event_id"] == event_id)
    whole = alice.event(room, event_id)
    for key in ("type", "sender", "content", "origin_server_ts"):
        assert shown[key] == whole[key]
