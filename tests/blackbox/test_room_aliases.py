"""Client-server API: "Room aliases"."""

import pytest

from client import eventually, fails, ok, room_of, unique


@pytest.fixture
def alias(alice):
    return f"#{unique('alias')}:{alice.server_name}"


def put_alias(user, alias, room):
    return user.put("/directory/room/{}", alias, json={"room_id": room})


def test_create_and_resolve(alice, bob, alias):
    """PUT and GET /directory/room/{roomAlias}: room_id and servers, for everybody."""
    room = alice.create_room()
    ok(put_alias(alice, alias, room))
    answer = ok(bob.get("/directory/room/{}", alias))
    assert answer["room_id"] == room
    assert alice.server_name in answer["servers"]


def test_resolve_without_a_token(alice, anonymous, alias):
    """GET /directory/room/{roomAlias}: takes no access token."""
    room = alice.create_room()
    ok(put_alias(alice, alias, room))
    assert ok(anonymous.get("/directory/room/{}", alias))["room_id"] == room


def test_unknown_alias(alice, alias):
    """GET /directory/room/{roomAlias}: 404 M_NOT_FOUND."""
    fails(alice.get("/directory/room/{}", alias), 404, "M_NOT_FOUND")


@pytest.mark.parametrize("bad", ["nohash:localhost", "#nocolon", "!room:localhost"])
def test_malformed_alias(alice, bad):
    """GET /directory/room/{roomAlias}: 400 M_INVALID_PARAM for what is no alias."""
    fails(alice.get("/directory/room/{}", bad), 400, "M_INVALID_PARAM")


def test_alias_in_use(alice, alias):
    """PUT /directory/room/{roomAlias}: 409 for an alias that exists."""
    room, other = alice.create_room(), alice.create_room()
    ok(put_alias(alice, alias, room))
    assert put_alias(alice, alias, other).status_code == 409
    assert ok(alice.get("/directory/room/{}", alias))["room_id"] == room


def test_alias_of_another_server(alice):
    """PUT /directory/room/{roomAlias}: only aliases of this server."""
    response = put_alias(alice, f"#{unique('a')}:elsewhere.test", alice.create_room())
    assert response.status_code in {400, 403}


def test_alias_without_a_room(alice, alias):
    """PUT /directory/room/{roomAlias}: `room_id` is required."""
    assert alice.put("/directory/room/{}", alias, json={}).status_code == 400


def test_alias_needs_a_token(alice, anonymous, alias):
    """PUT /directory/room/{roomAlias}: requires authentication."""
    room = alice.create_room()
    fails(put_alias(anonymous, alias, room), 401, "M_MISSING_TOKEN")


def test_delete_by_the_creator(alice, alias):
    """DELETE /directory/room/{roomAlias}: the one who made it may delete it."""
    ok(put_alias(alice, alias, alice.create_room()))
    ok(alice.delete("/directory/room/{}", alias))
    fails(alice.get("/directory/room/{}", alias), 404, "M_NOT_FOUND")


def test_a_deleted_alias_is_no_canonical_one(alice, alias):
    """DELETE /directory/room/{roomAlias}: "Servers may choose to update" m.room.canonical_alias."""
    room = alice.create_room()
    other = f"#{unique('other')}:{alice.server_name}"
    for name in (alias, other):
        ok(put_alias(alice, name, room))
    content = {"alias": alias, "alt_aliases": [alias, other]}
    alice.set_state(room, "m.room.canonical_alias", content)
    ok(alice.delete("/directory/room/{}", alias))
    eventually(lambda: alias not in str(alice.state(room, "m.room.canonical_alias")))
    assert alice.state(room, "m.room.canonical_alias")["alt_aliases"] == [other]


def test_delete_by_somebody_else(alice, bob, alias):
    """DELETE /directory/room/{roomAlias}: not everybody may."""
    room = room_of(alice, bob)
    ok(put_alias(alice, alias, room))
    fails(bob.delete("/directory/room/{}", alias), 403, "M_FORBIDDEN")
    assert ok(alice.get("/directory/room/{}", alias))["room_id"] == room


def test_delete_of_nothing(alice, alias):
    """DELETE /directory/room/{roomAlias}: 404 M_NOT_FOUND."""
    fails(alice.delete("/directory/room/{}", alias), 404, "M_NOT_FOUND")


def test_local_aliases_of_a_room(alice):
    """GET /rooms/{roomId}/aliases: the server's aliases for the room."""
    room = alice.create_room()
    names = {f"#{unique('a')}:{alice.server_name}" for _ in range(3)}
    for name in names:
        ok(put_alias(alice, name, room))
    assert set(ok(alice.get("/rooms/{}/aliases", room))["aliases"]) == names


def test_local_aliases_are_for_members(alice, bob, alias):
    """GET /rooms/{roomId}/aliases: 403 for a user who is not in the room."""
    room = alice.create_room()
    ok(put_alias(alice, alias, room))
    fails(bob.get("/rooms/{}/aliases", room), 403, "M_FORBIDDEN")


def test_local_aliases_of_a_world_readable_room(alice, bob, alias):
    """GET /rooms/{roomId}/aliases: any user, if the history is world readable."""
    content = {"history_visibility": "world_readable"}
    initial = [{"type": "m.room.history_visibility", "content": content}]
    room = alice.create_room(initial_state=initial)
    ok(put_alias(alice, alias, room))
    assert ok(bob.get("/rooms/{}/aliases", room))["aliases"] == [alias]


def test_canonical_alias(alice, alias):
    """m.room.canonical_alias: may name an alias that points to the room."""
    room = alice.create_room()
    ok(put_alias(alice, alias, room))
    alice.set_state(room, "m.room.canonical_alias", {"alias": alias, "alt_aliases": [alias]})
    assert alice.state(room, "m.room.canonical_alias")["alias"] == alias


def test_canonical_alias_of_nothing(alice, alias):
    """PUT state m.room.canonical_alias: 400 M_BAD_ALIAS where the alias does not point here."""
    room = alice.create_room()
    fails(alice.try_set_state(room, "m.room.canonical_alias", {"alias": alias}), 400, "M_BAD_ALIAS")


def test_canonical_alias_of_another_room(alice, alias):
    """PUT state m.room.canonical_alias: 400 M_BAD_ALIAS for another room's alias."""
    room, other = alice.create_room(), alice.create_room()
    ok(put_alias(alice, alias, other))
    response = alice.try_set_state(room, "m.room.canonical_alias", {"alt_aliases": [alias]})
    fails(response, 400, "M_BAD_ALIAS")


def test_malformed_canonical_alias(alice):
    """PUT state m.room.canonical_alias: 400 for what is no alias at all."""
    room = alice.create_room()
    response = alice.try_set_state(room, "m.room.canonical_alias", {"alias": "nonsense"})
    fails(response, 400, {"M_INVALID_PARAM", "M_BAD_ALIAS"})
