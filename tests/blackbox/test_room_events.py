"""Client-server API: "Sending events to a room" and "Getting events for a room"."""

import pytest

from client import Client, eventually, fails, find, ok, room_of, timeline, unique

TEXT = {"msgtype": "m.text", "body": "hello"}


@pytest.fixture
def room(alice, bob):
    """A room of Alice and Bob."""
    return room_of(alice, bob)


# PUT /rooms/{roomId}/send


def test_send_and_get(alice, bob, room):
    """PUT .../send and GET .../event: all fields of "Room event format"."""
    event = bob.event(room, alice.send(room, TEXT))
    assert event["content"] == TEXT
    assert (event["type"], event["sender"]) == ("m.room.message", alice.user_id)
    assert event["room_id"] == room
    assert event["origin_server_ts"] > 1_600_000_000_000
    assert "state_key" not in event


def test_send_any_type(alice, room):
    """PUT .../send/{eventType}: the type is free."""
    event_id = alice.send(room, {"n": 1}, "org.test.any type/with ünicode")
    assert alice.event(room, event_id)["type"] == "org.test.any type/with ünicode"


def test_send_as_an_outsider(alice, carol, room):
    """PUT .../send: 403 M_FORBIDDEN unless one is in the room."""
    fails(carol.try_send(room, TEXT), 403, "M_FORBIDDEN")


def test_send_into_an_unknown_room(alice):
    """PUT .../send: a room that does not exist is no room one is in."""
    fails(
        alice.try_send(f"!{unique('no')}:{alice.server_name}", TEXT),
        {403, 404},
        {"M_FORBIDDEN", "M_NOT_FOUND"},
    )


def test_invited_users_cannot_send(alice, carol, room):
    """PUT .../send: an invite is not a membership."""
    alice.invite(room, carol)
    fails(carol.try_send(room, TEXT), 403, "M_FORBIDDEN")


# Transaction identifiers


def test_same_transaction_gives_the_same_event(alice, room):
    """Section "Transaction identifiers": a repeated request is answered like the first one."""
    first = alice.send(room, "one", txn="t1")
    assert alice.send(room, "one", txn="t1") == first
    assert alice.send(room, "another text", txn="t1") == first
    chunk = alice.messages(room)["chunk"]
    assert [e["event_id"] for e in chunk if e["type"] == "m.room.message"] == [first]


def test_transactions_of_two_devices(alice, room):
    """Section "Transaction identifiers": the scope is a device."""
    other = alice.login_again()
    assert alice.send(room, "one", txn="t1") != other.send(room, "one", txn="t1")


def test_transactions_of_two_users(alice, bob, room):
    """Section "Transaction identifiers": two users' identifiers have nothing to do with each other."""
    assert alice.send(room, "one", txn="t1") != bob.send(room, "one", txn="t1")


def test_transactions_of_two_rooms(alice, room):
    """Section "Transaction identifiers": the scope includes the endpoint's path, so the room."""
    other = alice.create_room()
    assert alice.send(room, "one", txn="t1") != alice.send(other, "one", txn="t1")


def test_transaction_after_a_refresh(http, alice, room):
    """Section "Transaction identifiers": a refreshed token is the same device."""
    session = alice.login_again(refresh_token=True)
    first = session.send(room, "one", txn="t1")
    fresh = ok(
        Client(http).post("/refresh", json={"refresh_token": session.account["refresh_token"]})
    )
    again = Client(http, session.account | fresh)
    assert again.send(room, "one", txn="t1") == first


def test_transaction_id_is_echoed_to_its_sender(alice, bob, room):
    """`unsigned.transaction_id`: for the session that sent the event, and no other."""
    event_id = alice.send(room, "echo", txn="my-txn")
    _, part = alice.sync_with(room, event_id)
    assert find(timeline(part), "m.room.message")["unsigned"]["transaction_id"] == "my-txn"
    for reader in (bob, alice.login_again()):
        _, part = reader.sync_with(room, event_id)
        unsigned = find(timeline(part), "m.room.message").get("unsigned", {})
        assert "transaction_id" not in unsigned


@pytest.mark.parametrize("txn", ["with space", "slash/inside", "ünïcode", "percent%25", "a" * 200])
def test_any_transaction_id(alice, room, txn):
    """PUT .../send/{txnId}: an opaque string, percent-encoded in the path."""
    first = alice.send(room, "one", txn=txn)
    assert alice.send(room, "one", txn=txn) == first


# State


def test_set_and_get_state(alice, bob, room):
    """PUT and GET /rooms/{roomId}/state/{eventType}/{stateKey}."""
    alice.set_state(room, "org.test.state", {"n": 1}, "a key")
    assert bob.state(room, "org.test.state", "a key") == {"n": 1}


@pytest.mark.parametrize(
    "path", ["/rooms/{}/state/org.test.state", "/rooms/{}/state/org.test.state/"]
)
def test_empty_state_key_with_and_without_slash(alice, room, path):
    """.../state/{eventType}/{stateKey}: with an empty key the trailing slash is optional."""
    ok(alice.put(path, room, json={"path": path}))
    for read in ("/rooms/{}/state/org.test.state", "/rooms/{}/state/org.test.state/"):
        assert ok(alice.get(read, room)) == {"path": path}


