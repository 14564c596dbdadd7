"""Client-server API: "Room History Visibility"."""

import pytest

from client import bodies, fails, joined, ok, room_of, timeline


def room_with(alice, visibility, **body):
    """A public room of Alice's with this history visibility."""
    content = {"history_visibility": visibility}
    initial = [{"type": "m.room.history_visibility", "state_key": "", "content": content}]
    return alice.create_room(preset="public_chat", initial_state=initial, **body)


def history(user, room):
    return bodies(reversed(user.messages(room, "b", limit=100)["chunk"]))


VISIBLE_TO_LATE_JOINERS = [
    ("world_readable", ["before", "after"]),
    ("shared", ["before", "after"]),
    ("invited", ["after"]),
    ("joined", ["after"]),
]


@pytest.mark.parametrize("visibility, expected", VISIBLE_TO_LATE_JOINERS)
def test_late_joiner_in_messages(alice, bob, visibility, expected):
    """Section "Room History Visibility": what one who joins later sees of the time before."""
    room = room_with(alice, visibility)
    alice.send(room, "before")
    bob.join(room)
    alice.send(room, "after")
    assert history(bob, room) == expected


@pytest.mark.parametrize("visibility, expected", VISIBLE_TO_LATE_JOINERS)
def test_late_joiner_in_sync(alice, bob, visibility, expected):
    """The same rules in GET /sync."""
    room = room_with(alice, visibility)
    alice.send(room, "before")
    bob.join(room)
    _, part = bob.sync_with(room, alice.send(room, "after"))
    assert bodies(timeline(part)) == expected


@pytest.mark.parametrize(
    "visibility, expected",
    [
        ("shared", ["early", "invited", "joined"]),
        ("invited", ["invited", "joined"]),
        ("joined", ["joined"]),
    ],
)
def test_time_between_invite_and_join(alice, bob, visibility, expected):
    """`invited`: "accessible to newly joined members from the point they were invited"."""
    room = room_with(alice, visibility)
    alice.send(room, "early")
    alice.invite(room, bob)
    alice.send(room, "invited")
    bob.join(room)
    alice.send(room, "joined")
    assert history(bob, room) == expected


@pytest.mark.parametrize("visibility", ["shared", "invited", "joined"])
def test_ex_member_sees_nothing_newer(alice, bob, visibility):
    """Section "Room History Visibility": after leaving, later events are out of sight."""
    room = room_with(alice, visibility)
    bob.join(room)
    alice.send(room, "while in")
    bob.leave(room)
    hidden = alice.send(room, "after leaving")
    assert history(bob, room) == ["while in"]
    response = bob.get("/rooms/{}/event/{}", room, hidden)
    fails(response, {403, 404}, {"M_FORBIDDEN", "M_NOT_FOUND"})


@pytest.mark.parametrize("visibility", ["shared", "invited", "joined"])
def test_never_a_member(alice, bob, visibility):
    """Section "Room History Visibility": one who never joined sees nothing."""
    room = room_with(alice, visibility)
    event_id = alice.send(room, "hidden")
    fails(bob.get("/rooms/{}/messages", room, params={"dir": "b"}), 403, "M_FORBIDDEN")
    # "The event was not found or you do not have permission to read this event."
    fails(bob.get("/rooms/{}/event/{}", room, event_id), 404, "M_NOT_FOUND")


def test_world_readable_without_joining(alice, bob):
    """`world_readable`: "regardless of whether they have ever joined the room"."""
    room = room_with(alice, "world_readable", name="Glass house")
    event_id = alice.send(room, "for all")
    assert history(bob, room) == ["for all"]
    assert bob.event(room, event_id)["content"]["body"] == "for all"
    assert bob.state(room, "m.room.name")["name"] == "Glass house"


def test_invited_user_sees_no_history_yet(alice, bob):
    """`shared`: an invited user who has not joined sees no messages."""
    room = room_with(alice, "shared")
    event_id = alice.send(room, "hidden")
    alice.invite(room, bob)
    response = bob.get("/rooms/{}/event/{}", room, event_id)
    fails(response, {403, 404}, {"M_FORBIDDEN", "M_NOT_FOUND"})


def test_setting_counts_at_the_time_of_the_event(alice, bob):
    """Section "These options are applied at the point an event is sent"."""
    room = room_with(alice, "joined")
    alice.send(room, "private")
    alice.set_state(room, "m.room.history_visibility", {"history_visibility": "shared"})
    alice.send(room, "shared")
    bob.join(room)
    assert history(bob, room) == ["shared"]


def test_context_shows_only_the_visible(alice, bob):
    """GET .../context: the events around are filtered by visibility."""
    room = room_with(alice, "joined")
    alice.send(room, "before")
    bob.join(room)
    event_id = alice.send(room, "after")
    answer = ok(bob.get("/rooms/{}/context/{}", room, event_id, params={"limit": 10}))
    assert bodies(answer["events_before"]) == []


def test_unknown_value_means_shared(alice, bob):
    """Section "if the value is not understood, the visibility is assumed to be shared"."""
    room = alice.create_room(preset="public_chat")
    response = alice.try_set_state(room, "m.room.history_visibility", {"history_visibility": "odd"})
    if response.status_code == 200:
        alice.send(room, "before")
        bob.join(room)
        assert history(bob, room) == ["before"]
    else:
        assert response.status_code == 400


def test_rejoined_member_of_a_joined_room(alice, bob):
    """`joined`: the time between leaving and joining again stays hidden."""
    room = room_with(alice, "joined")
    bob.join(room)
    alice.send(room, "first stay")
    bob.leave(room)
    alice.send(room, "away")
    bob.join(room)
    last = alice.send(room, "second stay")
    bob.sync_with(room, last)
    assert history(bob, room) == ["first stay", "second stay"]
    assert "away" not in bodies(timeline(joined(bob.sync(), room)))


def test_members_keep_seeing_all(alice, bob):
    """`joined`: members see everything from their time."""
    room = room_of(alice, bob)
    alice.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    alice.send(room, "ours")
    assert history(bob, room) == ["ours"]
