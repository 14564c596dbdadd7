// Cross-signing, verification between devices and between users, secret storage and key backup.

import assert from "node:assert/strict";

import { until } from "../user.mjs";
import { compareEmoji, nextRequest, scanCode } from "../verification.mjs";

/** Keys of rooms that alice has before she sets up her backup. */
const SESSIONS = 5;

/** alice with cross-signing, secret storage and a key backup; her desk is the only device. */
export async function aliceSecuresHerAccount(world) {
    const { alice, roomId } = world;
    world.history = [];
    for (let n = 0; n < SESSIONS; n += 1) {
        await alice.crypto.forceDiscardSession(roomId);
        world.history.push(await alice.say(roomId, `long ago ${n}`));
    }
    const recovery = await secure(alice);
    world.recoveryKey = recovery.encodedPrivateKey;
    assert.ok(await alice.crypto.isCrossSigningReady());
    assert.ok(await alice.crypto.isSecretStorageReady());
    await untilBackedUp(alice);
    await untilSigned(world.bob, alice, alice.deviceId);
}

/** Sets up all that an account has against loss; the recovery key. */
async function secure(device) {
    const { crypto } = device;
    await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: device.byPassword });
    const recovery = await crypto.createRecoveryKeyFromPassphrase();
    device.recoveryKey = recovery.encodedPrivateKey;
    await crypto.bootstrapSecretStorage({
        createSecretStorageKey: async () => recovery,
        setupNewKeyBackup: true,
    });
    return recovery;
}

/** Waits until the server has all room keys that the device has. */
async function untilBackedUp(device) {
    const has = (await device.crypto.exportRoomKeys()).length;
    await until(`${has} keys are in the backup`, async () => (await device.keysInBackup()) >= has);
}

/** Waits until `watcher` sees that a device is signed by its owner. */
const untilSigned = (watcher, owner, deviceId) =>
    until(`${watcher.id} sees ${deviceId} signed`, async () => {
        const status = await watcher.crypto.getDeviceVerificationStatus(owner.id, deviceId);
        return status?.signedByOwner;
    });

/** Waits until a user's own devices trust each other, and whether secrets came over. */
async function trustEachOther(user, ...devices) {
    for (const here of devices) {
        for (const there of devices) {
            await until(`${here.deviceId} trusts ${there.deviceId}`, async () => {
                const { crypto } = here;
                const status = await crypto.getDeviceVerificationStatus(user.id, there.deviceId);
                return status?.crossSigningVerified;
            });
        }
        await until("cross-signing is ready", () => here.crypto.isCrossSigningReady());
    }
}

/** A device without keys: what was said before it came is closed to it. */
async function newDevice(world, user) {
    const device = await (await world.anotherDevice(user)).start();
    const closed = world.history.map((eventId) => device.untilUnreadable(world.roomId, eventId));
    await Promise.all(closed);
    assert.equal(await device.crypto.isCrossSigningReady(), false);
    return device;
}

/** The device reads what it could not read before. */
async function readsHistory(world, device) {
    const { imported, total } = await device.crypto.restoreKeyBackup();
    assert.ok(total >= SESSIONS, `${total} keys in the backup`);
    assert.equal(imported, total);
    for (const [n, eventId] of world.history.entries()) {
        const event = await device.untilReadable(world.roomId, eventId);
        assert.equal(event.getContent().body, `long ago ${n}`);
    }
}

/** Both devices of alice compare emoji; then the second has her secrets, and reads history from the backup. */
export async function secondDeviceByEmoji(world) {
    const { alice, bob } = world;
    const phone = await newDevice(world, alice);
    const atDesk = nextRequest(alice);
    const request = await phone.crypto.requestOwnUserVerification();
    await compareEmoji(request, await atDesk());
    await trustEachOther(alice, alice, phone);
    await untilSigned(bob, alice, phone.deviceId);
    // Asked for and sent by encrypted messages between the devices.
    await until("the backup's key comes", () => phone.crypto.getSessionBackupPrivateKey());
    await readsHistory(world, phone);
    phone.close();
}

/** The same by a code that one device shows and the other scans. */
export async function thirdDeviceByCode(world) {
    const { alice } = world;
    const tablet = await newDevice(world, alice);
    const atDesk = nextRequest(alice);
    const request = await tablet.crypto.requestOwnUserVerification();
    await scanCode(request, await atDesk());
    await trustEachOther(alice, alice, tablet);
    await until("the backup's key comes", () => tablet.crypto.getSessionBackupPrivateKey());
    await readsHistory(world, tablet);
    tablet.close();
}

/** A device signs itself and opens the backup with what it finds in the secret storage. */
export async function fourthDeviceByRecoveryKey(world) {
    const { alice, bob } = world;
    const laptop = await newDevice(world, alice);
    laptop.recoveryKey = world.recoveryKey;
    await laptop.crypto.bootstrapCrossSigning({});
    await trustEachOther(alice, alice, laptop);
    await untilSigned(bob, alice, laptop.deviceId);
    await laptop.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    await readsHistory(world, laptop);
    laptop.close();
}

/** What is said after that is in the backup, too, whichever device it is that has the key. */
export async function laterKeysAreBackedUp(world) {
    const { alice, bob, roomId } = world;
    await bob.crypto.forceDiscardSession(roomId);
    const said = await bob.say(roomId, "later");
    await alice.untilSeen(roomId, said);
    await untilBackedUp(alice);
    const spare = await newDevice(world, alice);
    spare.recoveryKey = world.recoveryKey;
    await spare.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    await spare.crypto.restoreKeyBackup();
    assert.ok(await spare.canRead(alice, roomId, said));
    spare.close();
}

/** Two users compare emoji in messages of their room; each sees the other verified from then on. */
export async function usersVerifyEachOther(world) {
    const { alice, bob, roomId } = world;
    await secure(bob);
    await untilSigned(alice, bob, bob.deviceId);
    const atBob = nextRequest(bob);
    const request = await alice.crypto.requestVerificationDM(bob.id, roomId);
    await compareEmoji(request, await atBob());
    for (const [here, there] of [[alice, bob], [bob, alice]]) {
        await until(`${here.id} trusts ${there.id}`, async () =>
            (await here.crypto.getUserVerificationStatus(there.id)).isCrossSigningVerified());
        const said = await there.say(roomId, "signed");
        const event = await here.untilSeen(roomId, said);
        const { shieldColour } = await here.crypto.getEncryptionInfoForEvent(event);
        assert.equal(shieldColour, 0, "a message of a verified user is shown without a warning");
    }
}

/** Keys that replace others are taken with the password only, and others see that they changed. */
export async function crossSigningIsReplaced({ alice, bob }) {
    const masterOf = async (user) => (await bob.crypto.getUserCrossSigningKeys(user.id)).master_key;
    const before = await masterOf(alice);
    const asked = alice.asked;
    await alice.crypto.bootstrapCrossSigning({
        setupNewCrossSigning: true,
        authUploadDeviceSigningKeys: alice.byPassword,
    });
    assert.equal(alice.asked, asked + 1, "the password was not asked for");
    const keys = async () => JSON.stringify((await masterOf(alice)).keys);
    await until("bob has the new key", async () => (await keys()) !== JSON.stringify(before.keys));
    const status = await bob.crypto.getUserVerificationStatus(alice.id);
    assert.equal(status.isCrossSigningVerified(), false);
}
