// Single steps of one user (`carol`), for a conversation with another kind of client.

import { Device, ENCRYPTION } from "../device.mjs";
import { until } from "../user.mjs";

export async function carolStarts(world) {
    world.carol = await (await world.newcomer("carol")).start();
    return world.carol.id;
}

/** carol with encryption, in all that follows. */
export async function carolStartsEncrypting(world) {
    world.Kind = Device;
    world.carol = await (await world.newcomer("carol")).start();
    return { userId: world.carol.id, deviceId: world.carol.deviceId };
}

export async function carolJoins({ carol }, { roomId }) {
    await carol.untilMembership(roomId, "invite");
    const { name } = carol.room(roomId);
    const inviter = carol.room(roomId).getMember(carol.id).events.member.getSender();
    await carol.join(roomId);
    return { name, inviter };
}

export async function carolCreates({ carol }, { invite, name, encrypted }) {
    const { room_id: roomId } = await carol.client.createRoom({
        preset: "private_chat",
        invite: [invite],
        name,
        initial_state: encrypted ? [ENCRYPTION] : [],
    });
    await carol.untilMembership(roomId, "join");
    return roomId;
}

export const carolSays = ({ carol }, { roomId, body }) => carol.say(roomId, body);

export async function carolHears({ carol }, { roomId, eventId }) {
    const event = await carol.untilSeen(roomId, eventId);
    return { sender: event.getSender(), body: event.getContent().body };
}

export async function carolReads({ carol }, { roomId, eventId }) {
    await carol.client.sendReadReceipt(await carol.untilSeen(roomId, eventId));
}

export const carolSeesRead = ({ carol }, { roomId, reader, eventId }) =>
    until("the receipt", () => carol.room(roomId).hasUserReadEvent(reader, eventId));

export const carolTypes = ({ carol }, { roomId, typing }) =>
    carol.client.sendTyping(roomId, typing, 20_000);

export const carolSeesTyping = ({ carol }, { roomId, who, typing }) =>
    until(`typing ${typing}`, () => !!carol.room(roomId).getMember(who)?.typing === typing);

export const carolRedacts = async ({ carol }, { roomId, eventId }) =>
    (await carol.client.redactEvent(roomId, eventId)).event_id;

export async function carolSeesRedacted({ carol }, { roomId, eventId }) {
    const event = await carol.untilSeen(roomId, eventId);
    await until("the redaction", () => event.isRedacted());
}

export const carolSetsTopic = async ({ carol }, { roomId, topic }) =>
    (await carol.client.setRoomTopic(roomId, topic)).event_id;

export const carolSeesName = ({ carol }, { roomId, name }) =>
    until("the room's name", () => carol.room(roomId).name === name);

export async function carolPagesBack({ carol }, { roomId }) {
    const room = carol.room(roomId);
    for (let pages = 0; room.oldState.paginationToken && pages < 30; pages += 1) {
        await carol.client.scrollback(room, 5);
    }
    return room.getLiveTimeline().getEvents().map((event) => event.getId());
}

export async function carolLeaves({ carol }, { roomId }) {
    await carol.client.leave(roomId);
    await carol.untilMembership(roomId, "leave");
}

export const carolKnows = ({ carol }, { userId, deviceId }) =>
    carol.untilKnows({ id: userId }, deviceId);

export const carolForgets = ({ carol }, { userId, deviceId }) =>
    carol.untilForgets({ id: userId }, deviceId);

/** Where the keys went that carol sent last, `from` on; and how many messages she has sent. */
export const carolSentKeys = ({ carol }, { from = 0 }) => ({
    to: carol.wire.recipients(from),
    count: carol.wire.sent.length,
});
