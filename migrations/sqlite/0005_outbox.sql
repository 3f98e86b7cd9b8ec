-- What is owed to other servers is derived: from events, receipts and room_servers beyond a watermark (peers/sender,
-- spec/decisions/0007). Here is remembered how far that came, and what cannot be derived.

-- One row. position: destinations without a watermark of their own have acknowledged all that they are owed up to here.
-- Written once a second at most, however many destinations there are.
CREATE TABLE outbox_head (
    id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL
);
INSERT INTO outbox_head VALUES (1, 0);

-- Servers that are behind or failed, and when the others were last reached. watermark: everything owed at positions up to it
-- was acknowledged; NULL: up to outbox_head. failures: attempts in a row; retry_ts: when the next one may be. dropped: PDUs and
-- EDUs that the server would not take in any transaction. A sweeper deletes rows of servers that are owed nothing and share no
-- room. Bound: the servers of our rooms.
CREATE TABLE destinations (
    server           INTEGER NOT NULL PRIMARY KEY,
    watermark        INTEGER,
    failures         INTEGER NOT NULL DEFAULT 0,
    retry_ts         INTEGER NOT NULL DEFAULT 0,
    failing_since_ts INTEGER,
    last_error       TEXT,
    last_success_ts  INTEGER,
    dropped          INTEGER NOT NULL DEFAULT 0
);

-- The transaction that failed or that a stop interrupted, to be repeated byte for byte under its id. cut: the watermark once it
-- is acknowledged; to_device and events: the outbox rows that are done then; owed_since_ts: when the oldest event in it came
-- to be owed. Bound: one row a destination, 5 MiB at most.
CREATE TABLE destination_transactions (
    server        INTEGER NOT NULL PRIMARY KEY,
    txn_id        TEXT NOT NULL,
    body          TEXT NOT NULL,
    cut           INTEGER NOT NULL,
    to_device     INTEGER NOT NULL,
    events        INTEGER NOT NULL,
    owed_since_ts INTEGER NOT NULL
);

-- To-device messages for other servers' devices: contents of m.direct_to_device EDUs. position: its place in the server-wide
-- order. Deleted when acknowledged. Bound: a sweeper deletes those for servers that failed for 30 days.
CREATE TABLE outbox_to_device (
    position   INTEGER NOT NULL PRIMARY KEY,
    server     INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    content    TEXT NOT NULL
);
CREATE INDEX outbox_to_device_server ON outbox_to_device (server, position);

-- Events owed to servers that are not in the room: kicks, bans, rescinded invitations, answers to knocks. Otherwise as
-- outbox_to_device.
CREATE TABLE outbox_events (
    position INTEGER NOT NULL PRIMARY KEY,
    server   INTEGER NOT NULL,
    event    INTEGER NOT NULL
);
CREATE INDEX outbox_events_server ON outbox_events (server, position);
