"""Client-server API: "Tracking the device list for a user": `device_lists`, /keys/changes."""

import pytest

from client import eventually, fails, ok, room_of, uia
from keys import changed, gone, published

ENCRYPTED = {"initial_state": [
    {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
]}


def changes(client, since, until):
    return ok(client.get("/keys/changes", params={"from": since, "to": until}))


def token_with(client, check, since, wait_s=15):
    """The token of the first answer in which `check` holds."""
    return client.sync_when(check, since, wait_s=wait_s)["next_batch"]


def settled(client, room, sender):
    """A token that covers everything the client was told of so far."""
    return client.token_after(room, sender.send(room, "settled"))


def test_a_first_sync_has_none(alice, bob):
    """`device_lists`: "Only present on an incremental sync"."""
    published(alice)
    room_of(alice, bob, **ENCRYPTED)
    assert changed(bob.sync()) == set()


def test_new_keys_are_told_in_shared_rooms(alice, bob):
    """`changed`: "users who have updated their device identity or cross-signing keys"."""
    room = room_of(alice, bob, **ENCRYPTED)
    since = settled(bob, room, alice)
    published(alice)
    bob.sync_when(lambda answer: alice.user_id in changed(answer), since)


def test_strangers_are_not_told(alice, bob, carol):
    """`changed`: users who share a room; nobody else learns of devices."""
    room_of(alice, bob, **ENCRYPTED)
    theirs = room_of(bob, carol, **ENCRYPTED)
    since = settled(carol, theirs, bob)
    published(alice)
    published(bob)
    answer = carol.sync_when(lambda answer: bob.user_id in changed(answer), since)
    assert alice.user_id not in changed(answer)


def test_ones_own_devices_are_told(alice):
    """A user's own other devices are told of new ones: clients verify them."""
    since = alice.sync()["next_batch"]
    published(alice.login_again())
    alice.sync_when(lambda answer: alice.user_id in changed(answer), since)


def test_a_second_device_a_new_name_and_a_logout_are_told(alice, bob):
    """`changed`: whenever what /keys/query says of a user's devices changes."""
    room = room_of(alice, bob, **ENCRYPTED)
    published(alice)
    since = settled(bob, room, alice)
    second = alice.login_again()
    published(second)
    since = token_with(bob, lambda answer: alice.user_id in changed(answer), since)
    since = settled(bob, room, alice)
    ok(second.put("/devices/{}", second.device_id, json={"display_name": "new"}))
    bob.sync_when(lambda answer: alice.user_id in changed(answer), since)
    since = settled(bob, room, alice)
    ok(second.post("/logout"))
    bob.sync_when(lambda answer: alice.user_id in changed(answer), since)


def test_a_deleted_device_is_told(alice, bob):
    """DELETE /devices/{deviceId} changes the user's devices."""
    room = room_of(alice, bob, **ENCRYPTED)
    second = alice.login_again()
    published(second)
    since = settled(bob, room, alice)
    response = uia(
        lambda extra: alice.delete("/devices/{}", second.device_id, json=extra),
        lambda session: alice.password_auth(session=session),
    )
    ok(response)
    bob.sync_when(lambda answer: alice.user_id in changed(answer), since)


def test_a_sync_that_waits_is_woken(alice, bob):
    """GET /sync with a timeout returns when somebody's devices change."""
    room = room_of(alice, bob, **ENCRYPTED)
    since = settled(bob, room, alice)
    published(alice)
    eventually(lambda: alice.user_id in changed(bob.sync(since, timeout=20_000)))


def test_a_joins_who_is_there_already_is_told(alice, bob):
    """`changed`: users "who now share an encrypted room with the client": told to who was there."""
    room = alice.create_room(preset="public_chat", **ENCRYPTED)
    since = alice.sync()["next_batch"]
    bob.join(room)
    alice.sync_when(lambda answer: bob.user_id in changed(answer), since)


def test_who_was_away_in_between_is_told(alice, bob):
    """`changed`: new keys of a user who left and came back, all of it after the same token."""
    room = room_of(alice, bob, preset="public_chat", **ENCRYPTED)
    published(bob)
    since = settled(alice, room, bob)
    bob.leave(room)
    alice.sync_when(lambda answer: bob.user_id in gone(answer), since)
    published(bob.login_again())
    bob.join(room)
    alice.sync_when(lambda answer: bob.user_id in changed(answer), since)


def test_who_joins_is_told_of_who_is_there(alice, bob, carol):
    """`changed`: "users who now share an encrypted room": told to who comes."""
    room = room_of(alice, carol, preset="public_chat", **ENCRYPTED)
    since = bob.sync()["next_batch"]
    bob.join(room)
    bob.sync_when(lambda answer: {alice.user_id, carol.user_id} <= changed(answer), since)


def test_who_leaves_is_told_as_left(alice, bob):
    """`left`: "users with whom we do not share any encrypted rooms anymore"."""
    room = room_of(alice, bob, **ENCRYPTED)
    since = settled(alice, room, alice)
    bob.leave(room)
    alice.sync_when(lambda answer: bob.user_id in gone(answer), since)


def test_whom_one_leaves_is_told_as_left(alice, bob):
    """`left`, when it is oneself who goes."""
    room = room_of(alice, bob, **ENCRYPTED)
    since = settled(bob, room, alice)
    bob.leave(room)
    bob.sync_when(lambda answer: alice.user_id in gone(answer), since)


def test_another_shared_room_keeps_them(alice, bob):
    """`left` names nobody with whom there is another encrypted room."""
    room, _ = room_of(alice, bob, **ENCRYPTED), room_of(alice, bob, **ENCRYPTED)
    since = settled(alice, room, alice)
    bob.leave(room)
    answer = alice.sync_when(lambda answer: answer.get("rooms", {}).get("join", {}), since)
    assert bob.user_id not in gone(answer)
    event = alice.send(room, "later")
    answer, _ = alice.sync_with(room, event, since)
    assert bob.user_id not in gone(answer)


def test_after_left_nothing_is_told(alice, bob):
    """Who shares no room any more is not told of new devices."""
    room = room_of(alice, bob, **ENCRYPTED)
    bob.leave(room)
    with_carol = alice.create_room(**ENCRYPTED)
    since = settled(alice, with_carol, alice)
    published(bob)
    event = alice.send(with_carol, "later")
    answer, _ = alice.sync_with(with_carol, event, since)
    assert bob.user_id not in changed(answer)


def test_changes_between_tokens(alice, bob):
    """GET /keys/changes: `changed` between two tokens of /sync."""
    room = room_of(alice, bob, **ENCRYPTED)
    since = settled(bob, room, alice)
    published(alice)
    until = token_with(bob, lambda answer: alice.user_id in changed(answer), since)
    assert alice.user_id in changes(bob, since, until)["changed"]
    later = settled(bob, room, alice)
    last = settled(bob, room, alice)
    assert changes(bob, later, last)["changed"] == []


def test_changes_tell_who_left(alice, bob):
    """GET /keys/changes: `left`."""
    room = room_of(alice, bob, **ENCRYPTED)
    since = settled(alice, room, alice)
    bob.leave(room)
    until = token_with(alice, lambda answer: bob.user_id in gone(answer), since)
    assert changes(alice, since, until)["left"] == [bob.user_id]


@pytest.mark.parametrize("params", [{}, {"from": "x"}, {"from": "x", "to": "y"}])
def test_changes_need_tokens(alice, params):
    """GET /keys/changes: `from` and `to` are required, and are tokens."""
    errcodes = {"M_MISSING_PARAM", "M_INVALID_PARAM", "M_UNKNOWN"}
    fails(alice.get("/keys/changes", params=params), 400, errcodes)
