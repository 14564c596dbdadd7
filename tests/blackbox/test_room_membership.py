"""Client-server API: "Room membership": join, leave, invite, kick, ban, unban, knock, forget."""

import pytest

from client import (
    eventually,
    fails,
    find,
    has_invite,
    has_joined,
    has_left,
    left,
    ok,
    room_of,
    timeline,
    unique,
)

# M_BAD_STATE: "The state change requested cannot be performed".
BANNED = {"M_FORBIDDEN", "M_BAD_STATE"}


def post(user, room, action, **body):
    return user.post("/rooms/{}/" + action, room, json=body)


@pytest.fixture
def public(alice):
    """A room of Alice's that anybody can join."""
    return alice.create_room(preset="public_chat")


# Joining


@pytest.mark.parametrize("path", ["/join/{}", "/rooms/{}/join"])
def test_join_by_id(bob, public, path):
    """POST /join/{roomIdOrAlias} and /rooms/{roomId}/join."""
    assert ok(bob.post(path, public))["room_id"] == public
    assert bob.membership(public, bob) == "join"


def test_join_by_alias(alice, bob):
    """POST /join/{roomIdOrAlias} with an alias answers with the room's id."""
    name = unique("joinme")
    room = alice.create_room(preset="public_chat", room_alias_name=name)
    assert bob.join(f"#{name}:{alice.server_name}") == room


def test_join_by_unknown_alias(alice):
    """POST /join/{roomIdOrAlias}: an alias of nothing."""
    alias = f"#{unique('nothing')}:{alice.server_name}"
    fails(alice.post("/join/{}", alias), 404, "M_NOT_FOUND")


@pytest.mark.parametrize("bad", ["nonsense", "@user:localhost", "$event"])
def test_join_of_something_else(alice, bad):
    """POST /join/{roomIdOrAlias}: an id of the wrong kind."""
    assert alice.post("/join/{}", bad).status_code in {400, 404}


def test_join_of_an_unknown_room(alice):
    """POST /join/{roomIdOrAlias}: a room that this server does not know."""
    response = alice.post("/join/{}", f"!{unique('none')}:{alice.server_name}")
    assert response.status_code in {403, 404}, response.text


def test_join_twice_is_the_same(bob, public):
    """POST /join: joining a room one is in does nothing."""
    bob.join(public)
    first = bob.messages(public)["chunk"][0]["event_id"]
    bob.join(public)
    assert bob.messages(public)["chunk"][0]["event_id"] == first


def test_join_reason(alice, bob, public):
    """POST /join `reason`: is kept in the member event."""
    ok(bob.post("/join/{}", public, json={"reason": "curious"}))
    assert alice.state(public, "m.room.member", bob.user_id)["reason"] == "curious"


def test_join_needs_an_invite(alice, bob):
    """POST /join: 403 M_FORBIDDEN for an invite-only room."""
    fails(bob.post("/join/{}", alice.create_room()), 403, "M_FORBIDDEN")


def test_join_after_an_invite(alice, bob):
    """POST /join: an invited user may join."""
    room = alice.create_room()
    alice.invite(room, bob)
    bob.join(room)
    assert alice.membership(room, bob) == "join"


def test_restricted_join(alice, bob, carol):
    """Join rule `restricted`: members of an allowed room may join."""
    gate = room_of(alice, bob)
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": gate}]}
    room = alice.create_room(initial_state=[{"type": "m.room.join_rules", "content": rule}])
    bob.join(room)
    assert alice.membership(room, bob) == "join"
    fails(carol.post("/join/{}", room), 403, "M_FORBIDDEN")


def test_joined_rooms(alice, bob):
    """GET /joined_rooms: rooms one is in; not invites, not rooms one left."""
    here, gone, asked = room_of(alice, bob), room_of(alice, bob), alice.create_room()
    alice.invite(asked, bob)
    bob.leave(gone)
    eventually(lambda: ok(bob.get("/joined_rooms"))["joined_rooms"] == [here])


# Leaving


def test_leave(alice, bob, public):
    """POST /rooms/{roomId}/leave: others see it; the room becomes unreachable for sending."""
    bob.join(public)
    bob.leave(public)
    assert alice.membership(public, bob) == "leave"
    fails(bob.try_send(public, {"body": "x", "msgtype": "m.text"}), 403, "M_FORBIDDEN")


def test_leave_reason(alice, bob, public):
    """POST /rooms/{roomId}/leave `reason`."""
    bob.join(public)
    ok(post(bob, public, "leave", reason="bored"))
    assert alice.state(public, "m.room.member", bob.user_id)["reason"] == "bored"


def test_leave_a_room_one_is_not_in(alice, bob):
    """POST /rooms/{roomId}/leave: no way to leave a room one was never in."""
    response = bob.post("/rooms/{}/leave", alice.create_room())
    assert response.status_code in {403, 404}


