"""The people, groups and messages that the requests of the run are about."""

import itertools
import re
import time

import requests

PASSWORD = "correct horse battery staple"


class Failed(Exception):
    """A step that prepares a request was refused."""


class User:
    """Somebody with an account."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        made = world.http.post(
            f"{world.base}/_matrix/client/v3/register",
            json={"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}},
        ).json()
        self.id, self.token = made["user_id"], made["access_token"]
        self.number = self.do("GET", "/account/getinfo", {"userID": self.id})["userID"]

    def try_to(self, method, path, body, token=None):
        """The answer of LinkIM's API, whatever it is."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return self.world.http.request(method, self.world.base + path, json=body, headers=headers)

    def do(self, method, path, body):
        """What LinkIM's API answers to what must succeed."""
        answer = self.try_to(method, path, body)
        if answer.status_code != 200:
            raise Failed(f"{self.name}: {method} {path} {body}: {answer.status_code} {answer.text}")
        return answer.json()

    def log_in(self):
        """The token of another session."""
        body = {"account": self.name, "password": PASSWORD}
        return self.try_to("POST", "/account/login", body).json()["data"]["imToken"]

    def sessions(self):
        return self.do("GET", "/sessions", {"page_size": 200})["detail"]


class World:
    """Alice, who asks, and whom and what she knows. All is made anew where a request used it up."""

    def __init__(self, base, log):
        self.base, self.log_file = base, log
        self.http = requests.Session()
        self.counter = itertools.count(1)
        names = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "mallory"]
        for name in names:
            setattr(self, name, User(self, name))
        self.leaver = User(self, "leaver")
        self.leaver_token = self.leaver.token
        for friend in (self.bob, self.carol):
            self.befriend(friend)
            friend.do("POST", "/message/send", {"the_other_person_id": self.alice.id, "text": "hello alice"})
        first = self.alice.do("POST", "/message/send", {"the_other_person_id": self.bob.id, "text": "hello bob"})
        self.thread, self.room = first["thread_id"], first["room_id"]
        self.message = first["lastMsgId"]
        self.alice.do("POST", "/account/addrelationship", {"relation_ship_name": "kin"})
        self.alice.do("POST", "/account/relationship/addfriend", {"relation_ship_name": "kin", "friend_id": self.bob.id})
        self.alice.do("POST", "/account/blacklist/add", {"friend_id": self.mallory.id})
        self.group = self.new_group("team")
        self.spare = self.new_group("spare")
        self.group_message = self.say_in(self.group)
        self.bob.do("POST", "/message/group/send", {"group_id": self.group, "text": "hello all"})
        members = {"owner_id": self.bob.id, "user_ids": [self.alice.id, self.carol.id], "group_name": "bob's"}
        self.bobs = self.bob.do("POST", "/group/create", {**members, "join_mode": 2})["groupID"]
        self.bob.do("PUT", "/group/notice", {"group_id": self.bobs, "new_notice": "confirm", "must_confirm": True})

    def unique(self, name):
        return f"{name}{next(self.counter)}"

    def befriend(self, other):
        """Makes somebody Alice's friend anew."""
        self.request_from(other)
        self.alice.try_to("PUT", "/account/acceptfriend", {"friend_id": other.id})

    def request_from(self, other):
        """Somebody's friend request to Alice that waits for its answer."""
        self.alice.do("PUT", "/account/settings", {"strangers_may_add": True})
        self.alice.try_to("DELETE", "/account/blacklist/delete", {"friend_id": other.id})
        other.try_to("DELETE", "/account/delfriend", {"friend_id": self.alice.id})
        other.do("POST", "/account/addfriend", {"friend_id": self.alice.id, "request_message": "please"})

    def new_group(self, name):
        members = [user.id for user in (self.bob, self.carol, self.dave)]
        group = self.alice.do("POST", "/group/create", {"user_ids": members, "group_name": name})["groupID"]
        self.alice.do("PUT", "/group/promote/admin", {"group_id": group, "user_id": self.bob.id})
        return group

    def announced(self):
        """The announcement of Alice's group."""
        notice = self.alice.do("GET", "/group/notice", {"group_id": self.group})["detail"]
        if notice is None:
            body = {"group_id": self.group, "new_notice": "read this", "must_confirm": True}
            notice = self.alice.do("PUT", "/group/notice", body)["detail"]
        return notice

    def say_to(self, other, text="a word"):
        """A new message of Alice's to somebody: its number."""
        return self.alice.do("POST", "/message/send", {"the_other_person_id": other.id, "text": text})["lastMsgId"]

    def say_in(self, group, text="a word"):
        """A new message of Alice's in a group: its number."""
        return self.alice.do("POST", "/message/group/send", {"group_id": group, "text": text})["lastMsgId"]

    def address(self):
        """A phone number that nobody has."""
        return {"areaCode": "+86", "phoneNumber": str(13_800_000_000 + next(self.counter))}

    def code(self, address, used_for):
        """A code that was sent to an address: the server under test writes it to its log."""
        self.alice.do("POST", "/account/code/send", {**address, "usedFor": used_for})
        to = address.get("email") or address["areaCode"].lstrip("+") + address["phoneNumber"]
        wanted = re.compile(rf"address=\"?{re.escape(to)}\"? code=\"?(\d{{6}})")
        for _ in range(200):
            with open(self.log_file, encoding="utf-8", errors="replace") as log:
                found = wanted.findall(re.sub(r"\x1b\[[0-9;]*m", "", log.read()))
            if found:
                return found[-1]
            time.sleep(0.05)
        raise Failed(f"no code for {address}")

    def throwaway(self):
        """A living token of somebody who does nothing but end sessions."""
        if self.leaver.try_to("GET", "/sessions", None, self.leaver_token).status_code != 200:
            self.leaver_token = self.leaver.log_in()
        return self.leaver_token
