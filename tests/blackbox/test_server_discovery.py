"""Client-server API: "Server Discovery", "API versions" and "Capabilities negotiation"."""

import pytest

from client import ok, fails

UNPREFIXED = ""


def test_versions_needs_no_token_and_lists_versions(anonymous):
    """GET /_matrix/client/versions: `versions` is a required list of strings."""
    body = ok(anonymous.get("/_matrix/client/versions", prefix=UNPREFIXED))
    assert "v1.1" in body["versions"]
    assert all(isinstance(version, str) for version in body["versions"])


def test_versions_accepts_a_token(alice):
    """GET /_matrix/client/versions: authentication is optional since v1.10."""
    assert ok(alice.get("/_matrix/client/versions", prefix=UNPREFIXED))["versions"]


def test_unstable_features_are_booleans(anonymous):
    """GET /_matrix/client/versions: `unstable_features` maps names to booleans."""
    body = ok(anonymous.get("/_matrix/client/versions", prefix=UNPREFIXED))
    assert all(isinstance(value, bool) for value in body.get("unstable_features", {}).values())


def test_well_known_names_the_homeserver(anonymous):
    """GET /.well-known/matrix/client: `m.homeserver.base_url`; or 404 where none is set."""
    response = anonymous.get("/.well-known/matrix/client", prefix=UNPREFIXED)
    assert response.status_code in {200, 404}
    if response.status_code == 200:
        assert response.json()["m.homeserver"]["base_url"].startswith("http")


def test_capabilities_name_room_versions(alice):
    """GET /capabilities: `m.room_versions` has a default, which is listed as available."""
    versions = ok(alice.get("/capabilities"))["capabilities"]["m.room_versions"]
    assert versions["default"] in versions["available"]
    assert set(versions["available"].values()) <= {"stable", "unstable"}


def test_capabilities_offer_the_common_room_versions(alice):
    """GET /capabilities: versions 10 and 11 are stable in the specification."""
    versions = ok(alice.get("/capabilities"))["capabilities"]["m.room_versions"]
    assert versions["available"]["10"] == "stable"
    assert versions["available"]["11"] == "stable"


@pytest.mark.parametrize("name", ["m.change_password", "m.set_displayname", "m.set_avatar_url"])
def test_boolean_capabilities_have_enabled(alice, name):
    """Section "Capabilities negotiation": these carry `enabled`."""
    capabilities = ok(alice.get("/capabilities"))["capabilities"]
    assert isinstance(capabilities[name]["enabled"], bool)


def test_capabilities_need_a_token(anonymous):
    """GET /capabilities requires an access token."""
    fails(anonymous.get("/capabilities"), 401, "M_MISSING_TOKEN")
