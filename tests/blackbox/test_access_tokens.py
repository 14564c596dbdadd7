"""Client-server API: "Using access tokens", "Refreshing access tokens", "Soft logout", "Logout"."""

import pytest

from client import Client, fails, login, ok, room_of

NEEDS_TOKEN = [
    ("GET", "/account/whoami"),
    ("GET", "/sync"),
    ("GET", "/devices"),
    ("GET", "/joined_rooms"),
    ("GET", "/pushrules/"),
    ("GET", "/account/3pid"),
    ("GET", "/rooms/!x:localhost/messages?dir=b"),
    ("GET", "/rooms/!x:localhost/state"),
    ("GET", "/user/@x:localhost/account_data/a.type"),
    ("PUT", "/rooms/!x:localhost/send/m.room.message/1"),
    ("PUT", "/rooms/!x:localhost/typing/@x:localhost"),
    ("PUT", "/profile/@x:localhost/displayname"),
    ("POST", "/createRoom"),
    ("POST", "/join/!x:localhost"),
    ("POST", "/logout"),
    ("POST", "/logout/all"),
    ("POST", "/user_directory/search"),
]


@pytest.mark.parametrize("method, path", NEEDS_TOKEN)
def test_missing_token(anonymous, method, path):
    """Section "Using access tokens": 401 M_MISSING_TOKEN "No access token was specified"."""
    body = None if method == "GET" else {}
    fails(anonymous.call(method, path, json=body), 401, "M_MISSING_TOKEN")


@pytest.mark.parametrize("method, path", NEEDS_TOKEN)
def test_unknown_token(http, method, path):
    """Section "Using access tokens": 401 M_UNKNOWN_TOKEN for a token that was never given."""
    body = None if method == "GET" else {}
    stranger = Client(http, {"access_token": "never-given"})
    answer = fails(stranger.call(method, path, json=body), 401, "M_UNKNOWN_TOKEN")
    assert not answer.get("soft_logout", False)


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic YTpi", "nonsense"])
def test_malformed_authorization(anonymous, header):
    """Section "Using access tokens": anything but `Bearer <token>` is no token."""
    response = anonymous.get("/account/whoami", headers={"Authorization": header.strip() or "x"})
    fails(response, 401, {"M_MISSING_TOKEN", "M_UNKNOWN_TOKEN"})


def test_truncated_token(http, alice):
    """A token cut by its last character is unknown."""
    fails(
        Client(http, {"access_token": alice.token[:-1]}).get("/account/whoami"),
        401,
        "M_UNKNOWN_TOKEN",
    )


def test_whoami(alice):
    """GET /account/whoami: the owner of the token, the device, and no guest."""
    body = ok(alice.get("/account/whoami"))
    assert (body["user_id"], body["device_id"]) == (alice.user_id, alice.device_id)
    assert not body.get("is_guest", False)


