"""Client-server API: "Forming relationships between events", "Event replacements", "Threading"."""

import pytest

from client import V1, event_ids, fails, find, ok, room_of, timeline

RELATIONS = "/rooms/{}/relations/{}"


@pytest.fixture
def room(alice, bob):
    return room_of(alice, bob)


def reply(user, room, root, body="reply"):
    """A message in the thread of `root`."""
    relation = {"rel_type": "m.thread", "event_id": root}
    return user.send(room, {"msgtype": "m.text", "body": body, "m.relates_to": relation})


def react(user, room, target, key="👍"):
    relation = {"rel_type": "m.annotation", "event_id": target, "key": key}
    return user.send(room, {"m.relates_to": relation}, "m.reaction")


def edit(user, room, target, body):
    new = {"msgtype": "m.text", "body": body}
    relation = {"rel_type": "m.replace", "event_id": target}
    return user.send(
        room, {**new, "body": "* " + body, "m.new_content": new, "m.relates_to": relation}
    )


def related(user, room, target, path="", **params):
    response = user.get(RELATIONS + path, room, target, params=params, prefix=V1)
    return ok(response)


def test_all_relations(alice, bob, room):
    """GET /v1/rooms/{roomId}/relations/{eventId}: children, newest first."""
    root = alice.send(room, "root")
    children = [reply(bob, room, root), react(bob, room, root), reply(alice, room, root)]
    alice.send(room, "unrelated")
    assert event_ids(related(alice, room, root)["chunk"]) == children[::-1]


def test_relations_forwards(alice, bob, room):
    """GET .../relations `dir=f`: oldest first."""
    root = alice.send(room, "root")
    children = [reply(bob, room, root, str(n)) for n in range(3)]
    assert event_ids(related(alice, room, root, dir="f")["chunk"]) == children


def test_relations_by_type(alice, bob, room):
    """GET .../relations/{eventId}/{relType} and /{eventType}: only those."""
    root = alice.send(room, "root")
    thread, reaction = reply(bob, room, root), react(bob, room, root)
    assert event_ids(related(alice, room, root, "/m.thread")["chunk"]) == [thread]
    assert event_ids(related(alice, room, root, "/m.annotation/m.reaction")["chunk"]) == [reaction]
    assert related(alice, room, root, "/m.annotation/m.room.message")["chunk"] == []


def test_relations_in_pages(alice, bob, room):
    """GET .../relations: `limit`, `next_batch` and `from`."""
    root = alice.send(room, "root")
    children = [reply(bob, room, root, str(n)) for n in range(5)]
    first = related(alice, room, root, limit=3)
    second = related(alice, room, root, limit=3, **{"from": first["next_batch"]})
    assert event_ids(first["chunk"] + second["chunk"]) == children[::-1]


def test_redacted_child_is_no_relation(alice, bob, room):
    """Section "Redactions": a redacted event has lost its relation."""
    root = alice.send(room, "root")
    bob.redact(room, react(bob, room, root))
    assert related(alice, room, root)["chunk"] == []


def test_relations_for_an_outsider(alice, carol, room):
    """GET .../relations: not for a user who cannot see the room."""
    response = carol.get(RELATIONS, room, alice.send(room), prefix=V1)
    fails(response, {403, 404}, {"M_FORBIDDEN", "M_NOT_FOUND"})


def test_same_reaction_twice(alice, bob, room):
    """Section "Event annotations": 400 M_DUPLICATE_ANNOTATION for a user's second of the same key."""
    root = alice.send(room, "root")
    react(bob, room, root)
    relation = {"rel_type": "m.annotation", "event_id": root, "key": "👍"}
    response = bob.try_send(room, {"m.relates_to": relation}, "m.reaction")
    fails(response, 400, "M_DUPLICATE_ANNOTATION")
    react(bob, room, root, "🎉")
    react(alice, room, root)


def aggregation(user, room, event_id, kind):
    unsigned = user.event(room, event_id).get("unsigned", {})
    return unsigned.get("m.relations", {}).get(kind)


def test_edit_is_aggregated(alice, bob, room):
    """Section "Event replacements", aggregation: `m.relations` of the original has the newest edit."""
    original = alice.send(room, "frist")
    edit(alice, room, original, "first?")
    newest = edit(alice, room, original, "first")
    assert aggregation(bob, room, original, "m.replace")["event_id"] == newest
    assert bob.event(room, original)["content"]["body"] == "frist"


def test_edit_of_somebody_elses_message(alice, bob, room):
    """Section "Validity of replacement events": original and replacement have the same sender."""
    original = alice.send(room, "mine")
    edit(bob, room, original, "yours")
    assert aggregation(alice, room, original, "m.replace") is None


def test_thread_is_aggregated(alice, bob, room):
    """Section "Threading", aggregation: the root has latest_event, count, current_user_participated."""
    root = alice.send(room, "root")
    reply(bob, room, root, "one")
    latest = reply(bob, room, root, "two")
    for user, participated in ((alice, True), (bob, True)):
        thread = aggregation(user, room, root, "m.thread")
        assert thread["latest_event"]["event_id"] == latest
        assert thread["count"] == 2
        assert thread["current_user_participated"] is participated


def test_thread_without_participation(alice, bob, carol):
    """Section "Threading": current_user_participated is false for one who wrote nothing in it."""
    room = room_of(alice, bob, carol)
    root = alice.send(room, "root")
    reply(bob, room, root)
    assert aggregation(carol, room, root, "m.thread")["current_user_participated"] is False


def test_aggregations_in_messages_and_sync(alice, bob, room):
    """Section "Aggregations of child events": in /messages, and in limited timelines of /sync."""
    root = alice.send(room, "root")
    last = reply(bob, room, root)
    page = bob.messages(room)["chunk"]
    shown = next(event for event in page if event["event_id"] == root)
    assert shown["unsigned"]["m.relations"]["m.thread"]["count"] == 1
    limited = {"room": {"timeline": {"limit": 2}}}
    _, part = alice.sync_with(room, last, filter=limited)
    shown = next(event for event in timeline(part) if event["event_id"] == root)
    assert shown["unsigned"]["m.relations"]["m.thread"]["count"] == 1


def test_threads_list(alice, bob, room):
    """GET /v1/rooms/{roomId}/threads: roots, the one with the latest reply first."""
    first, second = alice.send(room, "1"), alice.send(room, "2")
    for root in (second, first):
        reply(bob, room, root)
    answer = ok(alice.get("/rooms/{}/threads", room, prefix=V1))
    assert event_ids(answer["chunk"]) == [first, second]


def test_threads_that_one_took_part_in(alice, bob, room):
    """GET /v1/rooms/{roomId}/threads `include=participated`."""
    mine, other = bob.send(room, "1"), alice.send(room, "2")
    for root in (mine, other):
        reply(alice, room, root)
    answer = ok(bob.get("/rooms/{}/threads", room, params={"include": "participated"}, prefix=V1))
    assert event_ids(answer["chunk"]) == [mine]


def test_reference_is_a_relation(alice, room):
    """Section "Reference relations": m.reference."""
    target = alice.send(room, "target")
    relation = {"rel_type": "m.reference", "event_id": target}
    child = alice.send(room, {"n": 1, "m.relates_to": relation}, "org.test.child")
    assert event_ids(related(alice, room, target, "/m.reference")["chunk"]) == [child]
    assert find(related(alice, room, target)["chunk"], "org.test.child")
