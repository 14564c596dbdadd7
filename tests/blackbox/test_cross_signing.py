"""Client-server API: "Cross-signing": /keys/device_signing/upload, /keys/signatures/upload."""

import pytest

from client import fails, ok, room_of
from keys import (
    CrossSigning,
    DeviceKeys,
    Signer,
    changed,
    published,
    query,
    sign_keys,
    signatures_of,
)

ENCRYPTED = {"initial_state": [
    {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
]}
MALFORMED = '"M_BAD_JSON: Request contained valid JSON, but it was malformed in some way"'


def plain(key):
    return {name: value for name, value in key.items() if name not in ("signatures", "unsigned")}


def settled(client, room, sender):
    """A token that covers everything the client was told of so far."""
    return client.token_after(room, sender.send(room, "settled"))


def device_of(found, user):
    return found["device_keys"][user.user_id][user.device_id]


def verified(user):
    """Published device keys and cross-signing keys, the device signed."""
    device, signing = published(user), CrossSigning(user).upload()
    assert not sign_keys(user, (user, user.device_id, signing.self_signing.sign(device.uploaded)))
    return signing


# Uploading keys


def test_keys_are_found(alice, bob):
    """POST /keys/query: `master_keys` and `self_signing_keys`, by user."""
    signing = CrossSigning(alice)
    keys = signing.keys()
    ok(signing.try_upload(**keys))
    found = query(bob, alice)
    assert plain(found["master_keys"][alice.user_id]) == keys["master_key"]
    self_signing = found["self_signing_keys"][alice.user_id]
    assert plain(self_signing) == plain(keys["self_signing_key"])
    assert signatures_of(self_signing, alice) == signatures_of(keys["self_signing_key"], alice)


def test_the_user_signing_key_is_ones_own(alice, bob):
    """POST /keys/query, `user_signing_keys`: "Only returned for the user's own" key."""
    signing = CrossSigning(alice).upload()
    own = query(alice, alice, bob)["user_signing_keys"]
    assert plain(own[alice.user_id]) == plain(signing.key("user_signing"))
    assert not query(bob, alice).get("user_signing_keys")


def test_who_has_none_is_left_out(alice, bob):
    """POST /keys/query: a user without cross-signing keys is in none of the maps."""
    published(alice)
    found = query(bob, alice)
    for part in ("master_keys", "self_signing_keys", "user_signing_keys"):
        assert alice.user_id not in found.get(part, {})


def test_the_first_keys_need_no_password(alice):
    """POST /keys/device_signing/upload: no UIA if "there is no existing cross-signing master key"."""
    assert ok(CrossSigning(alice).try_upload(**CrossSigning(alice).keys())) == {}


def test_the_same_keys_need_no_password(alice):
    """POST /keys/device_signing/upload: no UIA if "the request contains no new keys"."""
    signing = CrossSigning(alice).upload()
    before = query(alice, alice)
    ok(signing.try_upload(**signing.keys()))
    ok(signing.try_upload(**signing.keys("master")))
    assert query(alice, alice)["master_keys"] == before["master_keys"]


def test_other_keys_need_the_password(alice, bob):
    """POST /keys/device_signing/upload: UIA where other keys are there, and then they are replaced."""
    CrossSigning(alice).upload()
    other = CrossSigning(alice)
    before = query(bob, alice)["master_keys"]
    challenge = other.try_upload(**other.keys())
    assert challenge.status_code == 401 and challenge.json()["flows"], challenge.text
    assert query(bob, alice)["master_keys"] == before
    ok(other.replace(**other.keys()))
    assert plain(query(bob, alice)["master_keys"][alice.user_id]) == other.key("master")


def test_a_single_other_key_needs_the_password(alice):
    """POST /keys/device_signing/upload: additional keys "MUST also match the existing keys"."""
    signing = CrossSigning(alice).upload()
    signing.self_signing = Signer(alice.user_id)
    keys = signing.keys("self_signing")
    assert signing.try_upload(**keys).status_code == 401
    ok(signing.replace(**keys))
    found = query(alice, alice)["self_signing_keys"][alice.user_id]
    assert plain(found) == plain(keys["self_signing_key"])


def test_a_wrong_password_replaces_nothing(alice):
    """User-interactive authentication: a failed stage is 401 again."""
    CrossSigning(alice).upload()
    before = query(alice, alice)["master_keys"]
    other = CrossSigning(alice)
    keys = other.keys()
    session = other.try_upload(**keys).json()["session"]
    auth = alice.password_auth("wrong", session)
    assert other.try_upload(**keys, auth=auth).status_code == 401
    assert query(alice, alice)["master_keys"] == before


def test_there_must_be_a_master_key(alice):
    """POST /keys/device_signing/upload, 400: M_MISSING_PARAM, "No master key is available"."""
    signing = CrossSigning(alice)
    fails(signing.try_upload(**signing.keys("self_signing")), 400, "M_MISSING_PARAM")


@pytest.mark.parametrize("usage", ["self_signing", "user_signing"])
def test_the_master_key_signs_the_others(alice, usage):
    """POST /keys/device_signing/upload, 400: M_INVALID_SIGNATURE, "incorrect signature"."""
    signing = CrossSigning(alice)
    keys = signing.keys()
    stranger = CrossSigning(alice).key(usage)
    wrong = keys[f"{usage}_key"] | {"signatures": {
        alice.user_id: {signing.master.key_id: signatures_of(stranger, alice).popitem()[1]}
    }}
    fails(signing.try_upload(**keys | {f"{usage}_key": wrong}), 400, "M_INVALID_SIGNATURE")
    assert not query(alice, alice).get("master_keys")


@pytest.mark.parametrize("change", [
    {"user_id": "@somebody:else"},
    {"keys": {}},
    pytest.param({"keys": "x"}, marks=pytest.mark.synapse_differs(MALFORMED)),
])
def test_malformed_keys(alice, change):
    """POST /keys/device_signing/upload, 400: "The input was invalid in some way"."""
    signing = CrossSigning(alice)
    body = {"master_key": signing.key("master", **change)}
    fails(signing.try_upload(**body), 400, {"M_INVALID_PARAM", "M_BAD_JSON", "M_UNKNOWN"})
    assert not query(alice, alice).get("master_keys")


@pytest.mark.parametrize("path", ["/keys/device_signing/upload", "/keys/signatures/upload"])
def test_a_token_is_needed(anonymous, path):
    fails(anonymous.post(path), 401, "M_MISSING_TOKEN")


# Signatures


def test_a_signed_device(alice, bob):
    """POST /keys/signatures/upload: the self-signing key signs devices; everybody sees it."""
    device, signing = published(alice), CrossSigning(alice).upload()
    signed = signing.self_signing.sign(device.uploaded)
    assert sign_keys(alice, (alice, alice.device_id, signed)) == {}
    for asker in (alice, bob):
        found = device_of(query(asker, alice), alice)
        assert signatures_of(found, alice) == signatures_of(signed, alice)
        assert len(signatures_of(found, alice)) == 2


def test_a_signed_master_key(alice):
    """POST /keys/signatures/upload: a device signs its user's master key."""
    device, signing = published(alice), CrossSigning(alice).upload()
    signed = device.signer.sign(signing.key("master"))
    assert sign_keys(alice, (alice, signing.master.public, signed)) == {}
    found = query(alice, alice)["master_keys"][alice.user_id]
    assert signatures_of(found, alice) == signatures_of(signed, alice)


def test_a_signature_of_somebody_else(alice, bob, carol):
    """"Signatures … made with user-signing keys" are visible to "the user who made" them alone."""
    signing, theirs = verified(alice), verified(bob)
    signed = signing.user_signing.sign(theirs.key("master"))
    assert sign_keys(alice, (bob, theirs.master.public, signed)) == {}
    found = query(alice, bob)["master_keys"][bob.user_id]
    assert signatures_of(found, alice) == signatures_of(signed, alice)
    for asker in (bob, carol):
        found = query(asker, bob)["master_keys"][bob.user_id]
        assert not signatures_of(found, alice)


def test_wrong_signatures_are_failures(alice, bob):
    """POST /keys/signatures/upload, `failures`: by user and key, M_INVALID_SIGNATURE; others are taken."""
    device, signing, theirs = published(alice), CrossSigning(alice).upload(), verified(bob)
    stranger = CrossSigning(alice)
    good = device.signer.sign(signing.key("master"))
    forged = device.uploaded | {"signatures": {alice.user_id: {
        signing.self_signing.key_id: stranger.self_signing.signature(device.uploaded)
    }}}
    wrong = theirs.key("master") | {"signatures": {alice.user_id: {
        signing.user_signing.key_id: stranger.user_signing.signature(theirs.key("master"))
    }}}
    failures = sign_keys(
        alice,
        (alice, signing.master.public, good),
        (alice, alice.device_id, forged),
        (bob, theirs.master.public, wrong),
    )
    assert set(failures) == {alice.user_id, bob.user_id}
    assert set(failures[alice.user_id]) == {alice.device_id}
    assert failures[alice.user_id][alice.device_id]["errcode"] == "M_INVALID_SIGNATURE"
    assert failures[bob.user_id][theirs.master.public]["errcode"] == "M_INVALID_SIGNATURE"
    found = query(alice, alice, bob)
    assert signatures_of(found["master_keys"][alice.user_id], alice) == signatures_of(good, alice)
    assert len(signatures_of(device_of(found, alice), alice)) == 1
    assert not signatures_of(found["master_keys"][bob.user_id], alice)


def test_unknown_keys_are_failures(alice, bob):
    """POST /keys/signatures/upload, `failures`: what is not there cannot be signed."""
    signing = verified(alice)
    nothing = signing.self_signing.sign({"user_id": alice.user_id, "device_id": "NOSUCH", "keys": {}})
    theirs = CrossSigning(bob)
    unknown = signing.user_signing.sign(theirs.key("master"))
    failures = sign_keys(
        alice, (alice, "NOSUCH", nothing), (bob, theirs.master.public, unknown)
    )
    assert failures[alice.user_id]["NOSUCH"]["errcode"]
    assert failures[bob.user_id][theirs.master.public]["errcode"]


def test_another_key_than_the_uploaded_one(alice):
    """POST /keys/signatures/upload: "must match the key previously uploaded" but for signatures."""
    device, signing = published(alice), CrossSigning(alice).upload()
    other = DeviceKeys(alice).device_keys()
    signed = signing.self_signing.sign(other)
    failures = sign_keys(alice, (alice, alice.device_id, signed))
    assert failures[alice.user_id][alice.device_id]["errcode"]
    found = device_of(query(alice, alice), alice)
    assert signatures_of(found, alice) == signatures_of(device.uploaded, alice)


def test_nobody_signs_with_the_keys_of_others(alice, bob):
    """POST /keys/signatures/upload: only what the user's own keys signed is taken."""
    device, signing = published(alice), CrossSigning(alice).upload()
    signed = signing.self_signing.sign(device.uploaded)
    verified(bob)
    failures = sign_keys(bob, (alice, alice.device_id, signed))
    assert failures[alice.user_id][alice.device_id]["errcode"]
    assert len(signatures_of(device_of(query(bob, alice), alice), alice)) == 1


# Who is told


def test_new_keys_are_told_in_shared_rooms(alice, bob):
    """`device_lists.changed`: "users who have updated their device identity or cross-signing keys"."""
    published(alice)
    room = room_of(alice, bob, **ENCRYPTED)
    since = settled(bob, room, alice)
    signing = CrossSigning(alice).upload()
    answer = bob.sync_when(lambda answer: alice.user_id in changed(answer), since)
    changes = ok(bob.get("/keys/changes", params={"from": since, "to": answer["next_batch"]}))
    assert alice.user_id in changes["changed"]
    since = settled(bob, room, alice)
    device = query(alice, alice)["device_keys"][alice.user_id][alice.device_id]
    device.pop("unsigned", None)
    assert not sign_keys(alice, (alice, alice.device_id, signing.self_signing.sign(device)))
    bob.sync_when(lambda answer: alice.user_id in changed(answer), since)


def test_what_one_signs_of_others_is_told_to_oneself(alice, bob):
    """"the server must notify" the signer's own devices of a user-signing key's signature alone."""
    signing, theirs = verified(alice), verified(bob)
    room = room_of(alice, bob, **ENCRYPTED)
    second = alice.login_again()
    since = settled(bob, room, alice)
    own = settled(second, room, alice)
    signed = signing.user_signing.sign(theirs.key("master"))
    assert not sign_keys(alice, (bob, theirs.master.public, signed))
    second.sync_when(lambda answer: bob.user_id in changed(answer), own)
    event = alice.send(room, "later")
    answer, _ = bob.sync_with(room, event, since)
    assert changed(answer) == set()


def test_a_sync_that_waits_is_woken(alice, bob):
    """GET /sync with a timeout returns when one signed somebody."""
    signing, theirs = verified(alice), verified(bob)
    since = alice.sync()["next_batch"]
    signed = signing.user_signing.sign(theirs.key("master"))
    assert not sign_keys(alice, (bob, theirs.master.public, signed))
    assert bob.user_id in changed(alice.sync(since, timeout=20_000))
