"""Client-server API: "Client Config" (account data) and "Room Tagging"."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from client import account_data, fails, joined, ok, room_of

GLOBAL = "/user/{}/account_data/{}"
ROOM = "/user/{}/rooms/{}/account_data/{}"


def test_set_and_get_global(alice):
    """PUT and GET /user/{userId}/account_data/{type}."""
    ok(alice.put(GLOBAL, alice.user_id, "org.test.config", json={"colour": "blue"}))
    assert ok(alice.get(GLOBAL, alice.user_id, "org.test.config")) == {"colour": "blue"}


def test_set_and_get_for_a_room(alice):
    """PUT and GET /user/{userId}/rooms/{roomId}/account_data/{type}; apart from the global."""
    room = alice.create_room()
    ok(alice.put(ROOM, alice.user_id, room, "org.test.config", json={"colour": "red"}))
    assert ok(alice.get(ROOM, alice.user_id, room, "org.test.config")) == {"colour": "red"}
    fails(alice.get(GLOBAL, alice.user_id, "org.test.config"), 404, "M_NOT_FOUND")


def test_replaced(alice):
    """PUT .../account_data/{type}: replaces the whole content."""
    ok(alice.put(GLOBAL, alice.user_id, "org.test.config", json={"a": 1}))
    ok(alice.put(GLOBAL, alice.user_id, "org.test.config", json={"b": 2}))
    assert ok(alice.get(GLOBAL, alice.user_id, "org.test.config")) == {"b": 2}


def test_never_set(alice):
    """GET .../account_data/{type}: 404 M_NOT_FOUND."""
    fails(alice.get(GLOBAL, alice.user_id, "org.test.absent"), 404, "M_NOT_FOUND")
    fails(
        alice.get(ROOM, alice.user_id, alice.create_room(), "org.test.absent"), 404, "M_NOT_FOUND"
    )


def test_of_somebody_else(alice, bob):
    """PUT and GET .../account_data: 403 M_FORBIDDEN for another user's."""
    fails(alice.put(GLOBAL, bob.user_id, "org.test.config", json={}), 403, "M_FORBIDDEN")
    fails(alice.get(GLOBAL, bob.user_id, "org.test.config"), 403, "M_FORBIDDEN")


@pytest.mark.parametrize("kind", ["m.push_rules", "m.fully_read"])
def test_kinds_that_the_server_keeps(alice, kind):
    """PUT .../account_data/{type}: 405 M_BAD_JSON for m.fully_read and m.push_rules."""
    path = (
        (GLOBAL, alice.user_id, kind)
        if kind == "m.push_rules"
        else (ROOM, alice.user_id, alice.create_room(), kind)
    )
    fails(alice.put(*path, json={}), 405, "M_BAD_JSON")


def test_global_reaches_sync(alice):
    """GET /sync `account_data`: changes since the token."""
    since = alice.sync()["next_batch"]
    ok(alice.put(GLOBAL, alice.user_id, "org.test.config", json={"n": 1}))
    sync = alice.sync_when(lambda s: account_data(s, "org.test.config"), since)
    assert account_data(sync, "org.test.config") == {"n": 1}
    assert account_data(alice.sync(sync["next_batch"]), "org.test.config") is None


def test_room_data_reaches_sync(alice):
    """GET /sync: a room's account data is in the room's part."""
    room = alice.create_room()
    since = alice.token_after(room, alice.send(room))
    ok(alice.put(ROOM, alice.user_id, room, "org.test.config", json={"n": 1}))

    def found(s):
        return account_data(joined(s, room), "org.test.config")

    assert found(alice.sync_when(found, since)) == {"n": 1}


def test_first_sync_has_all(alice):
    """GET /sync without `since`: everything that was ever set."""
    for n in range(3):
        ok(alice.put(GLOBAL, alice.user_id, f"org.test.{n}", json={"n": n}))
    sync = alice.sync_when(lambda s: account_data(s, "org.test.2"))
    assert [account_data(sync, f"org.test.{n}") for n in range(3)] == [{"n": n} for n in range(3)]


def test_others_do_not_see_it(alice, bob):
    """Section "Client Config": account data is private."""
    room = room_of(alice, bob)
    ok(alice.put(ROOM, alice.user_id, room, "org.test.config", json={"secret": True}))
    alice.sync_when(lambda s: account_data(joined(s, room), "org.test.config"))
    assert account_data(joined(bob.sync(), room), "org.test.config") is None


@pytest.mark.parametrize("kind", ["with space", "slash/es", "ünïcödé", "org.test.a+b"])
def test_any_type(alice, kind):
    """PUT .../account_data/{type}: percent-encoded in the path."""
    ok(alice.put(GLOBAL, alice.user_id, kind, json={"kind": kind}))
    assert ok(alice.get(GLOBAL, alice.user_id, kind)) == {"kind": kind}


def test_no_object(alice):
    """PUT .../account_data/{type}: the content is a JSON object."""
    response = alice.put(GLOBAL, alice.user_id, "org.test.config", json=["list"])
    fails(response, 400, {"M_BAD_JSON", "M_NOT_JSON"})


# Tags


def tags(user, room):
    return ok(user.get("/user/{}/rooms/{}/tags", user.user_id, room))["tags"]


def put_tag(user, room, tag, **body):
    return ok(user.put("/user/{}/rooms/{}/tags/{}", user.user_id, room, tag, json=body))


def test_no_tags_at_first(alice):
    """GET .../tags: an empty map."""
    assert tags(alice, alice.create_room()) == {}


def test_set_and_list_tags(alice):
    """PUT and GET .../tags: with and without `order`."""
    room = alice.create_room()
    put_tag(alice, room, "m.favourite", order=0.25)
    put_tag(alice, room, "u.work")
    assert tags(alice, room) == {"m.favourite": {"order": 0.25}, "u.work": {}}


def test_delete_a_tag(alice):
    """DELETE .../tags/{tag}: the others stay."""
    room = alice.create_room()
    put_tag(alice, room, "u.one")
    put_tag(alice, room, "u.two")
    ok(alice.delete("/user/{}/rooms/{}/tags/{}", alice.user_id, room, "u.one"))
    assert tags(alice, room) == {"u.two": {}}


def test_tags_that_are_set_at_the_same_time(alice):
    """PUT .../tags/{tag}: what was acknowledged is there, whatever came at the same time."""
    room = alice.create_room()
    names = [f"u.tag{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: put_tag(alice, room, name), names))
    assert sorted(tags(alice, room)) == names


def test_tags_reach_sync(alice):
    """m.tag: an event in the room's account data."""
    room = alice.create_room()
    since = alice.token_after(room, alice.send(room))
    put_tag(alice, room, "m.lowpriority", order=0.5)

    def found(s):
        return account_data(joined(s, room), "m.tag")

    assert found(alice.sync_when(found, since)) == {"tags": {"m.lowpriority": {"order": 0.5}}}


def test_tags_are_private(alice, bob):
    """Section "Room Tagging": each user has their own."""
    room = room_of(alice, bob)
    put_tag(alice, room, "u.mine")
    assert tags(bob, room) == {}
    response = bob.get("/user/{}/rooms/{}/tags", alice.user_id, room)
    fails(response, 403, "M_FORBIDDEN")
