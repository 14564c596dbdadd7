"""Client-server API: "Creation" (POST /createRoom)."""

import pytest

from client import event_ids, fails, find, has_invite, invited, ok, unique

PRESETS = {
    "private_chat": {"join_rule": "invite", "guest_access": "can_join"},
    "trusted_private_chat": {"join_rule": "invite", "guest_access": "can_join"},
    "public_chat": {"join_rule": "public", "guest_access": "forbidden"},
}


def all_state(user, room):
    return ok(user.get("/rooms/{}/state", room))


@pytest.mark.parametrize("preset, expected", PRESETS.items())
def test_presets(alice, preset, expected):
    """POST /createRoom: the table of presets."""
    room = alice.create_room(preset=preset)
    assert alice.state(room, "m.room.join_rules")["join_rule"] == expected["join_rule"]
    assert alice.state(room, "m.room.history_visibility")["history_visibility"] == "shared"
    # Without the event guests are not allowed: leaving it out says the same.
    guests = find(all_state(alice, room), "m.room.guest_access")
    assert (guests["content"]["guest_access"] if guests else "forbidden") == expected[
        "guest_access"
    ]


@pytest.mark.parametrize("visibility, join_rule", [("public", "public"), ("private", "invite")])
def test_visibility_implies_the_preset(alice, visibility, join_rule):
    """POST /createRoom `preset`: if unspecified, `visibility` decides."""
    room = alice.create_room(visibility=visibility)
    assert alice.state(room, "m.room.join_rules")["join_rule"] == join_rule


def test_no_body_keys_at_all(alice):
    """POST /createRoom: every key is optional; the default is a private room."""
    room = alice.create_room()
    assert room.startswith("!")
    assert alice.state(room, "m.room.join_rules")["join_rule"] == "invite"


def test_creator_is_joined(alice):
    """POST /createRoom step 2: the creator's join."""
    room = alice.create_room()
    assert alice.membership(room, alice) == "join"
    assert room in ok(alice.get("/joined_rooms"))["joined_rooms"]


def test_order_of_the_first_events(alice, bob):
    """POST /createRoom: the order of the events is fixed."""
    room = alice.create_room(
        preset="private_chat",
        room_alias_name=unique("order"),
        name="n",
        topic="t",
        initial_state=[{"type": "org.test.first", "content": {}}],
        invite=[bob.user_id],
    )
    chunk = alice.messages(room, "f", limit=50)["chunk"]
    kinds = [event["type"] for event in chunk]
    preset = {"m.room.join_rules", "m.room.history_visibility", "m.room.guest_access"}
    assert kinds[:4] == [
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.canonical_alias",
    ]
    assert set(kinds[4:7]) == preset
    assert kinds[7] == "org.test.first"
    assert set(kinds[8:10]) == {"m.room.name", "m.room.topic"}
    assert kinds[10] == "m.room.member"
    assert chunk[10]["state_key"] == bob.user_id


def test_name_and_topic(alice):
    """POST /createRoom: `name` and `topic` become state events."""
    room = alice.create_room(name="The Grand Duke Pub", topic="All about happy hour")
    assert alice.state(room, "m.room.name")["name"] == "The Grand Duke Pub"
    assert alice.state(room, "m.room.topic")["topic"] == "All about happy hour"


def test_name_overrides_initial_state(alice):
    """POST /createRoom `name`: overwrites any m.room.name event in `initial_state`."""
    initial = [{"type": "m.room.name", "content": {"name": "from initial_state"}}]
    room = alice.create_room(name="from name", initial_state=initial)
    assert alice.state(room, "m.room.name")["name"] == "from name"


def test_alias(alice):
    """POST /createRoom `room_alias_name`: the alias exists and is canonical."""
    name = unique("thepub")
    room = alice.create_room(room_alias_name=name)
    alias = f"#{name}:{alice.server_name}"
    assert ok(alice.get("/directory/room/{}", alias))["room_id"] == room
    assert alice.state(room, "m.room.canonical_alias")["alias"] == alias


def test_alias_in_use(alice, bob):
    """POST /createRoom: 400 M_ROOM_IN_USE, and no second room."""
    name = unique("taken")
    alice.create_room(room_alias_name=name)
    fails(bob.post("/createRoom", json={"room_alias_name": name}), 400, "M_ROOM_IN_USE")
    assert ok(bob.get("/joined_rooms"))["joined_rooms"] == []


def test_invites(alice, bob, carol):
    """POST /createRoom `invite`: everyone in the list is invited."""
    room = alice.create_room(invite=[bob.user_id, carol.user_id])
    for user in (bob, carol):
        assert alice.membership(room, user) == "invite"
        user.sync_when(has_invite(room))


def test_is_direct_marks_the_invites(alice, bob):
    """POST /createRoom `is_direct`: sets the flag on the invites' member events."""
    room = alice.create_room(invite=[bob.user_id], is_direct=True)
    assert alice.state(room, "m.room.member", bob.user_id)["is_direct"] is True
    stripped = invited(bob.sync_when(has_invite(room)), room)["invite_state"]["events"]
    assert find(stripped, "m.room.member", bob.user_id)["content"]["is_direct"] is True


def test_initial_state(alice):
    """POST /createRoom `initial_state`: with and without a state key."""
    room = alice.create_room(
        initial_state=[
            {"type": "org.test.keyed", "state_key": "a key", "content": {"n": 1}},
            {"type": "org.test.plain", "content": {"n": 2}},
        ]
    )
    assert alice.state(room, "org.test.keyed", "a key") == {"n": 1}
    assert alice.state(room, "org.test.plain") == {"n": 2}


