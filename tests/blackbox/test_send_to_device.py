"""Client-server API: "Send-to-Device messaging"."""

import pytest

from client import fails, ok, refused_as_too_large, uia, unique

KIND = "org.example.ping"
differs = pytest.mark.synapse_differs(
    '"M_BAD_JSON: Request contained valid JSON, but it was malformed in some way"'
)


def try_send(client, messages, kind=KIND, txn=None):
    path = "/sendToDevice/{}/{}"
    return client.put(path, kind, txn or unique("txn"), json={"messages": messages})


def send(client, user, device_id="*", n=0, txn=None):
    return ok(try_send(client, {user.user_id: {device_id: {"n": n}}}, txn=txn))


def events(answer):
    return answer.get("to_device", {}).get("events", [])


def numbers(answer):
    return [event["content"]["n"] for event in events(answer) if event["type"] == KIND]


def receive(client, count, since=None):
    """A sync answer with at least so many messages."""
    return client.sync_when(lambda answer: len(numbers(answer)) >= count, since)


def test_a_message_arrives(alice, bob):
    """PUT /sendToDevice/{eventType}/{txnId}: `type`, `sender`, `content` in `to_device.events`."""
    assert send(alice, bob, bob.device_id, n=7) == {}
    answer = receive(bob, 1)
    assert [event for event in events(answer) if event["type"] == KIND] == [
        {"type": KIND, "sender": alice.user_id, "content": {"n": 7}}
    ]


def test_it_is_for_one_device(alice, bob):
    """`messages`: "A map from user ID, to a map from device ID to message body"."""
    other = bob.login_again()
    send(alice, bob, bob.device_id, n=1)
    send(alice, bob, other.device_id, n=2)
    assert numbers(receive(bob, 1)) == [1]
    assert numbers(receive(other, 1)) == [2]


def test_a_message_to_all_devices(alice, bob):
    """"The device ID may also be `*`, meaning all known devices for the user"."""
    other = bob.login_again()
    send(alice, bob, "*", n=3)
    assert numbers(receive(bob, 1)) == [3]
    assert numbers(receive(other, 1)) == [3]


def test_a_message_to_oneself(alice):
    """The recipient may be the sender's own other device."""
    other = alice.login_again()
    send(alice, alice, other.device_id, n=4)
    assert numbers(receive(other, 1)) == [4]
    assert numbers(alice.sync()) == []


def test_several_users_at_once(alice, bob, carol):
    """`messages` may name several users; each gets their own."""
    messages = {
        bob.user_id: {bob.device_id: {"n": 1}},
        carol.user_id: {carol.device_id: {"n": 2}},
    }
    ok(try_send(alice, messages))
    assert numbers(receive(bob, 1)) == [1]
    assert numbers(receive(carol, 1)) == [2]


def test_messages_come_in_order(alice, bob):
    """GET /sync, `to_device`: "in the order they were received"."""
    for n in range(10):
        send(alice, bob, bob.device_id, n=n)
    assert numbers(receive(bob, 10)) == list(range(10))


def test_they_are_given_until_acknowledged(alice, bob):
    """"Once a client … calls `/sync` with the token, the server should delete" them; before, never."""
    since = bob.sync()["next_batch"]
    send(alice, bob, bob.device_id, n=1)
    first = receive(bob, 1, since)
    assert numbers(bob.sync(since)) == [1]
    assert numbers(bob.sync(first["next_batch"])) == []
    assert numbers(bob.sync(first["next_batch"])) == []


def test_each_comes_exactly_once(alice, bob):
    """With each token used once, no message is lost and none comes twice."""
    since = bob.sync()["next_batch"]
    seen = []
    for n in range(30):
        send(alice, bob, bob.device_id, n=n)
        if n % 4 == 0:
            answer = bob.sync(since)
            seen += numbers(answer)
            since = answer["next_batch"]
    while len(seen) < 30:
        answer = receive(bob, 1, since)
        seen += numbers(answer)
        since = answer["next_batch"]
    assert seen == list(range(30))
    assert numbers(bob.sync(since)) == []


def test_many_come_in_pages(alice, bob):
    """"Servers should limit the number of messages … to 100"; the rest follows."""
    for n in range(130):
        send(alice, bob, bob.device_id, n=n)
    answer = receive(bob, 100)
    seen = numbers(answer)
    assert seen == list(range(100))
    while len(seen) < 130:
        answer = receive(bob, 1, answer["next_batch"])
        assert len(numbers(answer)) <= 100
        seen += numbers(answer)
    assert seen == list(range(130))


def test_a_repeated_transaction_sends_once(alice, bob):
    """`txnId`: "It will be used by the server to ensure idempotency of requests"."""
    txn = unique("txn")
    for n in (1, 1, 1):
        send(alice, bob, bob.device_id, n=n, txn=txn)
    send(alice, bob, bob.device_id, n=2)
    assert numbers(receive(bob, 2)) == [1, 2]


