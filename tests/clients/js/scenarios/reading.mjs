// What was read and what is to be read: receipts, markers, counts, history.

import assert from "node:assert/strict";

import { Direction } from "matrix-js-sdk";

import { bodies, until } from "../user.mjs";

const COUNTS = ["total", "highlight"];
const counts = (user, roomId) =>
    COUNTS.map((kind) => user.room(roomId).getUnreadNotificationCount(kind)).join();

export async function receipts({ alice, bob, roomId }) {
    for (const [writer, reader] of [[alice, bob], [bob, alice]]) {
        const eventId = await writer.say(roomId, "read me");
        await reader.client.sendReadReceipt(await reader.untilSeen(roomId, eventId));
        const room = writer.room(roomId);
        await until("the receipt", () => room.getEventReadUpTo(reader.id) === eventId);
        const readers = room.getReceiptsForEvent(await writer.untilSeen(roomId, eventId));
        assert.ok(readers.some(({ userId, type }) => userId === reader.id && type === "m.read"));
    }
}

export async function unthreadedReceipts({ alice, bob, roomId }) {
    const eventId = await alice.say(roomId, "read me, whatever the thread");
    const event = await bob.untilSeen(roomId, eventId);
    await bob.client.sendReadReceipt(event, "m.read", true);
    const room = alice.room(roomId);
    await until("the receipt", () => room.getLastUnthreadedReceiptFor(bob.id));
    await until("the receipt's event", () => room.hasUserReadEvent(bob.id, eventId));
}

export async function privateReceipts({ alice, bob, roomId }) {
    const eventId = await alice.say(roomId, "read me in private");
    const event = await bob.untilSeen(roomId, eventId);
    await bob.client.sendReadReceipt(event, "m.read.private");
    await alice.untilSeen(roomId, await bob.say(roomId, "done"));
    const readers = alice.room(roomId).getReceiptsForEvent(alice.seen(roomId, eventId));
    assert.ok(readers.every(({ userId }) => userId !== bob.id), "a private receipt was shown");
}

export async function readMarkers({ alice, bob, roomId }) {
    const full = await alice.say(roomId, "fully read");
    const read = await alice.say(roomId, "read");
    await bob.client.setRoomReadMarkers(roomId, full, await bob.untilSeen(roomId, read));
    const marker = () => bob.room(roomId).getAccountData("m.fully_read")?.getContent().event_id;
    await until("the fully read marker", () => marker() === full);
    await until("bob's receipt", () => alice.room(roomId).getEventReadUpTo(bob.id) === read);
    const others = alice.room(roomId).getAccountData("m.fully_read")?.getContent().event_id;
    assert.notEqual(others, full);
}

export async function unreadCounts(world) {
    const { alice, bob } = world;
    const roomId = await world.newRoom();
    const read = async (eventId) => {
        await bob.client.sendReadReceipt(await bob.untilSeen(roomId, eventId));
        await until("nothing unread", () => counts(bob, roomId) === "0,0");
    };
    await read(await alice.say(roomId, "start"));
    await alice.say(roomId, "one");
    await alice.say(roomId, "two");
    await until("two unread", () => counts(bob, roomId) === "2,0");
    const last = await alice.say(roomId, "and you", { "m.mentions": { user_ids: [bob.id] } });
    await until("three unread, one for bob", () => counts(bob, roomId) === "3,1");

    // A client that starts now is told the same counts by the server.
    const fresh = await world.twin(bob);
    assert.equal(counts(fresh, roomId), "3,1");
    await read(last);
    await until("read on the other client, too", () => counts(fresh, roomId) === "0,0");
    fresh.close();
}

export async function historyBack(world) {
    const { alice, bob } = world;
    const roomId = await world.newRoom();
    const sent = [];
    for (let n = 0; n < 45; n += 1) sent.push(await alice.say(roomId, `line ${n}`));
    const reader = await world.twin(bob, { initialSyncLimit: 5 });
    const room = reader.room(roomId);
    const ids = () => room.getLiveTimeline().getEvents().map((event) => event.getId());
    assert.deepEqual(ids(), sent.slice(-5));

    let pages = 0;
    while (room.oldState.paginationToken && pages < 30) {
        await reader.client.scrollback(room, 7);
        pages += 1;
    }
    assert.equal(room.oldState.paginationToken, null, "the beginning is told");
    assert.ok(pages >= 6, `${pages} pages for over 45 events by 7`);
    const events = room.getLiveTimeline().getEvents();
    assert.equal(events[0].getType(), "m.room.create");
    assert.deepEqual(bodies(events), sent.map((_, n) => `line ${n}`));
    assert.equal(new Set(ids()).size, ids().length);
    reader.close();
}

export async function contextBothWays(world) {
    const { alice, bob } = world;
    const roomId = await world.newRoom();
    const sent = [];
    for (let n = 0; n < 40; n += 1) sent.push(await alice.say(roomId, `line ${n}`));
    const reader = await world.twin(bob, { initialSyncLimit: 2 });
    const timelines = reader.room(roomId).getUnfilteredTimelineSet();
    const timeline = await reader.client.getEventTimeline(timelines, sent[15]);
    assert.ok(timeline.getEvents().some((event) => event.getId() === sent[15]));
    await reader.client.paginateEventTimeline(timeline, { backwards: true, limit: 5 });
    await reader.client.paginateEventTimeline(timeline, { backwards: false, limit: 5 });

    const shown = bodies(timeline.getEvents());
    const first = Number(shown[0].split(" ")[1]);
    assert.ok(first < 15 && shown.length > 10, `${shown}`);
    assert.deepEqual(shown, shown.map((_, n) => `line ${first + n}`), "in order, without gaps");
    assert.ok(timeline.getPaginationToken(Direction.Forward));
    reader.close();
}

export async function eventsWithoutText({ alice, bob, roomId }) {
    const eventId = await alice.say(roomId, "like me");
    await bob.untilSeen(roomId, eventId);
    const relation = { rel_type: "m.annotation", event_id: eventId, key: "👍" };
    const content = { "m.relates_to": relation };
    const { event_id: likeId } = await bob.client.sendEvent(roomId, "m.reaction", content);
    const like = await alice.untilSeen(roomId, likeId);
    assert.deepEqual(like.getRelation(), relation);
}
