// One user on an unmodified matrix-js-sdk client.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { createClient, PendingEventOrdering, RoomEvent } from "matrix-js-sdk";

export const WAIT_MS = 20_000;
export const PASSWORD = "correct horse battery staple";
const POLL_MS = 10_000;
const LOOK_MS = 25;

export const unique = () => randomBytes(4).toString("hex");

/**
 * Waits until `predicate()` is truthy, or what it promises is, and returns that; fails after 20 s, with `what`
 * or what that returns.
 */
export async function until(what, predicate) {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
        const value = await predicate();
        if (value) return value;
        const missing = () => `not within ${WAIT_MS} ms: ${typeof what === "function" ? what() : what}`;
        if (Date.now() >= deadline) assert.fail(missing());
        await sleep(LOOK_MS);
    }
}

/** A password as `/login` and as user-interactive authentication take it. */
export const passwordLogin = (userId, password = PASSWORD) => ({
    type: "m.login.password",
    identifier: { type: "m.id.user", user: userId },
    password,
});

/** Fails unless the server refused with one of these errcodes; returns the error. */
export async function refused(promise, ...errcodes) {
    const error = await promise.then(
        () => assert.fail(`expected ${errcodes}, but it was allowed`),
        (caught) => caught,
    );
    assert.ok(errcodes.includes(error.errcode), `expected ${errcodes}, got ${error}`);
    return error;
}

export class User {
    constructor(baseUrl, session = {}) {
        this.baseUrl = baseUrl;
        /** Event ids as they arrived live, by room: to find repeats. */
        this.live = new Map();
        // timelineSupport: /context builds timelines apart from the live one.
        this.client = createClient({ baseUrl, timelineSupport: true, disableVoip: true, ...session });
        this.client.on(RoomEvent.Timeline, (event, room, toStart, _removed, data) => {
            if (toStart || !data?.liveEvent) return;
            const ids = this.live.get(room.roomId) ?? [];
            this.live.set(room.roomId, [...ids, event.getId()]);
        });
    }

    /** A new account, through the stages that the server asks for; not syncing yet. */
    static async register(baseUrl, localpart) {
        const { client } = new this(baseUrl);
        const account = { username: `${localpart}-${unique()}`, password: PASSWORD };
        const asked = await client.registerRequest(account).catch((error) => error);
        assert.equal(asked.httpStatus, 401, `registration without auth: ${asked}`);
        assert.ok(asked.data.flows.some(({ stages }) => stages.join() === "m.login.dummy"));
        const auth = { type: "m.login.dummy", session: asked.data.session };
        return this.fromAnswer(baseUrl, await client.registerRequest({ ...account, auth }));
    }

    /** Another device of the account `userId`; not syncing yet. */
    static async logIn(baseUrl, userId) {
        const { client } = new this(baseUrl);
        return this.fromAnswer(baseUrl, await client.loginRequest(passwordLogin(userId)));
    }

    /** A user from the answer to a registration or a login. */
    static fromAnswer(baseUrl, { user_id: userId, access_token: accessToken, device_id: deviceId }) {
        return new this(baseUrl, { userId, accessToken, deviceId });
    }

    /** A second client object on this one's token and device, knowing nothing. */
    sameSession() {
        const { client, baseUrl } = this;
        const accessToken = client.getAccessToken();
        return new User(baseUrl, { userId: this.id, accessToken, deviceId: client.getDeviceId() });
    }

    get id() {
        return this.client.getUserId();
    }

    /** Starts the SDK's sync and waits for the first answer. */
    async start(options = {}) {
        await this.client.startClient({
            initialSyncLimit: 20,
            lazyLoadMembers: true,
            pollTimeout: POLL_MS,
            pendingEventOrdering: PendingEventOrdering.Detached,
            ...options,
        });
        await this.syncing();
        return this;
    }

    async syncing() {
        const good = ["PREPARED", "SYNCING", "CATCHUP"];
        await until(`${this.id} syncs`, () => good.includes(this.client.getSyncState()));
    }

    room(roomId) {
        return this.client.getRoom(roomId);
    }

    membership(roomId) {
        return this.room(roomId)?.getMyMembership();
    }

    seen(roomId, eventId) {
        return this.room(roomId)?.findEventById(eventId);
    }

    untilSeen(roomId, eventId) {
        return until(`${this.id} sees ${eventId}`, () => this.seen(roomId, eventId));
    }

    untilMembership(roomId, membership) {
        const what = `${this.id}: ${membership} in ${roomId}`;
        return until(what, () => this.membership(roomId) === membership);
    }

    /** Waits until this user sees `other` with a membership in the room. */
    untilMember(roomId, other, membership) {
        const member = () => this.room(roomId)?.getMember(other.id);
        const what = `${this.id} sees ${other.id}: ${membership}`;
        return until(what, () => member()?.membership === membership && member());
    }

    async say(roomId, body, more = {}) {
        const content = { msgtype: "m.text", body, ...more };
        return (await this.client.sendMessage(roomId, content)).event_id;
    }

    /** Joins, and waits until sync has said so. */
    async join(roomIdOrAlias) {
        const { roomId } = await this.client.joinRoom(roomIdOrAlias);
        await this.untilMembership(roomId, "join");
        return roomId;
    }

    close() {
        this.client.stopClient();
    }
}

/** The bodies of the text messages among `events`. */
export const bodies = (events) =>
    events.filter((e) => e.getType() === "m.room.message").map((e) => e.getContent().body);
