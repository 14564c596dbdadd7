"""Client-server API: "Push Notifications": rules, and the counts that they lead to."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from client import account_data, fails, joined, ok, room_of, unique

RULE = "/pushrules/global/{}/{}"

DEFAULT_RULES = [
    ("override", ".m.rule.master"),
    ("override", ".m.rule.suppress_notices"),
    ("override", ".m.rule.invite_for_me"),
    ("override", ".m.rule.member_event"),
    ("override", ".m.rule.is_user_mention"),
    ("override", ".m.rule.is_room_mention"),
    ("override", ".m.rule.tombstone"),
    ("override", ".m.rule.reaction"),
    ("override", ".m.rule.suppress_edits"),
    ("underride", ".m.rule.call"),
    ("underride", ".m.rule.encrypted_room_one_to_one"),
    ("underride", ".m.rule.room_one_to_one"),
    ("underride", ".m.rule.message"),
    ("underride", ".m.rule.encrypted"),
]


def ruleset(user):
    return ok(user.get("/pushrules/"))["global"]


def find_rule(user, kind, rule_id):
    return next((rule for rule in ruleset(user)[kind] if rule["rule_id"] == rule_id), None)


@pytest.mark.parametrize("kind, rule_id", DEFAULT_RULES)
def test_default_rules(alice, kind, rule_id):
    """Section "Predefined Rules": the rule exists, by default, and is enabled but for the master."""
    rule = find_rule(alice, kind, rule_id)
    assert rule["default"] is True
    assert rule["enabled"] is (rule_id != ".m.rule.master")
    assert isinstance(rule["actions"], list)


def test_kinds(alice):
    """GET /pushrules/: override, content, room, sender and underride."""
    assert {"override", "content", "room", "sender", "underride"} <= set(ruleset(alice))


def test_master_comes_first(alice):
    """Section "Predefined Rules": .m.rule.master is the first override rule."""
    assert ruleset(alice)["override"][0]["rule_id"] == ".m.rule.master"


def test_global_scope(alice):
    """GET /pushrules/global/: the global rules alone."""
    assert ok(alice.get("/pushrules/global/")) == ruleset(alice)


def test_one_rule(alice):
    """GET /pushrules/global/{kind}/{ruleId}: one rule."""
    rule = ok(alice.get(RULE, "underride", ".m.rule.message"))
    assert rule == find_rule(alice, "underride", ".m.rule.message")


@pytest.mark.parametrize("suffix", ["", "/enabled", "/actions"])
def test_unknown_rule(alice, suffix):
    """GET /pushrules/global/{kind}/{ruleId}: 404 M_NOT_FOUND."""
    fails(alice.get(RULE + suffix, "override", "nothing"), 404, "M_NOT_FOUND")


NEW_RULES = [
    ("override", {"conditions": [{"kind": "event_match", "key": "type", "pattern": "org.x"}]}),
    ("underride", {"conditions": []}),
    ("content", {"pattern": "cake*lie"}),
    ("sender", {}),
    ("room", {}),
]


@pytest.mark.parametrize("kind, extra", NEW_RULES, ids=[kind for kind, _ in NEW_RULES])
def test_add_and_delete(alice, bob, kind, extra):
    """PUT and DELETE /pushrules/global/{kind}/{ruleId}: for each kind."""
    names = {"sender": bob.user_id, "room": alice.create_room()}
    rule_id = names.get(kind, "my-rule")
    ok(alice.put(RULE, kind, rule_id, json={"actions": ["notify"], **extra}))
    rule = ok(alice.get(RULE, kind, rule_id))
    assert (rule["rule_id"], rule["actions"]) == (rule_id, ["notify"])
    assert (rule["default"], rule["enabled"]) == (False, True)
    assert all(rule[key] == value for key, value in extra.items())
    ok(alice.delete(RULE, kind, rule_id))
    fails(alice.get(RULE, kind, rule_id), 404, "M_NOT_FOUND")


def test_rules_that_are_added_at_the_same_time(alice):
    """PUT /pushrules/global/{kind}/{ruleId}: what was acknowledged is there, whatever came with it."""
    names = [f"rule-{number}" for number in range(8)]
    body = {"actions": [], "pattern": "cake"}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: ok(alice.put(RULE, "content", name, json=body)), names))
    assert all(find_rule(alice, "content", name) for name in names)


def test_replace(alice):
    """PUT /pushrules/global/{kind}/{ruleId}: an existing rule is replaced."""
    for pattern in ("one", "two"):
        ok(alice.put(RULE, "content", "mine", json={"actions": [], "pattern": pattern}))
    assert ok(alice.get(RULE, "content", "mine"))["pattern"] == "two"
    mine = [rule for rule in ruleset(alice)["content"] if rule["rule_id"] == "mine"]
    assert len(mine) == 1


def test_order(alice):
    """PUT /pushrules `before` and `after`: where a rule goes among the user's own."""

    def put(name, **params):
        ok(alice.put(RULE, "content", name, json={"actions": [], "pattern": name}, params=params))

    put("b")
    put("a", before="b")
    put("c", after="b")
    mine = [rule["rule_id"] for rule in ruleset(alice)["content"] if not rule["default"]]
    assert mine == ["a", "b", "c"]