def test_state_as_an_event(alice, room):
    """GET .../state/{eventType}/{stateKey}?format=event: the whole event."""
    event_id = alice.set_state(room, "org.test.state", {"n": 1}, "k")
    response = alice.get("/rooms/{}/state/org.test.state/k", room, params={"format": "event"})
    event = ok(response)
    assert (event["event_id"], event["state_key"], event["content"]) == (event_id, "k", {"n": 1})


def test_absent_state(alice, room):
    """GET .../state/{eventType}/{stateKey}: 404 M_NOT_FOUND."""
    fails(alice.get("/rooms/{}/state/org.test.absent/", room), 404, "M_NOT_FOUND")


def test_state_keys_are_apart(alice, room):
    """State is kept by type and state key."""
    alice.set_state(room, "org.test.state", {"n": 1}, "a")
    alice.set_state(room, "org.test.state", {"n": 2}, "b")
    assert alice.state(room, "org.test.state", "a") == {"n": 1}
    fails(alice.get("/rooms/{}/state/org.test.state/", room), 404, "M_NOT_FOUND")


@pytest.mark.parametrize("key", ["slash/key", "ünï", "#hash?query", "with space", "%2F"])
def test_any_state_key(alice, room, key):
    """.../state/{stateKey}: an arbitrary string, percent-encoded."""
    alice.set_state(room, "org.test.state", {"key": key}, key)
    assert alice.state(room, "org.test.state", key) == {"key": key}


def test_state_is_replaced(alice, room):
    """PUT .../state: the last event counts."""
    for n in range(3):
        alice.set_state(room, "org.test.state", {"n": n})
    assert alice.state(room, "org.test.state") == {"n": 2}


def test_the_same_state_again_is_no_new_event(alice, room):
    """PUT .../state: a state that is so already stays the event that it is."""
    event_id = alice.set_state(room, "org.test.state", {"n": 1}, "k")
    assert alice.set_state(room, "org.test.state", {"n": 1}, "k") == event_id
    assert alice.set_state(room, "org.test.state", {"n": 2}, "k") != event_id


def test_replaced_state_in_unsigned(alice, room):
    """`unsigned.prev_content`: what a state event replaced."""
    alice.set_state(room, "org.test.state", {"n": 1})
    second = alice.set_state(room, "org.test.state", {"n": 2})
    _, part = alice.sync_with(room, second)
    event = find(timeline(part), "org.test.state")
    assert event["unsigned"]["prev_content"] == {"n": 1}


def test_whole_state(alice, bob, room):
    """GET /rooms/{roomId}/state: a list of whole events."""
    state = ok(bob.get("/rooms/{}/state", room))
    kinds = {event["type"] for event in state}
    assert {"m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules"} <= kinds
    assert {event["room_id"] for event in state} == {room}
    members = [event["state_key"] for event in state if event["type"] == "m.room.member"]
    assert set(members) == {alice.user_id, bob.user_id}


def test_state_for_an_outsider(carol, room):
    """GET /rooms/{roomId}/state: 403 M_FORBIDDEN for a user who is and was not in it."""
    fails(carol.get("/rooms/{}/state", room), 403, "M_FORBIDDEN")
    fails(carol.get("/rooms/{}/state/m.room.create/", room), 403, "M_FORBIDDEN")


def test_state_for_an_ex_member(alice, bob, room):
    """GET /rooms/{roomId}/state: for one who left, the state as it was then."""
    alice.set_state(room, "m.room.topic", {"topic": "before"})
    bob.leave(room)
    alice.set_state(room, "m.room.topic", {"topic": "after"})
    eventually(lambda: bob.state(room, "m.room.topic")["topic"] == "before")
    state = ok(bob.get("/rooms/{}/state", room))
    assert find(state, "m.room.topic")["content"]["topic"] == "before"


def test_state_key_of_another_user(alice, bob, room):
    """Auth rules: a state key that starts with @ belongs to that user."""
    levels = alice.state(room, "m.room.power_levels")
    levels["state_default"] = 0
    alice.set_state(room, "m.room.power_levels", levels)
    bob.set_state(room, "org.test.state", {}, bob.user_id)
    fails(bob.try_set_state(room, "org.test.state", {}, alice.user_id), 403, "M_FORBIDDEN")


@pytest.mark.synapse_differs(
    "PUT .../state 403: the sender doesn't have permission to send the event into the room; "
    "auth rule 1: m.room.create, if it has any prev_events, reject"
)
def test_create_event_cannot_be_replaced(alice, room):
    """Auth rules: there is one m.room.create event, the first."""
    response = alice.try_set_state(room, "m.room.create", {"m.federate": False})
    assert response.status_code in {400, 403}


