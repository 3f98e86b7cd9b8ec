// matrix-js-sdk's journey: two people meet in a room, talk, page back and leave.
//
//     node journey.js BASE PREFIX     the server's address, and what the localparts begin with

import assert from "node:assert/strict";
import { createClient, ClientEvent, Direction, RoomEvent, RoomMemberEvent, SyncState } from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

const PATIENCE_MS = 10_000;
const MESSAGES = 25;
const password = "a journey of a thousand events";
const [base, prefix] = process.argv.slice(2);

logger.setLevel("warn");

/** Resolves once `condition` gives something true; it is asked again after each of the client's events. */
async function until(client, what, condition) {
    const events = [ClientEvent.Sync, ClientEvent.Room, RoomEvent.Timeline, RoomEvent.MyMembership, RoomMemberEvent.Membership];
    return new Promise((resolve, reject) => {
        const done = (settle, value) => {
            clearTimeout(timer);
            events.forEach((event) => client.off(event, look));
            settle(value);
        };
        const timer = setTimeout(() => done(reject, new Error(`not within ${PATIENCE_MS} ms: ${what}`)), PATIENCE_MS);
        const look = () => {
            const found = condition();
            if (found) done(resolve, found);
        };
        events.forEach((event) => client.on(event, look));
        look();
    });
}

/** A client with a new account, logged in by password on a second device, syncing. */
async function person(name) {
    const username = `${prefix}-${name}`;
    const anonymous = createClient({ baseUrl: base });
    await anonymous.registerRequest({ username, password, auth: { type: "m.login.dummy" } });
    const login = await anonymous.loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: username },
        password,
    });
    const client = createClient({
        baseUrl: base,
        userId: login.user_id,
        deviceId: login.device_id,
        accessToken: login.access_token,
    });
    await client.startClient({ initialSyncLimit: 5, lazyLoadMembers: true, pollTimeout: PATIENCE_MS });
    await until(client, "the first sync", () => client.getSyncState() === SyncState.Prepared || client.getSyncState() === SyncState.Syncing);
    return client;
}

const bodies = (room) =>
    room
        .getLiveTimeline()
        .getEvents()
        .filter((event) => event.getType() === "m.room.message")
        .map((event) => event.getContent().body);

const alice = await person("alice");
const bob = await person("bob");

const { room_id: roomId } = await alice.createRoom({ name: "The way", preset: "private_chat" });
await alice.invite(roomId, bob.getUserId());
await until(bob, "the invitation", () => bob.getRoom(roomId)?.getMyMembership() === "invite");
await bob.joinRoom(roomId);
const bobsRoom = await until(bob, "the join", () => bob.getRoom(roomId)?.getMyMembership() === "join" && bob.getRoom(roomId));
assert.equal(bobsRoom.name, "The way");

await alice.sendTextMessage(roomId, "hello");
await until(bob, "alice's message", () => bodies(bobsRoom).includes("hello"));

for (let number = 0; number < MESSAGES; number++) await bob.sendTextMessage(roomId, `message ${number}`);
const alicesRoom = alice.getRoom(roomId);
await until(alice, "bob's messages", () => bodies(alicesRoom).includes(`message ${MESSAGES - 1}`));

// A third client of bob's that knows only the newest events pages back to the beginning.
const late = createClient({
    baseUrl: base,
    userId: bob.getUserId(),
    deviceId: bob.getDeviceId(),
    accessToken: bob.getAccessToken(),
});
await late.startClient({ initialSyncLimit: 5, pollTimeout: PATIENCE_MS });
const lateRoom = await until(late, "the room after the first sync", () => late.getRoom(roomId));
let more = true;
for (let page = 0; more && page < 50; page++) {
    more = await late.paginateEventTimeline(lateRoom.getLiveTimeline(), { backwards: true, limit: 7 });
}
assert.equal(lateRoom.getLiveTimeline().getPaginationToken(Direction.Backward), null);
assert.deepEqual(bodies(lateRoom), ["hello", ...Array.from({ length: MESSAGES }, (_, number) => `message ${number}`)]);

await bob.leave(roomId);
await until(alice, "bob's leave", () => alicesRoom.getMember(bob.getUserId())?.membership === "leave");
await until(bob, "my leave", () => bobsRoom.getMyMembership() === "leave");

for (const client of [alice, bob, late]) client.stopClient();
await alice.logout(true);
console.log("the journey is over");
// Timers of the SDK may outlive its clients.
process.exit(0);
