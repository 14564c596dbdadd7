"""Client-server API: "Getting events for a room": the lists of members."""

import pytest

from client import eventually, fails, ok, room_of


def members(user, room, **params):
    chunk = ok(user.get("/rooms/{}/members", room, params=params))["chunk"]
    return {event["state_key"]: event["content"]["membership"] for event in chunk}


@pytest.fixture
def populated(alice, bob, carol):
    """Alice is in, Bob left, Carol is invited."""
    room = room_of(alice, bob)
    bob.leave(room)
    alice.invite(room, carol)
    return room


def test_members(alice, bob, carol, populated):
    """GET /rooms/{roomId}/members: every member event, whatever the membership."""
    expected = {alice.user_id: "join", bob.user_id: "leave", carol.user_id: "invite"}
    assert members(alice, populated) == expected


@pytest.mark.parametrize("membership", ["join", "leave", "invite"])
def test_members_by_membership(alice, populated, membership):
    """GET /rooms/{roomId}/members `membership`: only those."""
    assert list(members(alice, populated, membership=membership).values()) == [membership]


@pytest.mark.parametrize("membership", ["join", "leave", "invite"])
def test_members_by_not_membership(alice, populated, membership):
    """GET /rooms/{roomId}/members `not_membership`: all others."""
    answer = members(alice, populated, not_membership=membership)
    assert len(answer) == 2
    assert membership not in answer.values()


def test_members_at_a_token(alice, bob):
    """GET /rooms/{roomId}/members `at`: the members as of a sync token."""
    room = alice.create_room(preset="public_chat")
    token = alice.token_after(room, alice.send(room))
    bob.join(room)
    assert set(members(alice, room, at=token)) == {alice.user_id}
    assert set(members(alice, room)) == {alice.user_id, bob.user_id}


def test_members_for_an_outsider(alice, bob):
    """GET /rooms/{roomId}/members: 403 for a user who was never in the room."""
    fails(bob.get("/rooms/{}/members", alice.create_room()), 403, "M_FORBIDDEN")


def test_members_for_an_ex_member(alice, bob, carol):
    """GET /rooms/{roomId}/members: the members as they were when the user left."""
    room = room_of(alice, bob)
    bob.leave(room)
    alice.invite(room, carol)
    eventually(lambda: set(members(bob, room)) == {alice.user_id, bob.user_id})


def test_joined_members(alice, bob):
    """GET /rooms/{roomId}/joined_members: a map of users to display names."""
    room = room_of(alice, bob)
    ok(alice.put("/profile/{}/displayname", alice.user_id, json={"displayname": "A"}))

    def joined():
        return ok(bob.get("/rooms/{}/joined_members", room))["joined"]

    assert set(joined()) == {alice.user_id, bob.user_id}
    # A name comes into the rooms after the answer.
    eventually(lambda: joined()[alice.user_id]["display_name"] == "A")


def test_joined_members_without_a_picture_have_the_key(alice):
    """GET /rooms/{roomId}/joined_members: "display_name" and "avatar_url" of each user."""
    joined = ok(alice.get("/rooms/{}/joined_members", alice.create_room()))["joined"]
    assert set(joined[alice.user_id]) == {"display_name", "avatar_url"}
    assert joined[alice.user_id]["avatar_url"] is None


def test_joined_members_is_for_members(alice, bob):
    """GET /rooms/{roomId}/joined_members: 403 for everybody else."""
    fails(bob.get("/rooms/{}/joined_members", alice.create_room()), 403, "M_FORBIDDEN")
