"""Client-server API: "Syncing": GET /messages, and "Event context"."""

import pytest

from client import bodies, event_ids, fails, find, has_left, ok, room_of, timeline


@pytest.fixture
def room(alice, bob):
    """A room of Alice and Bob with ten messages, m0 to m9."""
    room = room_of(alice, bob)
    for n in range(10):
        alice.send(room, f"m{n}")
    return room


def pages(user, room, direction, start=None, **params):
    """All events of a room, page by page, and the number of pages."""
    events, token, count = [], start, 0
    while count < 100:
        page = user.messages(room, direction, **params, **({"from": token} if token else {}))
        events += page["chunk"]
        count += 1
        token = page.get("end")
        if not token or not page["chunk"]:
            return events, count
    raise AssertionError("paging never ended")


def test_backwards_from_the_end(alice, room):
    """GET .../messages?dir=b: newest first; without `from`, from the room's end."""
    assert bodies(alice.messages(room, "b", limit=3)["chunk"]) == ["m9", "m8", "m7"]


def test_forwards_from_the_start(alice, room):
    """GET .../messages?dir=f: oldest first; without `from`, from the room's start."""
    chunk = alice.messages(room, "f", limit=2)["chunk"]
    assert [event["type"] for event in chunk] == ["m.room.create", "m.room.member"]


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_all_pages_backwards(alice, room, limit):
    """GET .../messages: pages join without gap or repeat, down to the creation."""
    events, _ = pages(alice, room, "b", limit=limit)
    assert bodies(events) == [f"m{n}" for n in reversed(range(10))]
    assert events[-1]["type"] == "m.room.create"
    assert len(set(event_ids(events))) == len(events)


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_both_directions_are_each_others_reverse(alice, room, limit):
    """GET .../messages: the same events in both directions."""
    backwards, _ = pages(alice, room, "b", limit=limit)
    forwards, _ = pages(alice, room, "f", limit=limit)
    assert event_ids(forwards) == event_ids(reversed(backwards))


def test_end_is_left_out_at_the_end(alice, room):
    """GET .../messages `end`: is omitted where no further events are available."""
    page = alice.messages(room, "b", limit=100)
    while page.get("end"):
        page = alice.messages(room, "b", limit=100, **{"from": page["end"]})
    assert page["chunk"] == [] or page["chunk"][-1]["type"] == "m.room.create"


def test_start_is_the_token_that_was_given(alice, room):
    """GET .../messages `start`: "This will be the same as the value given in from"."""
    token = alice.messages(room, "b", limit=2)["end"]
    assert alice.messages(room, "b", limit=2, **{"from": token})["start"] == token


def test_from_prev_batch_of_sync(alice, room):
    """GET .../messages: `prev_batch` of a limited timeline goes on where it began."""
    last = alice.messages(room, "b", limit=1)["chunk"][0]["event_id"]
    limit = {"room": {"timeline": {"limit": 4}}}
    _, part = alice.sync_with(room, last, filter=limit)
    assert part["timeline"]["limited"] is True
    assert bodies(timeline(part)) == ["m6", "m7", "m8", "m9"]
    page = alice.messages(room, "b", limit=3, **{"from": part["timeline"]["prev_batch"]})
    assert bodies(page["chunk"]) == ["m5", "m4", "m3"]


def test_from_next_batch_of_sync(alice, room):
    """GET .../messages: a sync token may be given as `from`, in both directions."""
    token = alice.token_after(room, alice.send(room, "here"))
    alice.send(room, "later")
    assert bodies(alice.messages(room, "f", **{"from": token})["chunk"]) == ["later"]
    assert bodies(alice.messages(room, "b", limit=1, **{"from": token})["chunk"]) == ["here"]


@pytest.mark.synapse_differs(
    'm.room.history_visibility, "5. Otherwise, deny": shared history ends for who left and did not join again'
)
def test_from_a_token_that_is_later_than_ones_leave(alice, bob, room):
    """GET .../messages `from`: for who left, a later token of /sync stands at the end of the stay."""
    bob.leave(room)
    bob.sync_when(has_left(room), filter={"room": {"include_leave": True}})
    since = bob.sync()["next_batch"]
    alice.send(room, "after the leave")
    assert bob.messages(room, "f", **{"from": since})["chunk"] == []
    newest = bob.messages(room, "b", limit=2, **{"from": since})["chunk"]
    assert [event["type"] for event in newest] == ["m.room.member", "m.room.message"]
    assert newest[1]["content"]["body"] == "m9"


def test_to_a_token(alice, room):
    """GET .../messages `to`: stops there."""
    stop = alice.messages(room, "b", limit=4)["end"]
    page = alice.messages(room, "b", limit=100, to=stop)
    assert bodies(page["chunk"]) == ["m9", "m8", "m7", "m6"]


def test_tokens_are_stable(alice, room):
    """GET .../messages: the same token gives the same page, whatever was sent since."""
    token = alice.messages(room, "b", limit=2)["end"]
    before = alice.messages(room, "b", limit=3, **{"from": token})["chunk"]
    alice.send(room, "newer")
    after = alice.messages(room, "b", limit=3, **{"from": token})["chunk"]
    assert event_ids(after) == event_ids(before)


def test_filter_by_type(alice, room):
    """GET .../messages `filter`: a RoomEventFilter."""
    page = alice.messages(room, "b", limit=100, filter={"types": ["m.room.create"]})
    assert [event["type"] for event in page["chunk"]] == ["m.room.create"]


