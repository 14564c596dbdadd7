"""matrix-nio and matrix-js-sdk in one room: what one does, the other understands.

alice and bob use nio (`nio_world`), carol uses the JavaScript SDK
(`js/scenarios/cross.mjs`).
"""

import asyncio

import pytest
from js_host import JsHost
from nio import RedactionEvent, RoomPreset
from nio_user import ok
from nio_world import open_world

PHASES = ("fresh", pytest.param("restarted", marks=pytest.mark.restarts))


class Meeting:
    """alice on nio and carol on js-sdk, joined to a room of alice's."""

    def __init__(self, world, host):
        self.world = world
        self.alice = world.alice
        self.host = host
        self.carol_id = self.start_carol()
        self.room_id = world.run(self._invite())
        self.invite = host.run("carolJoins", roomId=self.room_id)
        world.run(self.alice.until("carol's join", lambda: self.carol_id in self._joined()))

    def start_carol(self):
        """Has carol begin; her user id."""
        return self.host.run("carolStarts")

    def carol(self, step, **args):
        """One step of carol's in the room; nio syncs on meanwhile."""
        return self.world.run(self.carol_async(step, **args))

    async def carol_async(self, step, **args):
        return await asyncio.to_thread(
            self.host.run, f"carol{step}", **{"roomId": self.room_id, **args}
        )

    async def _invite(self):
        created = await self.alice.client.room_create(
            name="Both kinds",
            preset=RoomPreset.private_chat,
            invite=[self.carol_id],
            initial_state=self.alice.room_state,
        )
        room_id = ok(created).room_id
        await self.alice.until("the room", lambda: room_id in self.alice.client.rooms)
        return room_id

    def _joined(self):
        users = self.alice.room(self.room_id).users.values()
        return {user.user_id for user in users if not user.invited}


@pytest.fixture(scope="module", params=PHASES)
def meeting(request, server):
    """The two in one room; in `restarted`, both sync on through a restart."""
    with open_world(server) as world, JsHost(server) as host:
        opened = Meeting(world, host)
        if request.param == "restarted":
            server.restart()
        yield opened


def test_the_invite_was_understood(meeting):
    assert meeting.invite == {"name": "Both kinds", "inviter": meeting.alice.id}


def test_messages_go_both_ways(meeting):
    alice, room_id, run = meeting.alice, meeting.room_id, meeting.world.run
    event_id = run(alice.say(room_id, "from nio, ünïcode 🦀"))
    heard = meeting.carol("Hears", eventId=event_id)
    assert heard == {"sender": alice.id, "body": "from nio, ünïcode 🦀"}

    event_id = meeting.carol("Says", body="from js-sdk, ünïcode 🦀")
    heard = run(alice.until_seen(room_id, event_id))
    assert (heard.sender, heard.body) == (meeting.carol_id, "from js-sdk, ünïcode 🦀")


def test_receipts_go_both_ways(meeting):
    alice, room_id, run = meeting.alice, meeting.room_id, meeting.world.run
    event_id = run(alice.say(room_id, "read me"))
    meeting.carol("Reads", eventId=event_id)

    def read_by_carol():
        room = alice.room(room_id)
        threads = room.threaded_read_receipts.get(meeting.carol_id, {})
        receipts = [*threads.values(), room.read_receipts.get(meeting.carol_id)]
        return event_id in {receipt.event_id for receipt in receipts if receipt}

    run(alice.until("carol's receipt", read_by_carol))

    event_id = meeting.carol("Says", body="and me")
    run(alice.until_seen(room_id, event_id))
    ok(run(alice.client.update_receipt_marker(room_id, event_id)))
    meeting.carol("SeesRead", reader=alice.id, eventId=event_id)


def test_typing_goes_both_ways(meeting):
    alice, room_id, run = meeting.alice, meeting.room_id, meeting.world.run
    for typing in (True, False):
        ok(run(alice.client.room_typing(room_id, typing, 20_000)))
        meeting.carol("SeesTyping", who=alice.id, typing=typing)
    for typing, expected in ((True, [meeting.carol_id]), (False, [])):
        meeting.carol("Types", typing=typing)
        run(alice.until(
            f"carol typing {typing}", lambda: alice.room(room_id).typing_users == expected
        ))


def test_redaction_goes_both_ways(meeting):
    alice, room_id, run = meeting.alice, meeting.room_id, meeting.world.run
    event_id = run(alice.say(room_id, "a slip"))
    meeting.carol("Hears", eventId=event_id)
    ok(run(alice.client.room_redact(room_id, event_id)))
    meeting.carol("SeesRedacted", eventId=event_id)

    event_id = meeting.carol("Says", body="another slip")
    redaction = run(alice.until_seen(room_id, meeting.carol("Redacts", eventId=event_id)))
    assert isinstance(redaction, RedactionEvent)
    assert redaction.redacts == event_id


def test_state_goes_both_ways(meeting):
    alice, room_id, run = meeting.alice, meeting.room_id, meeting.world.run
    ok(run(alice.client.room_put_state(room_id, "m.room.name", {"name": "Renamed"})))
    meeting.carol("SeesName", name="Renamed")
    levels = ok(run(alice.client.room_get_state_event(room_id, "m.room.power_levels"))).content
    levels["users"][meeting.carol_id] = 50
    ok(run(alice.client.room_put_state(room_id, "m.room.power_levels", levels)))
    meeting.carol("SetsTopic", topic="carol's")
    run(alice.until("the topic", lambda: alice.room(room_id).topic == "carol's"))


def test_both_page_back_the_same_history(meeting):
    alice, room_id, run = meeting.alice, meeting.room_id, meeting.world.run
    for n in range(12):
        run(alice.say(room_id, f"nio {n}"))
        last = meeting.carol("Says", body=f"js {n}")
    run(alice.until_seen(room_id, last))
    meeting.carol("Hears", eventId=last)
    shown = meeting.carol("PagesBack")
    assert run(_whole_history(alice, room_id)) == shown
    assert len(shown) == len(set(shown)) > 24


def test_invites_and_leaves_the_other_way(meeting):
    bob, run = meeting.world.bob, meeting.world.run
    room_id = meeting.carol("Creates", invite=bob.id, name="carol's room")
    run(bob.until("carol's invite", lambda: room_id in bob.client.invited_rooms))
    invite = bob.client.invited_rooms[room_id]
    assert (invite.inviter, invite.name) == (meeting.carol_id, "carol's room")
    run(bob.join(room_id))
    meeting.carol("Leaves", roomId=room_id)
    run(bob.until("carol's leave", lambda: meeting.carol_id not in bob.room(room_id).users))


async def _whole_history(user, room_id):
    """All event ids of the room, oldest first, as `/messages` tells them."""
    found, token = [], ""
    for _ in range(40):
        page = ok(await user.client.room_messages(room_id, token, limit=5))
        found.extend(event.event_id for event in page.chunk)
        if page.end is None:
            return found[::-1]
        token = page.end
    raise AssertionError("40 pages and no end")
