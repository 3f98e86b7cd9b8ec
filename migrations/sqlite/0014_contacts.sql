-- Rooms of two: an invitation with `is_direct` into the room stands or stood. low, high: the two users, the smaller number first.
-- Which of several rooms counts, their memberships say (store/direct_rooms.rs). Bound: one row an invitation that made a row in
-- memberships.
CREATE TABLE direct_rooms (
    room INTEGER NOT NULL PRIMARY KEY,
    low  INTEGER NOT NULL,
    high INTEGER NOT NULL
);
CREATE INDEX direct_rooms_pair ON direct_rooms (low, high);
CREATE INDEX direct_rooms_high ON direct_rooms (high);

-- Friend requests, each an invitation into a direct room; between two who are in one already, a row alone. state: 0 pending,
-- 1 accepted, 2 rejected. position: of the newest change. text: at most 500 characters. Written with the member event that
-- makes or answers it, so it is at most one row a direction of each pair of direct_rooms.
CREATE TABLE friend_requests (
    requester  INTEGER NOT NULL,
    addressee  INTEGER NOT NULL,
    room       INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    text       TEXT NOT NULL,
    created_ts INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    PRIMARY KEY (requester, addressee)
) WITHOUT ROWID;
CREATE INDEX friend_requests_in ON friend_requests (addressee, state, position);
CREATE INDEX friend_requests_out ON friend_requests (requester, state, position);
CREATE INDEX friend_requests_room ON friend_requests (room);

-- Where a user ceased to ignore another: what that one sent up to there is not counted as unread. Bound: 1,000 a user, those
-- longest ago go.
CREATE TABLE unignored (
    user     INTEGER NOT NULL,
    sender   INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user, sender)
) WITHOUT ROWID;
