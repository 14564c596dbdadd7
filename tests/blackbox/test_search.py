"""Client-server API: "Server Side Search" (POST /search)."""

import pytest

from client import eventually, ok, room_of, unique

pytestmark = pytest.mark.hanse_lacks("search")


def search(user, term, **criteria):
    body = {"search_categories": {"room_events": {"search_term": term, **criteria}}}
    return ok(user.post("/search", json=body))["search_categories"]["room_events"]


def hits(user, term, **criteria):
    return [r["result"]["event_id"] for r in search(user, term, **criteria).get("results", [])]


def word():
    return unique("w").replace("-", "")


def test_find_a_message(alice, bob):
    """POST /search: by a word of the body, for every member."""
    room, term = room_of(alice, bob), word()
    event_id = alice.send(room, f"some {term} here")
    eventually(lambda: hits(bob, term) == [event_id])
    assert search(bob, term)["count"] == 1


def test_no_hit_in_rooms_of_others(alice, bob):
    """POST /search: only rooms that the user has been in."""
    term = word()
    event_id = alice.send(alice.create_room(), f"hidden {term}")
    eventually(lambda: hits(alice, term) == [event_id])
    assert hits(bob, term) == []


def test_filter_by_room(alice):
    """POST /search `filter`: a RoomEventFilter."""
    term = word()
    here, there = alice.create_room(), alice.create_room()
    event_id = alice.send(here, term)
    alice.send(there, term)
    eventually(lambda: len(hits(alice, term)) == 2)
    assert hits(alice, term, filter={"rooms": [here]}) == [event_id]


def test_search_in_names(alice):
    """POST /search `keys`: also content.name and content.topic."""
    term = word()
    room = alice.create_room(name=f"The {term} room")
    alice.send(room, "unrelated")
    eventually(lambda: len(hits(alice, term, keys=["content.name"])) == 1)


def test_needs_a_term(alice):
    """POST /search: `search_categories` is required."""
    assert alice.post("/search", json={}).status_code == 400
