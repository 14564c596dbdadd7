"""matrix-nio, unmodified: accounts, devices, names, filters and lazily loaded members."""

import asyncio
import secrets

from nio import AsyncClient, RoomMemberEvent, RoomPreset
from nio_user import PASSWORD, NioUser, ok, refused
from nio_world import scenario


@scenario
async def test_login_and_logout(world):
    alice = world.alice
    phone = NioUser(world.server.base_url)
    world.people.append(phone)
    phone.client.user = alice.id
    answer = ok(await phone.client.login(PASSWORD, device_name="phone"))
    assert answer.user_id == alice.id
    assert answer.device_id != alice.client.device_id
    assert answer.access_token != alice.client.access_token

    who = ok(await phone.client.whoami())
    assert (who.user_id, who.device_id) == (alice.id, answer.device_id)
    names = {d.id: d.display_name for d in ok(await alice.client.devices()).devices}
    assert names[answer.device_id] == "phone"
    assert alice.client.device_id in names
    assert world.room_id in ok(await phone.client.sync(0)).rooms.join

    token = phone.client.access_token
    ok(await phone.client.logout())
    phone.client.access_token = token
    refused(await phone.client.whoami(), "M_UNKNOWN_TOKEN")
    remaining = {d.id for d in ok(await alice.client.devices()).devices}
    assert answer.device_id not in remaining
    assert ok(await alice.client.whoami()).user_id == alice.id


@scenario
async def test_a_wrong_password_is_refused(world):
    client = AsyncClient(world.server.base_url, world.alice.id)
    try:
        refused(await client.login("wrong"), "M_FORBIDDEN")
    finally:
        await client.close()


@scenario
async def test_a_taken_name_is_refused(world):
    client = AsyncClient(world.server.base_url)
    taken = world.alice.id.removeprefix("@").split(":")[0]
    try:
        refused(await client.register(taken, PASSWORD), "M_USER_IN_USE")
    finally:
        await client.close()


@scenario
async def test_displayname_reaches_profile_and_room(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    name = f"Alice {secrets.token_hex(3)} Ärger"
    ok(await alice.client.set_displayname(name))
    assert ok(await bob.client.get_displayname(alice.id)).displayname == name
    await bob.until(
        "alice's new name in the room",
        lambda: bob.room(room_id).users[alice.id].display_name == name,
    )


@scenario
async def test_device_names_change(world):
    alice = world.alice
    name = secrets.token_hex(4)
    ok(await alice.client.update_device(alice.client.device_id, {"display_name": name}))
    devices = ok(await alice.client.devices()).devices
    assert name in {d.display_name for d in devices if d.id == alice.client.device_id}


@scenario
async def test_aliases_lead_to_the_room(world):
    alice, bob = world.alice, world.bob
    server_name = world.alice.id.partition(":")[2]
    alias = f"#r-{secrets.token_hex(4)}:{server_name}"
    room_id = ok(await alice.client.room_create(preset=RoomPreset.public_chat)).room_id
    ok(await alice.client.room_put_alias(alias, room_id))
    assert ok(await bob.client.room_resolve_alias(alias)).room_id == room_id
    assert ok(await bob.client.join(alias)).room_id == room_id
    await bob.until("joined by alias", lambda: room_id in bob.client.rooms)
    ok(await alice.client.room_delete_alias(alias))
    refused(await bob.client.room_resolve_alias(alias), "M_NOT_FOUND")


@scenario
async def test_an_uploaded_filter_limits_sync(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    wanted = await alice.say(room_id, "wanted")
    ok(await alice.client.room_put_state(room_id, "org.example.noise", {"n": secrets.token_hex(2)}))
    uploaded = ok(await bob.client.upload_filter(
        room={"timeline": {"limit": 1, "types": ["m.room.message"]}, "state": {"types": []}}
    ))
    fresh = await world.twin(bob)
    joined = ok(await fresh.client.sync(0, uploaded.filter_id)).rooms.join[room_id]
    assert [e.event_id for e in joined.timeline.events] == [wanted]
    assert joined.state == []


@scenario
async def test_lazy_loaded_members(world):
    alice, bob = world.alice, world.bob
    crowd = [await world.newcomer(f"crowd{n}") for n in range(8)]
    room_id = await world.new_room(name="A crowd")
    for member in crowd:
        ok(await alice.client.room_invite(room_id, member.id))
        ok(await member.client.join(room_id))
    await alice.say(room_id, "who is here?")
    everybody = {alice.id, bob.id, *(member.id for member in crowd)}

    reader = await world.twin(bob)
    eager = ok(await reader.client.sync(0, _members_filter(lazy=False))).rooms.join[room_id]
    assert _members(eager) == everybody

    reader = await world.twin(bob)
    lazy = ok(await reader.client.sync(0, _members_filter(lazy=True))).rooms.join[room_id]
    # The sender, maybe bob himself, and at most five heroes.
    assert alice.id in _members(lazy)
    assert len(_members(lazy)) <= 7
    assert lazy.summary.joined_member_count == len(everybody)
    members = ok(await reader.client.joined_members(room_id)).members
    assert {m.user_id for m in members} == everybody

    quiet = next(member for member in crowd if member.id not in _members(lazy))
    await quiet.say(room_id, "me")
    more = ok(await reader.client.sync(5_000, _members_filter(lazy=True))).rooms.join[room_id]
    assert [e.body for e in more.timeline.events] == ["me"]
    assert quiet.id in _members(more)


@scenario
async def test_a_long_poll_waits_and_wakes(world):
    alice, bob, room_id = world.alice, world.bob, world.room_id
    reader = await world.twin(bob)
    ok(await reader.client.sync(0))
    loop = asyncio.get_running_loop()

    start = loop.time()
    ok(await reader.client.sync(1_000))
    assert loop.time() - start >= 0.9, "an idle long poll came back at once"

    poll = asyncio.create_task(reader.client.sync(15_000))
    await asyncio.sleep(0.5)
    assert not poll.done()
    start = loop.time()
    event_id = await alice.say(room_id, "wake up")
    woken = ok(await poll)
    assert loop.time() - start < 5, "the long poll slept on"
    shown = [e.event_id for e in woken.rooms.join[room_id].timeline.events]
    assert shown == [event_id]


def _members_filter(lazy):
    return {"room": {"state": {"lazy_load_members": lazy}, "timeline": {"limit": 1}}}


def _members(joined):
    """Whose membership a sync tells, in its state or its timeline."""
    events = [*joined.state, *joined.timeline.events]
    return {e.state_key for e in events if isinstance(e, RoomMemberEvent)}
