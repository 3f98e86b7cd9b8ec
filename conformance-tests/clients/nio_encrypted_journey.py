"""matrix-nio's encrypted journey: two people and a second device talk in a room whose words no server can read.

    nio_encrypted_journey.py BASE PREFIX [OTHER_BASE]     the servers' addresses, and what the localparts begin with
"""

import asyncio
import sys
import tempfile

from nio import AsyncClient, AsyncClientConfig, MegolmEvent, RoomMessageText, RoomVisibility

PASSWORD = "a journey of a thousand events"
ROUNDS = 100
POLL_MS = 300
ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


def held(response, kind):
    """Gives the response if nio understood it as the kind of success that is meant."""
    name = type(response).__name__
    assert name == kind, f"wanted {kind}, got {response}"
    return response


class Device:
    """A device with its keys, and what it could read."""

    def __init__(self, client):
        self.client = client
        self.read = []
        client.add_event_callback(self._heard, (RoomMessageText, MegolmEvent))

    def _heard(self, _room, event):
        if isinstance(event, RoomMessageText) and event.decrypted:
            self.read.append(event.body)

    @classmethod
    async def login(cls, base, user_id, folder):
        """A new device of somebody who has an account."""
        config = AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True, max_timeouts=1, request_timeout=30)
        client = AsyncClient(base, user_id, store_path=tempfile.mkdtemp(dir=folder), config=config)
        held(await client.login(PASSWORD, device_name="device"), "LoginResponse")
        device = cls(client)
        await device.step()
        return device

    @classmethod
    async def register(cls, base, name, folder):
        """Somebody new, with a device."""
        registering = AsyncClient(base, name)
        held(await registering.register(name, PASSWORD), "RegisterResponse")
        user_id = registering.user_id
        await registering.close()
        return await cls.login(base, user_id, folder)

    async def step(self):
        """One poll, and whatever the keys need then."""
        client = self.client
        held(await client.sync(timeout=POLL_MS), "SyncResponse")
        if client.should_upload_keys:
            held(await client.keys_upload(), "KeysUploadResponse")
        if client.should_query_keys:
            held(await client.keys_query(), "KeysQueryResponse")
        if client.should_claim_keys:
            held(await client.keys_claim(client.get_users_for_key_claiming()), "KeysClaimResponse")
        await client.send_to_device_messages()

    def knows(self, user_id):
        """How many devices of somebody it knows."""
        return len(list(self.client.device_store.active_user_devices(user_id)))

    def sees(self, room, user_id):
        """Whether it sees somebody in the room."""
        return room in self.client.rooms and user_id in self.client.rooms[room].users

    async def say(self, room, text):
        content = {"msgtype": "m.text", "body": text}
        sent = await self.client.room_send(room, "m.room.message", content, ignore_unverified_devices=True)
        held(sent, "RoomSendResponse")


async def until(what, devices, condition):
    """Goes on polling on all devices until the condition holds."""
    for _ in range(ROUNDS):
        if condition():
            return
        for device in devices:
            await device.step()
    raise AssertionError(f"never: {what}")


async def journey(base, other_base, prefix, folder):
    """The whole way; every step raises if the servers do not do their part."""
    alice = await Device.register(base, f"{prefix}-alice", folder)
    bob = await Device.register(other_base, f"{prefix}-bob", folder)
    both, bob_id, alice_id = [alice, bob], bob.client.user_id, alice.client.user_id
    created = await alice.client.room_create(visibility=RoomVisibility.private, initial_state=[ENCRYPTION])
    room = held(created, "RoomCreateResponse").room_id
    held(await alice.client.room_invite(room, bob_id), "RoomInviteResponse")
    await until("invited", [bob], lambda: room in bob.client.invited_rooms)
    held(await bob.client.join(room), "JoinResponse")
    await until("in the room", both, lambda: alice.sees(room, bob_id) and bob.sees(room, alice_id))
    assert alice.client.rooms[room].encrypted and bob.client.rooms[room].encrypted
    await until("known to each other", both, lambda: alice.knows(bob_id) and bob.knows(alice_id))

    await alice.say(room, "for bob alone")
    await until("bob reads", [bob], lambda: "for bob alone" in bob.read)
    await bob.say(room, "for alice alone")
    await until("alice reads", [alice], lambda: "for alice alone" in alice.read)

    laptop = await Device.login(other_base, bob_id, folder)
    await until("the laptop is known", [alice], lambda: alice.knows(bob_id) == 2)
    await alice.say(room, "for both of bob's devices")
    await until("both read", [bob, laptop], lambda: all("for both of bob's devices" in d.read for d in (bob, laptop)))
    for device in (alice, bob, laptop):
        await device.client.close()


def main():
    base, prefix = sys.argv[1:3]
    other_base = sys.argv[3] if len(sys.argv) > 3 else base
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(journey(base, other_base, prefix, folder))
    print("the journey is over")


main()
