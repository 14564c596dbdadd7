"""A thin client: one method per thing that many tests do, and checks of answers.

Paths are templates as the specification writes them; arguments are percent-encoded:
`alice.get("/rooms/{}/state/{}/{}", room, "m.room.name", "")`.
"""

import itertools
import json
import secrets
import time
from urllib.parse import quote

import httpx

V3 = "/_matrix/client/v3"
V1 = "/_matrix/client/v1"
PASSWORD = "correct horse battery staple"
WAIT_S = 15
# Synapse defers some work to a queue that it looks at once a minute.
DEFERRED_WAIT_S = 75
RETRY_S = 0.1

_transactions = itertools.count()


def ok(response):
    """The JSON body of a 200; anything else fails the test with the answer's text."""
    assert response.status_code == 200, f"{response.status_code} {response.text[:500]}"
    return response.json()


def fails(response, status, errcode):
    """Checks a standard error response; `status` and `errcode` may be sets."""
    statuses = status if isinstance(status, (set, tuple)) else {status}
    errcodes = errcode if isinstance(errcode, (set, tuple)) else {errcode}
    assert response.status_code in statuses, f"{response.status_code} {response.text[:500]}"
    body = response.json()
    assert body.get("errcode") in errcodes, body
    assert isinstance(body.get("error"), str), body
    return body


def refused_as_too_large(request):
    """Runs a request with a huge body: 413 M_TOO_LARGE, or cut off before it was all sent."""
    try:
        fails(request(), 413, "M_TOO_LARGE")
    except httpx.TransportError:
        pass


def unique(prefix):
    """A name that no other test uses, valid as a localpart, alias or transaction id."""
    return f"{prefix}-{secrets.token_hex(6)}"


def eventually(check, seconds=WAIT_S):
    """Calls `check` until it returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        assert time.monotonic() < deadline, f"still {result!r} after {seconds} s"
        time.sleep(RETRY_S)


class Client:
    """A session: HTTP verbs on `/_matrix/client/v3`, and shorthands."""

    # For a server that knows a parameter or a key of /sync by the name of its proposal only: that name.
    unstable_names = {}

    def __init__(self, http, account=None, password=None):
        account = account or {}
        self.http = http
        self.account = account
        self.token = account.get("access_token")
        self.user_id = account.get("user_id")
        self.device_id = account.get("device_id")
        self.password = password

    # HTTP

    def call(self, method, path, *args, prefix=V3, **options):
        """One request; `options` go to httpx (`json`, `params`, `content`, `headers`)."""
        url = prefix + path.format(*(quote(str(arg), safe="") for arg in args))
        headers = dict(options.pop("headers", {}))
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        return self.http.request(method, url, headers=headers, **options)

    def get(self, path, *args, **options):
        return self.call("GET", path, *args, **options)

    def post(self, path, *args, **options):
        if "content" not in options:
            options.setdefault("json", {})
        return self.call("POST", path, *args, **options)

    def put(self, path, *args, **options):
        if "content" not in options:
            options.setdefault("json", {})
        return self.call("PUT", path, *args, **options)

    def delete(self, path, *args, **options):
        return self.call("DELETE", path, *args, **options)

    # Account

    @property
    def localpart(self):
        return self.user_id[1:].split(":", 1)[0]

    @property
    def server_name(self):
        return self.user_id.split(":", 1)[1]

    def password_auth(self, password=None, session=None):
        """An `m.login.password` stage for user-interactive authentication."""
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.user_id},
            "password": password or self.password,
        }
        return auth | ({"session": session} if session else {})

    def login_again(self, **extra):
        """A second session of the same user, on another device."""
        return login(self.http, self.user_id, self.password, **extra)

    # Rooms

    def create_room(self, **body):
        return ok(self.post("/createRoom", json=body))["room_id"]

    def join(self, room):
        return ok(self.post("/join/{}", room))["room_id"]

    def leave(self, room):
        return ok(self.post("/rooms/{}/leave", room))

    def invite(self, room, user):
        return ok(self.post("/rooms/{}/invite", room, json={"user_id": user.user_id}))

    def kick(self, room, user):
        return ok(self.post("/rooms/{}/kick", room, json={"user_id": user.user_id}))

    def ban(self, room, user):
        return ok(self.post("/rooms/{}/ban", room, json={"user_id": user.user_id}))

    def try_send(self, room, content, kind="m.room.message", txn=None):
        txn = txn or f"txn{next(_transactions)}"
        return self.put("/rooms/{}/send/{}/{}", room, kind, txn, json=content)

    def send(self, room, content="hello", kind="m.room.message", txn=None):
        """Sends an event, or a text message if `content` is a string; its event id."""
        if isinstance(content, str):
            content = {"msgtype": "m.text", "body": content}
        return ok(self.try_send(room, content, kind, txn))["event_id"]

    def try_set_state(self, room, kind, content, key=""):
        return self.put("/rooms/{}/state/{}/{}", room, kind, key, json=content)

    def set_state(self, room, kind, content, key=""):
        return ok(self.try_set_state(room, kind, content, key))["event_id"]

    def state(self, room, kind, key=""):
        """The content of a state event."""
        return ok(self.get("/rooms/{}/state/{}/{}", room, kind, key))

    def membership(self, room, user):
        return self.state(room, "m.room.member", user.user_id)["membership"]

    def event(self, room, event_id):
        return ok(self.get("/rooms/{}/event/{}", room, event_id))

    def redact(self, room, event_id, **body):
        txn = f"txn{next(_transactions)}"
        return ok(self.put("/rooms/{}/redact/{}/{}", room, event_id, txn, json=body))["event_id"]

    def messages(self, room, direction="b", **params):
        params = _query({"dir": direction, **params})
        return ok(self.get("/rooms/{}/messages", room, params=params))

    # Sync

    def sync(self, since=None, timeout=0, **params):
        """One `/sync`; `filter` may be a dictionary."""
        params = {self.unstable_names.get(name, name): value for name, value in params.items()}
        query = _query({"since": since, "timeout": timeout, **params})
        stable = {unstable: name for name, unstable in self.unstable_names.items()}
        return _renamed(ok(self.get("/sync", params=query)), stable)

    def sync_when(self, check, since=None, wait_s=WAIT_S, **params):
        """Repeats the same sync request until `check(answer)` holds; that answer."""

        def attempt():
            answer = self.sync(since, **params)
            return answer if check(answer) else None

        return eventually(attempt, wait_s)

    def sync_with(self, room, event_id, since=None, **params):
        """A sync answer whose joined room's timeline has the event, and that room's part."""
        answer = self.sync_when(has_event(room, event_id), since, **params)
        return answer, answer["rooms"]["join"][room]

    def token_after(self, room, event_id):
        """A since token that covers the event (it was in the timeline)."""
        return self.sync_with(room, event_id)[0]["next_batch"]


def _renamed(answer, names):
    """The answer with the keys of its rooms' parts renamed."""
    if names:
        for rooms in answer.get("rooms", {}).values():
            for room, part in rooms.items():
                rooms[room] = {names.get(key, key): value for key, value in part.items()}
    return answer


