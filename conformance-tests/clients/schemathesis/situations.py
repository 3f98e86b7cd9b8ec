"""What must be so that a request can succeed, by operation: `situation(world, case, fields, facts, turn)` makes it so.

`fields` is what the request says; `facts` is what its names will be replaced by.
"""

SITUATIONS = {}


def of(*labels):
    def keep(function):
        for label in labels:
            SITUATIONS[label] = function
        return function

    return keep


def only(fields, *names):
    """Leaves one of several names of the same thing."""
    for name in names[1:]:
        if names[0] in fields:
            fields.pop(name, None)


# Contacts


@of("POST /account/addfriend")
def add_friend(world, case, fields, facts, turn):
    facts["friend"] = world.erin.id
    if turn % 2:
        world.erin.try_to("DELETE", "/account/delfriend", {"friend_id": world.alice.id})


@of("PUT /account/acceptfriend", "PUT /account/rejectfriend")
def answer_friend(world, case, fields, facts, turn):
    world.request_from(world.dave)
    facts["friend"] = world.dave.id


@of("GET /account/friendrequests")
def friend_requests(world, case, fields, facts, turn):
    world.request_from(world.dave)
    fields.pop("cursor", None)


@of("GET /account/friendlists", "GET /account/relationship/friendlists")
def friends(world, case, fields, facts, turn):
    facts["cursor"] = world.bob.id


@of("GET /account/blacklist/friendlists")
def blacklist(world, case, fields, facts, turn):
    facts["cursor"] = world.mallory.id


@of("DELETE /account/delfriend")
def delete_friend(world, case, fields, facts, turn):
    world.befriend(world.grace)
    facts["friend"] = world.grace.id


@of("POST /account/addrelationship")
def add_label(world, case, fields, facts, turn):
    facts["label"] = None
    if turn % 20 == 19:
        for name in world.alice.do("GET", "/account/relationships", {})["detail"]:
            if name != "kin":
                world.alice.do("DELETE", "/account/delrelationship", {"relation_ship_name": name})


@of("DELETE /account/delrelationship")
def delete_label(world, case, fields, facts, turn):
    facts["label"] = world.unique("label")
    world.alice.do("POST", "/account/addrelationship", {"relation_ship_name": facts["label"]})


@of("DELETE /account/relationship/delfriend")
def unlabel(world, case, fields, facts, turn):
    facts["friend"] = world.carol.id
    label = {"relation_ship_name": "kin", "friend_id": world.carol.id}
    world.alice.try_to("POST", "/account/relationship/addfriend", label)


@of("POST /account/relationship/addfriend")
def label(world, case, fields, facts, turn):
    facts["friend"] = world.carol.id
    label = {"relation_ship_name": "kin", "friend_id": world.carol.id}
    world.alice.try_to("DELETE", "/account/relationship/delfriend", label)


@of("POST /account/blacklist/add", "DELETE /account/blacklist/delete")
def block(world, case, fields, facts, turn):
    facts["friend"] = world.mallory.id
    if "delete" in case.operation.label:
        world.alice.try_to("POST", "/account/blacklist/add", {"friend_id": world.mallory.id})
    else:
        world.alice.try_to("DELETE", "/account/blacklist/delete", {"friend_id": world.mallory.id})


# Accounts


@of("GET /account/getinfo")
def getinfo(world, case, fields, facts, turn):
    facts["userID"] = world.bob.id


@of("GET /users/search")
def search_users(world, case, fields, facts, turn):
    if turn % 2:
        fields["keyword"] = "bob"


@of("POST /account/code/send")
def send_code(world, case, fields, facts, turn):
    fields.update(world.address())


@of("POST /account/code/verify")
def verify_code(world, case, fields, facts, turn):
    address = world.address()
    fields.update(address, usedFor=1, verifyCode=world.code(address, 1))


@of("PUT /account/phone")
def phone(world, case, fields, facts, turn):
    address = world.address()
    fields.update(address, verifyCode=world.code(address, 4))


