"""Client-server API: "API Standards", "Web Browser Clients", "Size limits", canonical JSON."""

import json

import pytest

from client import Client, V3, fails, ok, refused_as_too_large, register, unique

JSON_HEADERS = {"Content-Type": "application/json"}


def send_raw(user, room, text, **options):
    """Sends a message whose body is given byte by byte."""
    return user.put(
        "/rooms/{}/send/{}/{}",
        room,
        "org.test.raw",
        unique("t"),
        content=text,
        headers=JSON_HEADERS,
        **options,
    )


def message_count(user, room):
    chunk = user.messages(room, limit=50)["chunk"]
    return len([event for event in chunk if event["type"] == "org.test.raw"])


# Unknown endpoints and methods

UNKNOWN_PATHS = [
    "/_matrix/client/v3/nonsense",
    "/_matrix/client/v3/rooms/!a:b/nonsense",
    "/_matrix/client/v9/sync",
    "/_matrix/client/nonsense",
    "/_matrix/nonsense",
]


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
def test_unknown_endpoint(alice, path):
    """Section "Common error codes", M_UNRECOGNIZED: 404 if the endpoint is not implemented."""
    fails(alice.get(path, prefix=""), 404, "M_UNRECOGNIZED")


WRONG_METHODS = [
    ("DELETE", "/account/whoami"),
    ("PUT", "/sync"),
    ("GET", "/createRoom"),
    ("PATCH", "/joined_rooms"),
    ("DELETE", "/rooms/!a:b/messages"),
    ("PUT", "/login"),
]


@pytest.mark.parametrize("method, path", WRONG_METHODS)
def test_wrong_method(alice, method, path):
    """Section "Common error codes", M_UNRECOGNIZED: 405 if the endpoint has other methods."""
    fails(alice.call(method, path), 405, "M_UNRECOGNIZED")


# Cross-origin requests

PREFLIGHT = {
    "Origin": "https://client.example",
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "authorization,content-type",
}


@pytest.mark.parametrize("path", ["/sync", "/login", "/rooms/!a:b/send/m.room.message/1"])
def test_preflight(anonymous, path):
    """Section "Web Browser Clients": OPTIONS needs no token and allows every origin."""
    response = anonymous.call("OPTIONS", path, headers=PREFLIGHT)
    assert response.status_code in {200, 204}
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    methods = response.headers["Access-Control-Allow-Methods"]
    assert {"GET", "POST", "PUT", "DELETE"} <= set(methods.replace(" ", "").split(","))
    allowed = response.headers["Access-Control-Allow-Headers"].lower()
    assert "authorization" in allowed and "content-type" in allowed


def test_cross_origin_headers_on_answers(alice):
    """Section "Web Browser Clients": the headers are on all requests."""
    assert alice.get("/account/whoami").headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/account/whoami", "/nonsense"])
def test_cross_origin_headers_on_errors(anonymous, path):
    """Section "Web Browser Clients": the headers are on errors, too, or browsers hide the reason."""
    response = anonymous.get(path, headers={"Origin": "https://client.example"})
    assert response.status_code in {401, 404}
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_answers_are_json(alice):
    """Section "API Standards": Content-Type: application/json."""
    assert alice.get("/account/whoami").headers["Content-Type"].startswith("application/json")


def test_request_without_a_content_type(alice):
    """Section "API Standards": servers do not depend on the request's Content-Type."""
    room = alice.create_room()
    response = alice.put("/rooms/{}/send/{}/{}", room, "org.test.raw", "t", content=b'{"a":1}')
    assert ok(response)["event_id"]


@pytest.mark.parametrize("prefix", ["/_matrix/client/r0", V3])
def test_v3_is_the_prefix(alice, prefix):
    """Section "API Versions": v3; r0 is the old name, which a server may still answer."""
    response = alice.get("/account/whoami", prefix=prefix)
    assert response.status_code == 200 or (prefix != V3 and response.status_code == 404)


# Bodies that are not JSON, or not the right JSON

NOT_JSON = [
    "",
    "{",
    '{"a": 1',
    "nonsense",
    "{'a': 1}",
    '{"a": }',
    "\x00",
    '{"a":1}}',
    '{"a": "\ud800"}',
]


@pytest.mark.parametrize("text", NOT_JSON, ids=repr)
def test_not_json(alice, text):
    """Section "Common error codes", M_NOT_JSON: "Request did not contain valid JSON"."""
    room = alice.create_room()
    raw = text.encode("utf-8", "surrogatepass")
    fails(send_raw(alice, room, raw), 400, "M_NOT_JSON")
    assert message_count(alice, room) == 0


