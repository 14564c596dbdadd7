// alice and bob, both syncing, and the room they share.

import { User, until } from "./user.mjs";

export class World {
    constructor(baseUrl) {
        this.baseUrl = baseUrl;
        this.people = [];
        this.before = {};
    }

    keep(user) {
        this.people.push(user);
        return user;
    }

    /** One more registered user, closed with the world. */
    async newcomer(localpart) {
        return this.keep(await User.register(this.baseUrl, localpart));
    }

    /** A fresh, syncing client object on `user`'s token. */
    async twin(user, options = {}) {
        return this.keep(user.sameSession()).start(options);
    }

    /** A private room by alice that bob has joined, both seen by sync. */
    async newRoom(options = {}) {
        const { alice, bob } = this;
        const { room_id: roomId } = await alice.client.createRoom({
            preset: "private_chat",
            invite: [bob.id],
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
