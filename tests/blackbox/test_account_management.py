"""Client-server API: "Account management": password, deactivation, 3PIDs, OpenID."""

from client import DEFERRED_WAIT_S, Client, eventually, fails, login, ok, room_of, try_login, uia


def change_password(user, new, **body):
    return uia(
        lambda extra: user.post("/account/password", json={"new_password": new, **body} | extra),
        lambda session: user.password_auth(session=session),
    )


def deactivate(user, **body):
    return uia(
        lambda extra: user.post("/account/deactivate", json=body | extra),
        lambda session: user.password_auth(session=session),
    )


def test_password_change_asks_for_authentication(alice):
    """POST /account/password: UIA."""
    response = alice.post("/account/password", json={"new_password": "a new one 12"})
    assert response.status_code == 401
    assert response.json()["flows"]


def test_password_change(http, alice):
    """POST /account/password: the new password works and the old one does not."""
    ok(change_password(alice, "a new one 12"))
    fails(try_login(http, alice.user_id, alice.password), 403, "M_FORBIDDEN")
    assert login(http, alice.user_id, "a new one 12").user_id == alice.user_id


def test_password_change_ends_other_sessions(alice):
    """POST /account/password: `logout_devices` is true by default; this session stays."""
    other = alice.login_again()
    ok(change_password(alice, "a new one 12"))
    fails(other.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")
    assert ok(alice.get("/account/whoami"))["user_id"] == alice.user_id


def test_password_change_may_keep_other_sessions(alice):
    """POST /account/password with `logout_devices: false`."""
    other = alice.login_again()
    ok(change_password(alice, "a new one 12", logout_devices=False))
    assert ok(other.get("/account/whoami"))["user_id"] == alice.user_id


def test_password_change_with_a_wrong_password(http, alice):
    """POST /account/password: a failed stage changes nothing."""
    response = uia(
        lambda extra: alice.post("/account/password", json={"new_password": "x" * 12} | extra),
        lambda session: alice.password_auth("wrong", session),
    )
    fails(response, 401, "M_FORBIDDEN")
    assert login(http, alice.user_id, alice.password)


def test_deactivate_asks_for_authentication(alice):
    """POST /account/deactivate: UIA; nothing happens before it."""
    assert alice.post("/account/deactivate").status_code == 401
    assert ok(alice.get("/account/whoami"))


def test_deactivate_ends_the_account(http, alice):
    """POST /account/deactivate: id_server_unbind_result is required; no login after it."""
    assert ok(deactivate(alice))["id_server_unbind_result"] in {"success", "no-support"}
    fails(alice.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")
    fails(
        try_login(http, alice.user_id, alice.password), 403, {"M_FORBIDDEN", "M_USER_DEACTIVATED"}
    )


def test_deactivated_name_stays_taken(http, alice):
    """POST /account/deactivate: the id is not given to somebody else."""
    ok(deactivate(alice))
    body = {"username": alice.localpart, "password": "whatever 12"}
    fails(Client(http).post("/register", json=body), 400, {"M_USER_IN_USE", "M_EXCLUSIVE"})


def test_deactivated_user_leaves_rooms(alice, bob):
    """POST /account/deactivate: others see the user leave the rooms."""
    room = room_of(bob, alice)
    ok(deactivate(alice))
    eventually(lambda: bob.membership(room, alice) == "leave", DEFERRED_WAIT_S)


def test_deactivate_one_user_only(alice, bob):
    """POST /account/deactivate is about the calling user."""
    ok(deactivate(alice))
    assert ok(bob.get("/account/whoami"))


def test_no_third_party_ids_at_first(alice):
    """GET /account/3pid: `threepids`, empty for a new account."""
    assert ok(alice.get("/account/3pid"))["threepids"] == []


def test_openid_token(alice):
    """POST /user/{userId}/openid/request_token: a token for a third party."""
    body = ok(alice.post("/user/{}/openid/request_token", alice.user_id))
    assert body["access_token"] != alice.token
    assert body["token_type"] == "Bearer"
    assert body["matrix_server_name"] == alice.server_name
    assert body["expires_in"] > 0


def test_openid_token_is_no_access_token(http, alice):
    """Section "OpenID": the token identifies a user and gives no access."""
    body = ok(alice.post("/user/{}/openid/request_token", alice.user_id))
    fails(Client(http, body).get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")


def test_openid_token_for_somebody_else(alice, bob):
    """POST /user/{userId}/openid/request_token: only for the caller."""
    fails(alice.post("/user/{}/openid/request_token", bob.user_id), 403, "M_FORBIDDEN")
