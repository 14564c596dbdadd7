"""Client-server API: "Syncing" (GET /sync): joined, invited and left rooms; members; summaries."""

from client import (
    account_data,
    bodies,
    find,
    has_invite,
    has_joined,
    has_left,
    invited,
    joined,
    left,
    ok,
    room_of,
    state_of,
    sync_limit,
    timeline,
)


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

    def is_in(sync):
        return find(timeline(joined(sync, room)), "m.room.member", bob.user_id)

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


def test_invites_of_ignored_users_are_not_shown(alice, bob, carol):
    """Section "Ignoring users": "Servers must not send room invites from ignored users"."""
    ignored = {"ignored_users": {bob.user_id: {}}}
    path = "/user/{}/account_data/m.ignored_user_list"
    ok(alice.put(path, alice.user_id, json=ignored))
    since = alice.sync_when(lambda answer: account_data(answer, "m.ignored_user_list"))["next_batch"]
    unwanted = bob.create_room(invite=[alice.user_id])
    wanted = carol.create_room(invite=[alice.user_id])
    answer = alice.sync_when(has_invite(wanted), since)
    assert invited(answer, unwanted) is None
    assert invited(alice.sync(), unwanted) is None


def test_ones_membership_is_beside_each_event(alice, bob):
    """Section "Room event format", `unsigned.membership`: the reader's, at the time of the event."""
    room = alice.create_room(preset="public_chat")
    before = alice.send(room, "before")
    bob.join(room)
    after = alice.send(room, "after")
    _, part = bob.sync_with(room, after)
    shown = [*timeline(part), *bob.messages(room, "b", limit=20)["chunk"]]
    memberships = {(e["event_id"], e["unsigned"]["membership"]) for e in shown}
    assert {(before, "leave"), (after, "join")} <= memberships
    own = find(timeline(part), "m.room.member", bob.user_id)
    assert own["unsigned"]["membership"] == "join"


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
    """Section "Filtering", include_leave: false by default."""
    room, stays = room_of(alice, bob), room_of(alice, bob)
    bob.leave(room)
    sync = bob.sync_when(lambda s: has_joined(stays)(s) and not joined(s, room))
    assert left(sync, room) is None


def test_include_leave(alice, bob):
    """Section "Filtering", include_leave: a first sync with the rooms that one left."""
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
    """Section "Lazy-loading room members": only the senders of the timeline, and oneself."""
    room = room_of(alice, bob, carol, name="No heroes needed")
    last = bob.send(room)
    _, part = alice.sync_with(room, last, filter=LAZY)
    members = {e["state_key"] for e in state_of(part) if e["type"] == "m.room.member"}
    assert bob.user_id in members
    assert carol.user_id not in members


def test_without_lazy_loading_all_members_come(alice, bob, carol):
    """Section "Lazy-loading room members": it is off by default."""
    room = room_of(alice, bob, carol)
    last = bob.send(room)
    _, part = alice.sync_with(room, last, filter=sync_limit(1))
    members = {e["state_key"] for e in state_of(part) if e["type"] == "m.room.member"}
    assert members == {alice.user_id, bob.user_id, carol.user_id}


def test_lazy_members_come_when_they_first_speak(alice, bob, carol):
    """Section "Lazy-loading room members": an incremental sync brings the new sender's member event."""
    room = room_of(alice, bob, carol, name="No heroes needed")
    lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 2}}}
    bob.send(room)
    sync, _ = alice.sync_with(room, bob.send(room), filter=lazy)
    last = carol.send(room)
    _, part = alice.sync_with(room, last, sync["next_batch"], filter=lazy)
    assert carol.user_id in {e.get("state_key") for e in state_of(part) + timeline(part)}


def test_lazy_members_who_came_in_a_gap(alice, bob, carol):
    """GET /sync: "the server MUST return membership events for events in the gap"."""
    room = room_of(alice, bob, name="No heroes needed", preset="public_chat")
    since = alice.sync_with(room, bob.send(room), filter=LAZY)[0]["next_batch"]
    carol.join(room)
    bob.send(room)
    _, part = alice.sync_with(room, bob.send(room), since, filter=LAZY)
    assert find(state_of(part), "m.room.member", carol.user_id)


def test_lazy_members_include_heroes(alice, bob, carol):
    """GET /sync `m.heroes`: their membership events are in `state`, though they did not speak."""
    room = room_of(alice, bob, carol)
    _, part = alice.sync_with(room, alice.send(room), filter=LAZY)
    members = {e["state_key"] for e in state_of(part) if e["type"] == "m.room.member"}
    assert set(part["summary"]["m.heroes"]) == {bob.user_id, carol.user_id} <= members


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
