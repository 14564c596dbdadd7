"""MSC3814, dehydrated devices: PUT, GET and DELETE of the device, and its messages."""

import pytest

from client import eventually, fails, ok
from keys import ALGORITHMS, SIGNED, Signer, claim, query, random_key

PREFIX = "/_matrix/client/unstable/org.matrix.msc3814.v1"
DEVICE = "/dehydrated_device"
EVENTS = "/dehydrated_device/{}/events"
KIND = "m.room_key"


class Dehydrated:
    """A device to be dehydrated, with its keys."""

    def __init__(self, client, device_id=None):
        self.client = client
        self.user_id = client.user_id
        self.device_id = device_id or random_key()[:10].upper().replace("/", "A")
        self.signer = Signer(client.user_id, self.device_id)

    def device_keys(self):
        return self.signer.sign({
            "user_id": self.user_id,
            "device_id": self.device_id,
            "algorithms": ALGORITHMS,
            "dehydrated": True,
            "keys": {
                f"curve25519:{self.device_id}": random_key(),
                f"ed25519:{self.device_id}": self.signer.public,
            },
        })

    def body(self):
        key = self.signer.sign({"key": random_key(), "fallback": True})
        return {
            "device_id": self.device_id,
            "initial_device_display_name": "dehydrated",
            "device_data": {
                "algorithm": "org.matrix.msc3814.v2", "device_pickle": "pickle", "nonce": "nonce",
            },
            "device_keys": self.device_keys(),
            "one_time_keys": {f"{SIGNED}:AAAA": self.signer.sign({"key": random_key()})},
            "fallback_keys": {f"{SIGNED}:AAAB": key},
        }

    def put(self):
        self.uploaded = self.body()
        answer = ok(self.client.put(DEVICE, prefix=PREFIX, json=self.uploaded))
        assert answer == {"device_id": self.device_id}
        return self


def found(client):
    return client.get(DEVICE, prefix=PREFIX)


def events(client, device_id, **body):
    return client.post(EVENTS, device_id, prefix=PREFIX, json=body)


def send(client, device, text, txn):
    body = {"messages": {device.user_id: {device.device_id: {"text": text}}}}
    ok(client.put("/sendToDevice/{}/{}", KIND, txn, json=body))


def all_events(client, device_id):
    """Every waiting message, read as clients do: until there are none."""
    texts, token = [], {}
    while True:
        page = ok(events(client, device_id, **token))
        if not page["events"]:
            return texts
        texts += [event["content"]["text"] for event in page["events"]]
        token = {"next_batch": page["next_batch"]}


def test_a_dehydrated_device(alice):
    """PUT and GET: `device_data` as it was uploaded."""
    device = Dehydrated(alice).put()
    answer = ok(found(alice))
    assert answer["device_id"] == device.device_id
    assert answer["device_data"] == device.uploaded["device_data"]


def test_there_is_none(alice):
    fails(found(alice), 404, "M_NOT_FOUND")
    fails(alice.delete(DEVICE, prefix=PREFIX), 404, "M_NOT_FOUND")


def test_its_keys_are_those_of_a_device(alice, bob):
    """PUT: identity, one-time and fallback keys are found and claimed as those of any device."""
    device = Dehydrated(alice).put()
    listed = ok(alice.get("/devices"))["devices"]
    assert device.device_id in {each["device_id"] for each in listed}
    keys = query(bob, alice)["device_keys"][alice.user_id][device.device_id]
    assert {name: value for name, value in keys.items() if name != "unsigned"} == (
        device.uploaded["device_keys"]
    )
    claimed = [claim(bob, alice, device.device_id)[0] for _ in range(3)]
    assert claimed == [f"{SIGNED}:AAAA", f"{SIGNED}:AAAB", f"{SIGNED}:AAAB"]


def test_another_takes_its_place(alice, bob):
    """PUT: a user has one dehydrated device; the former one is deleted."""
    first, second = Dehydrated(alice).put(), Dehydrated(alice).put()
    assert ok(found(alice))["device_id"] == second.device_id
    assert set(query(bob, alice)["device_keys"][alice.user_id]) == {second.device_id}
    fails(events(alice, first.device_id), {403, 404}, {"M_FORBIDDEN", "M_NOT_FOUND"})


def test_a_deleted_one(alice, bob):
    """DELETE: the device is gone, with its keys."""
    device = Dehydrated(alice).put()
    assert ok(alice.delete(DEVICE, prefix=PREFIX)) == {"device_id": device.device_id}
    fails(found(alice), 404, "M_NOT_FOUND")
    assert not query(bob, alice)["device_keys"].get(alice.user_id)
    assert device.device_id not in {each["device_id"] for each in ok(alice.get("/devices"))["devices"]}


def test_messages_wait_for_it(alice, bob):
    """POST .../events: what was sent to it, in pages, oldest first; read again from the beginning."""
    device = Dehydrated(alice).put()
    sent = [f"message {at}" for at in range(120)]
    for at, text in enumerate(sent):
        send(bob, device, text, f"to-{device.device_id}-{at}")
    eventually(lambda: all_events(alice, device.device_id) == sent)
    assert all_events(alice.login_again(), device.device_id) == sent


def test_messages_are_ones_own(alice, bob):
    """POST .../events: of the user's own dehydrated device alone."""
    device = Dehydrated(alice).put()
    refused = {403, 404}, {"M_FORBIDDEN", "M_NOT_FOUND"}
    fails(events(bob, device.device_id), *refused)
    fails(events(alice, alice.device_id), *refused)


@pytest.mark.parametrize("change", [{"device_data": "x"}, {"device_data": {}}, {"device_id": 5}])
def test_malformed_devices(alice, change):
    body = Dehydrated(alice).body() | change
    errcodes = {"M_BAD_JSON", "M_INVALID_PARAM", "M_MISSING_PARAM"}
    fails(alice.put(DEVICE, prefix=PREFIX, json=body), 400, errcodes)
    fails(found(alice), 404, "M_NOT_FOUND")


def test_keys_are_required(alice):
    """PUT: without identity keys nobody could write to it."""
    body = Dehydrated(alice).body()
    del body["device_keys"]
    errcodes = {"M_BAD_JSON", "M_MISSING_PARAM", "M_UNKNOWN"}
    fails(alice.put(DEVICE, prefix=PREFIX, json=body), 400, errcodes)


def test_a_token_is_needed(anonymous):
    fails(anonymous.get(DEVICE, prefix=PREFIX), 401, "M_MISSING_TOKEN")
