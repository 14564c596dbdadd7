"""matrix-nio and matrix-js-sdk in one encrypted room: what one encrypts, the other reads.

alice and bob use nio, carol the JavaScript SDK with its Rust crypto; each has a crypto library of their own.
"""

import pytest
from js_host import JsHost
from nio_device import NioDevice
from nio_user import ok, refused
from nio_world import open_world
from test_cross import Meeting

PHASES = ("fresh", pytest.param("killed", marks=pytest.mark.restarts))


class EncryptedMeeting(Meeting):
    """alice on nio and carol on js-sdk in an encrypted room, each known to the other."""

    def start_carol(self):
        started = self.host.run("carolStartsEncrypting")
        self.carol_device = started["deviceId"]
        return started["userId"]

    def know_each_other(self):
        alice = self.alice
        self.world.run(alice.until_knows(self.carol_id, self.carol_device))
        self.carol("Knows", userId=alice.id, deviceId=alice.device_id)


@pytest.fixture(scope="module", params=PHASES)
def meeting(request, server):
    """The two in one room; in `killed`, both sync on after the server was killed and started."""
    with open_world(server, NioDevice) as world, JsHost(server) as host:
        opened = EncryptedMeeting(world, host)
        opened.know_each_other()
        if request.param == "killed":
            server.restart(hard=True)
        yield opened


def test_encrypted_messages_go_both_ways(meeting):
    alice, room_id, run = meeting.alice, meeting.room_id, meeting.world.run
    for n in range(3):
        event_id = run(alice.say(room_id, f"from nio {n}, ünïcode 🦀"))
        heard = meeting.carol("Hears", eventId=event_id)
        assert heard == {"sender": alice.id, "body": f"from nio {n}, ünïcode 🦀"}
        assert run(alice.held(room_id, event_id))["type"] == "m.room.encrypted"

        event_id = meeting.carol("Says", body=f"from js-sdk {n}, ünïcode 🦀")
        heard = run(alice.until_read(room_id, event_id))
        assert (heard.sender, heard.body) == (meeting.carol_id, f"from js-sdk {n}, ünïcode 🦀")
        assert run(alice.held(room_id, event_id))["type"] == "m.room.encrypted"


def test_a_room_of_carols_is_encrypted_for_nio(meeting):
    bob, run = meeting.world.bob, meeting.world.run
    room_id = meeting.carol("Creates", invite=bob.id, name="carol's room", encrypted=True)
    run(bob.until("carol's invite", lambda: room_id in bob.client.invited_rooms))
    run(bob.join(room_id))
    run(bob.until("it is encrypted", lambda: bob.room(room_id).encrypted))
    run(bob.until_knows(meeting.carol_id, meeting.carol_device))
    meeting.carol("Knows", userId=bob.id, deviceId=bob.device_id)
    event_id = meeting.carol("Says", roomId=room_id, body="for bob")
    assert run(bob.until_read(room_id, event_id)).body == "for bob"
    event_id = run(bob.say(room_id, "for carol"))
    heard = meeting.carol("Hears", roomId=room_id, eventId=event_id)
    assert heard == {"sender": bob.id, "body": "for carol"}


def test_a_removed_device_of_nio_gets_no_keys_of_js(meeting):
    alice, room_id, run = meeting.alice, meeting.room_id, meeting.world.run
    phone = run(NioDevice.log_in(meeting.world.server.base_url, alice))
    meeting.world.people.append(phone)
    run(_starts(phone, room_id))
    meeting.carol("Knows", userId=alice.id, deviceId=phone.device_id)
    heard = meeting.carol("Says", body="for all devices")
    run(phone.until_read(room_id, heard))
    run(phone.stop_syncing())

    run(alice.remove(phone.device_id))
    refused(run(phone.client.sync(0)), "M_UNKNOWN_TOKEN")
    meeting.carol("Forgets", userId=alice.id, deviceId=phone.device_id)
    already = meeting.carol("SentKeys")["count"]
    unheard = meeting.carol("Says", body="not for the phone")
    run(alice.until_read(room_id, unheard))
    assert meeting.carol("SentKeys", **{"from": already})["to"] == [f"{alice.id} {alice.device_id}"]
    assert run(phone.can_read(alice, room_id, heard))
    assert not run(phone.can_read(alice, room_id, unheard))


async def _starts(phone, room_id):
    phone.start()
    await phone.until("the room", lambda: room_id in phone.client.rooms)
    await phone.until_published()


def test_redaction_of_an_encrypted_message(meeting):
    alice, room_id, run = meeting.alice, meeting.room_id, meeting.world.run
    event_id = run(alice.say(room_id, "a slip"))
    meeting.carol("Hears", eventId=event_id)
    ok(run(alice.client.room_redact(room_id, event_id)))
    meeting.carol("SeesRedacted", eventId=event_id)
