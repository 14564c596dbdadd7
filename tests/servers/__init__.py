"""Start a homeserver as a child process for tests: Hanse or Synapse.

    from servers import start_server
    with start_server("synapse") as server:
        print(server.base_url)
        server.kill()      # kill -9
        server.start()     # same data, same port

`start_server(target)` picks by name; `start_hanse(...)` and `start_synapse(...)`
take each server's own options. All are context managers: they use a fresh
directory and a free loopback port, wait until `/_matrix/client/versions` answers,
and stop the child by its own pid at the end.
"""

import os

from .hanse import start_hanse
from .process import Server, ServerDied
from .running import RunningServer
from .synapse import start_synapse

TARGETS = ("hanse", "synapse")


def default_target():
    """The server under test when none is named: `TARGET`, else Hanse."""
    return os.environ.get("TARGET", "hanse")


def start_server(target=None, **options):
    """A context manager that yields a running `Server` of the named kind."""
    starters = {"hanse": start_hanse, "synapse": start_synapse}
    name = target or default_target()
    if name not in starters:
        raise ValueError(f"unknown target {name!r}: one of {', '.join(TARGETS)}")
    return starters[name](**options)


__all__ = [
    "TARGETS",
    "RunningServer",
    "Server",
    "ServerDied",
    "default_target",
    "start_hanse",
    "start_server",
    "start_synapse",
]