@of("PUT /account/email")
def email(world, case, fields, facts, turn):
    address = f"{world.unique('alice')}@mail.example"
    fields.update(email=address, verifyCode=world.code({"email": address}, 4))


@of("POST /account/register")
def register(world, case, fields, facts, turn):
    address = world.address()
    fields["verifyCode"] = world.code(address, 1)
    fields["user"] = {**address, "password": "one", "nickname": "New"}


@of("POST /account/login")
def login(world, case, fields, facts, turn):
    for name in ("phoneNumber", "areaCode", "email", "verifyCode"):
        fields.pop(name, None)
    fields.update(account="frank", password="correct horse battery staple")


@of("POST /account/logout")
def logout(world, case, fields, facts, turn):
    fields.pop("token", None)


@of("PUT /account/password")
def password(world, case, fields, facts, turn):
    for name in ("verifyCode", "confirmPassword", "email", "phoneNumber", "areaCode"):
        fields.pop(name, None)
    fields.update(oldPassword="correct horse battery staple", newPassword="correct horse battery staple")


@of("GET /sessions")
def sessions(world, case, fields, facts, turn):
    if "after" in fields:
        fields["after"] = world.alice.sessions()[0]["session_id"]


@of("DELETE /sessions/{id}")
def end_session(world, case, fields, facts, turn):
    other = world.leaver.log_in()
    sessions = world.leaver.try_to("GET", "/sessions", None, other).json()["detail"]
    case.path_parameters["id"] = next(one["session_id"] for one in sessions if one["current"])


# Messages and conversations


@of("PUT /message/edit")
def edit(world, case, fields, facts, turn):
    only(fields, "thread_id", "group_id", "the_other_person_id")
    only(fields, "group_id", "the_other_person_id")
    # A new one each time: the conversation may have been cleared since.
    facts["message"] = world.say_in(world.group) if "group_id" in fields else world.say_to(world.bob)


@of("PUT /message/withdraw", "PUT /message/unwithdraw")
def withdraw(world, case, fields, facts, turn):
    facts["message"] = world.say_to(world.bob)
    if "unwithdraw" in case.operation.label:
        gone = {"the_other_person_id": world.bob.id, "message_id": facts["message"]}
        world.alice.do("PUT", "/message/withdraw", gone)


@of("PUT /message/group/withdraw", "PUT /message/group/unwithdraw")
def group_withdraw(world, case, fields, facts, turn):
    facts["message"] = world.say_in(world.group)
    if "unwithdraw" in case.operation.label:
        gone = {"group_id": world.group, "message_id": facts["message"]}
        world.alice.do("PUT", "/message/group/withdraw", gone)


@of("POST /message/group/send")
def group_send(world, case, fields, facts, turn):
    world.alice.try_to("PUT", "/group/mute/all", {"group_id": world.group, "mute": False})
    facts["message"] = world.group_message
    if fields.get("kind") in (2, 3) and turn % 2:
        fields.setdefault("url", "mxc://a.example/cat")


@of("POST /message/send")
def send(world, case, fields, facts, turn):
    if fields.get("kind") in (2, 3) and turn % 2:
        fields.setdefault("url", "mxc://a.example/cat")


@of("GET /conversation/get")
def history(world, case, fields, facts, turn):
    facts["last_msg_id"] = world.message


@of("GET /conversation/group/get")
def group_history(world, case, fields, facts, turn):
    facts["last_msg_id"] = world.group_message


@of("GET /message/receipts")
def receipts(world, case, fields, facts, turn):
    facts["cursor"] = world.bob.id


@of("GET /message/search")
def search(world, case, fields, facts, turn):
    only(fields, "thread_id", "group_id", "the_other_person_id")
    only(fields, "group_id", "the_other_person_id")
    if turn % 2:
        fields["keyword"] = "hello"


@of("GET /conversations")
def conversations(world, case, fields, facts, turn):
    list = world.alice.do("GET", "/conversations", {"page_size": 1})
    if "since" in fields:
        fields.pop("cursor", None)
        fields["since"] = list["position"]
    if "cursor" in fields:
        fields["cursor"] = list["next_cursor"]