def test_rejoin(alice, bob, public):
    """A user who left a public room may join it again."""
    for _ in range(2):
        bob.join(public)
        bob.leave(public)
    bob.join(public)
    assert alice.membership(public, bob) == "join"


def test_reject_an_invite(alice, bob):
    """POST /rooms/{roomId}/leave: rejects an invite."""
    room = alice.create_room()
    alice.invite(room, bob)
    bob.leave(room)
    assert alice.membership(room, bob) == "leave"
    fails(bob.post("/join/{}", room), 403, "M_FORBIDDEN")


# Inviting


def test_invite_reaches_sync(alice, bob):
    """POST /rooms/{roomId}/invite: the invited sees stripped state."""
    room = alice.create_room(name="Invitation only")
    alice.invite(room, bob)
    events = bob.sync_when(has_invite(room))["rooms"]["invite"][room]["invite_state"]["events"]
    assert find(events, "m.room.member", bob.user_id)["sender"] == alice.user_id
    assert find(events, "m.room.name")["content"]["name"] == "Invitation only"


def test_invite_reason(alice, bob):
    """POST /rooms/{roomId}/invite `reason`."""
    room = alice.create_room()
    ok(post(alice, room, "invite", user_id=bob.user_id, reason="join us"))
    assert alice.state(room, "m.room.member", bob.user_id)["reason"] == "join us"


def test_invite_of_a_member(alice, bob):
    """POST /rooms/{roomId}/invite: 403 for a user who is in the room."""
    room = room_of(alice, bob)
    fails(post(alice, room, "invite", user_id=bob.user_id), 403, "M_FORBIDDEN")


def test_invite_of_a_banned_user(alice, bob):
    """POST /rooms/{roomId}/invite: 403 for a banned user."""
    room = alice.create_room()
    alice.ban(room, bob)
    fails(post(alice, room, "invite", user_id=bob.user_id), 403, BANNED)


def test_invite_by_an_outsider(alice, bob, carol):
    """POST /rooms/{roomId}/invite: 403 unless the caller is in the room."""
    fails(post(bob, alice.create_room(), "invite", user_id=carol.user_id), 403, "M_FORBIDDEN")


NOT_A_STRING = pytest.param(
    {"user_id": 5},
    marks=pytest.mark.synapse_differs(
        "POST /rooms/{roomId}/invite 400: the request is invalid, M_BAD_JSON where malformed",
    ),
)


@pytest.mark.parametrize("body", [{}, {"user_id": "nobody"}, NOT_A_STRING])
def test_invite_of_no_user(alice, body):
    """POST /rooms/{roomId}/invite: `user_id` is required and is a user's id."""
    response = alice.post("/rooms/{}/invite", alice.create_room(), json=body)
    assert response.status_code == 400, response.text


# Kicking and banning


def test_kick(alice, bob):
    """POST /rooms/{roomId}/kick: membership becomes leave, with the reason."""
    room = room_of(alice, bob)
    ok(post(alice, room, "kick", user_id=bob.user_id, reason="out"))
    member = alice.state(room, "m.room.member", bob.user_id)
    assert (member["membership"], member["reason"]) == ("leave", "out")


def test_kicked_user_sees_it(alice, bob):
    """POST /rooms/{roomId}/kick: the room moves to the user's `leave` section."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    alice.kick(room, bob)
    part = left(bob.sync_when(has_left(room), since), room)
    event = find(timeline(part), "m.room.member", bob.user_id)
    assert (event["sender"], event["content"]["membership"]) == (alice.user_id, "leave")


def test_kick_takes_back_an_invite(alice, bob):
    """POST /rooms/{roomId}/kick: also for invited users."""
    room = alice.create_room()
    alice.invite(room, bob)
    alice.kick(room, bob)
    fails(bob.post("/join/{}", room), 403, "M_FORBIDDEN")


def test_kick_of_somebody_who_is_not_there(alice, bob):
    """POST /rooms/{roomId}/kick: 403 where the target is not in the room."""
    fails(post(alice, alice.create_room(), "kick", user_id=bob.user_id), 403, "M_FORBIDDEN")


@pytest.mark.parametrize("action", ["kick", "ban", "unban"])
def test_moderation_needs_power(alice, bob, carol, action):
    """POST /rooms/{roomId}/kick, ban, unban: 403 below the power level."""
    room = room_of(alice, bob, carol)
    if action == "unban":
        alice.ban(room, carol)
    fails(post(bob, room, action, user_id=carol.user_id), 403, "M_FORBIDDEN")


@pytest.mark.parametrize("action", ["kick", "ban"])
def test_no_moderation_of_equals(alice, bob, action):
    """m.room.power_levels: kicking and banning need a level above the target's."""
    room = alice.create_room(preset="trusted_private_chat", invite=[bob.user_id], room_version="11")
    bob.join(room)
    fails(post(bob, room, action, user_id=alice.user_id), 403, "M_FORBIDDEN")


