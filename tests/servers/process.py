"""One homeserver child process: start, wait until it answers, stop, kill, restart."""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import httpx

READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
POLL_S = 0.1
LOG_TAIL_CHARS = 4000


class ServerDied(RuntimeError):
    """The child ended, or never answered; the message carries the end of its log."""


def free_port():
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_parent():
    """A prefix that has the kernel end the child when this process is killed.

    The kernel watches the thread that starts the child, so only for the main thread.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or threading.current_thread() is not threading.main_thread():
        return []
    return [setpriv, "--pdeathsig", "KILL", "--"]


class Server:
    """A homeserver process over one data directory; it keeps its port over restarts.

    `command` is called with the server and returns the argument list, so that a
    restart picks up changed options.
    """

    def __init__(self, name, command, data_dir, port, server_name="localhost", env=None):
        self.name = name
        self.data_dir = Path(data_dir)
        self.port = port
        self.server_name = server_name
        self.base_url = f"http://127.0.0.1:{port}"
        self.base_urls = [self.base_url]
        self.log_path = self.data_dir / "server.log"
        self._command = command
        self._env = env
        self._process = None

    @property
    def pid(self):
        """The child's process id, or None while it is not running."""
        return self._process.pid if self.is_running() else None

    def is_running(self):
        return self._process is not None and self._process.poll() is None

    def start(self):
        """Starts the child and returns once it answers; raises `ServerDied`."""
        if self.is_running():
            return self
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                [*_die_with_parent(), *self._command(self)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data_dir,
                env=self._env,
            )
        self._wait_ready()
        return self

    def stop(self):
        """SIGTERM, then SIGKILL if it has not ended in time; returns the exit code."""
        return self._signal(signal.SIGTERM)

    def kill(self):
        """SIGKILL: what a power cut leaves behind, apart from the page cache."""
        return self._signal(signal.SIGKILL)

    def restart(self, hard=False):
        """Stops (or kills) and starts again on the same data and port."""
        self.kill() if hard else self.stop()
        return self.start()

    def log_tail(self):
        if not self.log_path.exists():
            return ""
        return self.log_path.read_text(errors="replace")[-LOG_TAIL_CHARS:]

    def _signal(self, number):
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait(STOP_TIMEOUT_S)

    def _wait_ready(self):
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.is_running():
                raise ServerDied(f"{self.name} ended at start:\n{self.log_tail()}")
            if self._answers():
                return
            time.sleep(POLL_S)
        self.kill()
        raise ServerDied(f"{self.name} did not answer in time:\n{self.log_tail()}")

    def _answers(self):
        with contextlib.suppress(httpx.HTTPError):
            url = f"{self.base_url}/_matrix/client/versions"
            return httpx.get(url, timeout=2).status_code == 200
        return False


@contextlib.contextmanager
def running(make_server, data_dir=None):
    """Runs `make_server(data_dir)` in a fresh directory unless one is given.

    A given directory is kept; a fresh one is removed at the end.
    """
    directory = Path(data_dir or tempfile.mkdtemp(prefix="homeserver-"))
    directory.mkdir(parents=True, exist_ok=True)
    server = None
    try:
        server = make_server(directory)
        yield server.start()
    finally:
        if server is not None:
            server.stop()
        if data_dir is None:
            shutil.rmtree(directory, ignore_errors=True)
