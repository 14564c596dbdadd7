"""matrix-js-sdk, unmodified: two users chat in one room, before and after a restart.

The assertions are in `js/scenarios/*.mjs`; each name here is a function there.
"""

import pytest
from js_host import JsHost

CHAT = (
    "messages",
    "localEcho",
    "inviteAccepted",
    "inviteRejected",
    "kickBanUnbanForget",
    "typing",
    "state",
    "powerLevels",
    "redaction",
)
READING = (
    "receipts",
    "unthreadedReceipts",
    "privateReceipts",
    "readMarkers",
    "unreadCounts",
    "historyBack",
    "contextBothWays",
    "eventsWithoutText",
)
ACCOUNT = (
    "loginLogout",
    "wrongPassword",
    "removedDeviceIsLoggedOut",
    "displayName",
    "accountData",
    "pushRulesAndCapabilities",
    "aliases",
    "lazyMembers",
)
# Last: nothing that the others received came twice.
SCENARIOS = (*CHAT, *READING, *ACCOUNT, "everythingWasShownOnce")


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(js, name):
    js.run(name)


@pytest.fixture(scope="module", params=["stopped", "killed"])
def restarted(request, server):
    """The two users after a restart: by SIGTERM, or by SIGKILL."""
    with JsHost(server) as host:
        host.run("open")
        host.run("remember")
        server.restart(hard=request.param == "killed")
        yield host


@pytest.mark.restarts
@pytest.mark.parametrize("name", ["newClientFindsEverything", "runningClientsGoOn"])
def test_after_restart(restarted, name):
    restarted.run(name)
