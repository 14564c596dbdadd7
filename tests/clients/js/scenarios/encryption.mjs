// Encrypted rooms: who can read what, and whom keys go to.

import assert from "node:assert/strict";

import { HttpApiEvent } from "matrix-js-sdk";

import { Device, ENCRYPTION } from "../device.mjs";
import { bodies, until } from "../user.mjs";

/** One-time keys that the Rust crypto keeps on the server. */
const ONE_TIME_KEYS = 50;
/** More messages than one sync gives a device. */
const MANY_KEYS = 110;
const GUESTS = 3;

/** alice and bob with encryption, in an encrypted room. */
export async function openEncrypted(world) {
    world.Kind = Device;
    world.roomOptions = { initial_state: [ENCRYPTION] };
    await world.open();
    const { alice, bob } = world;
    await alice.untilKnows(bob, bob.deviceId);
    await bob.untilKnows(alice, alice.deviceId);
}

/** Says something before a restart, which must be readable after it. */
export async function rememberEncrypted(world) {
    const { alice, bob, roomId } = world;
    const eventId = await alice.say(roomId, "before the restart");
    await bob.untilSeen(roomId, eventId);
    world.before = { eventId };
}

/** The server has nothing but ciphertext, and both sides read it. */
export async function encryptedBothWays({ alice, bob, roomId }) {
    for (const [sender, reader] of [[alice, bob], [bob, alice]]) {
        const eventId = await sender.say(roomId, "a secret, ünïcode 🦀");
        const event = await reader.untilSeen(roomId, eventId);
        assert.equal(event.getContent().body, "a secret, ünïcode 🦀");
        assert.equal(event.getSender(), sender.id);
        assert.ok(event.isEncrypted());
        const held = await reader.client.fetchRoomEvent(roomId, eventId);
        assert.equal(held.type, "m.room.encrypted");
        assert.ok(!JSON.stringify(held).includes("a secret"));
    }
}

/** Every message has a session of its own: its key comes no later than the message. */
export async function keysComeBeforeTheirMessages({ alice, bob, roomId }) {
    for (let n = 0; n < 10; n += 1) {
        await alice.crypto.forceDiscardSession(roomId);
        const said = await alice.say(roomId, `session ${n}`);
        assert.equal((await bob.untilSeen(roomId, said)).getContent().body, `session ${n}`);
    }
}

/** Keys wait for a device that is away: all of them, over several pages. */
export async function keysWaitForADevice({ alice, bob, roomId }) {
    bob.wire.cut = true;
    const said = [];
    for (let n = 0; n < MANY_KEYS; n += 1) {
        await alice.crypto.forceDiscardSession(roomId);
        said.push(await alice.say(roomId, `away ${n}`));
    }
    bob.wire.cut = false;
    bob.client.retryImmediately();
    await bob.syncing();
    // The last message may come with the first page of keys.
    const last = await bob.untilReadable(roomId, said.at(-1));
    assert.equal(last.getContent().body, `away ${MANY_KEYS - 1}`);
    for (const [n, eventId] of said.entries()) {
        assert.ok(await bob.canRead(alice, roomId, eventId), `bob has no key of message ${n}`);
    }
}

/** Whoever comes later reads what is said then; one-time keys that they took are replaced. */
export async function newcomersReadOn(world) {
    const { alice, bob } = world;
    const roomId = await world.newRoom();
    const early = await alice.say(roomId, "before they came");
    await bob.untilSeen(roomId, early);
    // More than all is the client's own doing: it goes by the count of its last sync, which may be from before
    // its last upload.
    let left;
    const allKeys = async () => (left = await alice.oneTimeKeysLeft()) >= ONE_TIME_KEYS;
    await until(() => `all keys are there: ${left}`, allKeys);
    const already = alice.wire.uploaded;
    for (let n = 0; n < GUESTS; n += 1) {
        const guest = await (await world.newcomer(`guest${n}`)).start();
        await alice.client.invite(roomId, guest.id);
        await guest.untilMembership(roomId, "invite");
        await guest.join(roomId);
        await guest.untilKnows(alice, alice.deviceId);
        // It is the guest who begins the session of the two devices, with a key of alice's.
        const hello = await guest.say(roomId, `hello ${n}`);
        assert.equal((await alice.untilSeen(roomId, hello)).getContent().body, `hello ${n}`);
        await alice.untilKnows(guest, guest.deviceId);
        const welcome = await alice.say(roomId, `welcome ${n}`);
        assert.equal((await guest.untilSeen(roomId, welcome)).getContent().body, `welcome ${n}`);
        assert.equal(await guest.canRead(alice, roomId, early), false);
        guest.close();
    }
    const replaced = () => alice.wire.uploaded >= already + GUESTS;
    await until("keys are replaced", replaced);
    await until(() => `all keys are there again: ${left}`, allKeys);
}

