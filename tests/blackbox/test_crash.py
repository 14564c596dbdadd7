"""A server killed under load: one-time keys are claimed at most once, messages to devices come once.

These tests run a server of their own.
"""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import pytest

from client import ok, register
from keys import SIGNED, DeviceKeys
from servers import start_server

ROUNDS = 5
WORKERS = 6
KEYS = 400
KIND = "m.room_key"
LOAD_S = (0.2, 0.8)
PAUSE_S = 0.05


@pytest.fixture(scope="module")
def own(target):
    with start_server(target) as server:
        yield server


@pytest.fixture
def pool(own):
    with httpx.Client(base_url=own.base_url, timeout=60) as pool:
        yield pool


def attempt(request):
    """The answer's body; None where there was none, or no 200: what became of it is not known."""
    try:
        response = request()
    except httpx.TransportError:
        return None
    return response.json() if response.status_code == 200 else None


def under_kills(server, work):
    """Runs `work(number, stop)` in threads while the server is killed and started, again and again."""
    stop = Event()
    with ThreadPoolExecutor(WORKERS) as workers:
        running = [workers.submit(work, number, stop) for number in range(WORKERS)]
        try:
            for _ in range(ROUNDS):
                time.sleep(random.uniform(*LOAD_S))
                server.restart(hard=True)
        finally:
            stop.set()
        return [future.result() for future in running]


def test_keys_are_claimed_at_most_once(own, pool):
    """POST /keys/claim: "Claims one-time keys"; what a crash cut off is claimed, or is still there."""
    alice = register(pool, "alice")
    keys = DeviceKeys(alice).publish()
    for some in range(0, KEYS, 100):
        names = [f"K{number:03}" for number in range(some, some + 100)]
        keys.upload(one_time_keys=keys.one_time_keys(*names))
    claimers = [register(pool, "claimer") for _ in range(WORKERS)]
    wanted = {"one_time_keys": {alice.user_id: {alice.device_id: SIGNED}}}

    def claim(number, stop):
        claimed, unknown = [], 0
        while not stop.is_set():
            answer = attempt(lambda: claimers[number].post("/keys/claim", json=wanted))
            if answer is None:
                unknown += 1
            else:
                of_user = answer["one_time_keys"].get(alice.user_id, {})
                claimed += of_user.get(alice.device_id, {})
            time.sleep(PAUSE_S)
        return claimed, unknown

    results = under_kills(own, claim)
    claimed = [key for keys_of_worker, _ in results for key in keys_of_worker]
    unknown = sum(unknown for _, unknown in results)
    assert claimed and unknown, "the kills hit nothing"
    assert len(claimed) == len(set(claimed)), "a key was handed out twice"
    left = keys.upload()[SIGNED]
    assert left <= KEYS - len(claimed)
    assert left >= KEYS - len(claimed) - unknown, "keys were lost"


@pytest.mark.synapse_differs('Transaction identifiers: a repeated request has its effect once (a kill doubles messages)')
def test_messages_to_devices_come_once(own, pool):
    """PUT /sendToDevice: a transaction that is repeated until it is answered sends one message; GET /sync
    gives each once, in the order of its sender, over all kills."""
    alice = register(pool, "alice")
    senders = [register(pool, "sender") for _ in range(WORKERS - 1)]
    received = []

    def read(stop):
        """Asks again with the same token until it is answered."""
        since, idle = None, 0
        while not stop.is_set() or idle < 3:
            params = {"timeout": 0} | ({"since": since} if since else {})
            answer = attempt(lambda: alice.get("/sync", params=params))
            if answer is not None:
                events = answer.get("to_device", {}).get("events", [])
                idle = 0 if events else idle + 1
                received.extend(event["content"]["text"] for event in events)
                since = answer["next_batch"]
            time.sleep(PAUSE_S)

    def send(number, stop):
        sender, sent, repeats = senders[number - 1], [], 0
        while not stop.is_set():
            text = f"{number}-{len(sent)}"
            body = {"messages": {alice.user_id: {"*": {"text": text}}}}
            path = "/sendToDevice/{}/{}", KIND, text
            while attempt(lambda: sender.put(*path, json=body)) is None:
                repeats += 1
                time.sleep(PAUSE_S)
            sent.append(text)
        return sent, repeats

    def work(number, stop):
        return read(stop) if number == 0 else send(number, stop)

    _, *results = under_kills(own, work)
    # What was relayed after the reader had seen nothing three times.
    last = [event["content"]["text"] for event in tail(alice, received)]
    received.extend(last)
    assert sum(repeats for _, repeats in results), "the kills hit nothing"
    for number, (sent, _) in enumerate(results, start=1):
        theirs = [text for text in received if text.startswith(f"{number}-")]
        assert theirs == sent


def tail(client, received):
    """What waits that was not received: a sync without a token gives all that is not acknowledged."""
    events = ok(client.get("/sync", params={"timeout": 0})).get("to_device", {}).get("events", [])
    return [event for event in events if event["content"]["text"] not in received]