def test_transactions_of_two_devices_are_apart(alice, bob):
    """Transaction ids are "unique … within the same session"."""
    other = alice.login_again()
    txn = unique("txn")
    send(alice, bob, bob.device_id, n=1, txn=txn)
    send(other, bob, bob.device_id, n=2, txn=txn)
    assert sorted(numbers(receive(bob, 2))) == [1, 2]


def test_a_sync_that_waits_is_woken(alice, bob):
    """GET /sync with a timeout returns when a message to the device comes."""
    since = bob.sync()["next_batch"]
    send(alice, bob, bob.device_id, n=1)
    answer = bob.sync(since, timeout=20_000)
    assert numbers(answer) == [1]


def test_the_unknown_is_no_failure(alice, bob):
    """Users and devices that do not exist get nothing, and the others get theirs."""
    nobody = f"@nobody-{bob.localpart}:{bob.server_name}"
    messages = {
        nobody: {"*": {"n": 1}},
        bob.user_id: {"NOSUCH": {"n": 2}, bob.device_id: {"n": 3}},
    }
    ok(try_send(alice, messages))
    assert numbers(receive(bob, 1)) == [3]


def test_a_later_device_gets_no_earlier_messages(alice, bob):
    """`*`: "all known devices": not those that come later."""
    send(alice, bob, "*", n=1)
    receive(bob, 1)
    later = bob.login_again()
    send(alice, bob, "*", n=2)
    assert numbers(receive(later, 1)) == [2]


def test_messages_go_with_their_device(alice, bob):
    """A device of the same name as one that was logged out finds none of its messages."""
    send(alice, bob, bob.device_id, n=1)
    ok(bob.post("/logout"))
    again = bob.login_again(device_id=bob.device_id)
    send(alice, again, again.device_id, n=2)
    assert numbers(receive(again, 1)) == [2]


@pytest.mark.parametrize(
    "body",
    [
        {},
        pytest.param({"messages": []}, marks=differs),
        pytest.param({"messages": {"@a:b": []}}, marks=differs),
        pytest.param({"messages": {"@a:b": {"D": "x"}}}, marks=differs),
    ],
)
def test_nonsense_is_refused(alice, body):
    """`messages` is required: a map of maps of contents."""
    errcodes = {"M_BAD_JSON", "M_MISSING_PARAM", "M_INVALID_PARAM"}
    fails(alice.put("/sendToDevice/{}/{}", KIND, unique("txn"), json=body), 400, errcodes)


def test_a_message_may_be_as_large_as_an_event(alice, bob):
    """Contents of the size that keys need arrive whole."""
    content = {"n": 1, "filler": "x" * 20_000}
    ok(try_send(alice, {bob.user_id: {bob.device_id: content}}))
    (event,) = [event for event in events(receive(bob, 1)) if event["type"] == KIND]
    assert event["content"] == content


def test_a_large_request_arrives_whole(alice, bob):
    """Many messages in one request: each arrives, once."""
    others = [bob.login_again() for _ in range(8)]
    content = {"n": 1, "filler": "x" * 20_000}
    txn = unique("txn")
    for _ in range(2):
        messages = {bob.user_id: {other.device_id: content for other in others}}
        ok(try_send(alice, messages, txn=txn))
    send(alice, bob, "*", n=2)
    for other in others:
        assert numbers(receive(other, 2)) == [1, 2]


def test_a_huge_message_is_refused(alice, bob):
    """A body that is too large is refused, and nothing of it is sent."""
    huge = {bob.user_id: {bob.device_id: {"n": 1, "filler": "x" * 60_000_000}}}
    refused_as_too_large(lambda: try_send(alice, huge))
    send(alice, bob, bob.device_id, n=2)
    assert numbers(receive(bob, 1)) == [2]


def test_it_needs_a_session(anonymous):
    """PUT /sendToDevice requires authentication."""
    fails(try_send(anonymous, {}), 401, "M_MISSING_TOKEN")


def test_other_devices_do_not_acknowledge(alice, bob):
    """A device's messages wait for that device, whatever others do."""
    other = bob.login_again()
    send(alice, bob, "*", n=1)
    answer = receive(bob, 1)
    assert numbers(bob.sync(answer["next_batch"])) == []
    assert numbers(receive(other, 1)) == [1]


def test_deleting_a_device_leaves_the_others(alice, bob):
    """DELETE /devices/{deviceId} takes that device's messages alone."""
    other = bob.login_again()
    send(alice, bob, "*", n=1)
    response = uia(
        lambda extra: bob.delete("/devices/{}", other.device_id, json=extra),
        lambda session: bob.password_auth(session=session),
    )
    ok(response)
    assert numbers(receive(bob, 1)) == [1]
