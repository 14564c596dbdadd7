"""Client-server API: "Server-side key backups": /room_keys/version, /room_keys/keys."""

import pytest

from client import fails, ok
from keys import random_key

ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
MALFORMED = '"M_BAD_JSON: Request contained valid JSON, but it was malformed in some way"'
differs = pytest.mark.synapse_differs(MALFORMED)
ROOM = "!room:example.org"
OTHER_ROOM = "!other:example.org"


def auth_data():
    return {"public_key": random_key(), "signatures": {}}


def new_version(client, **changes):
    body = {"algorithm": ALGORITHM, "auth_data": auth_data()} | changes
    return ok(client.post("/room_keys/version", json=body))["version"]


def key(index=0, forwarded=0, verified=True, text=None):
    """A backed-up key; `text` tells it from others."""
    return {
        "first_message_index": index,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {
            "ciphertext": text or random_key(), "ephemeral": random_key(), "mac": "mac",
        },
    }


def keys_path(*parts):
    return "/room_keys/keys" + "/{}" * len(parts), *parts


def try_put(client, version, body, *parts):
    path, *args = keys_path(*parts)
    return client.put(path, *args, params={"version": version}, json=body)


def put(client, version, body, *parts):
    return ok(try_put(client, version, body, *parts))


def try_get(client, version, *parts):
    path, *args = keys_path(*parts)
    return client.get(path, *args, params={"version": version})


def get(client, version, *parts):
    return ok(try_get(client, version, *parts))


def remove(client, version, *parts):
    path, *args = keys_path(*parts)
    return client.delete(path, *args, params={"version": version})


def rooms(**by_room):
    """A body of /room_keys/keys: sessions by room."""
    named = {"room": ROOM, "other": OTHER_ROOM}
    return {"rooms": {named[room]: {"sessions": keys} for room, keys in by_room.items()}}


# Versions


def test_a_version(alice):
    """POST and GET /room_keys/version: as it was created, without keys."""
    data = auth_data()
    version = new_version(alice, auth_data=data)
    found = ok(alice.get("/room_keys/version"))
    assert found == ok(alice.get("/room_keys/version/{}", version))
    assert (found["algorithm"], found["auth_data"]) == (ALGORITHM, data)
    assert (found["version"], found["count"]) == (version, 0)
    assert isinstance(found["etag"], str)


def test_the_newest_version_is_current(alice):
    """GET /room_keys/version: "the latest backup version"; older ones stay to be read."""
    old, new = new_version(alice), new_version(alice)
    assert old != new
    assert ok(alice.get("/room_keys/version"))["version"] == new
    assert ok(alice.get("/room_keys/version/{}", old))["version"] == old


def test_no_version(alice):
    """GET /room_keys/version, 404: "No backup found"."""
    fails(alice.get("/room_keys/version"), 404, "M_NOT_FOUND")
    fails(alice.get("/room_keys/version/{}", "1"), 404, "M_NOT_FOUND")


def test_versions_are_ones_own(alice, bob):
    version = new_version(alice)
    put(alice, version, rooms(room={"s": key()}))
    fails(bob.get("/room_keys/version"), 404, "M_NOT_FOUND")
    fails(try_get(bob, version), 404, "M_NOT_FOUND")


def test_an_updated_version(alice):
    """PUT /room_keys/version/{version}: only `auth_data` changes."""
    version = new_version(alice)
    put(alice, version, rooms(room={"s": key()}))
    data = auth_data()
    body = {"algorithm": ALGORITHM, "auth_data": data, "version": version}
    assert ok(alice.put("/room_keys/version/{}", version, json=body)) == {}
    found = ok(alice.get("/room_keys/version"))
    assert (found["auth_data"], found["version"], found["count"]) == (data, version, 1)


def test_an_update_keeps_algorithm_and_version(alice):
    """PUT /room_keys/version/{version}: both must be "the same as in the" existing backup."""
    version = new_version(alice)
    body = {"algorithm": ALGORITHM, "auth_data": auth_data()}
    path = "/room_keys/version/{}"
    fails(alice.put(path, version, json=body | {"algorithm": "m.other"}), 400, "M_INVALID_PARAM")
    fails(alice.put(path, version, json=body | {"version": "777"}), 400, "M_INVALID_PARAM")
    fails(alice.put(path, "777", json=body), 404, "M_NOT_FOUND")


