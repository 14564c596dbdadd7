"""Two matrix-nio users in one room, on one event loop that outlives single tests."""

import asyncio
import contextlib
import functools

from nio import RoomPreset
from nio_user import NioUser, ok

SCENARIO_S = 120


class World:
    """alice and bob, both syncing and both joined to `room_id`, which alice made."""

    def __init__(self, server, runner, kind=NioUser):
        self.server = server
        self.runner = runner
        self.kind = kind
        self.people = []
        self.before = {}

    def run(self, coroutine):
        """Runs a coroutine on the world's loop, with a deadline over everything."""
        async def bounded():
            async with asyncio.timeout(SCENARIO_S):
                return await coroutine

        return self.runner.run(bounded())

    async def newcomer(self, localpart):
        """One more registered user, closed with the world."""
        user = await self.kind.register(self.server.base_url, localpart)
        self.people.append(user)
        return user

    async def twin(self, user):
        """A fresh client object on `user`'s token, closed with the world."""
        twin = user.same_session()
        self.people.append(twin)
        return twin

    async def new_room(self, **options):
        """A private room by alice that bob has joined, both seen by sync."""
        created = ok(await self.alice.client.room_create(
            preset=RoomPreset.private_chat,
            invite=[self.bob.id],
            initial_state=self.kind.room_state,
            **options,
        ))
        room_id = created.room_id
        await self.bob.until("the invite", lambda: room_id in self.bob.client.invited_rooms)
        await self.bob.join(room_id)
        await self.alice.until(
            "bob is joined",
            lambda: room_id in self.alice.client.rooms
            and self.bob.id in self.alice.room(room_id).users
            and not self.alice.room(room_id).users[self.bob.id].invited,
        )
        return room_id

    async def open(self):
        self.alice = (await self.newcomer("alice")).start()
        self.bob = (await self.newcomer("bob")).start()
        self.room_id = await self.new_room(name="The room", topic="Before all")

    def restart_server(self, hard=False):
        """Leaves traces in the room, restarts (or kills) the server, keeps all clients."""
        self.run(self._leave_traces())
        self.server.restart(hard=hard)

    async def _leave_traces(self):
        alice, bob, room_id = self.alice, self.bob, self.room_id
        ids = [await alice.say(room_id, f"before {n}", tx_id=f"before-{n}") for n in range(5)]
        await bob.until_seen(room_id, ids[-1])
        ok(await alice.client.room_redact(room_id, ids[1], "gone before the restart"))
        ok(await bob.client.room_read_markers(room_id, ids[2], ids[3]))
        ok(await alice.client.room_put_state(room_id, "org.example.trace", {"kept": 1}, "key"))
        await bob.until("one unread", lambda: bob.room(room_id).unread_notifications == 1)
        self.before = {"ids": ids, "bob_since": bob.client.next_batch}

    async def close(self):
        await asyncio.gather(*(user.close() for user in self.people))


@contextlib.contextmanager
def open_world(server, kind=NioUser):
    """A `World` with alice, bob and their room; ends its clients with itself."""
    with asyncio.Runner() as runner:
        world = World(server, runner, kind)
        try:
            world.run(world.open())
            yield world
        finally:
            runner.run(world.close())


def scenario(function):
    """Makes a test of `async def test(world)`, run on the world's loop."""
    @functools.wraps(function)
    def test(world):
        world.run(function(world))

    return test