def test_filter_by_sender(alice, bob, room):
    """GET .../messages `filter`: senders and not_senders."""
    bob.send(room, "from bob")
    only = alice.messages(
        room, "b", limit=100, filter={"senders": [bob.user_id], "types": ["m.room.message"]}
    )
    assert bodies(only["chunk"]) == ["from bob"]
    without = alice.messages(room, "b", limit=1, filter={"not_senders": [bob.user_id]})
    assert bodies(without["chunk"]) == ["m9"]


def test_filter_by_wildcard(alice, room):
    """Section "Filtering": `*` in types matches any run of characters."""
    page = alice.messages(room, "b", limit=100, filter={"not_types": ["m.room.*"]})
    assert page["chunk"] == []


def test_lazy_members(alice, bob, room):
    """GET .../messages with lazy_load_members: `state` has the senders' member events."""
    lazy = {"lazy_load_members": True}
    page = alice.messages(room, "b", limit=3, filter=lazy)
    members = {e["state_key"] for e in page.get("state", []) if e["type"] == "m.room.member"}
    assert members == {alice.user_id}


def test_messages_for_an_outsider(carol, room):
    """GET .../messages: 403 M_FORBIDDEN "You aren't a member of the room"."""
    fails(carol.get("/rooms/{}/messages", room, params={"dir": "b"}), 403, "M_FORBIDDEN")


BAD_PARAMS = [{}, {"dir": "x"}, {"dir": "b", "limit": "many"}, {"dir": "b", "from": "forged"}]


@pytest.mark.parametrize("params", BAD_PARAMS, ids=str)
def test_bad_parameters(alice, room, params):
    """GET .../messages: `dir` is required, one of b and f; tokens are the server's."""
    response = alice.get("/rooms/{}/messages", room, params=params)
    assert response.status_code == 400 or params == {}, response.text


def test_limit_is_an_upper_bound(alice, room):
    """GET .../messages `limit`: never more; a huge one is cut or served whole."""
    assert len(alice.messages(room, "b", limit=5)["chunk"]) == 5
    assert len(alice.messages(room, "b", limit=1_000_000)["chunk"]) >= 10


# GET /rooms/{roomId}/context


def context(user, room, event_id, **params):
    return ok(user.get("/rooms/{}/context/{}", room, event_id, params=params))


def middle(user, room):
    """The id of m5."""
    chunk = user.messages(room, "b", limit=100)["chunk"]
    return next(e["event_id"] for e in chunk if e["content"].get("body") == "m5")


def test_context(alice, room):
    """GET .../context/{eventId}: the events before (newest first) and after."""
    answer = context(alice, room, middle(alice, room), limit=4)
    assert answer["event"]["content"]["body"] == "m5"
    assert bodies(answer["events_before"]) == ["m4", "m3"]
    assert bodies(answer["events_after"]) == ["m6", "m7"]


def test_context_pages_on_in_both_directions(alice, room):
    """GET .../context/{eventId}: `start` and `end` are tokens for /messages."""
    answer = context(alice, room, middle(alice, room), limit=2)
    assert bodies(answer["events_before"] + answer["events_after"]) == ["m4", "m6"]
    older = alice.messages(room, "b", limit=2, **{"from": answer["start"]})["chunk"]
    newer = alice.messages(room, "f", limit=2, **{"from": answer["end"]})["chunk"]
    assert (bodies(older), bodies(newer)) == (["m3", "m2"], ["m7", "m8"])


def test_context_state_is_of_the_last_event(alice, room):
    """GET .../context/{eventId} `state`: "at the last event returned"."""
    alice.set_state(room, "m.room.topic", {"topic": "early"})
    event_id = alice.send(room, "target")
    for n in range(5):
        alice.send(room, f"after{n}")
    alice.set_state(room, "m.room.topic", {"topic": "late"})
    answer = context(alice, room, event_id, limit=2)
    assert find(answer["state"], "m.room.topic")["content"]["topic"] == "early"


def test_context_limit_zero(alice, room):
    """GET .../context/{eventId} `limit`: applies to both lists together; 0 gives none."""
    answer = context(alice, room, middle(alice, room), limit=0)
    assert answer.get("events_before", []) == answer.get("events_after", []) == []


def test_context_of_an_unknown_event(alice, room):
    """GET .../context/{eventId}: 404 M_NOT_FOUND."""
    fails(alice.get("/rooms/{}/context/{}", room, "$nothing"), 404, "M_NOT_FOUND")


def test_context_for_an_outsider(alice, carol, room):
    """GET .../context/{eventId}: 403 or 404 for a user who may not see it."""
    response = carol.get("/rooms/{}/context/{}", room, middle(alice, room))
    fails(response, {403, 404}, {"M_FORBIDDEN", "M_NOT_FOUND"})


def test_context_with_lazy_members(alice, room):
    """GET .../context with lazy_load_members: only the senders' member events."""
    params = {"limit": 4, "filter": '{"lazy_load_members": true}'}
    answer = context(alice, room, middle(alice, room), **params)
    members = {e["state_key"] for e in answer["state"] if e["type"] == "m.room.member"}
    assert members == {alice.user_id}


def test_timestamp_to_event(alice, room):
    """GET /v1/rooms/{roomId}/timestamp_to_event: the nearest event in a direction."""
    event_id = middle(alice, room)
    stamp = alice.event(room, event_id)["origin_server_ts"]
    params = {"ts": stamp, "dir": "f"}
    answer = ok(
        alice.get("/rooms/{}/timestamp_to_event", room, params=params, prefix="/_matrix/client/v1")
    )
    assert answer["origin_server_ts"] >= stamp
