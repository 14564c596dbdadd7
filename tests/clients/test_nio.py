"""matrix-nio, unmodified: two users chat in one room, before and after a restart."""

import secrets

from nio import (
    MessageDirection,
    ReceiptType,
    RedactedEvent,
    RedactionEvent,
    RoomMemberEvent,
    RoomMessageText,
)
from nio_user import ok, refused
from nio_world import scenario


@scenario
async def test_messages_go_both_ways(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    first = await alice.say(room_id, "hello Bob, grüß Gott 🦀")
    heard = await bob.until_seen(room_id, first)
    assert isinstance(heard, RoomMessageText)
    assert (heard.sender, heard.body) == (alice.id, "hello Bob, grüß Gott 🦀")

    answer = await bob.say(room_id, "hello Alice")
    heard = await alice.until_seen(room_id, answer)
    assert (heard.sender, heard.body) == (bob.id, "hello Alice")

    await bob.until_seen(room_id, answer)
    order = [e.event_id for e in bob.events(room_id) if e.event_id in (first, answer)]
    assert order == [first, answer]


@scenario
async def test_only_the_sender_sees_its_transaction_id(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    tx_id = secrets.token_hex(8)
    event_id = await alice.say(room_id, "mine", tx_id=tx_id)
    assert (await alice.until_seen(room_id, event_id)).transaction_id == tx_id
    assert (await bob.until_seen(room_id, event_id)).transaction_id is None


@scenario
async def test_a_repeated_transaction_id_sends_once(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    tx_id = secrets.token_hex(8)
    event_id = await alice.say(room_id, "once", tx_id=tx_id)
    assert await alice.say(room_id, "once", tx_id=tx_id) == event_id
    await bob.until_seen(room_id, await alice.say(room_id, "after once"))
    assert [e.body for e in bob.events(room_id)[-2:]] == ["once", "after once"]


@scenario
async def test_an_invite_is_shown_and_accepted(world):
    alice, bob = world.alice, world.bob
    room_id = ok(await alice.client.room_create(name="Come in", invite=[bob.id])).room_id
    await bob.until("the invite", lambda: room_id in bob.client.invited_rooms)
    invite = bob.client.invited_rooms[room_id]
    assert (invite.inviter, invite.name) == (alice.id, "Come in")

    await bob.join(room_id)
    assert room_id not in bob.client.invited_rooms
    assert room_id in ok(await bob.client.joined_rooms()).rooms
    joined = await alice.until("bob's join", lambda: _membership(alice, room_id, bob.id, "join"))
    assert joined.prev_membership == "invite"
    members = ok(await alice.client.joined_members(room_id)).members
    assert {m.user_id for m in members} == {alice.id, bob.id}


@scenario
async def test_an_invite_is_rejected(world):
    alice, bob = world.alice, world.bob
    room_id = ok(await alice.client.room_create(invite=[bob.id])).room_id
    await bob.until("the invite", lambda: room_id in bob.client.invited_rooms)
    ok(await bob.client.room_leave(room_id))
    await bob.until("the room under leave", lambda: room_id in bob.left)
    await alice.until("bob's leave", lambda: _membership(alice, room_id, bob.id, "leave"))
    refused(await bob.client.join(room_id), "M_FORBIDDEN")


@scenario
async def test_kick_ban_unban_and_forget(world):
    alice, bob = world.alice, world.bob
    room_id = await world.new_room()
    refused(await bob.client.room_kick(room_id, alice.id), "M_FORBIDDEN")

    ok(await alice.client.room_kick(room_id, bob.id, "out"))
    await bob.until("kicked", lambda: room_id in bob.left)
    kick = await alice.until("the kick", lambda: _membership(alice, room_id, bob.id, "leave"))
    assert (kick.sender, kick.content["reason"]) == (alice.id, "out")
    refused(await bob.client.room_send(room_id, "m.room.message", {}), "M_FORBIDDEN")

    ok(await alice.client.room_ban(room_id, bob.id))
    # The specification says M_FORBIDDEN; Synapse says M_BAD_STATE, with the same 403.
    banned = await bob.client.join(room_id)
    refused(banned, "M_FORBIDDEN", "M_BAD_STATE")
    assert banned.transport_response.status == 403
    ok(await alice.client.room_unban(room_id, bob.id))
    ok(await bob.client.room_forget(room_id))
    ok(await alice.client.room_invite(room_id, bob.id))
    await bob.until("invited again", lambda: room_id in bob.client.invited_rooms)


@scenario
async def test_receipts_reach_the_other_user(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    event_id = await alice.say(room_id, "read me")
    await bob.until_seen(room_id, event_id)

    # nio cannot leave the thread out here (None is sent as null): room_read_markers
    # sends the unthreaded receipt.
    ok(await bob.client.room_read_markers(room_id, event_id, event_id))
    await alice.until(
        "bob's unthreaded receipt",
        lambda: _receipt(alice.room(room_id).read_receipts, bob.id) == event_id,
    )
    ok(await bob.client.update_receipt_marker(room_id, event_id, ReceiptType.read))
    await alice.until(
        "bob's receipt in the main timeline",
        lambda: _main_receipt(alice, room_id, bob) == event_id,
    )


@scenario
async def test_private_receipts_stay_private(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    secret = await alice.say(room_id, "read me in private")
    await bob.until_seen(room_id, secret)
    ok(await bob.client.update_receipt_marker(room_id, secret, ReceiptType.read_private))
    await bob.until(
        "bob's own private receipt", lambda: _main_receipt(bob, room_id, bob) == secret
    )
    await alice.until_seen(room_id, await bob.say(room_id, "done"))
    assert _main_receipt(alice, room_id, bob) != secret


@scenario
async def test_typing_starts_and_stops(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    for typist, watcher in ((alice, bob), (bob, alice)):
        ok(await typist.client.room_typing(room_id, True, 20_000))
        await watcher.until(
            "typing", lambda: watcher.room(room_id).typing_users == [typist.id]
        )
        ok(await typist.client.room_typing(room_id, False))
        await watcher.until("typing stopped", lambda: watcher.room(room_id).typing_users == [])


@scenario
async def test_read_markers(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    full = await alice.say(room_id, "fully read")
    read = await alice.say(room_id, "read")
    await bob.until_seen(room_id, read)
    ok(await bob.client.room_read_markers(room_id, full, read))
    await bob.until(
        "the fully read marker", lambda: bob.room(room_id).fully_read_marker == full
    )
    await alice.until(
        "bob's receipt", lambda: _receipt(alice.room(room_id).read_receipts, bob.id) == read
    )
    assert alice.room(room_id).fully_read_marker != full


@scenario
async def test_unread_counts_and_highlights(world):
    alice, bob = world.alice, world.bob
    room_id = await world.new_room()

    def counts():
        room = bob.room(room_id)
        return room.unread_notifications, room.unread_highlights

    start = await alice.say(room_id, "start")
    await bob.until_seen(room_id, start)
    ok(await bob.client.room_read_markers(room_id, start, start))
    await bob.until("nothing unread", lambda: counts() == (0, 0))

    for body in ("one", "two"):
        await alice.say(room_id, body)
    await bob.until("two unread", lambda: counts() == (2, 0))
    mention = {"m.mentions": {"user_ids": [bob.id]}}
    last = await alice.say(room_id, "and you", **mention)
    await bob.until("three unread, one for bob", lambda: counts() == (3, 1))

    ok(await bob.client.room_read_markers(room_id, last, last))
    await bob.until("all read", lambda: counts() == (0, 0))
    assert (alice.room(room_id).unread_notifications, alice.room(room_id).unread_highlights) == (
        0, 0,
    )


@scenario
async def test_history_is_paged_back_and_forth(world):
    alice, bob = world.alice, world.bob
    room_id = await world.new_room()
    sent = [await alice.say(room_id, f"line {n}") for n in range(45)]
    reader = await world.twin(bob)
    page = {"room": {"timeline": {"limit": 5}}}
    timeline = ok(await reader.client.sync(0, page)).rooms.join[room_id].timeline
    assert timeline.limited
    assert [e.event_id for e in timeline.events] == sent[-5:]

    pages = await _page_back(reader.client, room_id, timeline.prev_batch, limit=7)
    older = [e for chunk, _ in pages for e in chunk]
    assert all(len(chunk) <= 7 for chunk, _ in pages)
    messages = [e.event_id for e in older if isinstance(e, RoomMessageText)]
    assert messages == sent[-6::-1]
    assert older[-1].source["type"] == "m.room.create"
    assert len({e.event_id for e in older}) == len(older)

    token = pages[1][1]
    forth = ok(await reader.client.room_messages(
        room_id, token, direction=MessageDirection.front, limit=14
    ))
    assert [e.event_id for e in forth.chunk] == sent[-19:-5]


@scenario
async def test_a_burst_comes_in_order_and_its_gap_can_be_filled(world):
    alice, bob = world.alice, world.bob
    room_id = await world.new_room()
    reader = await world.twin(bob)
    since = ok(await reader.client.sync(0)).next_batch
    sent = [await alice.say(room_id, f"burst {n}") for n in range(12)]

    whole = {"room": {"timeline": {"limit": 50}}}
    timeline = ok(await reader.client.sync(0, whole, since)).rooms.join[room_id].timeline
    assert not timeline.limited
    assert [e.event_id for e in timeline.events] == sent

    short = {"room": {"timeline": {"limit": 4}}}
    timeline = ok(await reader.client.sync(0, short, since)).rooms.join[room_id].timeline
    assert timeline.limited
    assert [e.event_id for e in timeline.events] == sent[-4:]
    gap = ok(await reader.client.room_messages(room_id, timeline.prev_batch, since, limit=50))
    assert [e.event_id for e in gap.chunk] == sent[-5::-1]


@scenario
async def test_context_and_single_events(world):
    alice, bob = world.alice, world.bob
    room_id = await world.new_room()
    sent = [await alice.say(room_id, f"line {n}") for n in range(9)]
    around = ok(await bob.client.room_context(room_id, sent[4], limit=4))
    assert around.event.event_id == sent[4]
    assert [e.event_id for e in around.events_before] == [sent[3], sent[2]]
    assert [e.event_id for e in around.events_after] == [sent[5], sent[6]]

    single = ok(await bob.client.room_get_event(room_id, sent[0])).event
    assert (single.body, single.sender) == ("line 0", alice.id)
    missing = await bob.client.room_get_event(room_id, "$" + "A" * 43)
    refused(missing, "M_NOT_FOUND")


@scenario
async def test_state_is_set_read_and_guarded(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    topic = secrets.token_hex(4)
    put = ok(await alice.client.room_put_state(room_id, "m.room.topic", {"topic": topic}))
    await bob.until_seen(room_id, put.event_id)
    await bob.until("the topic", lambda: bob.room(room_id).topic == topic)

    custom = {"colour": "green", "depth": 3, "nested": {"list": [1, "two", None]}}
    ok(await alice.client.room_put_state(room_id, "org.example.sign", custom, "a/key"))
    got = ok(await bob.client.room_get_state_event(room_id, "org.example.sign", "a/key"))
    assert got.content == custom
    everything = ok(await bob.client.room_get_state(room_id)).events
    keys = [(e["type"], e["state_key"]) for e in everything]
    assert len(set(keys)) == len(keys)
    assert {("m.room.create", ""), ("m.room.member", bob.id), ("org.example.sign", "a/key")} <= set(
        keys
    )
    missing = await bob.client.room_get_state_event(room_id, "org.example.sign", "none")
    refused(missing, "M_NOT_FOUND")
    refused(
        await bob.client.room_put_state(room_id, "m.room.topic", {"topic": "no"}), "M_FORBIDDEN"
    )


@scenario
async def test_redaction(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    event_id = await alice.say(room_id, "a slip of the tongue")
    await bob.until_seen(room_id, event_id)
    refused(await bob.client.room_redact(room_id, event_id), "M_FORBIDDEN")

    redaction_id = ok(await alice.client.room_redact(room_id, event_id, "typo")).event_id
    redaction = await bob.until_seen(room_id, redaction_id)
    assert isinstance(redaction, RedactionEvent)
    assert (redaction.redacts, redaction.reason) == (event_id, "typo")
    gone = ok(await bob.client.room_get_event(room_id, event_id)).event
    assert isinstance(gone, RedactedEvent)
    assert "body" not in gone.source["content"]
    assert (gone.redacter, gone.reason) == (alice.id, "typo")


@scenario
async def test_everything_was_shown_once(world):
    """Neither the scenarios before this one nor a restart repeat an event."""
    for user in (world.alice, world.bob):
        shown = [e.event_id for e in user.events(world.room_id)]
        assert len(shown) == len(set(shown))
        assert len(shown) > 0


async def _page_back(client, room_id, token, limit):
    """Pages (events, end token) from `token` to the room's beginning."""
    pages = []
    for _ in range(30):
        answer = ok(await client.room_messages(room_id, token, limit=limit))
        pages.append((answer.chunk, answer.end))
        if answer.end is None:
            return [page for page in pages if page[0]]
        token = answer.end
    raise AssertionError("30 pages and no end")


def _membership(user, room_id, target, membership):
    """The latest membership event of `target` if it is this one."""
    changes = [
        e for e in user.events(room_id)
        if isinstance(e, RoomMemberEvent) and e.state_key == target
    ]
    return changes[-1] if changes and changes[-1].membership == membership else None


def _main_receipt(user, room_id, reader):
    """Where `user` sees `reader` in the room's main timeline."""
    return _receipt(user.room(room_id).threaded_read_receipts.get(reader.id, {}), "main")


def _receipt(receipts, key):
    return receipts[key].event_id if key in receipts else None
