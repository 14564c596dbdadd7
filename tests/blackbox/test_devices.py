"""Client-server API: "Device Management"."""

from client import fails, ok, uia


def device_ids(user):
    return {device["device_id"] for device in ok(user.get("/devices"))["devices"]}


def test_list_holds_every_session(alice):
    """GET /devices: all of the user's devices."""
    other = alice.login_again()
    assert device_ids(alice) == {alice.device_id, other.device_id}


def test_get_one(alice):
    """GET /devices/{deviceId}: device_id is required."""
    assert ok(alice.get("/devices/{}", alice.device_id))["device_id"] == alice.device_id


def test_unknown_device(alice):
    """GET /devices/{deviceId}: 404 if the user has no such device."""
    fails(alice.get("/devices/NOSUCH"), 404, "M_NOT_FOUND")


def test_devices_of_others_are_unknown(alice, bob):
    """GET and PUT /devices/{deviceId}: only the caller's own devices exist."""
    fails(alice.get("/devices/{}", bob.device_id), 404, "M_NOT_FOUND")
    fails(
        alice.put("/devices/{}", bob.device_id, json={"display_name": "mine"}), 404, "M_NOT_FOUND"
    )


def test_rename(alice):
    """PUT /devices/{deviceId}: sets the display name."""
    ok(alice.put("/devices/{}", alice.device_id, json={"display_name": "kitchen tablet"}))
    device = ok(alice.get("/devices/{}", alice.device_id))
    assert device["display_name"] == "kitchen tablet"


def test_rename_with_nothing_changes_nothing(alice):
    """PUT /devices/{deviceId}: "If not given, the display name is unchanged"."""
    ok(alice.put("/devices/{}", alice.device_id, json={"display_name": "stays"}))
    ok(alice.put("/devices/{}", alice.device_id, json={}))
    assert ok(alice.get("/devices/{}", alice.device_id))["display_name"] == "stays"


def test_rename_of_an_unknown_device(alice):
    """PUT /devices/{deviceId}: 404 if the user has no such device."""
    fails(alice.put("/devices/NOSUCH", json={"display_name": "x"}), 404, "M_NOT_FOUND")


def test_delete_asks_for_authentication(alice):
    """DELETE /devices/{deviceId}: UIA, 401 with flows and a session."""
    other = alice.login_again()
    response = alice.call("DELETE", "/devices/{}", other.device_id, json={})
    assert response.status_code == 401
    assert ["m.login.password"] in [flow["stages"] for flow in response.json()["flows"]]
    assert other.device_id in device_ids(alice)


def test_delete_ends_the_device_and_its_token(alice):
    """DELETE /devices/{deviceId}: "Deletes the given device, and invalidates any access token"."""
    other = alice.login_again()
    response = uia(
        lambda extra: alice.delete("/devices/{}", other.device_id, json=extra),
        lambda session: alice.password_auth(session=session),
    )
    assert ok(response) == {}
    assert device_ids(alice) == {alice.device_id}
    fails(other.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")


def test_delete_with_a_wrong_password(alice):
    """UIA: a failed stage is a 401 with the error, and the flows to try again."""
    other = alice.login_again()
    response = uia(
        lambda extra: alice.delete("/devices/{}", other.device_id, json=extra),
        lambda session: alice.password_auth("wrong", session),
    )
    body = fails(response, 401, "M_FORBIDDEN")
    assert body["flows"] and body["session"]
    assert other.device_id in device_ids(alice)


def test_delete_with_another_users_password(alice, bob):
    """UIA: the stage must be completed by the user who makes the request."""
    other = alice.login_again()
    response = uia(
        lambda extra: alice.delete("/devices/{}", other.device_id, json=extra),
        lambda session: bob.password_auth(session=session),
    )
    fails(response, 403, {"M_FORBIDDEN", "M_UNKNOWN"})
    assert other.device_id in device_ids(alice)


def test_delete_several(alice):
    """POST /delete_devices: ends all listed devices at once."""
    others = [alice.login_again() for _ in range(2)]
    names = [other.device_id for other in others]
    response = uia(
        lambda extra: alice.post("/delete_devices", json={"devices": names} | extra),
        lambda session: alice.password_auth(session=session),
    )
    ok(response)
    assert device_ids(alice) == {alice.device_id}
    for other in others:
        fails(other.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")


def test_delete_several_needs_a_list(alice):
    """POST /delete_devices: `devices` is required."""
    fails(alice.post("/delete_devices", json={}), 400, {"M_MISSING_PARAM", "M_BAD_JSON"})
