-- In a group of LinkIM's: the service user who made the room, so that its meaning is known without a look at its state.
ALTER TABLE rooms ADD COLUMN service INTEGER;
CREATE INDEX rooms_service ON rooms (service, nid) WHERE service IS NOT NULL;

-- Timed mutes that this server is to lift; written with the mute, found again from the room's state by the follower. Bound: one
-- row a muted member of a group made here; it goes when the mute does, or when the group is dissolved.
CREATE TABLE group_mutes (
    room     INTEGER NOT NULL,
    user     INTEGER NOT NULL,
    until_ts INTEGER NOT NULL,
    PRIMARY KEY (room, user)
) WITHOUT ROWID;
CREATE INDEX group_mutes_until ON group_mutes (until_ts);

-- Requests to join a group: members' invitations that an admin must approve (pending without a knock), and how any request
-- was answered. inviter: the member who invites; NULL: the user asked. source: 1 admin, 2 invitation, 3 search, 4 QR code.
-- handled: 0 pending, 1 approved, -1 rejected. Bound: one row a (group, user), of which at most 1,000 a group are pending and
-- 1,000 a group are answered: the oldest of those go.
CREATE TABLE group_requests (
    room       INTEGER NOT NULL,
    user       INTEGER NOT NULL,
    inviter    INTEGER,
    text       TEXT NOT NULL,
    source     INTEGER NOT NULL,
    asked_ts   INTEGER NOT NULL,
    handled    INTEGER NOT NULL DEFAULT 0,
    handler    INTEGER,
    handled_ts INTEGER,
    answer     TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (room, user)
) WITHOUT ROWID;
CREATE INDEX group_requests_handled ON group_requests (room, handled, user);

-- Groups that are being dissolved: their members are still to be removed. A row goes when that is done.
CREATE TABLE group_dissolutions (
    room INTEGER NOT NULL PRIMARY KEY
);
