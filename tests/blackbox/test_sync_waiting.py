"""Client-server API: "Syncing" (GET /sync): long polls, what ends them and when."""

import threading
import time

from client import account_data, bodies, has_joined, invited, joined, ok, room_of, timeline


def later(seconds, action):
    """Runs `action` on a thread after a while."""
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


def test_timeout_returns_empty(alice):
    """GET /sync `timeout`: waits that long, then answers without news."""
    since = alice.sync()["next_batch"]
    for _ in range(5):  # the account's own first changes may still arrive
        since = alice.sync(since)["next_batch"]
    begin = time.monotonic()
    sync = alice.sync(since, timeout=1500)
    assert 1.0 < time.monotonic() - begin < 15
    assert not sync.get("rooms", {}).get("join")
    assert sync["next_batch"]


def test_timeout_zero_returns_at_once(alice):
    """GET /sync `timeout`: 0, the default, means not to wait."""
    since = alice.sync()["next_batch"]
    begin = time.monotonic()
    alice.sync(since)
    ok(alice.get("/sync", params={"since": since}))
    assert time.monotonic() - begin < 10


def test_initial_sync_never_waits(alice):
    """GET /sync `timeout`: without `since` the answer comes at once."""
    begin = time.monotonic()
    alice.sync(timeout=30_000)
    assert time.monotonic() - begin < 10


def long_poll(user, since, check):
    """Follows long polls until one satisfies `check`; that answer and the seconds it took."""
    begin = time.monotonic()
    while time.monotonic() - begin < 25:
        sync = user.sync(since, timeout=20_000)
        if check(sync):
            return sync, time.monotonic() - begin
        since = sync["next_batch"]
    raise AssertionError("no long poll had it")


def test_message_wakes_a_long_poll(alice, bob):
    """GET /sync `timeout`: returns as soon as there is an event."""
    room = room_of(alice, bob)
    since = bob.token_after(room, alice.send(room))
    later(0.7, lambda: alice.send(room, "wake up"))

    def woken(sync):
        return "wake up" in bodies(timeline(joined(sync, room)))

    _, seconds = long_poll(bob, since, woken)
    assert seconds < 12


def test_invite_wakes_a_long_poll(alice, bob):
    """GET /sync: an invite into a room that the token knows nothing of."""
    room = alice.create_room()
    since = bob.sync()["next_batch"]
    later(0.7, lambda: alice.invite(room, bob))
    _, seconds = long_poll(bob, since, lambda sync: invited(sync, room))
    assert seconds < 12


def test_own_join_wakes_another_session(alice, bob):
    """GET /sync: a join on one device reaches the others."""
    room = alice.create_room(preset="public_chat")
    since = bob.sync()["next_batch"]
    later(0.7, lambda: bob.join(room))
    _, seconds = long_poll(bob.login_again(), since, has_joined(room))
    assert seconds < 12


def test_account_data_wakes_a_long_poll(alice):
    """GET /sync: account data counts as news."""
    since = alice.sync()["next_batch"]
    later(0.7, lambda: alice.put("/user/{}/account_data/org.test", alice.user_id, json={"n": 1}))
    _, seconds = long_poll(alice, since, lambda sync: account_data(sync, "org.test"))
    assert seconds < 12
