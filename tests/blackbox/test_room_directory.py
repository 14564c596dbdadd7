"""Client-server API: "Published room directory"."""

import pytest

from client import eventually, fails, ok, room_of, unique


def listed(user, **body):
    return ok(user.post("/publicRooms", json=body))


def entry(user, room, term):
    """The directory's entry of a room, found by its unique name."""
    chunk = listed(user, filter={"generic_search_term": term}, limit=50)["chunk"]
    return next((e for e in chunk if e["room_id"] == room), None)


@pytest.fixture
def name():
    return unique("Directory")


def test_private_by_default(alice):
    """GET /directory/list/room/{roomId}: private unless published."""
    assert ok(alice.get("/directory/list/room/{}", alice.create_room()))["visibility"] == "private"


@pytest.mark.parametrize("visibility", ["public", "private"])
def test_set_visibility(alice, visibility):
    """PUT and GET /directory/list/room/{roomId}."""
    room = alice.create_room(preset="public_chat")
    ok(alice.put("/directory/list/room/{}", room, json={"visibility": visibility}))
    assert ok(alice.get("/directory/list/room/{}", room))["visibility"] == visibility


def test_visibility_of_an_unknown_room(alice):
    """GET /directory/list/room/{roomId}: 404 M_NOT_FOUND."""
    fails(alice.get("/directory/list/room/{}", "!none:localhost"), 404, "M_NOT_FOUND")


def test_visibility_needs_power(alice, bob):
    """PUT /directory/list/room/{roomId}: not for everybody."""
    room = room_of(alice, bob)
    fails(
        bob.put("/directory/list/room/{}", room, json={"visibility": "public"}), 403, "M_FORBIDDEN"
    )


def test_published_room_is_listed(alice, bob, name):
    """POST /publicRooms: PublicRoomsChunk with the required keys."""
    room = alice.create_room(visibility="public", name=name, topic="All welcome")
    found = eventually(lambda: entry(bob, room, name))
    assert (found["name"], found["topic"]) == (name, "All welcome")
    assert found["num_joined_members"] == 1
    assert (found["world_readable"], found["guest_can_join"]) == (False, False)
    assert found.get("join_rule", "public") == "public"


def test_get_lists_it_too(alice, anonymous, name):
    """GET /publicRooms: takes no access token."""
    room = alice.create_room(visibility="public", name=name)

    def listing():
        return ok(anonymous.get("/publicRooms", params={"limit": "1000"}))["chunk"]

    eventually(lambda: room in [e["room_id"] for e in listing()])


def test_unpublished_room_is_not_listed(alice, bob, name):
    """PUT /directory/list/room/{roomId}: private takes it off the list."""
    room = alice.create_room(visibility="public", name=name)
    eventually(lambda: entry(bob, room, name))
    ok(alice.put("/directory/list/room/{}", room, json={"visibility": "private"}))
    eventually(lambda: entry(bob, room, name) is None)


def test_member_count(alice, bob, name):
    """PublicRoomsChunk `num_joined_members`."""
    room = alice.create_room(visibility="public", name=name)
    bob.join(room)
    eventually(lambda: (entry(bob, room, name) or {}).get("num_joined_members") == 2)


@pytest.mark.parametrize("field", ["name", "topic"])
def test_search(alice, bob, name, field):
    """POST /publicRooms `generic_search_term`: in names and topics, whatever the case."""
    room = alice.create_room(visibility="public", **{field: f"Prefix {name} suffix"})
    eventually(lambda: entry(bob, room, name.upper()))
    assert listed(bob, filter={"generic_search_term": unique("absent")})["chunk"] == []


def test_pages(alice, bob, name):
    """POST /publicRooms: `limit`, `next_batch` and `since`."""
    rooms = {alice.create_room(visibility="public", name=f"{name} {n}") for n in range(5)}
    for room in rooms:
        eventually(lambda room=room: entry(bob, room, name))
    seen, since = [], None
    for _ in range(10):
        body = {"filter": {"generic_search_term": name}, "limit": 2}
        page = listed(bob, **body, **({"since": since} if since else {}))
        assert len(page["chunk"]) <= 2
        seen += [e["room_id"] for e in page["chunk"]]
        since = page.get("next_batch")
        if not since:
            break
    assert sorted(seen) == sorted(rooms)


def test_canonical_alias_is_listed(alice, bob, name):
    """PublicRoomsChunk `canonical_alias`."""
    room = alice.create_room(visibility="public", name=name, room_alias_name=name.lower())
    found = eventually(lambda: entry(bob, room, name))
    assert found["canonical_alias"] == f"#{name.lower()}:{alice.server_name}"