def test_initial_state_overrides_the_preset(alice):
    """POST /createRoom `initial_state`: takes precedence over events set by `preset`."""
    content = {"history_visibility": "joined"}
    initial = [{"type": "m.room.history_visibility", "state_key": "", "content": content}]
    room = alice.create_room(preset="public_chat", initial_state=initial)
    assert alice.state(room, "m.room.history_visibility") == content


def test_creation_content(alice):
    """POST /createRoom `creation_content`: extra keys; `room_version` is the server's."""
    room = alice.create_room(
        creation_content={"m.federate": False, "type": "m.space", "room_version": "forged"},
    )
    create = alice.state(room, "m.room.create")
    assert create["m.federate"] is False
    assert create["type"] == "m.space"
    assert create["room_version"] != "forged"


def test_power_level_override(alice):
    """POST /createRoom `power_level_content_override`: applied on top of the generated content."""
    room = alice.create_room(power_level_content_override={"events_default": 23})
    levels = alice.state(room, "m.room.power_levels")
    assert levels["events_default"] == 23
    assert levels["state_default"] == 50


def test_default_power_levels(alice):
    """POST /createRoom step 3: in versions 1 to 11 the creator, and nobody else, has 100."""
    levels = alice.state(alice.create_room(room_version="11"), "m.room.power_levels")
    assert levels["users"] == {alice.user_id: 100}
    assert levels.get("users_default", 0) == 0


def test_trusted_invitees_are_equals(alice, bob):
    """POST /createRoom trusted_private_chat: invitees get the creator's power level."""
    room = alice.create_room(
        preset="trusted_private_chat",
        invite=[bob.user_id],
        room_version="11",
    )
    users = alice.state(room, "m.room.power_levels")["users"]
    assert users[bob.user_id] == users[alice.user_id]


def test_trusted_invitees_are_creators_in_version_12(alice, bob, carol):
    """POST /createRoom trusted_private_chat: from version 12 on creators stand above all levels."""
    room = alice.create_room(
        preset="trusted_private_chat",
        invite=[bob.user_id, carol.user_id],
        creation_content={"additional_creators": [bob.user_id]},
        room_version="12",
    )
    creators = alice.state(room, "m.room.create")["additional_creators"]
    assert sorted(creators) == sorted([bob.user_id, carol.user_id])
    users = alice.state(room, "m.room.power_levels").get("users", {})
    assert not {alice.user_id, bob.user_id, carol.user_id} & set(users)


@pytest.mark.parametrize("version", ["2", "10", "11"])
def test_room_version(alice, version):
    """POST /createRoom `room_version`: the version to set."""
    room = alice.create_room(room_version=version)
    create = alice.state(room, "m.room.create")
    assert create["room_version"] == version
    assert ("creator" in create) == (version != "11")


def test_every_stable_version_can_be_created(alice):
    """GET /capabilities names as available what POST /createRoom accepts."""
    versions = ok(alice.get("/capabilities"))["capabilities"]["m.room_versions"]["available"]
    for version in (name for name, kind in versions.items() if kind == "stable"):
        room = alice.create_room(room_version=version)
        assert alice.state(room, "m.room.create").get("room_version", "1") == version


def test_default_room_version(alice):
    """POST /createRoom: without `room_version` the default of the capabilities."""
    default = ok(alice.get("/capabilities"))["capabilities"]["m.room_versions"]["default"]
    assert alice.state(alice.create_room(), "m.room.create")["room_version"] == default


@pytest.mark.parametrize("version", ["999", "org.nonsense", ""])
def test_unsupported_room_version(alice, version):
    """POST /createRoom: 400 M_UNSUPPORTED_ROOM_VERSION."""
    fails(
        alice.post("/createRoom", json={"room_version": version}), 400, "M_UNSUPPORTED_ROOM_VERSION"
    )


def crashes_synapse(body):
    text = "POST /createRoom 400: the request body is malformed (M_BAD_JSON or M_NOT_JSON)"
    return pytest.param(body, marks=pytest.mark.synapse_differs(text))


BAD_BODIES = [
    {"invite": "not-a-list"},
    {"invite": ["not-a-user-id"]},
    crashes_synapse({"creation_content": 5}),
    crashes_synapse({"initial_state": {"type": "x"}}),
    crashes_synapse({"power_level_content_override": [1]}),
    {"room_version": 11},
    {"room_alias_name": "with:colon"},
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=str)
def test_bad_bodies_create_nothing(alice, body):
    """POST /createRoom: 400 for a malformed request, and no room is left behind."""
    response = alice.post("/createRoom", json=body)
    assert response.status_code == 400, response.text
    assert response.json()["errcode"].startswith("M_")
    assert ok(alice.get("/joined_rooms"))["joined_rooms"] == []


def test_state_has_unique_keys(alice):
    """GET /rooms/{roomId}/state: one event for each type and state key."""
    room = alice.create_room(name="n", preset="public_chat")
    state = all_state(alice, room)
    keys = [(event["type"], event["state_key"]) for event in state]
    assert len(keys) == len(set(keys))
    assert len(set(event_ids(state))) == len(state)


def test_visibility_public_lists_the_room(alice):
    """POST /createRoom `visibility`: public puts it into the room directory."""
    room = alice.create_room(visibility="public")
    answer = ok(alice.get("/directory/list/room/{}", room))
    assert answer["visibility"] == "public"


def test_rooms_have_different_ids(alice):
    """POST /createRoom is not idempotent."""
    assert alice.create_room() != alice.create_room()
