-- What admins on other servers asked of groups made here (`org.linkim.group.request`) and was not answered yet: written with the
-- event, deleted with its result, each in that event's transaction, so that a request acts once. Bound: 1,000 rows a group;
-- beyond them a request stays without an answer.
CREATE TABLE group_calls (
    event INTEGER NOT NULL PRIMARY KEY,
    room  INTEGER NOT NULL
);
CREATE INDEX group_calls_room ON group_calls (room);
