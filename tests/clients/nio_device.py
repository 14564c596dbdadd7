"""One device with end-to-end encryption: matrix-nio with its store in memory."""

from urllib.parse import quote

import httpx
from nio import (
    AsyncClientConfig,
    DeleteDevicesAuthResponse,
    EncryptionError,
    KeysQueryResponse,
    KeysUploadResponse,
    MegolmEvent,
    ToDeviceResponse,
)
from nio.event_builders import EnableEncryptionBuilder
from nio.store import SqliteMemoryStore
from nio_user import PASSWORD, RETRIES, NioUser, ok, text


class NioDevice(NioUser):
    """Sends to devices that nobody has verified, too, unless it is told to be strict."""

    config = AsyncClientConfig(encryption_enabled=True, store=SqliteMemoryStore, **RETRIES)
    room_state = (EnableEncryptionBuilder().as_dict(),)

    def __init__(self, base_url):
        super().__init__(base_url)
        told = (KeysQueryResponse, KeysUploadResponse, ToDeviceResponse)
        self.client.add_response_callback(self._on_answer, told)

    @classmethod
    async def log_in(cls, base_url, user):
        """Another device of a user's account; not syncing yet."""
        device = cls(base_url)
        device.client.user = user.id
        ok(await device.client.login(PASSWORD))
        return device

    @property
    def device_id(self):
        return self.client.device_id

    async def until_published(self):
        """Waits until the server has this device's keys: Synapse tells others before it has all."""
        await self.until("its keys are uploaded", lambda: self.client.olm_account_shared)

    async def say(self, room_id, body, tx_id=None, strict=False, **more):
        """Encrypts and sends a text message; returns its event id."""
        sent = await self.client.room_send(
            room_id, "m.room.message", text(body, **more), tx_id,
            ignore_unverified_devices=not strict,
        )
        return ok(sent).event_id

    def device(self, user_id, device_id):
        """Another's device as it is known here; None if it is not, or was removed."""
        known = self.client.device_store[user_id].get(device_id)
        return known if known and not known.deleted else None

    async def until_knows(self, user_id, device_id):
        return await self.until(
            f"{device_id} of {user_id} is known", lambda: self.device(user_id, device_id)
        )

    async def until_forgets(self, user_id, device_id):
        await self.until(
            f"{device_id} of {user_id} is gone", lambda: not self.device(user_id, device_id)
        )

    async def until_read(self, room_id, event_id):
        """The event once sync has shown it; fails if nio could not decrypt it."""
        event = await self.until_seen(room_id, event_id)
        assert event.decrypted, f"{self.id} {self.device_id} cannot read {event}"
        return event

    async def held(self, room_id, event_id):
        """An event as the server has it: nio's own way to fetch one decrypts it."""
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/event/{quote(event_id)}"
        token = {"Authorization": f"Bearer {self.client.access_token}"}
        async with httpx.AsyncClient(base_url=self.base_url, headers=token) as http:
            return (await http.get(path)).raise_for_status().json()

    async def can_read(self, reader, room_id, event_id):
        """Whether this device has the key of an event, which `reader` fetches for it."""
        event = MegolmEvent.from_dict(await reader.held(room_id, event_id))
        event.room_id = room_id
        try:
            self.client.decrypt_event(event)
        except EncryptionError:
            return False
        return True

    async def remove(self, device_id):
        """Removes another device of this user, with the password."""
        asked = await self.client.delete_devices([device_id])
        assert isinstance(asked, DeleteDevicesAuthResponse), asked
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.id},
            "password": PASSWORD,
            "session": asked.session,
        }
        ok(await self.client.delete_devices([device_id], auth))

    async def _on_answer(self, _):
        self._changed.set()
