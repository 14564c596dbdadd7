"""matrix-js-sdk with its Rust crypto: encrypted rooms, verified devices, key backup, removed devices.

The assertions are in `js/scenarios/encryption.mjs` and `verification.mjs`; each name here is a function there.
"""

import pytest
from js_host import JsHost

ROOMS = (
    "encryptedBothWays",
    # As they are without encryption.
    "messages",
    "localEcho",
    "redaction",
    "keysComeBeforeTheirMessages",
    "keysWaitForADevice",
    "newcomersReadOn",
    "whoLeavesGetsNoKeys",
    "removedDeviceGetsNoKeys",
)
# In this order: what the first of them sets up, the others use.
VERIFICATION = (
    "aliceSecuresHerAccount",
    "secondDeviceByEmoji",
    "thirdDeviceByCode",
    "fourthDeviceByRecoveryKey",
    "laterKeysAreBackedUp",
    "usersVerifyEachOther",
    "crossSigningIsReplaced",
)
PHASES = ("fresh", pytest.param("killed", marks=pytest.mark.restarts))


@pytest.fixture(scope="module", params=PHASES)
def encrypted(request, server):
    """alice and bob in an encrypted room; in `killed`, both sync on after the server was killed and started."""
    with JsHost(server) as host:
        host.run("openEncrypted")
        host.run("rememberEncrypted")
        if request.param == "killed":
            server.restart(hard=True)
        yield host


@pytest.mark.parametrize("name", ("encryptionGoesOn", *ROOMS, "everythingWasReadable"))
def test_rooms(encrypted, name):
    encrypted.run(name)


@pytest.mark.parametrize("name", VERIFICATION)
def test_verification(encrypted, name):
    encrypted.run(name)
