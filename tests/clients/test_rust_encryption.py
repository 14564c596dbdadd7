"""matrix-sdk, the Rust client: encrypted rooms, verified devices, key backup, removed devices.

The assertions are in `rust/src`; each name here is a scenario there, which has users of its own.
`cargo xtask matrix-sdk` builds the program and runs these: the gate does not wait for it.
"""

import contextlib
import subprocess
import tempfile

import pytest

SCENARIOS = (
    "encrypted_both_ways",
    "keys_come_before_their_messages",
    "keys_wait_for_a_device",
    "one_time_keys_are_replaced",
    "newcomers_read_on",
    "who_leaves_gets_no_keys",
    "removed_device_gets_no_keys",
    "second_device_by_recovery_key",
    "second_device_by_emoji",
    "later_keys_are_backed_up",
    "users_verify_each_other",
    "cross_signing_is_replaced",
)
SCENARIO_S = 120

pytestmark = pytest.mark.matrix_sdk


class Scenario:
    """The program that runs one scenario, started with `with`; its end says how it went."""

    def __init__(self, config, server, name):
        self.name = name
        self._command = [config.getoption("--matrix-sdk"), ",".join(server.base_urls), name]

    def __enter__(self):
        self._log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, encoding="utf-8",
        )
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def until_it_asks(self):
        """Waits until it has something done by others; False if it has ended instead."""
        return bool(self._process.stdout.readline())

    def succeed(self):
        """Has it go on, and fails as it failed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate("\n", timeout=SCENARIO_S)
        if self._process.returncode != 0:
            self._log.seek(0)
            why = self._log.read() or f"not within {SCENARIO_S} s"
            # What Python could add is only that it was here.
            pytest.fail(f"{self.name}: {why}", pytrace=False)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(pytestconfig, server, name):
    with Scenario(pytestconfig, server, name) as running:
        running.succeed()


@pytest.mark.restarts
def test_encryption_goes_on_after_a_kill(pytestconfig, server):
    with Scenario(pytestconfig, server, "encryption_goes_on") as running:
        if running.until_it_asks():
            server.restart(hard=True)
        running.succeed()
