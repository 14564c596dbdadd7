// What must be as it was before the server restarted.

import assert from "node:assert/strict";

import { bodies, until } from "../user.mjs";

/** Leaves traces before the restart. */
export async function remember(world) {
    const { alice, bob, roomId } = world;
    const ids = [];
    for (let n = 0; n < 5; n += 1) ids.push(await alice.say(roomId, `before ${n}`));
    const read = await bob.untilSeen(roomId, ids[3]);
    await bob.client.setRoomReadMarkers(roomId, ids[2], read);
    await alice.client.redactEvent(roomId, ids[1]);
    await alice.client.setAccountData("org.example.kept", { kept: true });
    await until("one unread", () => bob.room(roomId).getUnreadNotificationCount() === 1);
    await bob.untilSeen(roomId, ids[4]);
    world.before = { ids };
}

/** A new client on the old token finds everything. */
export async function newClientFindsEverything(world) {
    const { alice, bob, roomId, before } = world;
    const reader = await world.twin(bob, { initialSyncLimit: 30 });
    const room = reader.room(roomId);
    const events = room.getLiveTimeline().getEvents();
    const kept = bodies(events).filter((body) => body?.startsWith("before"));
    assert.deepEqual(kept, ["before 0", "before 2", "before 3", "before 4"]);
    assert.ok(room.findEventById(before.ids[1]).isRedacted());
    assert.equal(room.getAccountData("m.fully_read").getContent().event_id, before.ids[2]);
    assert.equal(room.getEventReadUpTo(bob.id), before.ids[3]);
    assert.equal(room.getUnreadNotificationCount(), 1);
    assert.equal(room.getMember(alice.id).membership, "join");
    reader.close();

    const own = await world.twin(alice);
    assert.equal(own.client.getAccountData("org.example.kept").getContent().kept, true);
    assert.equal(own.room(roomId).getEventReadUpTo(bob.id), before.ids[3]);
    own.close();
}

/** The clients that synced through the restart go on, without gaps or repeats. */
export async function runningClientsGoOn({ alice, bob, roomId, before }) {
    for (const [sender, watcher] of [[alice, bob], [bob, alice]]) {
        await watcher.syncing();
        await watcher.untilSeen(roomId, await sender.say(roomId, "still here"));
        const shown = watcher.live.get(roomId);
        assert.equal(new Set(shown).size, shown.length);
        assert.ok(before.ids.every((id) => shown.includes(id)));
    }
}