@of(
    "PUT /conversation/unread",
    "PUT /conversation/pin",
    "PUT /conversation/mute",
    "PUT /conversation/recv_opt",
    "PUT /conversation/draft",
    "PUT /conversation/hide",
    "PUT /conversation/clear",
    "PUT /conversation/mark_unread",
    "DELETE /conversation",
)
def setting(world, case, fields, facts, turn):
    only(fields, "thread_id", "group_id", "the_other_person_id")
    only(fields, "group_id", "the_other_person_id")
    if "group_id" in fields:
        facts["message"] = world.group_message


# Groups


@of("POST /group/invite")
def invite(world, case, fields, facts, turn):
    world.alice.try_to("DELETE", "/group/kickout", {"group_id": world.group, "user_ids": [world.erin.id]})
    facts["members"] = [world.erin.id]


@of("DELETE /group/kickout")
def kickout(world, case, fields, facts, turn):
    world.alice.try_to("POST", "/group/invite", {"group_id": world.group, "user_ids": [world.erin.id]})
    facts.update(group=world.group, members=[world.erin.id])


@of("POST /group/leave")
def leave(world, case, fields, facts, turn):
    world.alice.try_to("POST", "/group/join", {"group_id": world.bobs})
    facts["group"] = world.bobs


@of("POST /group/join")
def join(world, case, fields, facts, turn):
    world.alice.try_to("POST", "/group/leave", {"group_id": world.bobs})
    facts["group"] = world.bobs


@of("DELETE /group/dissolve")
def dissolve(world, case, fields, facts, turn):
    # Every third has a group of its own; the others one that is dissolved, or another's.
    facts["group"] = world.new_group("short-lived") if turn % 3 == 0 else world.bobs


@of("PUT /group/promote/admin", "PUT /group/demote/member")
def role(world, case, fields, facts, turn):
    facts["user_id"] = world.carol.id
    member = {"group_id": world.group, "user_id": world.carol.id}
    first = "/group/promote/admin" if "demote" in case.operation.label else "/group/demote/member"
    world.alice.try_to("PUT", first, member)


@of("PUT /group/promote/owner")
def transfer(world, case, fields, facts, turn):
    facts["user_id"] = world.carol.id
    # Every third has a group of its own; the others name nobody of the group.
    facts["group"] = world.new_group("handed on") if turn % 3 == 0 else world.group
    if turn % 3:
        facts["user_id"] = world.mallory.id


@of("PUT /group/mute/member")
def mute(world, case, fields, facts, turn):
    facts["user_id"] = world.dave.id


@of("GET /group/members", "GET /group/requests")
def members(world, case, fields, facts, turn):
    facts["last_user_id"] = world.bob.id


@of("GET /group/notice/readers")
def readers(world, case, fields, facts, turn):
    facts["last_user_id"] = world.bob.id
    facts["message"] = world.announced()["message_id"]


@of("GET /groups")
def groups(world, case, fields, facts, turn):
    mine = world.alice.do("GET", "/groups", {"page_size": 1})["detail"]
    facts["last_thread_id"] = mine[0]["thread_id"]


@of("GET /group/notice/history")
def notices(world, case, fields, facts, turn):
    facts["last_notice_id"] = world.announced()["notice_id"]


@of("POST /group/notice/confirm")
def confirm(world, case, fields, facts, turn):
    world.alice.try_to("POST", "/group/join", {"group_id": world.bobs})
    facts["group"] = world.bobs
    facts["message"] = None
    notice = world.alice.do("GET", "/group/notice", {"group_id": world.bobs})["detail"]
    facts["message_id"] = notice["notice_id"]


@of("PUT /group/requests/handle")
def handle(world, case, fields, facts, turn):
    world.alice.try_to("DELETE", "/group/kickout", {"group_id": world.group, "user_ids": [world.frank.id]})
    world.alice.try_to("PUT", "/group/joinmode", {"group_id": world.group, "join_mode": 0})
    world.frank.try_to("POST", "/group/join", {"group_id": world.group})
    facts["user_id"] = world.frank.id
