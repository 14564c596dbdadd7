// alice and bob, both syncing, and the room they share.

import { User, until } from "./user.mjs";

export class World {
    /** Several URLs are processes of one server. */
    constructor(baseUrls) {
        this.baseUrls = baseUrls;
        this.turns = 0;
        this.people = [];
        this.before = {};
        /** What kind of client everybody has. */
        this.Kind = User;
        /** What every room begins with. */
        this.roomOptions = {};
    }

    /** Another process each time, so that each user has one of their own. */
    get baseUrl() {
        this.turns += 1;
        return this.baseUrls[this.turns % this.baseUrls.length];
    }

    keep(user) {
        this.people.push(user);
        return user;
    }

    /** One more registered user, closed with the world. */
    async newcomer(localpart) {
        return this.keep(await this.Kind.register(this.baseUrl, localpart));
    }

    /** A fresh, syncing client object on `user`'s token. */
    async twin(user, options = {}) {
        return this.keep(user.sameSession()).start(options);
    }

    /** Another device of `user`'s, closed with the world; not syncing yet. */
    async anotherDevice(user) {
        return this.keep(await this.Kind.logIn(this.baseUrl, user.id));
    }

    /** A private room by alice that bob has joined, both seen by sync. */
    async newRoom(options = {}) {
        const { alice, bob } = this;
        const { room_id: roomId } = await alice.client.createRoom({
            preset: "private_chat",
            invite: [bob.id],
            ...this.roomOptions,
            ...options,
        });
        await bob.untilMembership(roomId, "invite");
        await bob.join(roomId);
        await alice.untilMember(roomId, bob, "join");
        return roomId;
    }

    async open() {
        this.alice = await (await this.newcomer("alice")).start();
        this.bob = await (await this.newcomer("bob")).start();
        this.roomId = await this.newRoom({ name: "The room", topic: "Before all" });
        await until("the name", () => this.bob.room(this.roomId).name === "The room");
    }

    close() {
        this.people.forEach((user) => user.close());
    }
}
