"""Keys of end-to-end encryption, made as a client makes them: ed25519 over canonical JSON."""

import base64
import json
import secrets

from nacl.signing import SigningKey

from client import ok, uia

ALGORITHMS = ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"]
SIGNED = "signed_curve25519"


def b64(raw):
    """Unpadded base64."""
    return base64.b64encode(raw).decode().rstrip("=")


def random_key():
    return b64(secrets.token_bytes(32))


def canonical(value):
    """The bytes that a signature covers."""
    plain = {k: v for k, v in value.items() if k not in ("signatures", "unsigned")}
    return json.dumps(
        plain, ensure_ascii=False, separators=(",", ":"), sort_keys=True
    ).encode()


class Signer:
    """An ed25519 key: of a device (named after it), or for cross-signing (named after itself)."""

    def __init__(self, user_id, name=None):
        self.user_id = user_id
        self.key = SigningKey.generate()
        self.public = b64(bytes(self.key.verify_key))
        self.key_id = f"ed25519:{name or self.public}"

    def signature(self, value):
        return b64(self.key.sign(canonical(value)).signature)

    def sign(self, value):
        """The value with this key's signature added."""
        signatures = {user: dict(keys) for user, keys in value.get("signatures", {}).items()}
        signatures.setdefault(self.user_id, {})[self.key_id] = self.signature(value)
        return value | {"signatures": signatures}


class DeviceKeys:
    """The keys of one session's device."""

    def __init__(self, client):
        self.client = client
        self.signer = Signer(client.user_id, client.device_id)
        self.curve = random_key()

    def device_keys(self, **changes):
        device = self.client.device_id
        keys = {
            "user_id": self.client.user_id,
            "device_id": device,
            "algorithms": ALGORITHMS,
            "keys": {f"curve25519:{device}": self.curve, f"ed25519:{device}": self.signer.public},
        }
        return self.signer.sign(keys | changes)

    def one_time_key(self, **extra):
        return self.signer.sign({"key": random_key(), **extra})

    def one_time_keys(self, *names):
        return {f"{SIGNED}:{name}": self.one_time_key() for name in names}

    def fallback_keys(self, name):
        return {f"{SIGNED}:{name}": self.one_time_key(fallback=True)}

    def upload(self, **parts):
        return ok(self.client.post("/keys/upload", json=parts))["one_time_key_counts"]

    def publish(self):
        """Uploads the identity keys."""
        self.uploaded = self.device_keys()
        self.upload(device_keys=self.uploaded)
        return self


def published(client):
    """Identity keys for the client's device, uploaded."""
    return DeviceKeys(client).publish()


def query(client, *users, devices=()):
    body = {"device_keys": {user.user_id: list(devices) for user in users}}
    return ok(client.post("/keys/query", json=body))


def try_claim(client, user, device_id=None, algorithm=SIGNED):
    wanted = {user.user_id: {device_id or user.device_id: algorithm}}
    return client.post("/keys/claim", json={"one_time_keys": wanted})


def claim(client, user, device_id=None, algorithm=SIGNED):
    """The claimed key as (id, key); None if there was none."""
    device_id = device_id or user.device_id
    claimed = ok(try_claim(client, user, device_id, algorithm))["one_time_keys"]
    keys = claimed.get(user.user_id, {}).get(device_id, {})
    assert len(keys) <= 1, keys
    return next(iter(keys.items()), None)


def changed(sync):
    return set(sync.get("device_lists", {}).get("changed", []))


def gone(sync):
    return set(sync.get("device_lists", {}).get("left", []))


class CrossSigning:
    """A user's master, self-signing and user-signing keys."""

    def __init__(self, client):
        self.client = client
        self.master = Signer(client.user_id)
        self.self_signing = Signer(client.user_id)
        self.user_signing = Signer(client.user_id)

    def key(self, usage, **changes):
        """One key, signed by the master key (which is not signed)."""
        signer = getattr(self, usage)
        key = {
            "user_id": self.client.user_id,
            "usage": [usage],
            "keys": {signer.key_id: signer.public},
        } | changes
        return key if usage == "master" else self.master.sign(key)

    def keys(self, *usages):
        usages = usages or ("master", "self_signing", "user_signing")
        return {f"{usage}_key": self.key(usage) for usage in usages}

    def try_upload(self, **body):
        return self.client.post("/keys/device_signing/upload", json=body)

    def upload(self, *usages):
        ok(self.try_upload(**self.keys(*usages)))
        return self

    def replace(self, **keys):
        """Uploads with the password."""
        return uia(
            lambda extra: self.try_upload(**keys, **extra),
            lambda session: self.client.password_auth(session=session),
        )


def sign_keys(client, *signed):
    """Uploads signed keys, given as (user, key id, key); the failures."""
    body = {}
    for user, key_id, key in signed:
        body.setdefault(user.user_id, {})[key_id] = key
    return ok(client.post("/keys/signatures/upload", json=body)).get("failures", {})


def signatures_of(key, user):
    """What a user's keys say of a key, by key id."""
    return key.get("signatures", {}).get(user.user_id, {})
