"""matrix-nio beside LinkIM's own API: three accounts are in both at once, and what is done in the one is seen in the other.

    nio_linkim_journey.py BASE PREFIX     the server's address, and what the localparts begin with
"""

import asyncio
import json
import sys
from urllib.parse import quote

from nio import (
    AsyncClient,
    AsyncClientConfig,
    PushRuleKind,
    RedactionEvent,
    RoomMessageText,
    RoomPreset,
    TypingNoticeEvent,
)

PASSWORD = "a journey of a thousand events"
PATIENCE = 10


def held(response, kind):
    """Gives the response if nio understood it as the kind of success that is meant."""
    name = type(response).__name__
    assert name == kind, f"wanted {kind}, got {response}"
    return response


class Person:
    """Somebody with a plain client and an app on one account."""

    def __init__(self, base, nio):
        self.base, self.nio, self.id = base, nio, nio.user_id
        self.timeline, self.account_data, self.typing, self.left = {}, {}, {}, set()

    @classmethod
    async def register(cls, base, localpart):
        nio = AsyncClient(base, "", config=AsyncClientConfig(max_timeouts=1, request_timeout=30))
        held(await nio.register(localpart, PASSWORD), "RegisterResponse")
        return cls(base, nio)

    async def raw(self, method, path, body=None):
        """A request that neither nio nor the app has a name for."""
        headers = {"Authorization": f"Bearer {self.nio.access_token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body)
        response = await self.nio.send(method, path, data, headers)
        return response.status, await response.json()

    async def app(self, method, path, **body):
        """A call of LinkIM's API that must succeed."""
        status, answer = await self.raw(method, path, body or None)
        assert (status, answer.get("code")) == (200, 0), f"{method} {path} {body}: {status} {answer}"
        return answer

    async def put_account_data(self, kind, content, room=None):
        """Sets account data as clients do."""
        place = f"/rooms/{quote(room, safe='')}" if room else ""
        path = f"/_matrix/client/v3/user/{quote(self.id, safe='')}{place}/account_data/{kind}"
        status, answer = await self.raw("PUT", path, content)
        assert status == 200, answer

    async def sync(self, timeout):
        """One long poll, and what nio made of it, kept."""
        response = held(await self.nio.sync(timeout, since=self.nio.next_batch or None), "SyncResponse")
        for room, info in response.rooms.join.items():
            self.left.discard(room)
            self.timeline.setdefault(room, []).extend(info.timeline.events)
            for event in info.account_data:
                self.account_data[room, getattr(event, "type", type(event).__name__)] = getattr(event, "content", event)
            for event in info.ephemeral:
                if isinstance(event, TypingNoticeEvent):
                    self.typing[room] = event.users
        for event in response.account_data_events:
            self.account_data[None, getattr(event, "type", type(event).__name__)] = getattr(event, "content", event)
        self.left.update(response.rooms.leave)

    async def sees(self, what, found):
        """Follows long polls until the plain client knows this; gives it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while not (result := found()):
            left = deadline - loop.time()
            assert left > 0, f"{self.id}'s plain client never saw {what}"
            await self.sync(max(1, int(left * 1000)))
        return result

    async def event(self, what, room, fits):
        """Waits for a timeline event that fits."""
        return await self.sees(what, lambda: next((e for e in self.timeline.get(room, []) if fits(e)), None))

    async def text(self, room, body):
        """Waits for a message with this body; gives it."""
        return await self.event(body, room, lambda e: isinstance(e, RoomMessageText) and e.body == body)

    async def data(self, kind, fits, room=None):
        """Waits for account data that fits."""
        return await self.sees(kind, lambda: fits(self.account_data.get((room, kind), {})))

    async def says(self, room, content):
        """Sends a message by nio; gives its id."""
        if isinstance(content, str):
            content = {"msgtype": "m.text", "body": content}
        return held(await self.nio.room_send(room, "m.room.message", content), "RoomSendResponse").event_id

    async def is_mute(self, room):
        """Holds that nio is refused a message."""
        response = await self.nio.room_send(room, "m.room.message", {"msgtype": "m.text", "body": "muffled"})
        assert getattr(response, "status_code", None) == "M_FORBIDDEN", response

    async def state(self, room, kind):
        """The content of a state event, as nio reads it."""
        return held(await self.nio.room_get_state_event(room, kind), "RoomGetStateEventResponse").content

    async def conversation(self, room):
        """What the app's list says of a conversation; None if it is not there."""
        detail = (await self.app("GET", "/conversations"))["detail"]
        return next((entry for entry in detail if entry["room_id"] == room), None)

    async def role(self, group, of):
        """The role of a member, as the app shows it; None for who is no member."""
        members = (await self.app("GET", f"/group/members?group_id={group}"))["detail"]
        return next((member["role"] for member in members if member["matrix_id"] == of.id), None)

    async def people(self, path):
        """The ids of a list of people."""
        return [person["matrix_id"] for person in (await self.app("GET", path))["detail"]]


def replacing(event_id, body):
    """The content of an edit."""
    new = {"msgtype": "m.text", "body": body}
    relation = {"rel_type": "m.replace", "event_id": event_id}
    return {"msgtype": "m.text", "body": f"* {body}", "m.new_content": new, "m.relates_to": relation}


def redacting(event_id):
    """Whether an event withdraws this one."""
    return lambda event: isinstance(event, RedactionEvent) and event.redacts == event_id


async def befriend(alice, bob, carol):
    """A request is an invitation, accepting it is joining, either way round. Gives alice's rooms with bob and carol."""
    await alice.app("POST", "/account/addfriend", friend_id=bob.id, request_message="from the app")
    room = (await alice.app("GET", "/account/friendrequests?direction=out"))["detail"][0]["room_id"]
    invitation = await bob.sees("the invitation", lambda: bob.nio.invited_rooms.get(room))
    assert invitation.inviter == alice.id, invitation.inviter
    held(await bob.nio.join(room), "JoinResponse")
    assert await alice.people("/account/friendlists") == [bob.id]
    await alice.data("org.linkim.friends", lambda content: bob.id in json.dumps(content))
    await alice.data("m.direct", lambda content: content.get(bob.id) == [room])

    created = await carol.nio.room_create(is_direct=True, preset=RoomPreset.trusted_private_chat, invite=[alice.id])
    other = held(created, "RoomCreateResponse").room_id
    assert await alice.people("/account/friendrequests?direction=in") == [carol.id]
    await alice.app("PUT", "/account/acceptfriend", friend_id=carol.id)
    await carol.sees("alice in the room", lambda: alice.id in getattr(carol.nio.rooms.get(other), "users", {}))
    assert sorted(await alice.people("/account/friendlists")) == sorted([bob.id, carol.id])
    # Removed from the list of friends, the room stays.
    await bob.app("DELETE", "/account/delfriend", friend_id=alice.id)
    await bob.data("org.linkim.friends", lambda content: alice.id not in json.dumps(content))
    assert room in held(await bob.nio.joined_rooms(), "JoinedRoomsResponse").rooms
    await bob.app("POST", "/account/addfriend", friend_id=alice.id)
    await alice.app("PUT", "/account/acceptfriend", friend_id=bob.id)
    return room, other


async def talk(alice, bob, room):
    """Messages, edits, withdrawals, restorations, receipts and typing."""
    sent = await alice.app("POST", "/message/send", the_other_person_id=bob.id, text="one")
    assert (await bob.text(room, "one")).event_id == sent["event_id"]
    about = {"the_other_person_id": bob.id, "message_id": sent["lastMsgId"]}
    await alice.app("PUT", "/message/edit", text="two", **about)
    edit = await bob.event("the edit", room, lambda e: "m.new_content" in e.source["content"])
    content = edit.source["content"]
    assert content["m.new_content"]["body"] == "two", content
    assert content["m.relates_to"] == {"rel_type": "m.replace", "event_id": sent["event_id"]}, content
    await alice.app("PUT", "/message/withdraw", **about)
    await bob.event("the withdrawal", room, redacting(sent["event_id"]))
    await alice.app("PUT", "/message/unwithdraw", new_text="three", **about)
    restored = await bob.text(room, "three")
    assert restored.source["content"]["org.linkim.restores"] == sent["event_id"]

    history = lambda: alice.app("GET", f"/conversation/get?the_other_person_id={quote(bob.id)}")  # noqa: E731
    said = await bob.says(room, "four")
    entry = await alice.conversation(room)
    assert (entry["last_message"]["content"], entry["unread_count"]) == ("four", 1), entry
    await bob.says(room, replacing(said, "five"))
    newest = (await history())["detail"]["Messages"][0]
    assert (newest["Content"], newest["Edited"], newest["event_id"]) == ("five", True, said), newest
    held(await bob.nio.room_redact(room, said), "RoomRedactResponse")
    newest = (await history())["detail"]["Messages"][0]
    assert (newest["Content"], newest["ID"]) == ("three", sent["lastMsgId"]), newest
    assert (await alice.conversation(room))["unread_count"] == 0

    said = await bob.says(room, "read me")
    await alice.app("PUT", "/conversation/unread", thread_id=entry["thread_id"])
    receipt = lambda: getattr(bob.nio.rooms[room].read_receipts.get(alice.id), "event_id", None)  # noqa: E731
    await bob.sees("alice's receipt", lambda: receipt() == said)
    answer = await alice.app("POST", "/message/send", the_other_person_id=bob.id, text="and me")
    await bob.text(room, "and me")
    status = f"/message/receipts?message_id={quote(answer['event_id'])}"
    assert (await alice.app("GET", status))["status"] != "read"
    held(await bob.nio.update_receipt_marker(room, answer["event_id"]), "UpdateReceiptMarkerResponse")
    assert (await alice.app("GET", status))["status"] == "read"
    assert (await bob.conversation(room))["unread_count"] == 0

    socket = alice.nio.client_session.ws_connect(
        f"{alice.base}/ws", headers={"Authorization": f"Bearer {alice.nio.access_token}"}
    )
    async with socket as push:
        assert (await push.receive_json(timeout=PATIENCE))["type"] == "hello"
        held(await bob.nio.room_typing(room, True), "RoomTypingResponse")
        while (frame := await push.receive_json(timeout=PATIENCE))["type"] != "typing":
            pass
        assert [user["matrix_id"] for user in frame["data"]["users"]] == [bob.id], frame
        assert frame["data"]["room_id"] == room, frame
    await alice.sees("bob typing", lambda: alice.typing.get(room) == [bob.id])


async def settle(alice, room):
    """What one decides for oneself: tags, push rules, account data."""
    thread = (await alice.conversation(room))["thread_id"]

    async def wish(what, **body):
        await alice.app("PUT", f"/conversation/{what}", thread_id=thread, **body)

    async def shows(key):
        return (await alice.conversation(room))[key]

    await wish("pin", pinned=True)
    await alice.sees("the tag", lambda: "m.favourite" in alice.nio.rooms[room].tags)
    await wish("draft", text="I was going to")
    await alice.data("org.linkim.draft", lambda content: content.get("text") == "I was going to", room)
    await wish("mark_unread", unread=True)
    await alice.data("m.marked_unread", lambda content: content.get("unread") is True, room)
    await wish("mute", muted=True)

    def rule():
        rules = alice.account_data.get((None, "PushRulesEvent"))
        return rules and any(it.id == room and not it.actions for it in rules.global_rules.room)

    await alice.sees("the push rule", rule)
    await wish("recv_opt", recv_opt=1)
    await alice.data("org.linkim.recv_opt", lambda content: content.get("recv_opt") == 1, room)
    await wish("recv_opt", recv_opt=0)

    # The other way round.
    tag = f"/_matrix/client/v3/user/{quote(alice.id, safe='')}/rooms/{quote(room, safe='')}/tags/m.favourite"
    assert (await alice.raw("DELETE", tag))[0] == 200
    assert await shows("pinned") is False
    assert await shows("muted") is False
    held(await alice.nio.set_pushrule("global", PushRuleKind.room, room, actions=[]), "SetPushRuleResponse")
    assert await shows("muted") is True
    held(await alice.nio.delete_pushrule("global", PushRuleKind.room, room), "DeletePushRuleResponse")
    await alice.put_account_data("m.marked_unread", {"unread": False}, room)
    await alice.put_account_data("org.linkim.draft", {"text": "on the phone", "updated_ts": 1}, room)
    entry = await alice.conversation(room)
    assert (entry["marked_unread"], entry["draft"]["text"], entry["muted"]) == (False, "on the phone", False), entry


async def block(alice, carol, room):
    """The blacklist is the list of ignored users, whoever changes it."""
    await alice.app("POST", "/account/blacklist/add", friend_id=carol.id)
    await alice.data("m.ignored_user_list", lambda content: list(content.get("ignored_users", {})) == [carol.id])
    await carol.is_mute(room)
    await alice.put_account_data("m.ignored_user_list", {"ignored_users": {}})
    assert await alice.people("/account/blacklist/friendlists") == []
    await carol.says(room, "heard again")
    await alice.text(room, "heard again")
    await alice.put_account_data("m.ignored_user_list", {"ignored_users": {carol.id: {}}})
    assert await alice.people("/account/blacklist/friendlists") == [carol.id]
    assert carol.id not in await alice.people("/account/friendlists")
    await alice.app("DELETE", "/account/blacklist/delete", friend_id=carol.id)
    await alice.data("m.ignored_user_list", lambda content: content.get("ignored_users") == {})


async def group_of_the_app(alice, bob, carol):
    """A group's life by the app, as plain clients see it. Gives its id and its room."""
    made = await alice.app("POST", "/group/create", user_ids=[bob.id, carol.id], group_name="Team")
    group, room = made["groupID"], made["room_id"]
    for person in (bob, carol):
        await person.sees("the group", lambda person=person: room in person.nio.rooms)
        assert person.nio.rooms[room].name == "Team"
        # The server's own user is no hero and is not counted.
        assert person.nio.rooms[room].summary.joined_member_count == 3
    await alice.app("PUT", "/group/name", group_id=group, new_name="Crew")
    await bob.sees("the name", lambda: bob.nio.rooms[room].name == "Crew")

    await alice.app("PUT", "/group/notice", group_id=group, new_notice="Moving on Monday", must_confirm=True)
    post = await bob.event("the announcement", room, lambda e: "Moving on Monday" in getattr(e, "body", ""))
    assert (await bob.state(room, "m.room.pinned_events"))["pinned"] == [post.event_id]
    check = {"m.relates_to": {"rel_type": "m.annotation", "event_id": post.event_id, "key": "✅"}}
    held(await bob.nio.room_send(room, "m.reaction", check), "RoomSendResponse")
    assert await alice.people(f"/group/notice/readers?group_id={group}&state=confirmed") == [bob.id]
    await carol.app("POST", "/group/notice/confirm", group_id=group)
    await bob.event("carol's confirmation", room, lambda e: e.source["type"] == "org.linkim.group.confirm")

    levels = lambda person: person.nio.rooms[room].power_levels  # noqa: E731
    await alice.app("PUT", "/group/promote/admin", group_id=group, user_id=bob.id)
    await bob.sees("the role", lambda: levels(bob).users.get(bob.id) == 50)
    await alice.app("PUT", "/group/mute/member", group_id=group, user_id=carol.id, seconds=600)
    await carol.sees("the mute", lambda: levels(carol).users.get(carol.id) == -1)
    await carol.is_mute(room)
    await alice.app("PUT", "/group/mute/member", group_id=group, user_id=carol.id, seconds=0)
    assert carol.id not in (await carol.state(room, "m.room.power_levels"))["users"]
    said = await carol.says(room, "free")
    await alice.app("PUT", "/message/group/withdraw", group_id=group, message_id=said)
    await carol.event("the withdrawal", room, redacting(said))
    await alice.app("PUT", "/group/mute/all", group_id=group, mute=True)
    await carol.sees("the silence", lambda: levels(carol).defaults.events_default == 50)
    await carol.is_mute(room)
    await alice.app("PUT", "/group/mute/all", group_id=group, mute=False)
    await alice.app("PUT", "/group/joinmode", group_id=group, join_mode=2)
    await bob.sees("the join rule", lambda: bob.nio.rooms[room].join_rule == "public")
    await bob.app("PUT", "/group/nickname", group_id=group, new_name="Bobby")
    await carol.sees("the nickname", lambda: carol.nio.rooms[room].users[bob.id].display_name == "Bobby")
    await alice.app("DELETE", "/group/kickout", group_id=group, user_ids=[carol.id])
    await carol.sees("the end", lambda: room in carol.left)
    return group, room


async def group_of_plain_clients(alice, bob, carol, group, room):
    """The same by plain clients, as the app sees it."""
    held(await carol.nio.join(room), "JoinResponse")
    assert await alice.role(group, carol) == "member"
    held(await alice.nio.room_put_state(room, "m.room.name", {"name": "Named by nio"}), "RoomPutStateResponse")
    assert (await carol.app("GET", f"/group/name?group_id={group}"))["name"] == "Named by nio"
    assert (await carol.conversation(room))["group_info"]["group_name"] == "Named by nio"
    sent = await carol.says(room, "by nio")
    entry = await alice.conversation(room)
    assert (entry["type"], entry["last_message"]["event_id"]) == ("group", sent), entry
    mention = {"msgtype": "m.text", "body": "alice!", "m.mentions": {"user_ids": [alice.id]}}
    await carol.says(room, mention)
    assert (await alice.conversation(room))["at_flag"] == 1

    content = await alice.state(room, "m.room.power_levels")
    content["users"][carol.id] = 50
    held(await alice.nio.room_put_state(room, "m.room.power_levels", content), "RoomPutStateResponse")
    assert await bob.role(group, carol) == "admin"
    # What the rules of groups refuse is refused to plain clients, too.
    content["users"][bob.id] = 0
    response = await bob.nio.room_put_state(room, "m.room.power_levels", content)
    assert response.status_code == "M_FORBIDDEN", response
    response = await bob.nio.room_kick(room, alice.id)
    assert response.status_code == "M_FORBIDDEN", response
    del content["users"][carol.id]
    content["users"][bob.id] = 50
    held(await alice.nio.room_put_state(room, "m.room.power_levels", content), "RoomPutStateResponse")
    held(await bob.nio.room_kick(room, carol.id), "RoomKickResponse")
    assert await alice.role(group, carol) is None
    assert await carol.conversation(room) is None
    # By invitation, and by the app's answer to it.
    held(await bob.nio.room_invite(room, carol.id), "RoomInviteResponse")
    await carol.app("POST", "/group/join", group_id=room)
    assert await alice.role(group, carol) == "member"
    held(await carol.nio.room_leave(room), "RoomLeaveResponse")
    assert await alice.role(group, carol) is None

    await alice.app("DELETE", "/group/dissolve", group_id=group)
    for person in (alice, bob):
        await person.sees("the end of the group", lambda person=person: room in person.left)
        assert await person.conversation(room) is None
    await bob.is_mute(room)


async def journey(base, prefix):
    """The whole way; every step raises if the server does not do its part."""
    people = [await Person.register(base, f"{prefix}-{name}") for name in ("alice", "bob", "carol")]
    alice, bob, carol = people
    try:
        with_bob, with_carol = await befriend(alice, bob, carol)
        await talk(alice, bob, with_bob)
        await settle(alice, with_bob)
        await block(alice, carol, with_carol)
        group, room = await group_of_the_app(alice, bob, carol)
        await group_of_plain_clients(alice, bob, carol, group, room)
    finally:
        for person in people:
            await person.nio.close()


asyncio.run(journey(sys.argv[1], sys.argv[2]))
print("the journey is over")