def test_membership_through_the_state_endpoint(alice, carol, room):
    """PUT .../state/m.room.member/{userId}: the membership endpoints by another way."""
    alice.set_state(room, "m.room.member", {"membership": "invite"}, carol.user_id)
    carol.join(room)
    alice.set_state(room, "m.room.member", {"membership": "leave"}, carol.user_id)
    assert alice.membership(room, carol) == "leave"


def test_unknown_membership(alice, room):
    """m.room.member: membership is one of invite, join, knock, leave, ban."""
    response = alice.try_set_state(room, "m.room.member", {"membership": "sleep"}, alice.user_id)
    assert response.status_code in {400, 403}


# GET /rooms/{roomId}/event


def test_event_of_another_room(alice, room):
    """GET .../event/{eventId}: 404 where the event is not in this room."""
    other = alice.create_room()
    event_id = alice.send(other)
    fails(alice.get("/rooms/{}/event/{}", room, event_id), 404, "M_NOT_FOUND")


def test_unknown_event(alice, room):
    """GET .../event/{eventId}: 404 M_NOT_FOUND."""
    fails(alice.get("/rooms/{}/event/{}", room, "$nothing"), 404, "M_NOT_FOUND")


def test_event_for_an_outsider(alice, carol, room):
    """GET .../event/{eventId}: 404 or 403 for a user without permission to read it."""
    fails(
        carol.get("/rooms/{}/event/{}", room, alice.send(room)),
        {403, 404},
        {"M_FORBIDDEN", "M_NOT_FOUND"},
    )


# Redactions


def test_redaction_prunes_the_event(alice, bob, room):
    """PUT .../redact: the content goes; `unsigned.redacted_because` says why."""
    event_id = alice.send(room, "secret")
    redaction = alice.redact(room, event_id, reason="too loud")
    event = bob.event(room, event_id)
    assert event["content"] == {}
    because = event["unsigned"]["redacted_because"]
    assert (because["event_id"], because["content"]["reason"]) == (redaction, "too loud")


def test_redaction_event_names_its_target(alice, room):
    """m.room.redaction: `redacts` (in content since version 11, on top for older clients)."""
    event_id = alice.send(room)
    event = alice.event(room, alice.redact(room, event_id))
    assert event["type"] == "m.room.redaction"
    assert event_id in {event.get("redacts"), event["content"].get("redacts")}


def test_own_messages_may_be_redacted_by_anybody(alice, bob, room):
    """Section "Redactions": one's own messages, at the level to send m.room.redaction."""
    event_id = bob.send(room)
    bob.redact(room, event_id)
    assert alice.event(room, event_id)["content"] == {}


def test_others_messages_need_the_redact_level(alice, bob, room):
    """Section "Redactions": others' messages need `redact` (50)."""
    event_id = alice.send(room, "mine")
    fails(bob.put("/rooms/{}/redact/{}/{}", room, event_id, "t"), 403, "M_FORBIDDEN")
    assert alice.event(room, event_id)["content"]["body"] == "mine"
    theirs = bob.send(room)
    alice.redact(room, theirs)
    assert alice.event(room, theirs)["content"] == {}


def test_redaction_is_idempotent_by_transaction(alice, room):
    """PUT .../redact/{txnId}: the same transaction gives the same event."""
    event_id = alice.send(room)
    first = ok(alice.put("/rooms/{}/redact/{}/{}", room, event_id, "t"))
    assert ok(alice.put("/rooms/{}/redact/{}/{}", room, event_id, "t")) == first


def test_redaction_keeps_membership(alice, bob, room):
    """Room versions, "Redactions": m.room.member keeps `membership`."""
    ok(alice.post("/rooms/{}/kick", room, json={"user_id": bob.user_id, "reason": "rude words"}))
    response = alice.get(
        "/rooms/{}/state/m.room.member/{}", room, bob.user_id, params={"format": "event"}
    )
    alice.redact(room, ok(response)["event_id"])
    assert alice.state(room, "m.room.member", bob.user_id) == {"membership": "leave"}


def test_redacted_state_stays_current(alice, room):
    """Section "Redactions": a redacted state event is still the state, without content."""
    event_id = alice.set_state(room, "m.room.topic", {"topic": "rude"})
    alice.redact(room, event_id)
    assert alice.state(room, "m.room.topic") == {}


def test_redaction_reaches_sync(alice, bob, room):
    """GET /sync: the m.room.redaction event comes down the timeline."""
    event_id = alice.send(room)
    since = bob.token_after(room, event_id)
    redaction = alice.redact(room, event_id)
    _, part = bob.sync_with(room, redaction, since)
    assert find(timeline(part), "m.room.redaction")["sender"] == alice.user_id


def test_redacted_events_in_messages(alice, bob, room):
    """GET .../messages: earlier events are shown redacted."""
    event_id = alice.send(room, "secret")
    alice.redact(room, event_id)
    event = next(e for e in bob.messages(room)["chunk"] if e["event_id"] == event_id)
    assert event["content"] == {}
    assert "redacted_because" in event["unsigned"]