def test_ban_ends_membership_and_joining(alice, bob, public):
    """POST /rooms/{roomId}/ban: the user is out and stays out."""
    bob.join(public)
    alice.ban(public, bob)
    assert alice.membership(public, bob) == "ban"
    fails(bob.post("/join/{}", public), 403, BANNED)


def test_ban_before_any_membership(alice, bob, public):
    """POST /rooms/{roomId}/ban: also for users who never were in the room."""
    ok(post(alice, public, "ban", user_id=bob.user_id, reason="known"))
    assert alice.state(public, "m.room.member", bob.user_id)["reason"] == "known"
    fails(bob.post("/join/{}", public), 403, BANNED)


def test_unban_allows_joining(alice, bob, public):
    """POST /rooms/{roomId}/unban: the user may join again."""
    alice.ban(public, bob)
    ok(post(alice, public, "unban", user_id=bob.user_id))
    assert alice.membership(public, bob) == "leave"
    bob.join(public)


def test_unban_of_a_user_who_is_not_banned(alice, bob):
    """POST /rooms/{roomId}/unban: is no way to kick."""
    room = room_of(alice, bob)
    response = post(alice, room, "unban", user_id=bob.user_id)
    assert response.status_code in {400, 403}
    assert alice.membership(room, bob) == "join"


# Knocking


@pytest.fixture
def knockable(alice):
    rule = {"join_rule": "knock"}
    return alice.create_room(initial_state=[{"type": "m.room.join_rules", "content": rule}])


def test_knock(alice, bob, knockable):
    """POST /knock/{roomIdOrAlias}: membership knock, with the reason."""
    assert ok(bob.post("/knock/{}", knockable, json={"reason": "please"}))["room_id"] == knockable
    member = alice.state(knockable, "m.room.member", bob.user_id)
    assert (member["membership"], member["reason"]) == ("knock", "please")


def test_knock_reaches_sync(bob, knockable):
    """GET /sync: `rooms.knock` with stripped `knock_state`."""
    ok(bob.post("/knock/{}", knockable))
    sync = bob.sync_when(lambda s: knockable in s.get("rooms", {}).get("knock", {}))
    events = sync["rooms"]["knock"][knockable]["knock_state"]["events"]
    assert find(events, "m.room.member", bob.user_id)["content"]["membership"] == "knock"
    assert find(events, "m.room.join_rules")["content"]["join_rule"] == "knock"


def test_knock_is_answered_by_an_invite(alice, bob, knockable):
    """Section "Knocking on rooms": an invite after a knock lets the user join."""
    ok(bob.post("/knock/{}", knockable))
    fails(bob.post("/join/{}", knockable), 403, "M_FORBIDDEN")
    alice.invite(knockable, bob)
    bob.join(knockable)


def test_knock_where_it_is_not_allowed(alice, bob):
    """POST /knock/{roomIdOrAlias}: 403 M_FORBIDDEN by the join rules."""
    fails(bob.post("/knock/{}", alice.create_room()), 403, "M_FORBIDDEN")


# Forgetting


def test_forget(alice, bob):
    """POST /rooms/{roomId}/forget: the room's history becomes unreachable."""
    room = room_of(alice, bob)
    bob.leave(room)
    assert ok(bob.get("/rooms/{}/messages", room, params={"dir": "b"}))["chunk"]
    eventually(lambda: bob.post("/rooms/{}/forget", room).status_code == 200)
    fails(bob.get("/rooms/{}/messages", room, params={"dir": "b"}), 403, "M_FORBIDDEN")


def test_forget_needs_leaving_first(alice):
    """POST /rooms/{roomId}/forget: 400 M_UNKNOWN while the user is in the room."""
    fails(alice.post("/rooms/{}/forget", alice.create_room()), 400, "M_UNKNOWN")


def test_forgotten_room_is_gone_from_full_syncs(alice, bob):
    """POST /rooms/{roomId}/forget: no `leave` section, even with include_leave."""
    room = room_of(alice, bob)
    bob.leave(room)
    include_leave = {"room": {"include_leave": True}}
    bob.sync_when(has_left(room), filter=include_leave)
    ok(bob.post("/rooms/{}/forget", room))
    bob.sync_when(lambda sync: not left(sync, room), filter=include_leave)


def test_leaving_a_room_that_was_forgotten_at_once_is_told(alice, bob):
    """GET /sync `leave`: a client that knew the room learns that it was left, forgotten or not."""
    room = room_of(alice, bob)
    since = bob.sync_when(has_joined(room))["next_batch"]
    bob.leave(room)
    eventually(lambda: bob.post("/rooms/{}/forget", room).status_code == 200)
    bob.sync_when(has_left(room), since)


def test_invite_after_forgetting(alice, bob):
    """POST /rooms/{roomId}/forget: a later invite brings the room back."""
    room = room_of(alice, bob)
    bob.leave(room)
    eventually(lambda: bob.post("/rooms/{}/forget", room).status_code == 200)
    alice.invite(room, bob)
    bob.sync_when(has_invite(room))
    bob.join(room)
