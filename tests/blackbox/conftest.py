"""One server for the whole session (shared by all xdist workers), fresh users per test."""

import httpx
import pytest

from client import Client, register
from pods import Pods
from servers import TARGETS, default_target, start_server

REQUEST_TIMEOUT_S = 60
# Synapse has `use_state_after` of v1.16 behind the switch of its proposal.
UNSTABLE_NAMES = {
    "synapse": {name: f"org.matrix.msc4222.{name}" for name in ("use_state_after", "state_after")}
}
COUNTED = ("passed", "failed", "error", "xfailed", "skipped")


def pytest_addoption(parser):
    parser.addoption("--target", choices=TARGETS, help="server under test (or env TARGET)")
    parser.addoption(
        "--server-url",
        help="test a server that runs already, at this base URL; several, separated by commas, "
        "are processes of one server: each user goes to another one",
    )


def pytest_configure(config):
    config.target = config.getoption("--target") or default_target()
    Client.unstable_names = UNSTABLE_NAMES.get(config.target, {})
    config.addinivalue_line(
        "markers",
        "synapse_differs(text): Synapse fails this; the text is the specification's",
    )
    config.addinivalue_line(
        "markers",
        "hanse_lacks(what): Hanse fails this, because that part is not there yet",
    )


def pytest_collection_modifyitems(config, items):
    """What is known to fail on a target must fail there: one that passes is an error."""
    known = {"synapse": "synapse_differs", "hanse": "hanse_lacks"}[config.target]
    for item in items:
        marker = item.get_closest_marker(known)
        if marker:
            item.add_marker(pytest.mark.xfail(reason=marker.args[0], strict=True))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    """Starts the server once: in the xdist controller, or in the only process."""
    config = session.config
    if hasattr(config, "workerinput"):
        config.base_url = config.workerinput["base_url"]
    elif config.getoption("--server-url"):
        config.base_url = config.getoption("--server-url").rstrip("/")
    elif not config.option.collectonly:
        config.server_context = start_server(config.target)
        config.base_url = config.server_context.__enter__().base_url


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    node.workerinput["base_url"] = node.config.base_url


def pytest_sessionfinish(session):
    context = getattr(session.config, "server_context", None)
    if context is not None:
        context.__exit__(None, None, None)


def pytest_terminal_summary(terminalreporter, config):
    stats = terminalreporter.stats
    counts = {name: len(stats.get(name, ())) for name in COUNTED}
    line = ", ".join(f"{count} {name}" for name, count in counts.items())
    terminalreporter.write_line(f"blackbox on {config.target}: {line}")


@pytest.fixture(scope="session")
def target(request):
    """The name of the server under test."""
    return request.config.target


@pytest.fixture(scope="session")
def http(request):
    """A connection pool to the server, without credentials."""
    first, *others = request.config.base_url.split(",")
    transport = Pods([first, *others]) if others else None
    limits = httpx.Limits(max_connections=20)
    with httpx.Client(
        base_url=first, timeout=REQUEST_TIMEOUT_S, limits=limits, transport=transport
    ) as pool:
        yield pool


@pytest.fixture
def anonymous(http):
    """A client without an access token."""
    return Client(http)


@pytest.fixture
def alice(http):
    return register(http, "alice")


@pytest.fixture
def bob(http):
    return register(http, "bob")


@pytest.fixture
def carol(http):
    return register(http, "carol")
