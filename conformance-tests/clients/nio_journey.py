"""matrix-nio's journey: two people meet in a room, talk, page back and leave.

    nio_journey.py BASE PREFIX     the server's address, and what the localparts begin with
"""

import asyncio
import sys

from nio import (
    AsyncClient,
    AsyncClientConfig,
    MessageDirection,
    RoomMessageText,
    RoomVisibility,
)

PASSWORD = "a journey of a thousand events"
PATIENCE_MS = 10_000
MESSAGES = 25


def held(response, kind):
    """Gives the response if nio understood it as the kind of success that is meant."""
    name = type(response).__name__
    assert name == kind, f"wanted {kind}, got {response}"
    return response


async def synced(client, found):
    """Follows long polls until `found` gives something for a response; gives that."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_MS / 1000
    while asyncio.get_running_loop().time() < deadline:
        response = held(await client.sync(timeout=PATIENCE_MS, since=client.next_batch or None), "SyncResponse")
        result = found(response)
        if result:
            return result
    raise AssertionError("no such response")


def texts(response, room):
    """The messages of a room in a sync response."""
    info = response.rooms.join.get(room)
    events = info.timeline.events if info else []
    return [event.body for event in events if isinstance(event, RoomMessageText)]


async def journey(base, prefix):
    """The whole way; every step raises if the server does not do its part."""
    config = AsyncClientConfig(max_timeouts=1, request_timeout=30)
    registered = AsyncClient(base, "", config=config)
    alice = AsyncClient(base, f"{prefix}-alice", config=config)
    bob = AsyncClient(base, "", config=config)
    try:
        held(await registered.register(f"{prefix}-alice", PASSWORD), "RegisterResponse")
        held(await alice.login(PASSWORD, device_name="phone"), "LoginResponse")
        held(await bob.register(f"{prefix}-bob", PASSWORD), "RegisterResponse")

        created = held(
            await alice.room_create(visibility=RoomVisibility.private, name="The way", invite=[]), "RoomCreateResponse"
        )
        room = created.room_id
        held(await bob.sync(timeout=0), "SyncResponse")
        held(await alice.room_invite(room, bob.user_id), "RoomInviteResponse")
        await synced(bob, lambda response: room in response.rooms.invite)
        held(await bob.join(room), "JoinResponse")
        await synced(bob, lambda response: room in response.rooms.join)
        held(await alice.sync(timeout=0, full_state=True), "SyncResponse")

        # The poll is on its way before the message is.
        poll = asyncio.create_task(synced(bob, lambda response: "hello" in texts(response, room)))
        await send(alice, room, "hello")
        await poll
        assert bob.rooms[room].display_name == "The way", bob.rooms[room].display_name

        for number in range(MESSAGES):
            await send(bob, room, f"message {number}")
        await synced(alice, lambda response: f"message {MESSAGES - 1}" in texts(response, room))

        wanted = ["hello"] + [f"message {number}" for number in range(MESSAGES)]
        history = await paginated(alice, room)
        assert history == wanted, history

        held(await bob.room_leave(room), "RoomLeaveResponse")
        await synced(bob, lambda response: room in response.rooms.leave)
        members = held(await alice.joined_members(room), "JoinedMembersResponse")
        assert [member.user_id for member in members.members] == [alice.user_id], members
        held(await alice.logout(), "LogoutResponse")
    finally:
        for client in (registered, alice, bob):
            await client.close()


async def send(client, room, body):
    """Sends a text."""
    content = {"msgtype": "m.text", "body": body}
    held(await client.room_send(room, "m.room.message", content), "RoomSendResponse")


async def paginated(client, room):
    """All messages of the room, oldest first, seven events a page."""
    bodies, start = [], client.next_batch
    while start:
        page = held(
            await client.room_messages(room, start, direction=MessageDirection.back, limit=7), "RoomMessagesResponse"
        )
        bodies += [event.body for event in page.chunk if isinstance(event, RoomMessageText)]
        start = page.end
    return bodies[::-1]


asyncio.run(journey(sys.argv[1], sys.argv[2]))
print("the journey is over")
