"""What schemathesis cannot know: who asks, and what there is to ask for.

A generated request names users, groups and messages that nobody has, so it would only ever see 404. Before a request goes
out, each name in it that is well-formed is replaced by one of the world's, and what the request uses up is made anew. What
the generator made wrong on purpose stays wrong.
"""

import collections
import json
import os
import re

import schemathesis
from schemathesis import GenerationMode

from situations import SITUATIONS
from world import Failed, World

TALLY = collections.defaultdict(collections.Counter)
WORLD = World(os.environ["LINKIM_BASE"], os.environ["LINKIM_LOG"]) if os.environ.get("LINKIM_AUTHENTICATED") else None

# Requests that end the session that they are sent with, or all others of the account.
ENDING = {"POST /account/logout", "DELETE /sessions/{id}", "PUT /account/password"}

# Requests that end a group or somebody's part in it, or a label.
DESTROYING = {
    "DELETE /group/dissolve",
    "DELETE /group/kickout",
    "PUT /group/promote/owner",
    "POST /group/leave",
    "DELETE /account/delrelationship",
}

if WORLD is not None:

    @schemathesis.auth(refresh_interval=None)
    class Token:
        """Alice's; of requests that end sessions somebody else's, whose session may end."""

        def get(self, case, _):
            return WORLD.throwaway() if case.operation.label in ENDING else WORLD.alice.token

        def set(self, case, token, _):
            case.headers["Authorization"] = f"Bearer {token}"


# What each field names, in whatever request it is.
CALLER = {"owner_id", "executor_id", "userID", "userId"}
NAMES = {
    "friend_id": "friend",
    "the_other_person_id": "friend",
    "group_id": "group",
    "thread_id": "thread",
    "message_id": "message",
    "quote_message_id": "message",
    "relation_ship_name": "label",
    "user_ids": "members",
    "at_user_ids": "mentioned",
}


def well_formed(name, value):
    """Whether a value names something in a right way: then another right name may stand for it."""
    if isinstance(value, bool) or value is None:
        return False
    if name == "group_id":
        return isinstance(value, str) and bool(re.fullmatch(r"[0-9a-f-]{36}|![^\x00]*", value))
    if name == "relation_ship_name":
        return isinstance(value, str) and 0 < len(value) <= 50
    if name in ("user_ids", "at_user_ids"):
        return isinstance(value, list) and all(well_formed("user_id", item) for item in value)
    if isinstance(value, int):
        return 0 <= value < 2**53
    return isinstance(value, str) and bool(re.fullmatch(r"[0-9]{1,15}|[@!$].+", value))


def in_range(value):
    """Whether the numbers in it are such as a JSON reader takes: RFC 8259 (6) lets it set limits, and ours are a double's."""
    if isinstance(value, dict):
        return all(in_range(field) for field in value.values())
    if isinstance(value, list):
        return all(in_range(item) for item in value)
    return not isinstance(value, int) or abs(value) < 10**300


@schemathesis.hook
def filter_body(context, body):
    return in_range(body)


@schemathesis.hook
def before_call(context, case, kwargs):
    if WORLD is None or case.meta is None:
        return
    label = case.operation.label
    turn = sum(TALLY[label].values())
    # One request in eight goes out as it was made.
    if turn % 8 == 7:
        return
    fields = case.body if isinstance(case.body, dict) else case.query
    if not isinstance(fields, dict):
        return
    in_query = fields is case.query
    positive = case.meta.generation.mode == GenerationMode.POSITIVE
    try:
        situation = SITUATIONS.get(label)
        facts = {
            "friend": WORLD.bob.id,
            "group": WORLD.group,
            "thread": WORLD.thread,
            "message": WORLD.message,
            "label": "kin",
            "members": [WORLD.bob.id, WORLD.carol.id],
            "mentioned": [WORLD.bob.id],
        }
        # Whatever a wrong request may do all the same, it does to what nobody needs.
        if label in DESTROYING:
            facts |= {"group": WORLD.spare, "members": [WORLD.erin.id], "label": "spare"}
        # Preparing costs requests: only what is to be accepted is prepared.
        if situation is not None and positive:
            situation(WORLD, case, fields, facts, turn)
    except Failed as failed:
        raise AssertionError(f"before {label}: {failed}") from failed
    for name, value in list(fields.items()):
        caller = name in CALLER or (name == "user_id" and "user_id" not in facts)
        if caller and well_formed("user_id", value):
            who = WORLD.leaver if label in ENDING else WORLD.alice
            fields[name] = who.id if isinstance(value, str) or in_query else who.number
        elif name in facts and well_formed(name, value):
            fields[name] = facts[name]
        elif name in NAMES and well_formed(name, value) and facts[NAMES[name]] is not None:
            fields[name] = facts[NAMES[name]]


@schemathesis.hook
def after_call(context, case, response):
    # Other methods on the same path are tried under the operation's name, too.
    if response.request.method.upper() != case.operation.method.upper():
        return
    TALLY[case.operation.label][response.status_code] += 1
    with open(os.environ["LINKIM_TALLY"], "w", encoding="utf-8") as out:
        json.dump(TALLY, out)
