"""Client-server API: "Profiles"."""

import pytest

from client import DEFERRED_WAIT_S, fails, find, joined, ok, room_of, state_of, timeline, unique

FIELDS = [("displayname", "Alice in Chains"), ("avatar_url", "mxc://localhost/abcdef")]


def set_field(user, field, value):
    return ok(user.put("/profile/{}/{}", user.user_id, field, json={field: value}))


@pytest.mark.parametrize("field, value", FIELDS)
def test_set_and_get_a_field(alice, bob, field, value):
    """PUT and GET /profile/{userId}/{keyName}: others see what was set."""
    set_field(alice, field, value)
    assert ok(bob.get("/profile/{}/{}", alice.user_id, field)) == {field: value}


def test_whole_profile(alice, bob):
    """GET /profile/{userId}: all fields together."""
    for field, value in FIELDS:
        set_field(alice, field, value)
    profile = ok(bob.get("/profile/{}", alice.user_id))
    assert dict(FIELDS).items() <= profile.items()


def test_profile_without_a_token(anonymous, alice):
    """GET /profile/{userId}: takes no access token."""
    set_field(alice, "displayname", "public name")
    assert ok(anonymous.get("/profile/{}", alice.user_id))["displayname"] == "public name"


def test_profile_of_nobody(alice):
    """GET /profile/{userId}: 404 M_NOT_FOUND for a user who does not exist."""
    nobody = f"@{unique('nobody')}:{alice.server_name}"
    assert alice.get("/profile/{}", nobody).status_code == 404
    assert alice.get("/profile/{}/displayname", nobody).status_code == 404


def test_profile_of_a_malformed_id(alice):
    """GET /profile/{userId}: an id of the wrong kind is no user."""
    response = alice.get("/profile/{}", "not-a-user-id")
    assert response.status_code in {400, 404}


def test_unset_field(alice, bob):
    """GET /profile/{userId}/avatar_url: 404, or no such key, where nothing is set."""
    response = bob.get("/profile/{}/avatar_url", alice.user_id)
    if response.status_code == 200:
        assert response.json().get("avatar_url") is None
    else:
        fails(response, 404, "M_NOT_FOUND")


@pytest.mark.parametrize("field, value", FIELDS)
def test_only_the_own_profile_can_be_set(alice, bob, field, value):
    """PUT /profile/{userId}/{keyName}: 403 M_FORBIDDEN for somebody else's."""
    response = alice.put("/profile/{}/{}", bob.user_id, field, json={field: value})
    fails(response, {400, 403}, {"M_FORBIDDEN", "M_UNKNOWN"})


@pytest.mark.parametrize(
    "field, bad", [("displayname", 5), ("displayname", {"a": 1}), ("avatar_url", 5)]
)
def test_field_of_the_wrong_type(alice, field, bad):
    """PUT /profile/{userId}/{keyName}: both fields are strings."""
    response = alice.put("/profile/{}/{}", alice.user_id, field, json={field: bad})
    assert response.status_code == 400, response.text


@pytest.mark.parametrize("field, value", FIELDS)
def test_change_reaches_the_rooms(alice, bob, field, value):
    """Section "Events on Change of Profile Information": an m.room.member event in each joined room."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    set_field(alice, field, value)

    def member(sync):
        return find(timeline(joined(sync, room)), "m.room.member", alice.user_id)

    event = member(bob.sync_when(member, since, wait_s=DEFERRED_WAIT_S))
    assert event["content"][field] == value
    assert event["content"]["membership"] == "join"


def test_member_event_of_a_join_has_the_profile(alice, bob):
    """m.room.member: the server copies displayname and avatar_url into the event."""
    for field, value in FIELDS:
        set_field(bob, field, value)
    room = room_of(alice, bob)
    member = alice.state(room, "m.room.member", bob.user_id)
    assert dict(FIELDS).items() <= member.items()


def test_invite_has_the_profile_of_the_invited(alice, bob):
    """m.room.member: an invite of a local user carries that user's profile."""
    set_field(bob, "displayname", "Bobby")
    room = alice.create_room()
    alice.invite(room, bob)
    assert alice.state(room, "m.room.member", bob.user_id)["displayname"] == "Bobby"


def test_creator_has_the_profile(alice):
    """POST /createRoom: the creator's own member event carries the profile."""
    set_field(alice, "displayname", "Founder")
    room = alice.create_room()
    assert alice.state(room, "m.room.member", alice.user_id)["displayname"] == "Founder"


def test_profile_of_a_member_in_sync_state(alice, bob):
    """GET /sync: a newcomer finds the current display names among the member events."""
    set_field(alice, "displayname", "Present Name")
    room = room_of(alice, bob)
    _, part = bob.sync_with(room, alice.send(room))
    member = find(state_of(part) + timeline(part), "m.room.member", alice.user_id)
    assert member["content"]["displayname"] == "Present Name"
