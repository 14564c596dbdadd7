"""A Node process that runs matrix-js-sdk scenarios; see `js/host.mjs` for its protocol."""

import contextlib
import json
import queue
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

JS = Path(__file__).resolve().parent / "js"
NODE = JS / "node_modules" / ".bin" / "node"
SCENARIO_S = 120
END_S = 10
LOG_TAIL_CHARS = 4000


class JsHost:
    """Starts with `with`, ends with it; `run` fails as the scenario failed."""

    def __init__(self, server):
        self._base_urls = server.base_urls
        self._answers = queue.Queue(maxsize=1)

    def __enter__(self):
        assert NODE.exists(), f"no Node at {NODE}: run `npm ci --ignore-scripts` in {JS}"
        self._log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [NODE, JS / "host.mjs", *self._base_urls],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            encoding="utf-8", cwd=JS,
        )
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop()
        self._log.close()

    def run(self, scenario, **args):
        """Runs one scenario and returns its value."""
        assert self._process.poll() is None, f"the Node process has ended:\n{self._log_tail()}"
        self._process.stdin.write(json.dumps({"run": scenario, "args": args}) + "\n")
        self._process.stdin.flush()
        try:
            line = self._answers.get(timeout=SCENARIO_S)
        except queue.Empty:
            # An answer that came later would be taken for the next scenario's.
            self._process.kill()
            raise AssertionError(f"{scenario}: nothing in {SCENARIO_S} s") from None
        assert line, f"{scenario}: the Node process has ended:\n{self._log_tail()}"
        answer = json.loads(line)
        if not answer["ok"]:
            # The JavaScript stack says where; Python's would only say that it was here.
            pytest.fail(f"{scenario}: {answer['error']}", pytrace=False)
        return answer["value"]

    def stop(self):
        """Ends the process: by the end of its input, or by force."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_S)

    def _read(self):
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _log_tail(self):
        self._log.seek(0)
        return self._log.read()[-LOG_TAIL_CHARS:]
