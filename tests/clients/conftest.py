"""Fixtures for the real clients: a homeserver, and two users in one room on it.

`TARGET=hanse|synapse` chooses the server (see `tests/servers`), `--server-url` one that runs
already: then what restarts the server (marker `restarts`) is deselected. `--matrix-sdk` names the
program of `rust/`, without which what needs it (marker `matrix_sdk`) is deselected.
"""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from js_host import JsHost  # noqa: E402
from nio_world import open_world  # noqa: E402
from servers import RunningServer, default_target, start_server  # noqa: E402

PHASES = ("fresh", pytest.param("restarted", marks=pytest.mark.restarts))
OPTIONS = {
    # Synapse repeats its answer to the same initial sync for two minutes; a second
    # client on the same token must be answered as of now.
    "synapse": {"overrides": {"caches": {"sync_response_cache_duration": "0s"}}},
}


def pytest_addoption(parser):
    parser.addoption(
        "--server-url",
        help="a server that runs already, at this base URL; several, separated by commas, are "
        "processes of one server: each user goes to another one",
    )
    parser.addoption("--matrix-sdk", metavar="PROGRAM", help="`rust/`, as it was built")


def pytest_configure(config):
    config.addinivalue_line("markers", "restarts: restarts the server, so it must be the run's own")
    config.addinivalue_line("markers", "matrix_sdk: runs the program of `rust/`, so it must be built")


def left_out(config):
    """The markers of what this run cannot do, each with the reason."""
    if config.getoption("--server-url"):
        yield "restarts", "the server is not the run's own"
    if not config.getoption("--matrix-sdk"):
        yield "matrix_sdk", "no program is named; `cargo xtask matrix-sdk` builds and runs it"


def pytest_collection_modifyitems(config, items):
    """Nobody restarts a server that is not the run's own, or waits for a build without asking."""
    for marker, _ in left_out(config):
        out = [item for item in items if item.get_closest_marker(marker)]
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


def pytest_terminal_summary(terminalreporter, config):
    for marker, why in left_out(config):
        terminalreporter.write_line(f"left out, as {why}: -m {marker}")


@pytest.fixture(scope="session")
def server(request):
    """A homeserver of its own for this run, which tests may restart in place, or one that runs."""
    urls = request.config.getoption("--server-url")
    if urls:
        yield RunningServer([url.rstrip("/") for url in urls.split(",")])
        return
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
