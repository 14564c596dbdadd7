"""matrix-nio with end-to-end encryption: two users in an encrypted room, before and after a kill."""

import pytest
from nio import RoomMessageText
from nio_device import NioDevice
from nio_user import ok, refused
from nio_world import open_world, scenario

PHASES = ("fresh", pytest.param("killed", marks=pytest.mark.restarts))


@pytest.fixture(scope="module", params=PHASES)
def world(request, server):
    """alice and bob, each with a device that the other knows, in an encrypted room."""
    with open_world(server, NioDevice) as opened:
        opened.run(_know_each_other(opened.alice, opened.bob))
        if request.param == "killed":
            opened.restart_server(hard=True)
        yield opened


async def _know_each_other(alice, bob):
    await alice.until_knows(bob.id, bob.device_id)
    await bob.until_knows(alice.id, alice.device_id)


@scenario
async def test_encrypted_messages_go_both_ways(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    for sender, reader in ((alice, bob), (bob, alice)):
        event_id = await sender.say(room_id, "a secret, ünïcode 🦀")
        event = await reader.until_read(room_id, event_id)
        assert isinstance(event, RoomMessageText)
        assert (event.sender, event.body) == (sender.id, "a secret, ünïcode 🦀")
        held = await reader.held(room_id, event_id)
        assert held["type"] == "m.room.encrypted"
        assert "secret" not in str(held)


@scenario
async def test_each_session_comes_before_its_message(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    for n in range(10):
        alice.client.invalidate_outbound_session(room_id)
        event_id = await alice.say(room_id, f"session {n}")
        assert (await bob.until_read(room_id, event_id)).body == f"session {n}"


@scenario
async def test_devices_are_verified_by_emoji(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    theirs = await alice.until_knows(bob.id, bob.device_id)
    ok(await alice.client.start_key_verification(theirs))
    [transaction] = alice.client.key_verifications
    await bob.until("the start", lambda: transaction in bob.client.key_verifications)
    ok(await bob.client.accept_key_verification(transaction))
    pair = (alice, bob)
    sas = [user.client.key_verifications[transaction] for user in pair]
    for user, verification in zip(pair, sas):
        await user.until("the other's key", lambda it=verification: it.established_sas)
    assert sas[0].get_emoji() == sas[1].get_emoji()
    assert len(sas[0].get_emoji()) == 7
    for user in pair:
        ok(await user.client.confirm_short_auth_string(transaction))
    for user, other, verification in zip(pair, (bob, alice), sas):
        await user.until("the other's mac", lambda it=verification: it.verified)
        await user.until(
            "the device is verified",
            lambda me=user, them=other: me.device(them.id, them.device_id).verified,
        )
    # Every device in the room is verified: none is to be ignored.
    event_id = await alice.say(room_id, "to verified devices", strict=True)
    assert (await bob.until_read(room_id, event_id)).verified


@scenario
async def test_a_removed_device_gets_no_keys(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    phone = await NioDevice.log_in(world.server.base_url, alice)
    world.people.append(phone)
    phone.start()
    await phone.until("the room", lambda: room_id in phone.client.rooms)
    await phone.until_published()
    await bob.until_knows(alice.id, phone.device_id)
    heard = await bob.say(room_id, "for all devices")
    await phone.until_read(room_id, heard)

    await phone.stop_syncing()
    await alice.remove(phone.device_id)
    refused(await phone.client.sync(0), "M_UNKNOWN_TOKEN")
    await bob.until_forgets(alice.id, phone.device_id)

    unheard = await bob.say(room_id, "not for the phone")
    await alice.until_read(room_id, unheard)
    assert await phone.can_read(alice, room_id, heard)
    assert not await phone.can_read(alice, room_id, unheard)