def _query(params):
    encoded = {}
    for key, value in params.items():
        if value is None:
            continue
        if isinstance(value, dict):
            value = json.dumps(value)
        encoded[key] = str(value).lower() if isinstance(value, bool) else value
    return encoded


def uia(request, auth):
    """Runs `request(body_extra)` through one user-interactive stage: 401, then `auth(session)`."""
    challenge = request({})
    assert challenge.status_code == 401, challenge.text
    return request({"auth": auth(challenge.json().get("session"))})


def register(http, name="user", password=PASSWORD, **body):
    """A fresh account with one session, through the `m.login.dummy` stage."""
    client = Client(http)
    account = {"username": unique(name), "password": password, **body}
    response = uia(
        lambda extra: client.post("/register", json=account | extra),
        lambda session: {"type": "m.login.dummy", "session": session},
    )
    return Client(http, ok(response), password)


def try_login(http, user, password, **extra):
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": password,
        **extra,
    }
    return Client(http).post("/login", json=body)


def login(http, user, password, **extra):
    return Client(http, ok(try_login(http, user, password, **extra)), password)


def room_of(*users, preset="private_chat", **body):
    """A room created by the first user, which the others were invited to and joined."""
    creator, *others = users
    invite = [user.user_id for user in others]
    room = creator.create_room(preset=preset, invite=invite, **body)
    for user in others:
        user.join(room)
    return room


# What a sync answer holds


def joined(sync, room):
    return sync.get("rooms", {}).get("join", {}).get(room)


def invited(sync, room):
    return sync.get("rooms", {}).get("invite", {}).get(room)


def left(sync, room):
    return sync.get("rooms", {}).get("leave", {}).get(room)


def timeline(part):
    return (part or {}).get("timeline", {}).get("events", [])


def state_of(part):
    return (part or {}).get("state", {}).get("events", [])


def event_ids(events):
    return [event["event_id"] for event in events]


def bodies(events):
    """The text of the messages among the events, in their order."""
    return [e["content"].get("body") for e in events if e["type"] == "m.room.message"]


def find(events, kind, key=None):
    """The last event of a type (and state key), or None."""
    matches = [
        e for e in events if e["type"] == kind and (key is None or e.get("state_key") == key)
    ]
    return matches[-1] if matches else None


def sync_limit(n):
    """A filter for timelines of at most n events."""
    return {"room": {"timeline": {"limit": n}}}


def has_event(room, event_id):
    return lambda sync: event_id in event_ids(timeline(joined(sync, room)))


def has_joined(room):
    return lambda sync: joined(sync, room) is not None


def has_left(room):
    return lambda sync: left(sync, room) is not None


def has_invite(room):
    return lambda sync: invited(sync, room) is not None


def ephemeral(part, kind):
    """The content of the last ephemeral event of a type in a joined room's part, or None."""
    event = find((part or {}).get("ephemeral", {}).get("events", []), kind)
    return event and event["content"]


def account_data(part, kind):
    """The content of an account data event in a sync answer or a room's part, or None."""
    event = find((part or {}).get("account_data", {}).get("events", []), kind)
    return event and event["content"]