@pytest.mark.parametrize("raw", [b'{"a": "\xff"}', b"\xfe\xff\x00{", b'{"\xc3\x28": 1}'])
def test_not_utf8(alice, raw):
    """Section "API Standards": JSON is encoded as UTF-8."""
    room = alice.create_room()
    fails(send_raw(alice, room, raw), 400, "M_NOT_JSON")
    assert message_count(alice, room) == 0


@pytest.mark.parametrize("text", ["[]", '"text"', "5", "null", "true"])
def test_json_that_is_no_object(alice, text):
    """Section "Common error codes", M_BAD_JSON: "valid JSON, but it was malformed in some way"."""
    room = alice.create_room()
    fails(send_raw(alice, room, text), 400, "M_BAD_JSON")
    assert message_count(alice, room) == 0


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have(alice, literal):
    """RFC 8259: NaN and infinities are not JSON."""
    room = alice.create_room()
    fails(send_raw(alice, room, '{"n": %s}' % literal), 400, {"M_NOT_JSON", "M_BAD_JSON"})


# Python reads it as an infinity.
BEYOND_DOUBLE = pytest.param(
    "1e400",
    marks=pytest.mark.synapse_differs(
        "Canonical JSON: numbers are integers within [-(2^53)+1, (2^53)-1]",
    ),
)
BAD_NUMBERS = [
    "1.5",
    "-0.1",
    "9007199254740992",
    "-9007199254740992",
    "1" + "0" * 20,
    BEYOND_DOUBLE,
]


@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_numbers_that_canonical_json_does_not_have(alice, number):
    """Appendices, "Canonical JSON": integers within [-(2^53)+1, (2^53)-1]; M_BAD_JSON."""
    room = alice.create_room(room_version="11")
    fails(send_raw(alice, room, '{"n": %s}' % number), 400, {"M_BAD_JSON", "M_NOT_JSON"})
    assert message_count(alice, room) == 0


@pytest.mark.parametrize("number", [0, -1, 2**53 - 1, -(2**53) + 1])
def test_numbers_that_canonical_json_has(alice, number):
    """Appendices, "Canonical JSON": the edges of the range pass unchanged."""
    room = alice.create_room(room_version="11")
    event_id = alice.send(room, {"n": number}, "org.test.raw")
    assert alice.event(room, event_id)["content"] == {"n": number}


def test_numbers_in_state_too(alice):
    """PUT /rooms/{roomId}/state: the same rule for state events."""
    room = alice.create_room(room_version="11")
    path = "/rooms/{}/state/org.test.number/"
    fails(alice.put(path, room, content='{"n": 1.5}', headers=JSON_HEADERS), 400, "M_BAD_JSON")
    fails(alice.get(path, room), 404, "M_NOT_FOUND")


def test_deep_json(alice):
    """A body nested 20,000 levels deep gets an error and changes nothing."""
    room = alice.create_room()
    depth = 20_000
    response = send_raw(alice, room, '{"a":' + "[" * depth + "]" * depth + "}")
    assert 400 <= response.status_code < 500, response.text
    assert message_count(alice, room) == 0
    assert ok(alice.get("/account/whoami"))


def test_deep_json_in_account_data(alice):
    """The same where the body is no event."""
    depth = 100_000
    response = alice.put(
        "/user/{}/account_data/org.test", alice.user_id, content='{"a":' * depth + "1" + "}" * depth
    )
    assert 400 <= response.status_code < 500
    fails(alice.get("/user/{}/account_data/org.test", alice.user_id), 404, "M_NOT_FOUND")


UNICODE = [
    "plain",
    "ünïcödé",
    "日本語",
    "😀👩‍👩‍👧",
    'quote" back\\slash',
    "\u0001\u001f",
    "\u2028\u2029",
    "tab\tnew\nline",
]


@pytest.mark.parametrize("text", UNICODE, ids=repr)
def test_text_comes_back_unchanged(alice, text):
    """Appendices, "Canonical JSON": every Unicode string passes unchanged."""
    room = alice.create_room()
    event_id = alice.send(room, text)
    assert alice.event(room, event_id)["content"]["body"] == text


def test_keys_of_every_kind(alice):
    """Event contents: keys are arbitrary strings, the empty one included."""
    content = {"": 1, "a.b": {"c": [None, True, {}]}, "ключ": "v", "😀": []}
    room = alice.create_room()
    assert alice.event(room, alice.send(room, content, "org.test.raw"))["content"] == content