def test_a_deleted_version(alice):
    """DELETE /room_keys/version/{version}: "and all its" keys; the one before is current again."""
    old, new = new_version(alice), new_version(alice)
    put(alice, new, rooms(room={"s": key()}))
    assert ok(alice.delete("/room_keys/version/{}", new)) == {}
    fails(alice.get("/room_keys/version/{}", new), 404, "M_NOT_FOUND")
    fails(try_get(alice, new), 404, "M_NOT_FOUND")
    assert ok(alice.get("/room_keys/version"))["version"] == old


def test_numbers_are_not_given_again(alice):
    """POST /room_keys/version: versions are unique, also after they were deleted."""
    first = new_version(alice)
    put(alice, first, rooms(room={"s": key()}))
    ok(alice.delete("/room_keys/version/{}", first))
    second = new_version(alice)
    ok(alice.delete("/room_keys/version/{}", second))
    third = new_version(alice)
    assert len({first, second, third}) == 3
    assert get(alice, third) == {"rooms": {}}


@pytest.mark.parametrize("body", [
    {},
    {"algorithm": ALGORITHM},
    {"auth_data": {}},
    {"algorithm": 5, "auth_data": {}},
    {"algorithm": ALGORITHM, "auth_data": "x"},
])
@differs
def test_malformed_versions(alice, body):
    """POST /room_keys/version: `algorithm` and `auth_data` are required."""
    errcodes = {"M_BAD_JSON", "M_MISSING_PARAM", "M_INVALID_PARAM"}
    fails(alice.post("/room_keys/version", json=body), 400, errcodes)
    fails(alice.get("/room_keys/version"), 404, "M_NOT_FOUND")


# Keys


def test_keys_of_rooms(alice):
    """PUT /room_keys/keys, and what the three GETs say of it."""
    version = new_version(alice)
    body = rooms(room={"a": key(), "b": key(3, 2, False)}, other={"a": key()})
    assert put(alice, version, body)["count"] == 3
    assert get(alice, version) == body
    assert get(alice, version, ROOM) == body["rooms"][ROOM]
    assert get(alice, version, OTHER_ROOM) == body["rooms"][OTHER_ROOM]
    assert get(alice, version, ROOM, "b") == body["rooms"][ROOM]["sessions"]["b"]


def test_keys_of_one_room_and_of_one_session(alice):
    """PUT /room_keys/keys/{roomId} and /{sessionId}: they join those that are there."""
    version, first, second = new_version(alice), key(), key()
    assert put(alice, version, {"sessions": {"a": first}}, ROOM)["count"] == 1
    assert put(alice, version, second, ROOM, "b/ü")["count"] == 2
    assert get(alice, version, ROOM) == {"sessions": {"a": first, "b/ü": second}}


def test_what_is_not_there(alice):
    """GET /room_keys/keys: no keys are an empty object; a session's key is 404."""
    version = new_version(alice)
    assert get(alice, version) == {"rooms": {}}
    assert get(alice, version, ROOM) == {"sessions": {}}
    fails(try_get(alice, version, ROOM, "a"), 404, "M_NOT_FOUND")
    for parts in ((), (ROOM,), (ROOM, "a")):
        fails(try_get(alice, "777", *parts), 404, "M_NOT_FOUND")


@pytest.mark.parametrize("one, other, better", [
    ((9, 9, False), (9, 9, True), True),
    ((0, 0, True), (0, 0, False), False),
    ((5, 0, True), (4, 9, True), True),
    ((5, 0, True), (6, 0, True), False),
    ((5, 5, True), (5, 4, True), True),
    ((5, 5, True), (5, 6, True), False),
    ((5, 5, True), (5, 5, True), False),
])
def test_the_better_key_stays(alice, one, other, better):
    """PUT /room_keys/keys: "the key … is verified", then a lower `first_message_index`, then a lower
    `forwarded_count`; "in all other cases" the one that is there stays."""
    version = new_version(alice)
    one, other = key(*one), key(*other)
    before = put(alice, version, one, ROOM, "a")
    after = put(alice, version, other, ROOM, "a")
    assert get(alice, version, ROOM, "a") == (other if better else one)
    assert after["count"] == 1
    assert (after["etag"] != before["etag"]) == better


def test_the_etag_tells_changes(alice):
    """`etag`: "changes whenever" a key does, and is told by the version, too."""
    version = new_version(alice)
    etags = [ok(alice.get("/room_keys/version"))["etag"]]
    etags.append(put(alice, version, key(), ROOM, "a")["etag"])
    etags.append(put(alice, version, key(), ROOM, "b")["etag"])
    etags.append(ok(remove(alice, version, ROOM, "a"))["etag"])
    assert len(set(etags)) == 4
    found = ok(alice.get("/room_keys/version"))
    assert (found["etag"], found["count"]) == (etags[-1], 1)


