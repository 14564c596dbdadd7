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


def mute(user, room):
    ok(user.put("/pushrules/global/room/{}", room, json={"actions": []}))
    conditions = [{"kind": "event_match", "key": "room_id", "pattern": room}]
    ok(user.put("/pushrules/global/override/{}", room, json={"actions": [], "conditions": conditions}))


def assert_muted(user, room):
    assert ok(user.get("/pushrules/global/room/{}", room))["actions"] == []
    rule = ok(user.get("/pushrules/global/override/{}", room))
    assert [condition["pattern"] for condition in rule["conditions"]] == [room]


def settle(user, room, friend):
    """Tags a room, mutes it, and calls it a direct chat."""
    ok(user.put("/user/{}/rooms/{}/tags/{}", user.user_id, room, "u.work", json={"order": 0.5}))
    mute(user, room)
    direct = {friend.user_id: [room]}
    ok(user.put("/user/{}/account_data/m.direct", user.user_id, json=direct))


def assert_settled(user, old, new, friend):
    tags = ok(user.get("/user/{}/rooms/{}/tags", user.user_id, new))["tags"]
    assert tags == {"u.work": {"order": 0.5}}
    assert_muted(user, old)
    assert_muted(user, new)
    direct = ok(user.get("/user/{}/account_data/m.direct", user.user_id))
    assert sorted(direct[friend.user_id]) == sorted([old, new])


def test_personal_settings_of_the_upgrader_go_over(alice, bob, old):
    """Section "Room Upgrades": notifications, tags and the like are replicated."""
    settle(alice, old, bob)
    new = ok(upgrade(alice, old))["replacement_room"]
    assert_settled(alice, old, new, bob)


def test_personal_settings_of_who_joins_go_over(alice, bob, old):
    """Section "Room Upgrades": notifications, tags and the like are replicated on joining the new room."""
    settle(bob, old, alice)
    since = bob.sync()["next_batch"]
    new = ok(upgrade(alice, old))["replacement_room"]
    bob.join(new)
    assert_settled(bob, old, new, alice)
    synced = bob.sync(since=since)
    data = {event["type"]: event["content"] for event in synced["account_data"]["events"]}
    assert new in [rule["rule_id"] for rule in data["m.push_rules"]["global"]["room"]]
    of_room = synced["rooms"]["join"][new]["account_data"]["events"]
    assert {event["type"]: event["content"] for event in of_room}["m.tag"] == {
        "tags": {"u.work": {"order": 0.5}}
    }


@pytest.mark.synapse_differs(
    'Section "Room Upgrades": "When a user joins the new room, the server should automatically transfer"'
)
def test_personal_settings_go_over_to_a_room_that_names_its_predecessor(alice, bob, old):
    """m.room.create, `predecessor`: a room may replace another without /upgrade."""
    settle(bob, old, alice)
    predecessor = {"predecessor": {"room_id": old, "event_id": "$gone"}}
    new = room_of(alice, bob, room_version="11", preset="public_chat", creation_content=predecessor)
    assert_settled(bob, old, new, alice)


def test_what_is_set_for_the_new_room_stays(alice, bob, old):
    """Section "Room Upgrades": settings go over once; what is changed later is not overruled."""
    settle(bob, old, alice)
    new = ok(upgrade(alice, old))["replacement_room"]
    bob.join(new)
    ok(bob.delete("/pushrules/global/room/{}", new))
    bob.join(new)
    fails(bob.get("/pushrules/global/room/{}", new), 404, "M_NOT_FOUND")
