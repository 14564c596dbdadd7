// Two users in one room: messages, invites, membership, typing, state, redaction.

import assert from "node:assert/strict";

import { bodies, refused, unique, until } from "../user.mjs";

export const open = (world) => world.open();

export async function messages({ alice, bob, roomId }) {
    const first = await alice.say(roomId, "hello Bob, grüß Gott 🦀");
    const heard = await bob.untilSeen(roomId, first);
    assert.equal(heard.getSender(), alice.id);
    assert.equal(heard.getContent().body, "hello Bob, grüß Gott 🦀");

    const answer = await bob.say(roomId, "hello Alice");
    const back = await alice.untilSeen(roomId, answer);
    assert.equal(back.getSender(), bob.id);
    await bob.untilSeen(roomId, answer);
    const order = bob.live.get(roomId).filter((id) => [first, answer].includes(id));
    assert.deepEqual(order, [first, answer]);
}

export async function localEcho({ alice, bob, roomId }) {
    const eventId = await alice.say(roomId, "an echo");
    await alice.untilSeen(roomId, eventId);
    await until("no pending event", () => alice.room(roomId).getPendingEvents().length === 0);
    const other = await bob.untilSeen(roomId, eventId);
    assert.equal(other.getUnsigned().transaction_id, undefined);
    // The SDK's local echo and the event from sync have become one.
    assert.equal(alice.live.get(roomId).filter((id) => id === eventId).length, 1);
    assert.equal(bodies(alice.room(roomId).getLiveTimeline().getEvents()).at(-1), "an echo");
}

export async function inviteAccepted({ alice, bob }) {
    const { room_id: roomId } = await alice.client.createRoom({ name: "Come in" });
    await alice.client.invite(roomId, bob.id);
    await bob.untilMembership(roomId, "invite");
    assert.equal(bob.room(roomId).name, "Come in");
    assert.equal(bob.room(roomId).getMember(bob.id).events.member.getSender(), alice.id);

    await bob.join(roomId);
    await alice.untilMember(roomId, bob, "join");
    assert.ok((await bob.client.getJoinedRooms()).joined_rooms.includes(roomId));
    const { joined } = await alice.client.getJoinedRoomMembers(roomId);
    assert.deepEqual(Object.keys(joined).sort(), [alice.id, bob.id].sort());
}

export async function inviteRejected({ alice, bob }) {
    const { room_id: roomId } = await alice.client.createRoom({ invite: [bob.id] });
    await bob.untilMembership(roomId, "invite");
    await bob.client.leave(roomId);
    await bob.untilMembership(roomId, "leave");
    await alice.untilMember(roomId, bob, "leave");
    await refused(bob.client.joinRoom(roomId), "M_FORBIDDEN");
}

export async function kickBanUnbanForget(world) {
    const { alice, bob } = world;
    const roomId = await world.newRoom();
    await refused(bob.client.kick(roomId, alice.id), "M_FORBIDDEN");
    await alice.client.kick(roomId, bob.id, "out");
    await bob.untilMembership(roomId, "leave");
    const member = await alice.untilMember(roomId, bob, "leave");
    assert.ok(member.isKicked());
    assert.equal(member.events.member.getContent().reason, "out");

    await alice.client.ban(roomId, bob.id);
    await alice.untilMember(roomId, bob, "ban");
    // The specification says M_FORBIDDEN; Synapse says M_BAD_STATE, with the same 403.
    const banned = await refused(bob.client.joinRoom(roomId), "M_FORBIDDEN", "M_BAD_STATE");
    assert.equal(banned.httpStatus, 403);
    await alice.client.unban(roomId, bob.id);
    await alice.untilMember(roomId, bob, "leave");
    await bob.client.forget(roomId);
    await alice.client.invite(roomId, bob.id);
    await bob.untilMembership(roomId, "invite");
}

export async function typing({ alice, bob, roomId }) {
    for (const [typist, watcher] of [[alice, bob], [bob, alice]]) {
        const isTyping = () => watcher.room(roomId).getMember(typist.id).typing;
        await typist.client.sendTyping(roomId, true, 20_000);
        await until("typing", () => isTyping());
        await typist.client.sendTyping(roomId, false, 0);
        await until("typing stopped", () => !isTyping());
    }
}

export async function state({ alice, bob, roomId }) {
    const topic = unique();
    const { event_id: eventId } = await alice.client.setRoomTopic(roomId, topic);
    await bob.untilSeen(roomId, eventId);
    const current = (type, key) => bob.room(roomId).currentState.getStateEvents(type, key);
    assert.equal(current("m.room.topic", "").getContent().topic, topic);

    const custom = { colour: "green", nested: { list: [1, "two", null] } };
    await alice.client.sendStateEvent(roomId, "org.example.sign", custom, "a/key");
    await until("the custom state", () => current("org.example.sign", "a/key"));
    assert.deepEqual(current("org.example.sign", "a/key").getContent(), custom);
    const got = await bob.client.getStateEvent(roomId, "org.example.sign", "a/key");
    assert.deepEqual(got, custom);
    await refused(bob.client.getStateEvent(roomId, "org.example.sign", "no"), "M_NOT_FOUND");
    await refused(bob.client.setRoomName(roomId, "mine"), "M_FORBIDDEN");

    await alice.client.setRoomName(roomId, `Room ${topic}`);
    await until("the new name", () => bob.room(roomId).name === `Room ${topic}`);
}

export async function powerLevels(world) {
    const { alice, bob } = world;
    const roomId = await world.newRoom();
    await refused(bob.client.setRoomTopic(roomId, "bob's"), "M_FORBIDDEN");
    await alice.client.setPowerLevel(roomId, bob.id, 50);
    await until("bob's level", () => bob.room(roomId).getMember(bob.id)?.powerLevel === 50);
    const { event_id: eventId } = await bob.client.setRoomTopic(roomId, "bob's");
    await alice.untilSeen(roomId, eventId);
    await refused(bob.client.setPowerLevel(roomId, bob.id, 100), "M_FORBIDDEN");
}

export async function redaction({ alice, bob, roomId }) {
    const eventId = await alice.say(roomId, "a slip of the tongue");
    const event = await bob.untilSeen(roomId, eventId);
    await refused(bob.client.redactEvent(roomId, eventId), "M_FORBIDDEN");
    // The SDK keeps what could not be sent, and shows it, until it is cancelled.
    bob.room(roomId).getPendingEvents().forEach((echo) => bob.client.cancelPendingEvent(echo));
    assert.ok(!event.isRedacted());
    await alice.client.redactEvent(roomId, eventId, undefined, { reason: "typo" });
    await until("the redaction", () => event.isRedacted());
    assert.deepEqual(event.getContent(), {});
    assert.equal(event.getUnsigned().redacted_because.sender, alice.id);

    const fetched = await bob.client.fetchRoomEvent(roomId, eventId);
    assert.deepEqual(fetched.content, {});
    assert.equal(fetched.unsigned.redacted_because.content.reason, "typo");
}

export async function everythingWasShownOnce({ alice, bob, roomId }) {
    for (const user of [alice, bob]) {
        const shown = user.live.get(roomId);
        assert.ok(shown.length > 0);
        assert.equal(new Set(shown).size, shown.length);
    }
}