def test_duplicate_keys_do_not_break_anything(alice):
    """RFC 8259 leaves duplicate keys open: refused, or one of them is taken."""
    room = alice.create_room()
    response = send_raw(alice, room, '{"a": 1, "a": 2}')
    if response.status_code == 200:
        content = alice.event(room, response.json()["event_id"])["content"]
        assert content in ({"a": 1}, {"a": 2})
    else:
        fails(response, 400, {"M_NOT_JSON", "M_BAD_JSON"})


# Sizes


def test_event_over_64_kib(alice):
    """Section "Size limits": the complete event MUST NOT be larger than 65536 bytes; M_TOO_LARGE."""
    room = alice.create_room()
    fails(alice.try_send(room, {"body": "x" * 66_000}, "org.test.raw"), 413, "M_TOO_LARGE")
    assert message_count(alice, room) == 0


def test_event_below_64_kib(alice):
    """Section "Size limits": 60,000 bytes of content are fine."""
    room = alice.create_room()
    event_id = alice.send(room, {"body": "x" * 60_000}, "org.test.raw")
    assert len(alice.event(room, event_id)["content"]["body"]) == 60_000


def test_size_is_counted_in_bytes(alice):
    """Section "Size limits": of the event as canonical JSON, in UTF-8; 30,000 emoji are 120,000 bytes."""
    room = alice.create_room()
    fails(alice.try_send(room, {"body": "😀" * 30_000}, "org.test.raw"), 413, "M_TOO_LARGE")


@pytest.mark.parametrize("part", ["type", "state_key"])
def test_long_type_or_state_key(alice, part):
    """Section "Size limits": `type` and `state_key` MUST NOT exceed 255 bytes."""
    room = alice.create_room()
    kind, key = ("t" * 256, "") if part == "type" else ("org.test", "k" * 256)
    response = alice.try_set_state(room, kind, {}, key)
    fails(response, {400, 413}, {"M_TOO_LARGE", "M_BAD_JSON", "M_INVALID_PARAM"})


@pytest.mark.parametrize("part", ["type", "state_key"])
def test_longest_type_or_state_key(alice, part):
    """Section "Size limits": 255 bytes are allowed."""
    room = alice.create_room()
    kind, key = ("t" * 255, "") if part == "type" else ("org.test", "k" * 255)
    alice.set_state(room, kind, {"n": 1}, key)
    assert alice.state(room, kind, key) == {"n": 1}


def test_huge_body(alice):
    """A body of 101 MB is refused with 413, whole or half sent, and the server goes on."""
    room = alice.create_room()
    body = b'{"body": "' + b"x" * (101 * 1024 * 1024) + b'"}'
    refused_as_too_large(lambda: send_raw(alice, room, body))
    assert message_count(alice, room) == 0


# Identifiers of the wrong kind

WRONG_IDS = [
    ("GET", "/rooms/@alice:localhost/state"),
    ("GET", "/rooms/nonsense/messages?dir=b"),
    ("PUT", "/rooms/nonsense/send/m.room.message/1"),
    ("PUT", "/rooms/$event/state/m.room.name/"),
    ("POST", "/rooms/nonsense/invite"),
    ("POST", "/rooms/nonsense/leave"),
    ("POST", "/rooms/nonsense/receipt/m.read/$e"),
    ("GET", "/user/nonsense/account_data/a.b"),
    ("PUT", "/rooms/!a:localhost/redact/nonsense/1"),
]


@pytest.mark.parametrize("method, path", WRONG_IDS)
def test_identifiers_of_the_wrong_kind(alice, method, path):
    """Appendices, "Common Namespaced Identifier Grammar": a clear 4xx, never a 500."""
    body = None if method == "GET" else {"user_id": "@x:localhost"}
    response = alice.call(method, path, json=body)
    assert response.status_code in {400, 403, 404}, response.text
    assert response.json()["errcode"].startswith("M_")


def test_unknown_query_parameters_are_ignored(alice):
    """Section "API Standards": extra parameters do no harm."""
    assert ok(alice.get("/account/whoami", params={"org.test": "x", "ts": "1"}))


def test_one_bad_request_does_not_end_the_connection(http):
    """A good request works after a bad one on the same connection."""
    user = register(http)
    send_raw(user, "!none:localhost", "{")
    assert ok(Client(http, user.account).get("/account/whoami"))["user_id"] == user.user_id


def test_answers_hold_the_errors_format(anonymous):
    """Section "Standard error response": `errcode` and `error`, as a JSON object."""
    response = anonymous.get("/account/whoami")
    body = json.loads(response.content)
    assert set(body) >= {"errcode", "error"}
