"""Client-server API: "Receipts" and "Fully read markers"."""

import pytest

from client import account_data, ephemeral, fails, joined, ok, room_of


@pytest.fixture
def room(alice, bob):
    return room_of(alice, bob)


def mark(user, room, event_id, kind="m.read", **body):
    return user.post("/rooms/{}/receipt/{}/{}", room, kind, event_id, json=body)


def receipts(sync, room):
    return ephemeral(joined(sync, room), "m.receipt") or {}


def receipt(sync, room, event_id, user, kind="m.read"):
    """The receipt's data in a sync answer, or None."""
    return receipts(sync, room).get(event_id, {}).get(kind, {}).get(user.user_id)


def test_receipt_reaches_others(alice, bob, room):
    """POST .../receipt/m.read/{eventId}: an m.receipt event with a time stamp."""
    event_id = alice.send(room)
    since = alice.token_after(room, event_id)
    ok(mark(bob, room, event_id))
    sync = alice.sync_when(lambda s: receipt(s, room, event_id, bob), since)
    assert receipt(sync, room, event_id, bob)["ts"] > 1_600_000_000_000


def test_receipt_is_in_a_first_sync(alice, bob, room):
    """Section "Receipts": the current receipts of a room come with it."""
    event_id = alice.send(room)
    ok(mark(bob, room, event_id))
    alice.sync_when(lambda s: receipt(s, room, event_id, bob))


def test_later_receipt_replaces_the_earlier(alice, bob, room):
    """Section "Receipts": one receipt for each user and type."""
    first, second = alice.send(room, "1"), alice.send(room, "2")
    ok(mark(bob, room, first))
    ok(mark(bob, room, second))
    sync = alice.sync_when(lambda s: receipt(s, room, second, bob))
    assert receipt(sync, room, first, bob) is None


def test_receipt_does_not_go_back(alice, bob, room):
    """Section "Receipts": an older event does not move the receipt back."""
    first, second = alice.send(room, "1"), alice.send(room, "2")
    ok(mark(bob, room, second))
    ok(mark(bob, room, first))
    marker = alice.send(room, "3")
    ok(mark(alice, room, marker))
    sync = alice.sync_when(lambda s: receipt(s, room, marker, alice))
    assert receipt(sync, room, second, bob)
    assert receipt(sync, room, first, bob) is None


def test_own_receipt_reaches_own_sessions(alice, bob, room):
    """Section "Receipts": the user's other devices see it, too."""
    event_id = alice.send(room)
    since = bob.token_after(room, event_id)
    ok(mark(bob, room, event_id))
    bob.login_again().sync_when(lambda s: receipt(s, room, event_id, bob), since)


def test_private_receipt_is_seen_by_its_owner_only(alice, bob, room):
    """m.read.private: "Servers MUST NOT send" it to any other user."""
    first, second = alice.send(room, "1"), alice.send(room, "2")
    ok(mark(bob, room, first, "m.read.private"))
    bob.sync_when(lambda s: receipt(s, room, first, bob, "m.read.private"))
    ok(mark(bob, room, second))
    sync = alice.sync_when(lambda s: receipt(s, room, second, bob))
    assert "m.read.private" not in str(receipts(sync, room))


@pytest.mark.parametrize("thread", ["main", "root"])
def test_threaded_receipt(alice, bob, room, thread):
    """Section "Threaded read receipts": `thread_id` comes back, `main` or a thread's root."""
    event_id = root = alice.send(room, "root")
    if thread == "root":
        relation = {"rel_type": "m.thread", "event_id": root}
        event_id = alice.send(room, {"msgtype": "m.text", "body": "r", "m.relates_to": relation})
    thread_id = root if thread == "root" else "main"
    ok(mark(bob, room, event_id, thread_id=thread_id))
    sync = alice.sync_when(lambda s: receipt(s, room, event_id, bob))
    assert receipt(sync, room, event_id, bob)["thread_id"] == thread_id


@pytest.mark.parametrize("thread_id", ["", 5])
def test_bad_thread_id(alice, bob, room, thread_id):
    """POST .../receipt `thread_id`: a non-empty string; 400 M_INVALID_PARAM."""
    fails(
        mark(bob, room, alice.send(room), thread_id=thread_id),
        400,
        {"M_INVALID_PARAM", "M_BAD_JSON"},
    )


def test_unknown_receipt_type(alice, room):
    """POST .../receipt/{receiptType}: m.read, m.read.private and m.fully_read."""
    assert mark(alice, room, alice.send(room), "org.nonsense").status_code == 400


def test_fully_read_is_account_data(alice, room):
    """POST .../receipt/m.fully_read: sets m.fully_read in the room's account data."""
    event_id = alice.send(room)
    ok(mark(alice, room, event_id, "m.fully_read"))

    def found(s):
        return account_data(joined(s, room), "m.fully_read")

    assert found(alice.sync_when(found)) == {"event_id": event_id}


def test_read_markers_set_all_three(alice, bob, room):
    """POST .../read_markers: m.fully_read, m.read and m.read.private in one request."""
    event_id = alice.send(room)
    body = {"m.fully_read": event_id, "m.read": event_id}
    ok(bob.post("/rooms/{}/read_markers", room, json=body))
    bob.sync_when(lambda s: account_data(joined(s, room), "m.fully_read"))
    alice.sync_when(lambda s: receipt(s, room, event_id, bob))


def test_fully_read_is_private(alice, bob, room):
    """Section "Fully read markers": other users do not see it."""
    event_id = alice.send(room)
    ok(bob.post("/rooms/{}/read_markers", room, json={"m.fully_read": event_id}))
    bob.sync_when(lambda s: account_data(joined(s, room), "m.fully_read"))
    assert account_data(joined(alice.sync(), room), "m.fully_read") is None


def test_fully_read_cannot_be_set_as_account_data(alice, room):
    """PUT .../account_data/m.fully_read: 405 M_BAD_JSON, the server's own."""
    response = alice.put(
        "/user/{}/rooms/{}/account_data/m.fully_read",
        alice.user_id,
        room,
        json={"event_id": alice.send(room)},
    )
    fails(response, 405, "M_BAD_JSON")


def test_receipt_of_an_outsider(alice, carol, room):
    """POST .../receipt: not for a user who is not in the room."""
    event_id = alice.send(room)
    response = mark(carol, room, event_id)
    assert response.status_code in {200, 403, 404}
    ok(mark(alice, room, event_id))
    sync = alice.sync_when(lambda s: receipt(s, room, event_id, alice))
    assert receipt(sync, room, event_id, carol) is None
