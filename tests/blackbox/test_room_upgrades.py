"""Client-server API: "Room Upgrades"."""

import pytest

from client import fails, ok, room_of


def upgrade(user, room, version="11"):
    return user.post("/rooms/{}/upgrade", room, json={"new_version": version})


@pytest.fixture
def old(alice, bob):
    """A version 10 room of Alice and Bob with a name."""
    return room_of(alice, bob, room_version="10", name="Old house", preset="public_chat")


def test_replacement_room(alice, old):
    """POST /rooms/{roomId}/upgrade: a new room of the new version, with its predecessor."""
    new = ok(upgrade(alice, old))["replacement_room"]
    create = alice.state(new, "m.room.create")
    assert create["room_version"] == "11"
    assert create["predecessor"]["room_id"] == old


def test_a_version_12_room_names_its_predecessor_by_room_alone(alice, old):
    """m.room.create, `predecessor`: "event_id" is of older versions, whose tombstone could come first."""
    new = ok(upgrade(alice, old, "12"))["replacement_room"]
    assert alice.state(new, "m.room.create")["predecessor"] == {"room_id": old}


def test_tombstone(alice, bob, old):
    """POST /rooms/{roomId}/upgrade: the old room points to the new one."""
    new = ok(upgrade(alice, old))["replacement_room"]
    assert bob.state(old, "m.room.tombstone")["replacement_room"] == new


@pytest.mark.parametrize("kind", ["m.room.name", "m.room.join_rules", "m.room.history_visibility"])
def test_transferred_state(alice, old, kind):
    """Section "Server behaviour": the recommended state events are transferred."""
    new = ok(upgrade(alice, old))["replacement_room"]
    assert alice.state(new, kind) == alice.state(old, kind)


def test_old_room_is_closed(alice, bob, old):
    """Section "Server behaviour": events_default and invite of the old room are raised."""
    ok(upgrade(alice, old))
    fails(bob.try_send(old, {"msgtype": "m.text", "body": "x"}), 403, "M_FORBIDDEN")


def test_aliases_move(alice, old):
    """Section "Server behaviour": local aliases move to the new room."""
    alias = f"#{old[1:12].lower().replace('_', '-')}:{alice.server_name}"
    ok(alice.put("/directory/room/{}", alias, json={"room_id": old}))
    new = ok(upgrade(alice, old))["replacement_room"]
    assert ok(alice.get("/directory/room/{}", alias))["room_id"] == new


def test_upgrade_needs_power(bob, old):
    """POST /rooms/{roomId}/upgrade: 403 unless one may send m.room.tombstone."""
    fails(upgrade(bob, old), 403, "M_FORBIDDEN")


def test_unsupported_version(alice, old):
    """POST /rooms/{roomId}/upgrade: 400 M_UNSUPPORTED_ROOM_VERSION."""
    fails(upgrade(alice, old, "999"), 400, "M_UNSUPPORTED_ROOM_VERSION")


def test_others_can_join_the_new_room(alice, bob, old):
    """Section "Room Upgrades": the members follow by the tombstone."""
    new = ok(upgrade(alice, old))["replacement_room"]
    bob.join(new)
    assert alice.membership(new, bob) == "join"
