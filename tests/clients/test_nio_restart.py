"""matrix-nio, unmodified: what was there before a restart of the server is there after it."""

import pytest
from nio import RedactedEvent, RoomMessageText
from nio_user import ok
from nio_world import open_world, scenario

pytestmark = pytest.mark.restarts


@pytest.fixture(scope="module", params=["stopped", "killed"])
def world(request, server):
    """The two users after a restart: by SIGTERM, or by SIGKILL."""
    with open_world(server) as opened:
        opened.restart_server(hard=request.param == "killed")
        yield opened


@scenario
async def test_a_new_client_on_the_old_token_finds_everything(world):
    alice, bob, room_id, ids = world.alice, world.bob, world.room_id, world.before["ids"]
    reader = await world.twin(bob)
    synced = ok(await reader.client.sync(0, {"room": {"timeline": {"limit": 30}}}))
    joined, room = synced.rooms.join[room_id], reader.room(room_id)
    bodies = [e.body for e in joined.timeline.events if isinstance(e, RoomMessageText)]
    assert bodies == ["before 0", "before 2", "before 3", "before 4"]
    redacted = [e.event_id for e in joined.timeline.events if isinstance(e, RedactedEvent)]
    assert redacted == [ids[1]]

    assert (room.name, room.topic) == ("The room", "Before all")
    assert set(room.users) == {alice.id, bob.id}
    assert room.fully_read_marker == ids[2]
    assert room.read_receipts[bob.id].event_id == ids[3]
    assert room.unread_notifications == 1
    trace = await reader.client.room_get_state_event(room_id, "org.example.trace", "key")
    assert ok(trace).content == {"kept": 1}


@scenario
async def test_an_old_sync_token_continues_where_it_was(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    sent = [await alice.say(room_id, f"after {n}") for n in range(3)]
    reader = await world.twin(bob)
    joined = ok(await reader.client.sync(0, since=world.before["bob_since"])).rooms.join[room_id]
    assert [e.event_id for e in joined.timeline.events][-3:] == sent
    old = set(world.before["ids"])
    assert not old & {e.event_id for e in joined.timeline.events}


@scenario
async def test_the_running_clients_go_on_without_repeats(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    for sender, watcher in ((alice, bob), (bob, alice)):
        await watcher.until_seen(room_id, await sender.say(room_id, "still here"))
        shown = [e.event_id for e in watcher.events(room_id)]
        assert len(shown) == len(set(shown))
        assert set(world.before["ids"]) <= set(shown)


@scenario
async def test_a_transaction_id_from_before_gives_the_same_event(world):
    alice, room_id, ids = world.alice, world.room_id, world.before["ids"]
    assert await alice.say(room_id, "before 4", tx_id="before-4") == ids[4]
    assert await alice.say(room_id, "before 0", tx_id="before-0") == ids[0]
