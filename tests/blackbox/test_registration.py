"""Client-server API: "Account registration" and "User-interactive authentication API"."""

import pytest

from client import Client, PASSWORD, fails, ok, register, unique


def challenge_of(http, **body):
    """The 401 that starts a registration."""
    body = {"username": unique("reg"), "password": PASSWORD, **body}
    response = Client(http).post("/register", json=body)
    assert response.status_code == 401, response.text
    return body, response.json()


def test_first_request_offers_flows_and_a_session(anonymous):
    """UIA: the 401 carries `flows`, each with `stages`, `params` and a `session`."""
    response = anonymous.post("/register", json={"username": unique("u"), "password": PASSWORD})
    assert response.status_code == 401
    body = response.json()
    assert ["m.login.dummy"] in [flow["stages"] for flow in body["flows"]]
    assert isinstance(body["session"], str)
    assert isinstance(body.get("params", {}), dict)


def test_dummy_stage_completes_registration(http):
    """POST /register: access_token, device_id and user_id after the `m.login.dummy` stage."""
    user = register(http, "fresh")
    whoami = ok(user.get("/account/whoami"))
    assert whoami["user_id"] == user.user_id
    assert whoami["device_id"] == user.device_id


def test_parameters_may_be_left_to_the_session(http):
    """UIA: the client submits `auth` with the session, and the body again."""
    body, challenge = challenge_of(http)
    auth = {"type": "m.login.dummy", "session": challenge["session"]}
    account = ok(Client(http).post("/register", json={**body, "auth": auth}))
    assert account["user_id"].startswith("@" + body["username"] + ":")


def test_unknown_session_is_refused(http):
    """UIA: `session` must be one that the server gave."""
    body, _ = challenge_of(http)
    auth = {"type": "m.login.dummy", "session": "never-given"}
    response = Client(http).post("/register", json={**body, "auth": auth})
    assert response.status_code in {400, 401, 403}
    assert "access_token" not in response.json()


def test_unknown_stage_is_refused(http):
    """UIA: a stage that is in no flow does not complete one."""
    body, challenge = challenge_of(http)
    auth = {"type": "m.login.nonsense", "session": challenge["session"]}
    response = Client(http).post("/register", json={**body, "auth": auth})
    assert response.status_code in {400, 401, 403}
    assert "access_token" not in response.json()


def test_username_in_use(http, alice):
    """POST /register: 400 M_USER_IN_USE, before any stage."""
    body = {"username": alice.localpart, "password": PASSWORD}
    fails(Client(http).post("/register", json=body), 400, "M_USER_IN_USE")


@pytest.mark.parametrize("name", ["white space", "emoji😀", "a:b", "@at", "sl\\ash", "perc%ent"])
def test_invalid_username(http, name):
    """POST /register: 400 M_INVALID_USERNAME for what the user id grammar forbids."""
    body = {"username": name, "password": PASSWORD}
    fails(Client(http).post("/register", json=body), 400, "M_INVALID_USERNAME")


def test_username_that_makes_too_long_an_id(http):
    """Section "User identifiers": an id must not exceed 255 bytes."""
    body = {"username": "a" * 250 + unique("x"), "password": PASSWORD}
    fails(Client(http).post("/register", json=body), 400, "M_INVALID_USERNAME")


@pytest.mark.parametrize("special", ["dot.", "under_", "dash-", "eq=", "slash/", "plus+"])
def test_every_allowed_character_in_a_username(http, special):
    """Section "User identifiers": a-z 0-9 . _ = - / + are allowed in a localpart."""
    user = register(http, "x" + special)
    assert special in user.localpart


def test_upper_case_is_folded_or_refused(http):
    """Section "User identifiers": localparts are lower case; a server never makes another."""
    name = unique("Upper")
    body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    response = Client(http).post("/register", json=body)
    if response.status_code == 401:
        body["auth"]["session"] = response.json()["session"]
        response = Client(http).post("/register", json=body)
    if response.status_code == 200:
        assert response.json()["user_id"].split(":")[0] == "@" + name.lower()
    else:
        fails(response, 400, "M_INVALID_USERNAME")


def test_username_is_chosen_when_none_is_given(http):
    """POST /register `username`: if omitted, the server MUST generate a localpart."""
    client = Client(http)
    session = client.post("/register", json={"password": PASSWORD}).json()["session"]
    auth = {"type": "m.login.dummy", "session": session}
    account = ok(client.post("/register", json={"password": PASSWORD, "auth": auth}))
    assert len(account["user_id"].split(":")[0]) > 1


def test_inhibit_login_gives_no_token(http):
    """POST /register `inhibit_login`: no access_token and no device_id in the answer."""
    account = register(http, inhibit_login=True).account
    assert "access_token" not in account
    assert "device_id" not in account


def test_device_id_is_taken(http):
    """POST /register: `device_id` and `initial_device_display_name` describe the session."""
    user = register(http, device_id="FIRST", initial_device_display_name="laptop")
    assert user.device_id == "FIRST"
    assert ok(user.get("/devices/FIRST"))["display_name"] == "laptop"


def test_unknown_kind(anonymous):
    """POST /register `kind`: one of guest, user."""
    response = anonymous.post("/register", params={"kind": "martian"}, json={"password": PASSWORD})
    assert response.status_code in {400, 403}


def test_available_username(anonymous):
    """GET /register/available: 200 and `available: true`."""
    answer = ok(anonymous.get("/register/available", params={"username": unique("free")}))
    assert answer["available"] is True


def test_username_that_is_taken_is_not_available(anonymous, alice):
    """GET /register/available: 400 M_USER_IN_USE."""
    response = anonymous.get("/register/available", params={"username": alice.localpart})
    fails(response, 400, "M_USER_IN_USE")


def test_invalid_username_is_not_available(anonymous):
    """GET /register/available: 400 M_INVALID_USERNAME."""
    response = anonymous.get("/register/available", params={"username": "white space"})
    fails(response, 400, "M_INVALID_USERNAME")


def test_failed_registration_leaves_the_name_free(http):
    """A registration that stops at its 401 takes no name."""
    body, _ = challenge_of(http)
    answer = Client(http).get("/register/available", params={"username": body["username"]})
    assert ok(answer)["available"] is True