def test_logout_ends_the_token_and_the_device(alice):
    """POST /logout: the token no longer works and its device is deleted."""
    other = alice.login_again()
    ok(other.post("/logout"))
    fails(other.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")
    fails(alice.get("/devices/{}", other.device_id), 404, "M_NOT_FOUND")
    assert ok(alice.get("/account/whoami"))


def test_logout_all_ends_every_token(alice):
    """POST /logout/all: invalidates all of the user's tokens, this one included."""
    other = alice.login_again()
    ok(alice.post("/logout/all"))
    for session in (alice, other):
        fails(session.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")


def test_logout_all_touches_no_other_user(alice, bob):
    """POST /logout/all is about the calling user only."""
    ok(alice.post("/logout/all"))
    assert ok(bob.get("/account/whoami"))["user_id"] == bob.user_id


def test_login_works_after_logout(http, alice):
    """POST /login after POST /logout: rooms are still there."""
    room = alice.create_room()
    ok(alice.post("/logout"))
    again = login(http, alice.user_id, alice.password)
    assert room in ok(again.get("/joined_rooms"))["joined_rooms"]


def test_no_refresh_token_unless_asked(alice):
    """POST /login `refresh_token`: "If true, the client supports refresh tokens"."""
    assert "refresh_token" not in alice.login_again().account


def test_login_with_refresh_token(alice):
    """POST /login with `refresh_token: true`: gives one, with the lifetime in milliseconds."""
    account = alice.login_again(refresh_token=True).account
    assert account["refresh_token"]
    assert account.get("expires_in_ms", 1) > 0


def test_refresh_gives_a_new_access_token(http, alice):
    """POST /refresh: a new token for the same user and device."""
    session = alice.login_again(refresh_token=True)
    body = ok(
        Client(http).post("/refresh", json={"refresh_token": session.account["refresh_token"]})
    )
    assert body["access_token"] != session.token
    whoami = ok(Client(http, body).get("/account/whoami"))
    assert (whoami["user_id"], whoami["device_id"]) == (alice.user_id, session.device_id)


def test_using_the_new_token_ends_the_old_refresh_token(http, alice):
    """Section "Refreshing access tokens": the old one is revoked once the new access token is used."""
    session = alice.login_again(refresh_token=True)
    old = {"refresh_token": session.account["refresh_token"]}
    new = ok(Client(http).post("/refresh", json=old))
    ok(Client(http, new).get("/account/whoami"))
    assert Client(http).post("/refresh", json=old).status_code in {401, 403}


def test_refresh_may_be_repeated_until_the_new_token_is_used(http, alice):
    """Section "Refreshing access tokens": a client that lost the answer can ask again."""
    session = alice.login_again(refresh_token=True)
    old = {"refresh_token": session.account["refresh_token"]}
    ok(Client(http).post("/refresh", json=old))
    again = ok(Client(http).post("/refresh", json=old))
    assert ok(Client(http, again).get("/account/whoami"))["user_id"] == alice.user_id


def test_chain_of_refreshes(http, alice):
    """POST /refresh: the answer's own refresh_token works for the next one."""
    account = alice.login_again(refresh_token=True).account
    for _ in range(3):
        answer = ok(Client(http).post("/refresh", json={"refresh_token": account["refresh_token"]}))
        account = {**account, **answer}
    assert ok(Client(http, account).get("/account/whoami"))["user_id"] == alice.user_id


@pytest.mark.parametrize("token", ["never-given", "syr_x_y_z", ""])
def test_unknown_refresh_token(http, token):
    """POST /refresh: 401 M_UNKNOWN_TOKEN for a token that is not a refresh token."""
    response = Client(http).post("/refresh", json={"refresh_token": token})
    fails(response, {401, 403}, {"M_UNKNOWN_TOKEN", "M_FORBIDDEN", "M_INVALID_PARAM"})


def test_refresh_token_is_no_access_token(http, alice):
    """Section "Refreshing access tokens": the two kinds are not interchangeable."""
    session = alice.login_again(refresh_token=True)
    as_access = Client(http, {"access_token": session.account["refresh_token"]})
    fails(as_access.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")
    response = Client(http).post("/refresh", json={"refresh_token": alice.token})
    assert response.status_code in {401, 403}


def test_logout_ends_the_refresh_token(http, alice):
    """POST /logout: the session's refresh token ends with it."""
    session = alice.login_again(refresh_token=True)
    ok(session.post("/logout"))
    response = Client(http).post(
        "/refresh", json={"refresh_token": session.account["refresh_token"]}
    )
    assert response.status_code in {401, 403}


def test_a_token_reaches_only_its_own_users_rooms(alice, bob, carol):
    """Rooms are reached by membership, not by having any token."""
    room = room_of(alice, bob)
    assert room in ok(bob.get("/joined_rooms"))["joined_rooms"]
    fails(carol.get("/rooms/{}/state", room), 403, "M_FORBIDDEN")
