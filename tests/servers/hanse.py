"""Hanse as a child process: `hanse serve` with every role on the embedded store."""

import os
from pathlib import Path

from .process import Server, free_port, running

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_BINARY = REPOSITORY / "target" / "release" / "hanse"

# A test run is one address that asks for thousands of accounts.
UNLIMITED = {"HANSE_RATE_LIMITS__ENABLED": "false"}


def hanse_binary():
    """The binary under test: `HANSE_BIN`, else the release build of this checkout."""
    return os.environ.get("HANSE_BIN", str(DEFAULT_BINARY))


def start_hanse(
    data_dir=None,
    port=None,
    server_name="localhost",
    binary=None,
    registration="open",
    config=None,
    extra_args=(),
    env=None,
):
    """A context manager that yields a running Hanse `Server`.

    `config` is the text of a `hanse.toml`; `env` is added to the environment.
    """

    def make(directory):
        config_args = _write_config(directory, config)

        def command(server):
            return [
                binary or hanse_binary(),
                "serve",
                "--listen",
                f"127.0.0.1:{server.port}",
                "--data",
                str(directory / "data"),
                "--server-name",
                server_name,
                "--registration",
                registration,
                *config_args,
                *extra_args,
            ]

        child_env = {**os.environ, **UNLIMITED, **(env or {})}
        return Server("hanse", command, directory, port or free_port(), server_name, child_env)

    return running(make, data_dir)


def _write_config(directory, config):
    if config is None:
        return []
    path = directory / "hanse.toml"
    path.write_text(config)
    return ["--config", str(path)]
