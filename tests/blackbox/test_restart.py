"""What was answered with 200 is there after the server ended, by SIGTERM or by SIGKILL.

These tests run a server of their own.
"""

import httpx
import pytest

from client import (
    PASSWORD,
    account_data,
    bodies,
    event_ids,
    joined,
    login,
    ok,
    register,
    room_of,
    timeline,
)
from servers import start_server


@pytest.fixture(scope="module")
def own(target):
    with start_server(target) as server:
        yield server


@pytest.fixture(scope="module")
def pool(own):
    with httpx.Client(base_url=own.base_url, timeout=60) as pool:
        yield pool


@pytest.fixture(params=["stop", "kill"])
def restart(own, request):
    """Ends the server one way or the other and starts it on the same data."""
    return lambda: own.restart(hard=request.param == "kill")


def test_events_and_tokens_survive(pool, restart):
    """Access tokens, rooms, the timeline and since tokens."""
    alice, bob = register(pool, "alice"), register(pool, "bob")
    room = room_of(alice, bob, name="Lasting")
    since = bob.token_after(room, alice.send(room, "before"))
    ids = [alice.send(room, f"m{n}") for n in range(5)]
    restart()
    assert alice.state(room, "m.room.name")["name"] == "Lasting"
    _, part = bob.sync_with(room, ids[-1], since)
    assert event_ids(timeline(part)) == ids


def test_transactions_survive(pool, restart):
    """Section "Transaction identifiers": a request repeated after a crash gives the first answer."""
    alice = register(pool, "alice")
    room = alice.create_room()
    first = alice.send(room, "once", txn="crash")
    restart()
    assert alice.send(room, "once", txn="crash") == first
    assert bodies(alice.messages(room)["chunk"]) == ["once"]


def test_accounts_survive(pool, restart):
    """Passwords, devices, profiles and account data."""
    alice = register(pool, "alice")
    ok(alice.put("/profile/{}/displayname", alice.user_id, json={"displayname": "Lasting"}))
    ok(alice.put("/user/{}/account_data/org.test", alice.user_id, json={"n": 1}))
    restart()
    session = login(pool, alice.user_id, PASSWORD)
    assert ok(session.get("/devices/{}", alice.device_id))["device_id"] == alice.device_id
    assert ok(session.get("/profile/{}/displayname", alice.user_id)) == {"displayname": "Lasting"}
    assert account_data(session.sync(), "org.test") == {"n": 1}


def test_ended_sessions_stay_ended(pool, restart):
    """POST /logout holds over a restart."""
    alice = register(pool, "alice")
    other = alice.login_again()
    ok(other.post("/logout"))
    restart()
    assert other.get("/account/whoami").status_code == 401
    assert alice.get("/account/whoami").status_code == 200


def test_receipts_and_invites_survive(pool, restart):
    """An invite that waits, and a receipt."""
    alice, bob = register(pool, "alice"), register(pool, "bob")
    room, waiting = room_of(alice, bob), alice.create_room()
    alice.invite(waiting, bob)
    event_id = alice.send(room)
    ok(bob.post("/rooms/{}/receipt/m.read/{}", room, event_id))
    restart()
    sync = bob.sync_when(lambda s: waiting in s.get("rooms", {}).get("invite", {}))
    assert event_id in str(joined(sync, room)["ephemeral"])
