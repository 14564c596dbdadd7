"""Client-server API: "Content repository"."""

import secrets

import pytest

from client import V1, fails, ok, refused_as_too_large

pytestmark = pytest.mark.hanse_lacks("media")

MEDIA = "/_matrix/media/v3"


def upload(user, data, content_type="text/plain", **params):
    headers = {"Content-Type": content_type}
    return user.post("/upload", content=data, headers=headers, params=params, prefix=MEDIA)


def split(uri):
    """The server name and media id of an mxc URI."""
    assert uri.startswith("mxc://")
    return uri[len("mxc://") :].split("/")


def test_upload_and_download(alice, bob):
    """POST /_matrix/media/v3/upload and GET /_matrix/client/v1/media/download."""
    data = secrets.token_bytes(5000)
    uri = ok(upload(alice, data, "application/octet-stream"))["content_uri"]
    response = bob.get("/media/download/{}/{}", *split(uri), prefix=V1)
    assert response.status_code == 200
    assert response.content == data
    assert response.headers["Content-Type"].startswith("application/octet-stream")


def test_file_name_comes_back(alice):
    """POST .../upload `filename`: in the Content-Disposition of the download."""
    uri = ok(upload(alice, b"text", filename="notes.txt"))["content_uri"]
    response = alice.get("/media/download/{}/{}", *split(uri), prefix=V1)
    assert "notes.txt" in response.headers["Content-Disposition"]
    named = alice.get("/media/download/{}/{}/{}", *split(uri), "other.txt", prefix=V1)
    assert "other.txt" in named.headers["Content-Disposition"]


def test_active_content_is_an_attachment(alice):
    """Section "Serving inline content": unsafe types are attachments, under a strict policy."""
    uri = ok(upload(alice, b"<script></script>", "text/html"))["content_uri"]
    response = alice.get("/media/download/{}/{}", *split(uri), prefix=V1)
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in response.headers["Content-Security-Policy"]


def test_download_needs_a_token(alice, anonymous):
    """GET /_matrix/client/v1/media/download: requires authentication."""
    uri = ok(upload(alice, b"text"))["content_uri"]
    fails(anonymous.get("/media/download/{}/{}", *split(uri), prefix=V1), 401, "M_MISSING_TOKEN")


def test_upload_needs_a_token(anonymous):
    """POST /_matrix/media/v3/upload: requires authentication."""
    fails(upload(anonymous, b"text"), 401, "M_MISSING_TOKEN")


def test_unknown_media(alice):
    """GET /_matrix/client/v1/media/download: 404 M_NOT_FOUND."""
    response = alice.get("/media/download/{}/{}", alice.server_name, "nothing", prefix=V1)
    fails(response, 404, "M_NOT_FOUND")


def test_upload_limit_is_told(alice):
    """GET /_matrix/client/v1/media/config: m.upload.size in bytes."""
    assert ok(alice.get("/media/config", prefix=V1))["m.upload.size"] > 0


def test_upload_over_the_limit(alice):
    """POST /_matrix/media/v3/upload: 413 M_TOO_LARGE above m.upload.size."""
    size = ok(alice.get("/media/config", prefix=V1))["m.upload.size"]
    if size > 100 * 1024 * 1024:
        pytest.fail(f"a limit of {size} bytes is more than this test wants to send")
    refused_as_too_large(lambda: upload(alice, b"x" * (size + 1)))
    assert ok(alice.get("/account/whoami"))


def test_create_then_upload(alice):
    """POST /_matrix/media/v1/create and PUT /_matrix/media/v3/upload/{server}/{id}."""
    uri = ok(alice.post("/create", prefix="/_matrix/media/v1"))["content_uri"]
    fails(
        alice.get("/media/download/{}/{}", *split(uri), prefix=V1, params={"timeout_ms": "10"}),
        504,
        "M_NOT_YET_UPLOADED",
    )
    path = ("/upload/{}/{}", *split(uri))
    ok(alice.put(*path, content=b"late", prefix=MEDIA))
    response = alice.get("/media/download/{}/{}", *split(uri), prefix=V1)
    assert response.content == b"late"
    fails(alice.put(*path, content=b"again", prefix=MEDIA), 409, "M_CANNOT_OVERWRITE_MEDIA")
