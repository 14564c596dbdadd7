"""Client-server API: "Syncing" (GET /sync): tokens, timelines, state, sections."""

import threading
import time

import pytest

from client import (
    bodies, event_ids, fails, find, has_event, has_joined, has_left, invited, joined, left, ok,
    register, room_of, state_of, timeline,
)


def limit(n, **room):
    """A filter for timelines of at most n events."""
    return {"room": {"timeline": {"limit": n}, **room}}


def later(seconds, action):
    """Runs `action` on a thread after a while."""
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


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
    _, part = alice.sync_with(room, ids[-1], filter=limit(2))
    assert event_ids(timeline(part)) == ids[-2:]
    assert part["timeline"]["limited"] is True
    assert part["timeline"]["prev_batch"]


def state_at_start(user, room, last, events):
    """The topic in `state` before a timeline of so many events, which end with `last`."""
    _, part = user.sync_with(room, last, filter=limit(events))
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
    _, part = alice.sync_with(room, last, filter=limit(2))
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
    _, part = bob.sync_with(room, ids[-1], since, filter=limit(3))
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
    _, part = bob.sync_with(room, last, since, filter=limit(2))
    assert event_ids(state_of(part)) == [topic]


def test_state_change_without_a_gap_is_in_the_timeline_only(alice, bob):
    """GET /sync: a state event that the timeline has is not repeated in `state`."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    topic = alice.set_state(room, "m.room.topic", {"topic": "here"})
    _, part = bob.sync_with(room, topic, since)
    assert event_ids(timeline(part)) == [topic]
    assert state_of(part) == []


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


@pytest.mark.parametrize("params", [{"timeout": "soon"}, {"full_state": "perhaps"}, {"filter": "{"}], ids=str)
def test_bad_parameters(alice, params):
    """GET /sync: parameters of the wrong type."""
    assert alice.get("/sync", params=params).status_code == 400


def test_prev_content_of_state(alice, bob):
    """`unsigned.prev_content`: what the event replaced."""
    room = room_of(alice, bob)
    first = alice.set_state(room, "m.room.topic", {"topic": "one"})
    since = bob.token_after(room, first)
    second = alice.set_state(room, "m.room.topic", {"topic": "two"})
    _, part = bob.sync_with(room, second, since)
    assert timeline(part)[0]["unsigned"]["prev_content"] == {"topic": "one"}


# Waiting

def test_timeout_returns_empty(alice):
    """GET /sync `timeout`: waits that long, then answers without news."""
    since = alice.sync()["next_batch"]
    for _ in range(5):  # the account's own first changes may still arrive
        since = alice.sync(since)["next_batch"]
    begin = time.monotonic()
    sync = alice.sync(since, timeout=1500)
    assert 1.0 < time.monotonic() - begin < 15
    assert not sync.get("rooms", {}).get("join")
    assert sync["next_batch"]


def test_timeout_zero_returns_at_once(alice):
    """GET /sync `timeout`: 0, the default, means not to wait."""
    since = alice.sync()["next_batch"]
    begin = time.monotonic()
    alice.sync(since)
    ok(alice.get("/sync", params={"since": since}))
    assert time.monotonic() - begin < 10


def test_initial_sync_never_waits(alice):
    """GET /sync `timeout`: without `since` the answer comes at once."""
    begin = time.monotonic()
    alice.sync(timeout=30_000)
    assert time.monotonic() - begin < 10


def long_poll(user, since, check):
    """Follows long polls until one satisfies `check`; that answer and the seconds it took."""
    begin = time.monotonic()
    while time.monotonic() - begin < 25:
        sync = user.sync(since, timeout=20_000)
        if check(sync):
            return sync, time.monotonic() - begin
        since = sync["next_batch"]
    raise AssertionError("no long poll had it")


def test_message_wakes_a_long_poll(alice, bob):
    """GET /sync `timeout`: returns as soon as there is an event."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    later(0.7, lambda: alice.send(room, "wake up"))
    woken = lambda sync: "wake up" in bodies(timeline(joined(sync, room)))
    _, seconds = long_poll(bob, since, woken)
    assert seconds < 12


def test_invite_wakes_a_long_poll(alice, bob):
    """GET /sync: an invite into a room that the token knows nothing of."""
    room = alice.create_room()
    since = bob.sync()["next_batch"]
    later(0.7, lambda: alice.invite(room, bob))
    _, seconds = long_poll(bob, since, lambda sync: invited(sync, room))
    assert seconds < 12