BAD_RULES = [
    ("override", "x", {"conditions": []}),
    ("content", "x", {"actions": ["notify"]}),
    ("nonsense", "x", {"actions": ["notify"]}),
    ("override", "x", {"actions": "notify", "conditions": []}),
    ("override", ".m.rule.mine", {"actions": ["notify"], "conditions": []}),
]


@pytest.mark.parametrize("kind, rule_id, body", BAD_RULES, ids=str)
def test_bad_rules(alice, kind, rule_id, body):
    """PUT /pushrules: 400 (404 for an unknown kind) "a problem configuring this push rule"."""
    response = alice.put(RULE, kind, rule_id, json=body)
    assert response.status_code in {400, 404}, response.text
    assert response.json()["errcode"].startswith("M_")


@pytest.mark.parametrize("enabled", [False, True])
def test_enable(alice, enabled):
    """PUT and GET .../enabled, for a predefined rule."""
    path = (RULE + "/enabled", "override", ".m.rule.suppress_notices")
    ok(alice.put(*path, json={"enabled": enabled}))
    assert ok(alice.get(*path)) == {"enabled": enabled}


def test_actions(alice):
    """PUT and GET .../actions: of a predefined rule; it keeps its conditions."""
    path = (RULE + "/actions", "underride", ".m.rule.message")
    actions = ["notify", {"set_tweak": "sound", "value": "bing"}]
    ok(alice.put(*path, json={"actions": actions}))
    assert ok(alice.get(*path)) == {"actions": actions}
    rule = find_rule(alice, "underride", ".m.rule.message")
    assert (rule["actions"], rule["default"]) == (actions, True)


def test_predefined_rules_stay(alice):
    """DELETE /pushrules: predefined rules cannot be deleted."""
    response = alice.delete(RULE, "override", ".m.rule.master")
    assert response.status_code in {400, 403, 404}
    assert find_rule(alice, "override", ".m.rule.master")


def test_delete_of_nothing(alice):
    """DELETE /pushrules: 404 M_NOT_FOUND."""
    fails(alice.delete(RULE, "override", "nothing"), 404, "M_NOT_FOUND")


def test_rules_are_account_data(alice):
    """Section "Push Rules: Events": m.push_rules in the global account data of a first sync."""
    content = account_data(
        alice.sync_when(lambda s: account_data(s, "m.push_rules")), "m.push_rules"
    )
    assert {rule["rule_id"] for rule in content["global"]["underride"]} >= {".m.rule.message"}


def test_changes_reach_sync(alice):
    """Section "Push Rules: Events": a change brings the m.push_rules event again."""
    since = alice.sync_when(lambda s: account_data(s, "m.push_rules"))["next_batch"]
    ok(alice.put(RULE, "content", "mine", json={"actions": [], "pattern": "cake"}))

    def mine(sync):
        rules = (account_data(sync, "m.push_rules") or {"global": {"content": []}})["global"]
        return [rule for rule in rules["content"] if rule["rule_id"] == "mine"]

    alice.sync_when(mine, since)


# Counts in sync


@pytest.fixture
def group(alice, bob, carol):
    """A room of three, so that the one-to-one rules do not apply; all of it is read."""
    room = room_of(alice, bob, carol)
    read(bob, room, alice.send(room, "start"))
    return room


def read(user, room, event_id, **body):
    ok(user.post("/rooms/{}/receipt/m.read/{}", room, event_id, json=body))


def counts(sync, room):
    numbers = (joined(sync, room) or {}).get("unread_notifications", {})
    return numbers.get("notification_count"), numbers.get("highlight_count")


def await_counts(user, room, expected):
    user.sync_when(lambda sync: counts(sync, room) == expected)


def test_messages_count(alice, bob, group):
    """GET /sync `unread_notifications`: one for each message of others since the receipt."""
    await_counts(bob, group, (0, 0))
    for n in range(3):
        alice.send(group, f"m{n}")
    await_counts(bob, group, (3, 0))


def test_receipt_clears_the_counts(alice, bob, group):
    """Section "Receiving notifications": a read receipt resets the counts."""
    first, second = alice.send(group, "1"), alice.send(group, "2")
    await_counts(bob, group, (2, 0))
    read(bob, group, first)
    await_counts(bob, group, (1, 0))
    read(bob, group, second)
    await_counts(bob, group, (0, 0))


def test_private_receipt_clears_the_counts(alice, bob, group):
    """m.read.private: "intended to clear notifications" as m.read does."""
    event_id = alice.send(group)
    await_counts(bob, group, (1, 0))
    ok(bob.post("/rooms/{}/receipt/m.read.private/{}", group, event_id))
    await_counts(bob, group, (0, 0))


