"""Client-server API: "User Directory" and "Server Side Search"."""

from client import eventually, ok, room_of, unique


def search(user, term, **body):
    return ok(user.post("/user_directory/search", json={"search_term": term, **body}))


def found(user, term):
    return [result["user_id"] for result in search(user, term)["results"]]


def test_users_of_shared_rooms(alice, bob):
    """POST /user_directory/search: MUST find users in shared rooms, by their localpart."""
    room_of(alice, bob)
    eventually(lambda: bob.user_id in found(alice, bob.localpart))


def test_users_of_public_rooms(alice, bob):
    """POST /user_directory/search: MUST find users in public rooms."""
    bob.create_room(preset="public_chat")
    eventually(lambda: bob.user_id in found(alice, bob.localpart))


def test_by_display_name(alice, bob):
    """POST /user_directory/search: by display name, whatever the case; the answer has it."""
    name = unique("Robert")
    ok(bob.put("/profile/{}/displayname", bob.user_id, json={"displayname": name}))
    room_of(alice, bob)
    eventually(lambda: bob.user_id in found(alice, name.upper()))
    result = next(r for r in search(alice, name)["results"] if r["user_id"] == bob.user_id)
    assert result["display_name"] == name


def test_oneself_is_not_found(alice, bob):
    """POST /user_directory/search: other users are searched for."""
    prefix = alice.localpart[: -len("xxxx")]
    room_of(alice, bob)
    eventually(lambda: alice.user_id in found(bob, prefix))
    assert alice.user_id not in found(alice, prefix)


def test_limit(alice, bob, carol):
    """POST /user_directory/search `limit`: the answer says whether it is `limited`."""
    name = unique("Twin")
    for user in (bob, carol):
        ok(user.put("/profile/{}/displayname", user.user_id, json={"displayname": name}))
        user.create_room(preset="public_chat")
    eventually(lambda: len(found(alice, name)) == 2)
    answer = search(alice, name, limit=1)
    assert (len(answer["results"]), answer["limited"]) == (1, True)


def test_nobody(alice):
    """POST /user_directory/search: `results` and `limited` are required."""
    assert search(alice, unique("nobody")) == {"results": [], "limited": False}
