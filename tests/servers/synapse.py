"""Synapse as a child process: SQLite, cheap passwords, no rate limits, no federation."""

import base64
import json
import secrets
import sys

from .process import Server, free_port, running

UNLIMITED = {"per_second": 1_000_000, "burst_count": 1_000_000}

LOG_CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
}


def start_synapse(data_dir=None, port=None, server_name="localhost", overrides=None):
    """A context manager that yields a running Synapse `Server`.

    `overrides` replaces top-level keys of `homeserver.yaml`.
    """

    def make(directory):
        chosen = port or free_port()
        path = _write_files(directory, chosen, server_name, overrides or {})

        def command(_server):
            return [sys.executable, "-m", "synapse.app.homeserver", "-c", str(path)]

        return Server("synapse", command, directory, chosen, server_name)

    return running(make, data_dir)


def _write_files(directory, port, server_name, overrides):
    path = directory / "homeserver.yaml"
    if path.exists():
        return path
    seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    (directory / "signing.key").write_text(f"ed25519 a_test {seed}\n")
    # JSON is YAML: no YAML writer is needed.
    (directory / "log.yaml").write_text(json.dumps(LOG_CONFIG))
    config = {**_config(directory, port, server_name), **overrides}
    path.write_text(json.dumps(config, indent=2))
    return path


def _config(directory, port, server_name):
    return {
        "server_name": server_name,
        "public_baseurl": f"http://127.0.0.1:{port}/",
        "report_stats": False,
        "listeners": [_listener(port)],
        "database": {"name": "sqlite3", "args": {"database": str(directory / "homeserver.db")}},
        "media_store_path": str(directory / "media"),
        "signing_key_path": str(directory / "signing.key"),
        "pid_file": str(directory / "homeserver.pid"),
        "log_config": str(directory / "log.yaml"),
        "trusted_key_servers": [],
        "macaroon_secret_key": secrets.token_hex(16),
        "form_secret": secrets.token_hex(16),
        "registration_shared_secret": secrets.token_hex(16),
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "bcrypt_rounds": 4,
        "presence": {"enabled": False},
        # Dehydrated devices; `use_state_after` of /sync.
        "experimental_features": {"msc3814_enabled": True, "msc4222_enabled": True},
        "url_preview_enabled": False,
        # Spec: GET /publicRooms takes no access token, and anyone may be listed.
        "allow_public_rooms_without_auth": True,
        "room_list_publication_rules": [{"action": "allow"}],
        # Past the default of 5 at once, deferred work waits up to a minute.
        "task_scheduler": {"max_concurrent_tasks": 200},
        # The tests repeat a sync until an effect is there: answer each one afresh.
        "caches": {"sync_response_cache_duration": "0s"},
        **_no_rate_limits(),
    }


def _listener(port):
    return {
        "port": port,
        "type": "http",
        "tls": False,
        "bind_addresses": ["127.0.0.1"],
        "resources": [{"names": ["client"], "compress": False}],
    }


def _no_rate_limits():
    return {
        "rc_message": UNLIMITED,
        "rc_registration": UNLIMITED,
        "rc_registration_token_validity": UNLIMITED,
        "rc_login": {"address": UNLIMITED, "account": UNLIMITED, "failed_attempts": UNLIMITED},
        "rc_admin_redaction": UNLIMITED,
        "rc_joins": {"local": UNLIMITED, "remote": UNLIMITED},
        "rc_joins_per_room": UNLIMITED,
        "rc_invites": {"per_room": UNLIMITED, "per_user": UNLIMITED, "per_issuer": UNLIMITED},
        "rc_3pid_validation": UNLIMITED,
        "rc_media_create": UNLIMITED,
        "rc_key_requests": UNLIMITED,
        "rc_third_party_invite": UNLIMITED,
        "rc_presence": {"per_user": UNLIMITED},
        "rc_delayed_event_mgmt": UNLIMITED,
        "rc_reports": UNLIMITED,
        "rc_room_creation": UNLIMITED,
        "rc_user_directory": UNLIMITED,
    }