def test_own_messages_do_not_count(alice, bob, group):
    """Section "Receiving notifications": one is not notified of one's own events."""
    alice.send(group, "hello")
    await_counts(bob, group, (1, 0))
    sync, _ = bob.sync_with(group, bob.send(group, "hello yourself"))
    assert counts(sync, group) in {(0, 0), (1, 0)}


def test_notices_do_not_count(alice, bob, group):
    """.m.rule.suppress_notices: m.notice messages do not notify."""
    alice.send(group, {"msgtype": "m.notice", "body": "beep"})
    alice.send(group, "counted")
    await_counts(bob, group, (1, 0))


def test_state_does_not_count(alice, bob, group):
    """Section "Predefined Rules": no rule notifies of a change of the topic."""
    alice.set_state(group, "m.room.topic", {"topic": "quiet"})
    alice.send(group, "counted")
    await_counts(bob, group, (1, 0))


def test_mention_highlights(alice, bob, group):
    """.m.rule.is_user_mention: m.mentions with the user's id."""
    mentions = {"user_ids": [bob.user_id]}
    alice.send(group, {"msgtype": "m.text", "body": "you!", "m.mentions": mentions})
    await_counts(bob, group, (1, 1))


def test_mention_of_somebody_else(alice, bob, carol, group):
    """.m.rule.is_user_mention: others are not highlighted."""
    mentions = {"user_ids": [carol.user_id]}
    alice.send(group, {"msgtype": "m.text", "body": f"not {bob.localpart}", "m.mentions": mentions})
    await_counts(bob, group, (1, 0))


def test_room_mention_needs_power(alice, bob, carol, group):
    """.m.rule.is_room_mention: the sender needs the level `notifications.room`."""
    content = {"msgtype": "m.text", "body": "all", "m.mentions": {"room": True}}
    carol.send(group, content)
    await_counts(bob, group, (1, 0))
    alice.send(group, content)
    await_counts(bob, group, (2, 1))


def test_keyword_highlights(alice, bob, group):
    """Content rules: a glob that is matched against whole words of the body."""
    actions = ["notify", {"set_tweak": "highlight"}]
    ok(bob.put(RULE, "content", "cake", json={"actions": actions, "pattern": "cake"}))
    alice.send(group, "pancakes")
    await_counts(bob, group, (1, 0))
    alice.send(group, "the CAKE, please")
    await_counts(bob, group, (2, 1))


def test_muted_room(alice, bob, group):
    """Room rules without `notify`: the room's messages do not count."""
    ok(bob.put(RULE, "room", group, json={"actions": []}))
    alice.send(group, "unheard")
    mentions = {"user_ids": [bob.user_id]}
    alice.send(group, {"msgtype": "m.text", "body": "you", "m.mentions": mentions})
    await_counts(bob, group, (1, 1))


def test_master_rule_mutes_all(alice, bob, group):
    """.m.rule.master: once enabled, nothing notifies."""
    ok(bob.put(RULE + "/enabled", "override", ".m.rule.master", json={"enabled": True}))
    last = alice.send(group, f"hey {bob.localpart}")
    sync, _ = bob.sync_with(group, last)
    assert counts(sync, group) == (0, 0)


def test_counts_per_thread(alice, bob, group):
    """`unread_thread_notifications`: with a filter that asks for them, threads count apart."""
    root = alice.send(group, "root")
    relation = {"rel_type": "m.thread", "event_id": root}
    alice.send(group, {"msgtype": "m.text", "body": "reply", "m.relates_to": relation})
    per_thread = {"room": {"timeline": {"unread_thread_notifications": True}}}

    def both(sync):
        threads = (joined(sync, group) or {}).get("unread_thread_notifications", {})
        return (
            counts(sync, group) == (1, 0) and threads.get(root, {}).get("notification_count") == 1
        )

    bob.sync_when(both, filter=per_thread)


def test_threads_count_for_the_room_unless_asked(alice, bob, group):
    """`unread_notifications`: without that filter, the room's counts have the threads, too."""
    root = alice.send(group, "root")
    relation = {"rel_type": "m.thread", "event_id": root}
    alice.send(group, {"msgtype": "m.text", "body": "reply", "m.relates_to": relation})
    await_counts(bob, group, (2, 0))


def test_no_pushers_at_first(alice):
    """GET /pushers: an empty list."""
    assert ok(alice.get("/pushers"))["pushers"] == []


@pytest.mark.hanse_lacks("GET /notifications")
def test_notifications_list(alice, bob, group):
    """GET /notifications: events that the user was notified of."""
    body = unique("notify")
    alice.send(group, body)
    await_counts(bob, group, (1, 0))
    answer = ok(bob.get("/notifications"))
    assert body in [n["event"]["content"].get("body") for n in answer["notifications"]]