/** Who leaves the last shared room is no longer followed, and gets no keys. */
export async function whoLeavesGetsNoKeys(world) {
    const { alice } = world;
    const roomId = await world.newRoom();
    const guest = await (await world.newcomer("guest")).start();
    await alice.client.invite(roomId, guest.id);
    await guest.untilMembership(roomId, "invite");
    await guest.join(roomId);
    await alice.untilMember(roomId, guest, "join");
    await alice.untilKnows(guest, guest.deviceId);
    const heard = await alice.say(roomId, "all of us");
    await guest.untilSeen(roomId, heard);

    await guest.client.leave(roomId);
    await alice.untilMember(roomId, guest, "leave");
    await until("device_lists.left names the guest", () => alice.wire.left.has(guest.id));
    const [already, theirs] = [alice.wire.sent.length, `${guest.id} ${guest.deviceId}`];
    assert.ok(alice.wire.recipients().includes(theirs));
    const unheard = await alice.say(roomId, "without the guest");
    await world.bob.untilSeen(roomId, unheard);
    assert.ok(!alice.wire.recipients(already).includes(theirs));
    assert.equal(await guest.canRead(alice, roomId, heard), true);
    assert.equal(await guest.canRead(alice, roomId, unheard), false);
}

/** A device that is removed is logged out, others forget it, and it gets no keys from then on. */
export async function removedDeviceGetsNoKeys(world) {
    const { alice, bob, roomId } = world;
    const phone = await (await world.anotherDevice(alice)).start();
    await bob.untilKnows(alice, phone.deviceId);
    const heard = await bob.say(roomId, "for all devices");
    await phone.untilSeen(roomId, heard);
    const theirs = `${alice.id} ${phone.deviceId}`;
    assert.ok(bob.wire.recipients().includes(theirs));

    let loggedOut = false;
    phone.client.on(HttpApiEvent.SessionLoggedOut, () => {
        loggedOut = true;
    });
    await alice.remove(phone.deviceId);
    await until("the phone is told", () => loggedOut);
    await phone.isLoggedOut();
    await bob.untilForgets(alice, phone.deviceId);

    const already = bob.wire.sent.length;
    const unheard = await bob.say(roomId, "not for the phone");
    await alice.untilSeen(roomId, unheard);
    const recipients = bob.wire.recipients(already);
    assert.ok(recipients.includes(`${alice.id} ${alice.deviceId}`), "the session was not renewed");
    assert.ok(!recipients.includes(theirs), "the removed device got the key");
    assert.equal(await phone.canRead(alice, roomId, heard), true);
    assert.equal(await phone.canRead(alice, roomId, unheard), false);
}

/** What was said before the restart is still read, and sessions go on after it. */
export async function encryptionGoesOn({ alice, bob, roomId, before }) {
    await Promise.all([alice.syncing(), bob.syncing()]);
    assert.equal(bob.seen(roomId, before.eventId).getContent().body, "before the restart");
    for (const [sender, reader] of [[alice, bob], [bob, alice]]) {
        const said = await sender.say(roomId, "still readable");
        assert.equal((await reader.untilSeen(roomId, said)).getContent().body, "still readable");
    }
}

/** alice's and bob's rooms hold no message that one of them could not read. */
export function everythingWasReadable({ alice, bob, roomId }) {
    for (const user of [alice, bob]) {
        const events = user.room(roomId).getLiveTimeline().getEvents();
        assert.ok(events.length > 10);
        const unreadable = events.filter((event) => event.isDecryptionFailure());
        assert.deepEqual(unreadable.map((event) => event.getId()), []);
        assert.ok(bodies(events).length > 10);
    }
}
