"""Client-server API: "Login" and "Using access tokens"."""

import pytest

from client import Client, fails, login, ok, register, try_login


def test_flows_include_password(anonymous):
    """GET /login: each flow has a type; passwords are offered."""
    flows = ok(anonymous.get("/login"))["flows"]
    assert "m.login.password" in [flow["type"] for flow in flows]


def test_password_login_gives_a_working_session(http, alice):
    """POST /login: access_token, device_id and user_id are required in the answer."""
    body = ok(try_login(http, alice.user_id, alice.password))
    assert body["user_id"] == alice.user_id
    assert body["device_id"] != alice.device_id
    assert ok(Client(http, body).get("/account/whoami"))["device_id"] == body["device_id"]


@pytest.mark.parametrize("form", ["localpart", "user_id"])
def test_identifier_takes_localpart_or_full_id(http, alice, form):
    """Section "Identifier types", m.id.user: "The fully qualified user ID or just local part"."""
    assert login(http, getattr(alice, form), alice.password).user_id == alice.user_id


def test_deprecated_user_field(http, alice):
    """POST /login: the deprecated top-level `user` still names the account."""
    body = {"type": "m.login.password", "user": alice.localpart, "password": alice.password}
    assert ok(Client(http).post("/login", json=body))["user_id"] == alice.user_id


def test_wrong_password(http, alice):
    """POST /login: 403 M_FORBIDDEN "The provided authentication data was incorrect"."""
    fails(try_login(http, alice.user_id, "wrong"), 403, "M_FORBIDDEN")


def test_unknown_user_looks_like_a_wrong_password(http, alice):
    """POST /login: 403 M_FORBIDDEN for an account that does not exist."""
    fails(try_login(http, alice.localpart + "-nobody", "wrong"), 403, "M_FORBIDDEN")


def test_user_of_another_server(http, alice):
    """POST /login: an id of another server is not an account here."""
    fails(try_login(http, f"@{alice.localpart}:elsewhere.test", alice.password), 403, "M_FORBIDDEN")


def test_unknown_login_type(anonymous):
    """POST /login: 400 "Part of the request was invalid", e.g. an unknown login type."""
    fails(
        anonymous.post("/login", json={"type": "m.login.nonsense"}),
        400,
        {"M_UNKNOWN", "M_UNRECOGNIZED", "M_INVALID_PARAM"},
    )


def test_missing_type(anonymous):
    """POST /login: `type` is required."""
    fails(anonymous.post("/login", json={}), 400, {"M_MISSING_PARAM", "M_BAD_JSON", "M_UNKNOWN"})


def test_the_case_of_the_name_does_not_matter(http, alice):
    """POST /login: a localpart has no upper case; who types one means the same user."""
    user_id = f"@{alice.localpart.upper()}:{alice.server_name}"
    assert login(http, user_id, alice.password).user_id == alice.user_id


def test_device_id_and_display_name_are_taken(alice):
    """POST /login: `device_id` names the device, `initial_device_display_name` its name."""
    session = alice.login_again(device_id="MYDEVICE", initial_device_display_name="my phone")
    assert session.device_id == "MYDEVICE"
    assert ok(session.get("/devices/MYDEVICE"))["display_name"] == "my phone"


def test_login_on_an_existing_device_keeps_one_device(alice):
    """POST /login `device_id`: that of a known device is used again."""
    alice.login_again(device_id="SHARED")
    second = alice.login_again(device_id="SHARED")
    devices = [device["device_id"] for device in ok(second.get("/devices"))["devices"]]
    assert sorted(devices) == sorted([alice.device_id, "SHARED"])


def test_display_name_of_an_existing_device_stays(alice):
    """POST /login: `initial_device_display_name` is ignored for a known device."""
    alice.login_again(device_id="NAMED", initial_device_display_name="first")
    session = alice.login_again(device_id="NAMED", initial_device_display_name="second")
    assert ok(session.get("/devices/NAMED"))["display_name"] == "first"


def test_two_sessions_have_different_tokens(alice):
    """Section "Relationship between access tokens and devices": one token per device."""
    first, second = alice.login_again(), alice.login_again()
    assert first.token != second.token
    assert first.device_id != second.device_id


def test_token_in_the_authorization_header_and_query(http, alice):
    """Section "Using access tokens": Bearer header; the query parameter is deprecated (v1.11)."""
    assert ok(alice.get("/account/whoami"))["user_id"] == alice.user_id
    response = Client(http).get("/account/whoami", params={"access_token": alice.token})
    assert response.status_code in {200, 401}


def test_login_after_registration_without_login(http):
    """POST /register `inhibit_login`, then POST /login with the same password."""
    account = register(http, inhibit_login=True)
    assert account.token is None
    assert login(http, account.user_id, account.password).user_id == account.user_id


def test_oversized_password_is_refused_or_wrong(http, alice):
    """POST /login: a password of 10,000 characters is never accepted and never a 500."""
    response = try_login(http, alice.user_id, "p" * 10_000)
    assert response.status_code in {400, 403, 413}
