"""Client-server API: "Permissions" (m.room.power_levels), and the auth rules behind it."""

import pytest

from client import fails, ok, room_of

TEXT = {"msgtype": "m.text", "body": "x"}


@pytest.fixture
def room(alice, bob):
    """Alice has 100, Bob 0; version 11, where the creator is in the power levels."""
    return room_of(alice, bob, room_version="11")


def change(user, room, **keys):
    levels = user.state(room, "m.room.power_levels")
    return user.try_set_state(room, "m.room.power_levels", {**levels, **keys})


STATE_KINDS = [
    ("m.room.name", {"name": "n"}),
    ("m.room.topic", {"topic": "t"}),
    ("m.room.join_rules", {"join_rule": "public"}),
    ("m.room.history_visibility", {"history_visibility": "joined"}),
    ("m.room.power_levels", {"users": {}}),
    ("org.test.custom", {}),
]


@pytest.mark.parametrize("kind, content", STATE_KINDS)
def test_state_needs_power(bob, room, kind, content):
    """`state_default` 50: a member with 0 changes no state."""
    fails(bob.try_set_state(room, kind, content), 403, "M_FORBIDDEN")


def test_level_of_a_type(alice, bob, room):
    """`events`: the level of one type of event."""
    events = alice.state(room, "m.room.power_levels").get("events", {})
    ok(change(alice, room, events={**events, "m.room.topic": 0}))
    bob.set_state(room, "m.room.topic", {"topic": "everybody's"})
    fails(bob.try_set_state(room, "m.room.name", {"name": "n"}), 403, "M_FORBIDDEN")


def test_events_default(alice, bob, room):
    """`events_default`: the level to send messages."""
    ok(change(alice, room, events_default=1))
    fails(bob.try_send(room, TEXT), 403, "M_FORBIDDEN")
    alice.send(room)


def test_users_default(alice, bob, room):
    """`users_default`: the level of everybody who is not in `users`."""
    ok(change(alice, room, users_default=50))
    bob.set_state(room, "m.room.topic", {"topic": "now I may"})


def test_promoted_user(alice, bob, room):
    """`users`: a promoted user may what the level allows."""
    ok(change(alice, room, users={alice.user_id: 100, bob.user_id: 50}))
    bob.set_state(room, "m.room.topic", {"topic": "moderated"})
    fails(change(bob, room, users={alice.user_id: 100, bob.user_id: 100}), 403, "M_FORBIDDEN")


def test_nobody_lowers_an_equal(alice, bob, room):
    """Auth rules: one's level must be above that of a user whose level one changes."""
    ok(change(alice, room, users={alice.user_id: 100, bob.user_id: 100}))
    fails(change(bob, room, users={alice.user_id: 0, bob.user_id: 100}), 403, "M_FORBIDDEN")


def test_own_level_can_be_lowered(alice, room):
    """Auth rules: anybody may lower their own level."""
    ok(change(alice, room, users={alice.user_id: 50}))
    fails(change(alice, room, users={alice.user_id: 100}), 403, "M_FORBIDDEN")


def test_no_level_above_ones_own(alice, bob, room):
    """Auth rules: nothing is set to, or changed from, a level above one's own."""
    ok(
        change(
            alice,
            room,
            users={alice.user_id: 100, bob.user_id: 60},
            events={"m.room.power_levels": 50},
        )
    )
    fails(change(bob, room, ban=61), 403, "M_FORBIDDEN")
    ok(change(bob, room, ban=60))


def test_invite_level(alice, bob, carol, room):
    """`invite`: the level to invite, 0 unless set."""
    ok(change(alice, room, invite=50))
    fails(bob.post("/rooms/{}/invite", room, json={"user_id": carol.user_id}), 403, "M_FORBIDDEN")
    ok(change(alice, room, invite=0))
    bob.invite(room, carol)


@pytest.mark.parametrize("action", ["kick", "ban"])
def test_kick_and_ban_levels(alice, bob, carol, action):
    """`kick` and `ban`: 50 unless set."""
    room = room_of(alice, bob, carol, room_version="11")
    ok(change(alice, room, users={alice.user_id: 100, bob.user_id: 10}, **{action: 10}))
    ok(bob.post("/rooms/{}/" + action, room, json={"user_id": carol.user_id}))


@pytest.mark.parametrize(
    "levels",
    [
        {"users_default": "50"},
        {"users_default": 1.5},
        {"users": {"not-a-user": 5}},
        {"events": []},
    ],
    ids=str,
)
def test_malformed_levels(alice, room, levels):
    """Auth rules since version 10: levels are integers, `users` is keyed by user ids."""
    response = change(alice, room, **levels)
    assert response.status_code in {400, 403}, response.text


def test_refused_change_changes_nothing(alice, bob, room):
    """A 403 leaves the state and the timeline as they were."""
    before = alice.messages(room, "b", limit=1)["chunk"][0]["event_id"]
    fails(bob.try_set_state(room, "m.room.topic", {"topic": "x"}), 403, "M_FORBIDDEN")
    assert alice.messages(room, "b", limit=1)["chunk"][0]["event_id"] == before
    fails(alice.get("/rooms/{}/state/m.room.topic/", room), 404, "M_NOT_FOUND")


def test_creator_of_a_version_12_room(alice, bob):
    """Room version 12: creators have infinite power and are not in `users`."""
    versions = ok(alice.get("/capabilities"))["capabilities"]["m.room_versions"]["available"]
    if "12" not in versions:
        pytest.skip("the server does not offer version 12")
    room = room_of(alice, bob, room_version="12")
    levels = alice.state(room, "m.room.power_levels")
    assert alice.user_id not in levels.get("users", {})
    ok(alice.try_set_state(room, "m.room.power_levels", {**levels, "events_default": 100}))
    alice.send(room)
    fails(bob.try_send(room, TEXT), 403, "M_FORBIDDEN")
