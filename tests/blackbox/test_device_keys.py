"""Client-server API: "Key management API": /keys/upload, /keys/query, /keys/claim."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from client import fails, ok, refused_as_too_large, uia
from keys import SIGNED, DeviceKeys, claim, published, query, random_key, try_claim

MALFORMED = '"M_BAD_JSON: Request contained valid JSON, but it was malformed in some way"'
differs = pytest.mark.synapse_differs(MALFORMED)


def test_uploaded_keys_are_found(alice, bob):
    """POST /keys/query: "the information returned will be the same as uploaded", by user and device."""
    keys = DeviceKeys(alice)
    uploaded = keys.device_keys()
    keys.upload(device_keys=uploaded)
    found = query(bob, alice)
    device = found["device_keys"][alice.user_id][alice.device_id]
    assert {k: v for k, v in device.items() if k != "unsigned"} == uploaded
    assert not found.get("failures")


def test_the_devices_name_is_unsigned(alice, bob):
    """POST /keys/query: `unsigned.device_display_name` is "the display name which the user set"."""
    published(alice)
    ok(alice.put("/devices/{}", alice.device_id, json={"display_name": "Alice's phone"}))
    device = query(bob, alice)["device_keys"][alice.user_id][alice.device_id]
    assert device["unsigned"] == {"device_display_name": "Alice's phone"}


def test_query_of_some_devices(alice, bob):
    """POST /keys/query: a list of devices, "or an empty list to indicate all devices"."""
    second = alice.login_again()
    published(alice)
    published(second)
    everything = query(bob, alice)["device_keys"][alice.user_id]
    assert set(everything) == {alice.device_id, second.device_id}
    some = query(bob, alice, devices=[second.device_id])["device_keys"][alice.user_id]
    assert set(some) == {second.device_id}


def test_query_of_the_unknown(alice, bob):
    """POST /keys/query: an unknown user or device is no failure, and is missing from the result."""
    published(bob)
    nobody = f"@nobody-{bob.localpart}:{bob.server_name}"
    body = {"device_keys": {nobody: [], bob.user_id: ["NOSUCH"]}}
    found = ok(alice.post("/keys/query", json=body))
    assert not found.get("failures")
    assert not found["device_keys"].get(nobody)
    assert not found["device_keys"].get(bob.user_id)


def test_devices_without_keys_are_not_there(alice, bob):
    """POST /keys/query: devices "and identity keys"; a device that uploaded none has none."""
    assert not query(bob, alice)["device_keys"].get(alice.user_id)


@pytest.mark.parametrize("body", [{}, {"device_keys": []}, {"device_keys": {"@a:b": 5}}])
def test_query_of_nonsense(alice, body):
    """POST /keys/query: `device_keys` is required: a map from user id to a list."""
    errcodes = {"M_BAD_JSON", "M_MISSING_PARAM", "M_INVALID_PARAM"}
    fails(alice.post("/keys/query", json=body), 400, errcodes)


@pytest.mark.parametrize("path", ["/keys/upload", "/keys/query", "/keys/claim"])
def test_keys_need_a_session(anonymous, path):
    """All key endpoints require authentication."""
    fails(anonymous.post(path, json={}), 401, "M_MISSING_TOKEN")


def test_counts_after_an_upload(alice):
    """POST /keys/upload: `one_time_key_counts`: "the number of unclaimed one-time keys"."""
    keys = published(alice)
    assert keys.upload(one_time_keys=keys.one_time_keys("A", "B"))[SIGNED] == 2
    assert keys.upload(one_time_keys=keys.one_time_keys("C"))[SIGNED] == 3
    assert keys.upload()[SIGNED] == 3


def test_a_repeated_upload_changes_nothing(alice, bob):
    """POST /keys/upload: the same key under the same id is the same key."""
    keys = published(alice)
    batch = keys.one_time_keys("A", "B")
    keys.upload(one_time_keys=batch)
    assert keys.upload(one_time_keys=batch)[SIGNED] == 2


def test_another_key_under_the_same_id_is_refused(alice, bob):
    """POST /keys/upload: a waiting one-time key is not replaced."""
    keys = published(alice)
    first = keys.one_time_keys("A")
    keys.upload(one_time_keys=first)
    other = alice.post("/keys/upload", json={"one_time_keys": keys.one_time_keys("A")})
    assert other.status_code == 400
    assert claim(bob, alice) == (f"{SIGNED}:A", first[f"{SIGNED}:A"])


def test_a_key_is_claimed_once(alice, bob, carol):
    """POST /keys/claim: each key is handed out once, then no more."""
    keys = published(alice)
    batch = keys.one_time_keys("A", "B")
    keys.upload(one_time_keys=batch)
    claimed = [claim(bob, alice), claim(carol, alice)]
    assert dict(claimed) == batch
    assert claim(bob, alice) is None
    assert keys.upload()[SIGNED] == 0


def test_keys_are_claimed_in_the_order_of_their_uploads(alice, bob):
    """POST /keys/claim: keys "in the order they were uploaded", within one upload by key id."""
    keys = published(alice)
    for names in (["Q", "P"], ["B", "A"]):
        keys.upload(one_time_keys=keys.one_time_keys(*names))
    order = [claim(bob, alice)[0] for _ in range(4)]
    assert order == [f"{SIGNED}:{name}" for name in "PQAB"]


def test_a_key_is_claimed_once_by_many_at_once(alice, bob):
    """POST /keys/claim: "claims one-time keys": no two claims get the same."""
    keys = published(alice)
    names = [f"K{n:02}" for n in range(12)]
    keys.upload(one_time_keys=keys.one_time_keys(*names))
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: claim(bob, alice), range(16)))
    ids = [key[0] for key in claimed if key]
    assert sorted(ids) == [f"{SIGNED}:{name}" for name in names]


def test_algorithms_are_apart(alice, bob):
    """POST /keys/claim: by algorithm."""
    keys = published(alice)
    plain = {"x_plain:A": random_key()}
    counts = keys.upload(one_time_keys=keys.one_time_keys("A") | plain)
    assert (counts[SIGNED], counts["x_plain"]) == (1, 1)
    assert claim(bob, alice, algorithm="x_plain") == ("x_plain:A", plain["x_plain:A"])
    assert claim(bob, alice, algorithm="x_plain") is None
    assert claim(bob, alice)[0] == f"{SIGNED}:A"


def test_claim_of_the_unknown(alice, bob):
    """POST /keys/claim: an unknown user or device is no failure, and is missing from the result."""
    nobody = f"@nobody-{bob.localpart}:{bob.server_name}"
    wanted = {nobody: {"X": SIGNED}, bob.user_id: {"NOSUCH": SIGNED}}
    found = ok(alice.post("/keys/claim", json={"one_time_keys": wanted}))
    assert not found.get("failures")
    assert not any(found["one_time_keys"].values())


@differs
@pytest.mark.parametrize(
    "body", [{}, {"one_time_keys": []}, {"one_time_keys": {"@a:b": {"D": 5}}}]
)
def test_claim_of_nonsense(alice, body):
    """POST /keys/claim: `one_time_keys` is required: a map from user id to device to algorithm."""
    errcodes = {"M_BAD_JSON", "M_MISSING_PARAM", "M_INVALID_PARAM"}
    fails(alice.post("/keys/claim", json=body), 400, errcodes)


def test_the_fallback_key_is_used_when_none_is_left(alice, bob):
    """POST /keys/claim: "the claimed key might be a fallback key", re-used until replaced."""
    keys = published(alice)
    fallback = keys.fallback_keys("F")
    keys.upload(one_time_keys=keys.one_time_keys("A"), fallback_keys=fallback)
    assert claim(bob, alice)[0] == f"{SIGNED}:A"
    used = (f"{SIGNED}:F", fallback[f"{SIGNED}:F"])
    assert [claim(bob, alice), claim(bob, alice)] == [used, used]
    replaced = keys.fallback_keys("G")
    keys.upload(fallback_keys=replaced)
    assert claim(bob, alice) == (f"{SIGNED}:G", replaced[f"{SIGNED}:G"])


def test_sync_tells_the_counts(alice, bob):
    """GET /sync: `device_one_time_keys_count` of the device that asks."""
    keys = published(alice)
    keys.upload(one_time_keys=keys.one_time_keys("A", "B"))
    assert alice.sync()["device_one_time_keys_count"][SIGNED] == 2
    claim(bob, alice)
    alice.sync_when(lambda answer: answer["device_one_time_keys_count"][SIGNED] == 1)
    other = alice.login_again()
    assert other.sync().get("device_one_time_keys_count", {}).get(SIGNED, 0) == 0


def test_sync_tells_unused_fallback_keys(alice, bob):
    """GET /sync: `device_unused_fallback_key_types`: until it is claimed, and again when replaced."""

    def unused(answer):
        return answer["device_unused_fallback_key_types"]

    keys = published(alice)
    assert unused(alice.sync()) == []
    keys.upload(fallback_keys=keys.fallback_keys("F"))
    alice.sync_when(lambda answer: unused(answer) == [SIGNED])
    claim(bob, alice)
    alice.sync_when(lambda answer: unused(answer) == [])
    keys.upload(fallback_keys=keys.fallback_keys("G"))
    alice.sync_when(lambda answer: unused(answer) == [SIGNED])


@pytest.mark.parametrize("whose", ["user", "device"])
def test_keys_of_others_are_refused(alice, bob, whose):
    """POST /keys/upload, `device_keys.user_id`, `device_id`: "must match … when logging in"."""
    other = bob.user_id if whose == "user" else "OTHERDEVICE"
    field = "user_id" if whose == "user" else "device_id"
    foreign = DeviceKeys(alice).device_keys(**{field: other})
    response = alice.post("/keys/upload", json={"device_keys": foreign})
    fails(response, {400, 403}, {"M_INVALID_PARAM", "M_BAD_JSON", "M_FORBIDDEN"})
    assert not query(bob, alice)["device_keys"].get(alice.user_id)


@pytest.mark.parametrize(
    "part",
    [
        {"device_keys": "x"},
        {"device_keys": {"user_id": 5}},
        pytest.param({"one_time_keys": []}, marks=differs),
        {"one_time_keys": {f"{SIGNED}:A": {"key": 5, "signatures": {}}}},
        {"one_time_keys": {f"{SIGNED}:A": 5}},
        pytest.param({"fallback_keys": "x"}, marks=differs),
    ],
)
def test_malformed_keys_are_refused(alice, part):
    """POST /keys/upload: keys that are none (GHSA-fh66-fcv5-jjfr: they broke federation)."""
    errcodes = {"M_BAD_JSON", "M_INVALID_PARAM", "M_MISSING_PARAM"}
    fails(alice.post("/keys/upload", json=part), 400, errcodes)


def test_a_huge_upload_is_refused(alice):
    """POST /keys/upload: a body that is too large is refused, and nothing of it is taken."""
    keys = published(alice)
    huge = {f"{SIGNED}:{n}": keys.one_time_key() | {"x": "y" * 60_000} for n in range(1_000)}
    refused_as_too_large(lambda: alice.post("/keys/upload", json={"one_time_keys": huge}))
    assert keys.upload()[SIGNED] == 0


def log_out(device):
    ok(device.post("/logout"))


def delete(device):
    other = device.login_again()
    response = uia(
        lambda extra: other.delete("/devices/{}", device.device_id, json=extra),
        lambda session: other.password_auth(session=session),
    )
    ok(response)


def deactivate(device):
    response = uia(
        lambda extra: device.post("/account/deactivate", json=extra),
        lambda session: device.password_auth(session=session),
    )
    ok(response)


@pytest.mark.parametrize("end", [log_out, delete, deactivate])
def test_keys_go_with_their_device(alice, bob, end):
    """POST /logout, DELETE /devices/{deviceId}, POST /account/deactivate: its keys go, too."""
    keys = published(alice)
    keys.upload(one_time_keys=keys.one_time_keys("A"), fallback_keys=keys.fallback_keys("F"))
    end(alice)
    assert not query(bob, alice)["device_keys"].get(alice.user_id)
    assert not ok(try_claim(bob, alice))["one_time_keys"].get(alice.user_id)


def test_a_new_device_of_the_same_name_has_no_keys(alice, bob):
    """POST /login with the `device_id` of a device that was logged out: it starts afresh."""
    keys = published(alice)
    keys.upload(one_time_keys=keys.one_time_keys("A"), fallback_keys=keys.fallback_keys("F"))
    log_out(alice)
    again = alice.login_again(device_id=alice.device_id)
    assert again.device_id == alice.device_id
    assert not query(bob, again)["device_keys"].get(alice.user_id)
    new = published(again)
    assert new.upload()[SIGNED] == 0
    assert claim(bob, again) is None
