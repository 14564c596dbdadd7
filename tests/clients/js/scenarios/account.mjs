// Accounts: sessions, devices, names, account data, aliases, lazily loaded members.

import assert from "node:assert/strict";

import { createClient, HttpApiEvent } from "matrix-js-sdk";

import { passwordLogin, refused, unique, until, User } from "../user.mjs";

async function login(world, user) {
    const anonymous = createClient({ baseUrl: world.baseUrl });
    const { flows } = await anonymous.loginFlows();
    assert.ok(flows.some(({ type }) => type === "m.login.password"));
    const answer = await anonymous.loginRequest({
        ...passwordLogin(user.id),
        initial_device_display_name: "phone",
    });
    assert.equal(answer.user_id, user.id);
    return world.keep(User.fromAnswer(world.baseUrl, answer));
}

const deviceIds = async (user) =>
    (await user.client.getDevices()).devices.map((device) => device.device_id);

export async function loginLogout(world) {
    const { alice, roomId } = world;
    const phone = await login(world, alice);
    const deviceId = phone.client.getDeviceId();
    assert.notEqual(deviceId, alice.client.getDeviceId());
    const who = await phone.client.whoami();
    assert.deepEqual([who.user_id, who.device_id], [alice.id, deviceId]);
    assert.ok((await deviceIds(alice)).includes(deviceId));
    await phone.start();
    assert.equal(phone.membership(roomId), "join");

    await phone.client.logout(true);
    await refused(phone.client.whoami(), "M_UNKNOWN_TOKEN");
    assert.ok(!(await deviceIds(alice)).includes(deviceId));
    assert.equal((await alice.client.whoami()).user_id, alice.id);
}

export async function wrongPassword(world) {
    const anonymous = createClient({ baseUrl: world.baseUrl });
    await refused(anonymous.loginRequest(passwordLogin(world.alice.id, "wrong")), "M_FORBIDDEN");
}

export async function removedDeviceIsLoggedOut(world) {
    const { alice } = world;
    const phone = await (await login(world, alice)).start();
    let loggedOut = false;
    phone.client.on(HttpApiEvent.SessionLoggedOut, () => {
        loggedOut = true;
    });
    const deviceId = phone.client.getDeviceId();
    const asked = await alice.client.deleteDevice(deviceId).catch((error) => error);
    assert.equal(asked?.httpStatus, 401, "removing a device asks for the password");
    await alice.client.deleteDevice(deviceId, {
        ...passwordLogin(alice.id),
        session: asked.data.session,
    });
    await until("the removed device to be told", () => loggedOut);
    phone.close();
}

export async function displayName({ alice, bob, roomId }) {
    const name = `Alice ${unique()} Ärger`;
    await alice.client.setDisplayName(name);
    assert.equal((await bob.client.getProfileInfo(alice.id)).displayname, name);
    const member = () => bob.room(roomId).getMember(alice.id);
    await until("the new name in the room", () => member().rawDisplayName === name);
}

export async function accountData(world) {
    const { alice, roomId } = world;
    const other = await world.twin(alice);
    const value = unique();
    await alice.client.setAccountData("org.example.setting", { value });
    const global = () => other.client.getAccountData("org.example.setting")?.getContent().value;
    await until("global account data", () => global() === value);
    await alice.client.setRoomAccountData(roomId, "org.example.setting", { value });
    const inRoom = () => other.room(roomId).getAccountData("org.example.setting")?.getContent();
    await until("account data of the room", () => inRoom()?.value === value);

    await alice.client.setRoomTag(roomId, "m.favourite", { order: 0.25 });
    await until("the tag", () => other.room(roomId).tags["m.favourite"]?.order === 0.25);
    await alice.client.deleteRoomTag(roomId, "m.favourite");
    await until("no tag", () => !other.room(roomId).tags["m.favourite"]);
    other.close();
}

export async function pushRulesAndCapabilities({ alice }) {
    const { global } = await alice.client.getPushRules();
    const ids = Object.values(global).flat().map((rule) => rule.rule_id);
    for (const id of [".m.rule.master", ".m.rule.message", ".m.rule.is_user_mention"]) {
        assert.ok(ids.includes(id), `${id} is missing`);
    }
    const capabilities = await alice.client.getCapabilities();
    const versions = capabilities["m.room_versions"];
    assert.equal(versions.available[versions.default], "stable");
    assert.ok(await alice.client.isVersionSupported("v1.1"));
}

export async function aliases({ alice, bob }) {
    const alias = `#r-${unique()}:${alice.client.getDomain()}`;
    const { room_id: roomId } = await alice.client.createRoom({ preset: "public_chat" });
    await alice.client.createAlias(alias, roomId);
    assert.equal((await bob.client.getRoomIdForAlias(alias)).room_id, roomId);
    assert.deepEqual((await alice.client.getLocalAliases(roomId)).aliases, [alias]);
    assert.equal(await bob.join(alias), roomId);
    await alice.client.deleteAlias(alias);
    await refused(bob.client.getRoomIdForAlias(alias), "M_NOT_FOUND");
}

export async function lazyMembers(world) {
    const { alice, bob } = world;
    const roomId = await world.newRoom({ name: "A crowd" });
    const crowd = [];
    for (let n = 0; n < 8; n += 1) {
        const member = await world.newcomer(`crowd${n}`);
        await alice.client.invite(roomId, member.id);
        await member.client.joinRoom(roomId);
        crowd.push(member);
    }
    await alice.say(roomId, "who is here?");

    const reader = await world.twin(bob, { initialSyncLimit: 1 });
    const room = reader.room(roomId);
    const loaded = () => room.getJoinedMembers().map((member) => member.userId);
    assert.equal(room.getJoinedMemberCount(), 10, "the summary counts everybody");
    // The sender, bob himself and at most five heroes.
    assert.ok(loaded().includes(alice.id) && loaded().length <= 7, `${loaded()}`);

    const quiet = crowd.find((member) => !loaded().includes(member.id));
    await reader.untilSeen(roomId, await quiet.say(roomId, "me"));
    assert.equal(room.getMember(quiet.id)?.membership, "join", "a sender's membership comes along");
    await room.loadMembersIfNeeded();
    const everybody = [alice, bob, ...crowd].map((user) => user.id).sort();
    assert.deepEqual(loaded().sort(), everybody);
    reader.close();
}
