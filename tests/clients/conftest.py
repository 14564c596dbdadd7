"""Fixtures for the real clients: a homeserver, and two users in one room on it.

`TARGET=hanse|synapse` chooses the server (see `tests/servers`).
"""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from js_host import JsHost  # noqa: E402
from nio_world import open_world  # noqa: E402
from servers import default_target, start_server  # noqa: E402

PHASES = ("fresh", "restarted")
OPTIONS = {
    # Synapse repeats its answer to the same initial sync for two minutes; a second
    # client on the same token must be answered as of now.
    "synapse": {"overrides": {"caches": {"sync_response_cache_duration": "0s"}}},
}


@pytest.fixture(scope="session")
def server():
    """A homeserver of its own for this run; tests may restart it in place."""
    with start_server(**OPTIONS.get(default_target(), {})) as running:
        yield running


@pytest.fixture(scope="module", params=PHASES)
def world(request, server):
    """matrix-nio's two users in one room, before or after a restart of the server.

    In the phase `restarted` the clients sync on through the restart, with the
    tokens and the sync position they had before.
    """
    with open_world(server) as opened:
        if request.param == "restarted":
            opened.restart_server()
        yield opened


@pytest.fixture(scope="module", params=PHASES)
def js(request, server):
    """A Node process with matrix-js-sdk's two users in one room, as `world`."""
    with JsHost(server) as host:
        host.run("open")
        if request.param == "restarted":
            host.run("remember")
            server.restart()
        yield host
