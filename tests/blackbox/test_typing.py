"""Client-server API: "Typing Notifications"."""

import pytest

from client import ephemeral, fails, joined, ok, room_of


@pytest.fixture
def room(alice, bob):
    return room_of(alice, bob)


def type_in(user, room, typing=True, **body):
    return user.put("/rooms/{}/typing/{}", room, user.user_id, json={"typing": typing, **body})


def typists(sync, room):
    content = ephemeral(joined(sync, room), "m.typing")
    return None if content is None else content["user_ids"]


def test_typing_reaches_others(alice, bob, room):
    """PUT .../typing/{userId}: an m.typing event with all who type."""
    since = alice.token_after(room, alice.send(room))
    ok(type_in(bob, room, timeout=30_000))
    alice.sync_when(lambda s: typists(s, room) == [bob.user_id], since)


def test_typing_stops_on_request(alice, bob, room):
    """PUT .../typing/{userId} with `typing: false`."""
    ok(type_in(bob, room, timeout=30_000))
    since = alice.sync_when(lambda s: typists(s, room))["next_batch"]
    ok(type_in(bob, room, False))
    alice.sync_when(lambda s: typists(s, room) == [], since)


def test_typing_stops_after_its_timeout(alice, bob, room):
    """PUT .../typing/{userId} `timeout`: milliseconds until it ends by itself."""
    ok(type_in(bob, room, timeout=1_000))
    since = alice.sync_when(lambda s: typists(s, room))["next_batch"]
    alice.sync_when(lambda s: typists(s, room) == [], since)


def test_two_users_type(alice, bob, carol):
    """m.typing `user_ids`: everyone who types at the moment."""
    room = room_of(alice, bob, carol)
    for user in (bob, carol):
        ok(type_in(user, room, timeout=30_000))
    alice.sync_when(lambda s: set(typists(s, room) or []) == {bob.user_id, carol.user_id})


def test_typing_wakes_a_long_poll(alice, bob, room):
    """GET /sync: typing is delivered at once, not with the next message."""
    since = alice.token_after(room, alice.send(room))
    ok(type_in(bob, room, timeout=30_000))
    sync = alice.sync_when(lambda s: typists(s, room), since, timeout=10_000)
    assert typists(sync, room) == [bob.user_id]


def test_typing_for_somebody_else(alice, bob, room):
    """PUT .../typing/{userId}: only for oneself."""
    response = alice.put("/rooms/{}/typing/{}", room, bob.user_id, json={"typing": True})
    assert response.status_code in {400, 403}


def test_typing_of_an_outsider(carol, room):
    """PUT .../typing/{userId}: 403 M_FORBIDDEN unless one is in the room."""
    fails(type_in(carol, room), 403, "M_FORBIDDEN")


@pytest.mark.synapse_differs(
    "PUT .../typing/{userId}: typing is required; M_MISSING_PARAM is a 400"
)
def test_typing_is_required(alice, room):
    """PUT .../typing/{userId}: `typing` is required."""
    response = alice.put("/rooms/{}/typing/{}", room, alice.user_id, json={})
    assert response.status_code == 400