def test_own_join_wakes_another_session(alice, bob):
    """GET /sync: a join on one device reaches the others."""
    room = alice.create_room(preset="public_chat")
    since = bob.sync()["next_batch"]
    later(0.7, lambda: bob.join(room))
    _, seconds = long_poll(bob.login_again(), since, has_joined(room))
    assert seconds < 12


def test_account_data_wakes_a_long_poll(alice):
    """GET /sync: account data counts as news."""
    since = alice.sync()["next_batch"]
    later(0.7, lambda: alice.put("/user/{}/account_data/org.test", alice.user_id, json={"n": 1}))
    found = lambda sync: find(sync.get("account_data", {}).get("events", []), "org.test")
    _, seconds = long_poll(alice, since, found)
    assert seconds < 12


# Joining, leaving, being invited

def test_newly_joined_room_comes_whole(alice, bob):
    """GET /sync with `since`: a room joined after it has its state, as in a first sync."""
    room = alice.create_room(preset="public_chat", name="Joined later")
    alice.send(room, "before the join")
    since = bob.sync()["next_batch"]
    bob.join(room)
    last = alice.send(room, "after the join")
    _, part = bob.sync_with(room, last, since)
    kinds = {e["type"] for e in state_of(part) + timeline(part)}
    assert {"m.room.create", "m.room.name", "m.room.member", "m.room.join_rules"} <= kinds
    assert "before the join" in bodies(timeline(part))


def test_join_of_another_user(alice, bob):
    """GET /sync: a newcomer's member event in the timeline."""
    room = alice.create_room(preset="public_chat")
    since = alice.token_after(room, alice.send(room))
    bob.join(room)
    is_in = lambda sync: find(timeline(joined(sync, room)), "m.room.member", bob.user_id)
    sync = alice.sync_when(is_in, since)
    assert is_in(sync)["content"]["membership"] == "join"


def test_invite_has_stripped_state(alice, bob):
    """GET /sync `rooms.invite`: stripped events have sender, type, state_key and content."""
    room = alice.create_room(name="Stripped", preset="private_chat")
    alice.invite(room, bob)
    sync = bob.sync_when(lambda s: invited(s, room))
    events = invited(sync, room)["invite_state"]["events"]
    kinds = {event["type"] for event in events}
    assert {"m.room.member", "m.room.name", "m.room.join_rules", "m.room.create"} <= kinds
    for event in events:
        assert {"sender", "type", "state_key", "content"} <= set(event)
    assert joined(sync, room) is None


def test_invite_comes_once(alice, bob):
    """GET /sync with `since`: an invite that was delivered is not news."""
    room = alice.create_room()
    alice.invite(room, bob)
    since = bob.sync_when(lambda s: invited(s, room))["next_batch"]
    assert invited(bob.sync(since), room) is None


def test_open_invite_is_in_every_first_sync(alice, bob):
    """GET /sync without `since`: invites that wait for an answer."""
    room = alice.create_room()
    alice.invite(room, bob)
    bob.sync_when(lambda s: invited(s, room))
    assert invited(bob.sync(), room)


def test_withdrawn_invite_moves_to_leave(alice, bob):
    """GET /sync: an invite taken back is a leave."""
    room = alice.create_room()
    alice.invite(room, bob)
    since = bob.sync_when(lambda s: invited(s, room))["next_batch"]
    alice.kick(room, bob)
    sync = bob.sync_when(has_left(room), since)
    assert invited(sync, room) is None
    assert invited(bob.sync(), room) is None


def test_leave_section(alice, bob):
    """GET /sync `rooms.leave`: the timeline up to the leave, and nothing after."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    alice.send(room, "still here")
    bob.leave(room)
    alice.send(room, "gone")
    part = left(bob.sync_when(has_left(room), since), room)
    assert bodies(timeline(part)) == ["still here"]
    assert timeline(part)[-1]["content"]["membership"] == "leave"


def test_left_room_comes_once(alice, bob):
    """GET /sync with `since`: later events of a room one left are not delivered."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    bob.leave(room)
    since = bob.sync_when(has_left(room), since)["next_batch"]
    alice.send(room, "gone")
    sync = bob.sync(since)
    assert not left(sync, room) and not joined(sync, room)


def test_left_rooms_are_not_in_a_first_sync(alice, bob):
    """"Filtering", include_leave: false by default."""
    room, stays = room_of(alice, bob), room_of(alice, bob)
    bob.leave(room)
    sync = bob.sync_when(lambda s: has_joined(stays)(s) and not joined(s, room))
    assert left(sync, room) is None


