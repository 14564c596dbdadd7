"""One user on an unmodified matrix-nio client that syncs in the background."""

import asyncio
import contextlib
import secrets

from nio import AsyncClient, AsyncClientConfig, ErrorResponse, SyncResponse

WAIT_S = 20
POLL_MS = 10_000
PASSWORD = "correct horse battery staple"
LIVE_FILTER = {"room": {"timeline": {"limit": 50}}}
# Retries after a restart come within a second instead of nio's minute.
RETRIES = {"max_timeout_retry_wait_time": 1, "request_timeout": WAIT_S}


def ok(response):
    """Passes a successful answer on; fails with the server's words otherwise."""
    assert not isinstance(response, ErrorResponse), f"refused: {response}"
    return response


def refused(response, *errcodes):
    """Fails unless the server refused with one of these `errcodes`."""
    assert isinstance(response, ErrorResponse), f"expected {errcodes}, got {response}"
    assert response.status_code in errcodes, f"expected {errcodes}, got {response}"


def text(body, **more):
    """The content of a plain text message."""
    return {"msgtype": "m.text", "body": body, **more}


class NioUser:
    """A client, the events it was shown per room, and bounded waits for more."""

    # What a room of theirs begins with.
    room_state = ()
    config = AsyncClientConfig(encryption_enabled=False, **RETRIES)

    def __init__(self, base_url):
        self.base_url = base_url
        self.client = AsyncClient(base_url, config=self.config)
        self.timelines = {}
        self.left = {}
        self._changed = asyncio.Event()
        self._syncing = None
        self.client.add_response_callback(self._on_sync, SyncResponse)

    @classmethod
    async def register(cls, base_url, localpart):
        """A new account with a name of its own; not syncing yet."""
        user = cls(base_url)
        ok(await user.client.register(f"{localpart}-{secrets.token_hex(4)}", PASSWORD))
        return user

    @property
    def id(self):
        return self.client.user_id

    def start(self):
        """Starts nio's own sync loop."""
        self._syncing = asyncio.create_task(
            self.client.sync_forever(timeout=POLL_MS, sync_filter=LIVE_FILTER)
        )
        return self

    def same_session(self):
        """A second client object with this one's token and device, knowing nothing."""
        twin = NioUser(self.base_url)
        twin.client.restore_login(self.id, self.client.device_id, self.client.access_token)
        return twin

    def room(self, room_id):
        """nio's own view of a joined room."""
        return self.client.rooms[room_id]

    def events(self, room_id):
        """What sync has shown of a room's timeline, in order."""
        return self.timelines.get(room_id, [])

    def seen(self, room_id, event_id):
        """The event if sync has shown it, else None."""
        return next((e for e in self.events(room_id) if e.event_id == event_id), None)

    async def until(self, what, predicate):
        """Waits until `predicate()` is true and returns its value."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while not (value := predicate()):
                    await self._next_change()
                return value
        raise AssertionError(f"{self.id}: not within {WAIT_S} s: {what}")

    async def until_seen(self, room_id, event_id):
        return await self.until(
            f"{event_id} in the timeline of {room_id}", lambda: self.seen(room_id, event_id)
        )

    async def say(self, room_id, body, tx_id=None, **more):
        """Sends a text message and returns its event id."""
        sent = await self.client.room_send(room_id, "m.room.message", text(body, **more), tx_id)
        return ok(sent).event_id

    async def join(self, room_id):
        """Joins, and waits until sync has said so."""
        ok(await self.client.join(room_id))
        await self.until(f"{room_id} is joined", lambda: room_id in self.client.rooms)

    async def stop_syncing(self):
        if self._syncing is not None:
            self._syncing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._syncing

    async def close(self):
        await self.stop_syncing()
        await self.client.close()

    async def _next_change(self):
        self._changed.clear()
        if self._syncing is None or self._syncing.done():
            raise AssertionError(f"{self.id}: the sync loop has ended: {self._syncing}")
        await self._changed.wait()

    def _on_sync(self, response):
        for room_id, joined in response.rooms.join.items():
            self.timelines.setdefault(room_id, []).extend(joined.timeline.events)
        self.left.update(response.rooms.leave)
        self._changed.set()
