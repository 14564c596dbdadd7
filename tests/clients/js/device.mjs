// One device with end-to-end encryption: the Rust crypto of an unmodified matrix-js-sdk, its store in memory.

import assert from "node:assert/strict";

import { MatrixEvent } from "matrix-js-sdk";
import { decodeRecoveryKey } from "matrix-js-sdk/lib/crypto-api/index.js";

import { passwordLogin, refused, until, User } from "./user.mjs";

/** What makes a room an encrypted one, among its first state. */
export const ENCRYPTION = {
    type: "m.room.encryption",
    state_key: "",
    content: { algorithm: "m.megolm.v1.aes-sha2" },
};

export class Device extends User {
    constructor(baseUrl, session = {}) {
        const wire = new Wire();
        const recovery = {};
        const getSecretStorageKey = async ({ keys }) =>
            recovery.key ? [Object.keys(keys)[0], decodeRecoveryKey(recovery.key)] : null;
        super(baseUrl, {
            ...session,
            fetchFn: wire.fetch,
            cryptoCallbacks: { getSecretStorageKey },
        });
        this.wire = wire;
        this.recovery = recovery;
    }

    /** What a person types in who has written down the key of the secret storage. */
    set recoveryKey(key) {
        this.recovery.key = key;
    }

    get deviceId() {
        return this.client.getDeviceId();
    }

    get crypto() {
        return this.client.getCrypto();
    }

    async start(options = {}) {
        await this.client.initRustCrypto({ useIndexedDB: false });
        await super.start(options);
        // Synapse tells others of a device before it has all its keys.
        await until("keys are uploaded", async () => (await this.oneTimeKeysLeft()) > 0);
        return this;
    }

    /** Waits until the event is there as clear text, or as what needs no decryption. */
    async untilSeen(roomId, eventId) {
        const event = await super.untilSeen(roomId, eventId);
        const what = `${this.id} ${this.deviceId} reads ${eventId}`;
        const isClear = () => !event.isEncrypted() || event.isRedacted() || event.getClearContent();
        await until(what, isClear);
        assert.ok(!event.isDecryptionFailure(), `${what}: ${event.decryptionFailureReason}`);
        return event;
    }

    /** Waits until the event is there and can be read, though its key may come after it. */
    async untilReadable(roomId, eventId) {
        const event = await super.untilSeen(roomId, eventId);
        const isClear = () => event.getClearContent() && !event.isDecryptionFailure();
        await until(`${this.id} ${this.deviceId} can read ${eventId}`, isClear);
        return event;
    }

    /** Waits until the event is there and turned out not to be readable. */
    async untilUnreadable(roomId, eventId) {
        const event = await super.untilSeen(roomId, eventId);
        await until("a failed decryption", () => event.isDecryptionFailure());
    }

    /** Whether this device has the key of an event, as the server gives it to `reader`. */
    async canRead(reader, roomId, eventId) {
        const event = new MatrixEvent(await reader.client.fetchRoomEvent(roomId, eventId));
        assert.equal(event.getWireType(), "m.room.encrypted");
        await event.attemptDecryption(this.crypto);
        return !event.isDecryptionFailure();
    }

    /** The ids of another user's devices, as they are known here without asking. */
    async devicesOf(user) {
        const devices = (await this.crypto.getUserDeviceInfo([user.id])).get(user.id);
        return [...(devices?.keys() ?? [])];
    }

    untilKnows(user, deviceId) {
        const what = `${this.id} knows ${deviceId} of ${user.id}`;
        return until(what, async () => (await this.devicesOf(user)).includes(deviceId));
    }

    untilForgets(user, deviceId) {
        const what = `${this.id} does not know ${deviceId} of ${user.id}`;
        return until(what, async () => !(await this.devicesOf(user)).includes(deviceId));
    }

    /** User-interactive authentication by password; `asked` counts how often it was wanted. */
    get byPassword() {
        this.asked ??= 0;
        return async (request) => {
            const error = await request(null).then(() => null, (caught) => caught);
            if (!error) return;
            assert.equal(error.httpStatus, 401, `${error}`);
            this.asked += 1;
            await request({ ...passwordLogin(this.id), session: error.data.session });
        };
    }

    /** Removes another device of this user, with the password. */
    async remove(deviceId) {
        await this.byPassword((auth) => this.client.deleteDevice(deviceId, auth ?? undefined));
    }

    /** How many one-time keys the server has for this device. */
    async oneTimeKeysLeft() {
        const asked = await this.client.http.authedRequest("POST", "/keys/upload", undefined, {});
        return asked.one_time_key_counts.signed_curve25519;
    }

    /** How many room keys the server has in the newest backup: the SDK remembers an old count. */
    async keysInBackup() {
        return (await this.client.http.authedRequest("GET", "/room_keys/version")).count;
    }

    async isLoggedOut() {
        await refused(this.client.whoami(), "M_UNKNOWN_TOKEN");
    }
}

/** The SDK's requests: what was said to other devices, and a network that can fail. */
class Wire {
    constructor() {
        this.cut = false;
        /** Bodies of `/sendToDevice` of encrypted messages: whom keys went to. */
        this.sent = [];
        /** One-time keys uploaded. */
        this.uploaded = 0;
        /** Users whose devices syncs said are no longer to be followed. */
        this.left = new Set();
        this.fetch = this.fetch.bind(this);
    }

    async fetch(url, options) {
        if (this.cut) throw new TypeError("the network is gone");
        const { pathname } = new URL(url);
        if (pathname.includes("/sendToDevice/m.room.encrypted/")) {
            this.sent.push(JSON.parse(options.body).messages);
        }
        if (pathname.endsWith("/keys/upload")) {
            this.uploaded += Object.keys(JSON.parse(options.body).one_time_keys ?? {}).length;
        }
        const response = await fetch(url, options);
        if (pathname.endsWith("/sync") && response.ok) {
            const { device_lists: lists } = await response.clone().json();
            lists?.left?.forEach((userId) => this.left.add(userId));
        }
        return response;
    }

    /** Whom keys went to, as `user device`, from the `from`th message on. */
    recipients(from = 0) {
        const messages = this.sent.slice(from).flatMap(Object.entries);
        return messages.flatMap(([user, devices]) =>
            Object.keys(devices).map((device) => `${user} ${device}`));
    }
}