def test_include_leave(alice, bob):
    """"Filtering", include_leave: a first sync with the rooms that one left."""
    room = room_of(alice, bob)
    alice.send(room, "seen")
    bob.leave(room)
    alice.send(room, "unseen")
    part = left(bob.sync_when(has_left(room), filter={"room": {"include_leave": True}}), room)
    assert "seen" in bodies(timeline(part))
    assert "unseen" not in bodies(timeline(part))


def test_ban_is_a_leave(alice, bob):
    """GET /sync `rooms.leave`: "rooms that the user has left or been banned from"."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    alice.ban(room, bob)
    part = left(bob.sync_when(has_left(room), since), room)
    assert find(timeline(part), "m.room.member", bob.user_id)["content"]["membership"] == "ban"


def test_rejoin_after_the_leave_was_seen(alice, bob):
    """GET /sync: a room left and joined again is a newly joined room."""
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    since = bob.token_after(room, alice.send(room, "first stay"))
    bob.leave(room)
    since = bob.sync_when(has_left(room), since)["next_batch"]
    alice.send(room, "meanwhile")
    bob.join(room)
    last = alice.send(room, "second stay")
    sync, part = bob.sync_with(room, last, since)
    assert left(sync, room) is None
    assert "second stay" in bodies(timeline(part))
    kinds = {e["type"] for e in state_of(part) + timeline(part)}
    assert "m.room.create" in kinds


def test_leave_and_rejoin_between_two_syncs(alice, bob):
    """GET /sync: who left and came back is in the room."""
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    since = bob.token_after(room, alice.send(room))
    bob.leave(room)
    bob.join(room)
    last = alice.send(room, "back")
    sync, part = bob.sync_with(room, last, since)
    assert left(sync, room) is None
    assert bodies(timeline(part))[-1] == "back"


def test_rejected_invite_is_a_leave(alice, bob):
    """GET /sync: rejecting an invite reaches one's other sessions."""
    room = alice.create_room()
    alice.invite(room, bob)
    since = bob.sync_when(lambda s: invited(s, room))["next_batch"]
    bob.leave(room)
    bob.login_again().sync_when(has_left(room), since)


# Lazy loading and summaries

LAZY = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}}


def test_lazy_load_members(alice, bob, carol):
    """"Lazy-loading room members": only the senders of the timeline, and oneself."""
    room = room_of(alice, bob, carol, name="No heroes needed")
    last = bob.send(room)
    _, part = alice.sync_with(room, last, filter=LAZY)
    members = {e["state_key"] for e in state_of(part) if e["type"] == "m.room.member"}
    assert bob.user_id in members
    assert carol.user_id not in members


def test_without_lazy_loading_all_members_come(alice, bob, carol):
    """"Lazy-loading room members": it is off by default."""
    room = room_of(alice, bob, carol)
    last = bob.send(room)
    _, part = alice.sync_with(room, last, filter=limit(1))
    members = {e["state_key"] for e in state_of(part) if e["type"] == "m.room.member"}
    assert members == {alice.user_id, bob.user_id, carol.user_id}


def test_lazy_members_come_when_they_first_speak(alice, bob, carol):
    """"Lazy-loading room members": an incremental sync brings the new sender's member event."""
    room = room_of(alice, bob, carol, name="No heroes needed")
    lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 2}}}
    bob.send(room)
    sync, _ = alice.sync_with(room, bob.send(room), filter=lazy)
    last = carol.send(room)
    _, part = alice.sync_with(room, last, sync["next_batch"], filter=lazy)
    assert carol.user_id in {e.get("state_key") for e in state_of(part) + timeline(part)}


def test_summary_of_a_nameless_room(alice, bob, carol):
    """GET /sync `summary`: heroes are the other members; counts of joined and invited."""
    room = room_of(alice, bob)
    alice.invite(room, carol)
    _, part = alice.sync_with(room, alice.send(room), filter=LAZY)
    summary = part["summary"]
    assert set(summary["m.heroes"]) == {bob.user_id, carol.user_id}
    assert summary["m.joined_member_count"] == 2
    assert summary["m.invited_member_count"] == 1


def test_summary_after_a_join(alice, bob, carol):
    """GET /sync `summary`: the counts come again when they change."""
    room = room_of(alice, bob, preset="public_chat")
    sync, _ = alice.sync_with(room, alice.send(room), filter=LAZY)
    carol.join(room)
    last = carol.send(room)
    _, part = alice.sync_with(room, last, sync["next_batch"], filter=LAZY)
    assert part["summary"]["m.joined_member_count"] == 3


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
    complete = lambda s: everything <= set(event_ids(timeline(joined(s, room))))
    events = timeline(joined(alice.sync_when(complete, since, filter=limit(50)), room))
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