def test_keys_go_into_the_current_version(alice):
    """PUT /room_keys/keys, 403: M_WRONG_ROOM_KEYS_VERSION, with `current_version`."""
    old, new = new_version(alice), new_version(alice)
    bodies = [
        ((), rooms(room={"a": key()})), ((ROOM,), {"sessions": {"a": key()}}), ((ROOM, "a"), key()),
    ]
    for parts, body in bodies:
        refused = try_put(alice, old, body, *parts)
        fails(refused, 403, "M_WRONG_ROOM_KEYS_VERSION")
        assert refused.json()["current_version"]
        fails(try_put(alice, "777", body, *parts), {403, 404}, {
            "M_WRONG_ROOM_KEYS_VERSION", "M_NOT_FOUND"
        })
    assert get(alice, old) == get(alice, new) == {"rooms": {}}


@pytest.mark.synapse_differs('403: "The current version will be included in the current_version field"')
def test_the_current_version_is_told(alice):
    """PUT /room_keys/keys, 403: `current_version` is the current one."""
    old, new = new_version(alice), new_version(alice)
    refused = try_put(alice, old, rooms(room={"a": key()}))
    assert refused.json()["current_version"] == new


def test_keys_without_any_version(alice):
    fails(try_put(alice, "1", rooms(room={"a": key()})), 404, "M_NOT_FOUND")


def test_deleted_keys(alice):
    """DELETE /room_keys/keys, /{roomId}, /{roomId}/{sessionId}: `count` and `etag` after it."""
    version = new_version(alice)
    kept = key()
    put(alice, version, rooms(room={"a": key(), "b": key(), "c": key()}, other={"a": kept}))
    assert ok(remove(alice, version, ROOM, "a"))["count"] == 3
    fails(try_get(alice, version, ROOM, "a"), 404, "M_NOT_FOUND")
    assert set(get(alice, version, ROOM)["sessions"]) == {"b", "c"}
    assert ok(remove(alice, version, ROOM))["count"] == 1
    assert get(alice, version) == rooms(other={"a": kept})
    assert ok(remove(alice, version))["count"] == 0
    assert get(alice, version) == {"rooms": {}}
    assert ok(alice.get("/room_keys/version"))["version"] == version


def test_deleting_from_an_unknown_version(alice):
    new_version(alice)
    for parts in ((), (ROOM,), (ROOM, "a")):
        fails(remove(alice, "777", *parts), 404, "M_NOT_FOUND")


def test_old_versions_are_read(alice):
    """GET /room_keys/keys: `version` is "the backup from which to retrieve the keys"."""
    old, mine = new_version(alice), key()
    put(alice, old, mine, ROOM, "a")
    new = new_version(alice)
    assert get(alice, old, ROOM, "a") == mine
    assert get(alice, new) == {"rooms": {}}


def test_many_keys(alice):
    """PUT /room_keys/keys: hundreds at once, of many rooms, are all there."""
    version = new_version(alice)
    body = {"rooms": {
        f"!room{room}:example.org": {"sessions": {f"s{at}": key() for at in range(25)}}
        for room in range(40)
    }}
    assert put(alice, version, body)["count"] == 1000
    assert get(alice, version) == body
    assert put(alice, version, body)["count"] == 1000
    assert ok(remove(alice, version))["count"] == 0


@pytest.mark.parametrize("change", [
    {"first_message_index": "x"},
    {"first_message_index": None},
    {"is_verified": "x"},
    {"session_data": None},
])
@differs
def test_malformed_keys(alice, change):
    """PUT /room_keys/keys/{roomId}/{sessionId}: the four fields are required."""
    version = new_version(alice)
    body = {name: value for name, value in (key() | change).items() if value is not None}
    fails(try_put(alice, version, body, ROOM, "a"), 400, {"M_BAD_JSON", "M_MISSING_PARAM"})
    assert get(alice, version) == {"rooms": {}}


def test_the_version_is_required(alice):
    new_version(alice)
    fails(alice.get("/room_keys/keys"), 400, "M_MISSING_PARAM")
    fails(alice.put("/room_keys/keys", json={"rooms": {}}), 400, "M_MISSING_PARAM")
    fails(alice.delete("/room_keys/keys"), 400, "M_MISSING_PARAM")


@pytest.mark.parametrize("path", ["/room_keys/version", "/room_keys/keys"])
def test_a_token_is_needed(anonymous, path):
    fails(anonymous.get(path, params={"version": "1"}), 401, "M_MISSING_TOKEN")
