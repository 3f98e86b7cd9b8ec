-- Integers inside, strings at the edge: rooms, users, event types and (type, state key) pairs have a local number (nid) and
-- their string stands in one table each. Everything a client may have to hear of has a `position` in one server-wide order.

-- One row a name. Facts about the database as a whole: server_name (a mismatch refuses to start), state_hash_key (random, keys
-- the state hashes), token_key.<kid>, restored.<incarnation> (the position of the backup that was restored then). A handful of
-- rows, and one a restore.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- One row. `position`: the newest place given in the server-wide order; every snapshot reads its own position from here.
-- `backfill`: the lowest place given to history (negative, descending). `incarnation`: how often the server started.
CREATE TABLE head (
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    position    INTEGER NOT NULL,
    backfill    INTEGER NOT NULL,
    incarnation INTEGER NOT NULL
);
INSERT INTO head VALUES (1, 0, 0, 0);

-- Every server name met. Bound: the servers of the rooms' members.
CREATE TABLE servers (
    nid  INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- Every user met, local or not. Bound: members of the rooms we are or were in.
CREATE TABLE users (
    nid     INTEGER NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE,
    server  INTEGER NOT NULL
);

-- Local accounts. kind: 0 person, 1 guest, 2 application service, 3 service. One row an account ever made: an id is never
-- given out twice.
CREATE TABLE accounts (
    user           INTEGER NOT NULL PRIMARY KEY,
    kind           INTEGER NOT NULL,
    password_hash  TEXT,
    created_ts     INTEGER NOT NULL,
    admin          INTEGER NOT NULL DEFAULT 0,
    locked         INTEGER NOT NULL DEFAULT 0,
    suspended      INTEGER NOT NULL DEFAULT 0,
    shadow_banned  INTEGER NOT NULL DEFAULT 0,
    deactivated_ts INTEGER,
    erased         INTEGER NOT NULL DEFAULT 0,
    appservice     TEXT
);

-- A device of a local account, with its newest access. acknowledged_position: how far it has certainly received. Bound: the
-- accounts' devices; a logout deletes the row. AUTOINCREMENT: a number is never given out twice, because events and
-- transactions name devices that are gone.
CREATE TABLE devices (
    nid                   INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    user                  INTEGER NOT NULL,
    device_id             TEXT NOT NULL,
    display_name          TEXT,
    platform              INTEGER NOT NULL DEFAULT 0,
    created_ts            INTEGER NOT NULL,
    last_seen_ts          INTEGER NOT NULL,
    last_seen_ip          TEXT,
    user_agent            TEXT,
    acknowledged_position INTEGER NOT NULL DEFAULT 0,
    UNIQUE (user, device_id)
);

-- Tokens that a JWT names by nid. kind: 1 access, 2 refresh. `pair`: the token issued with it. `replaced_by`: the access
-- token of the pair that took its place; the old pair dies when the new one is first used. Bound: at most two pairs a device;
-- a logout deletes them. AUTOINCREMENT: a JWT whose row is gone must never name another's.
CREATE TABLE tokens (
    nid         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    user        INTEGER NOT NULL,
    device      INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    created_ts  INTEGER NOT NULL,
    expires_ts  INTEGER,
    pair        INTEGER,
    replaced_by INTEGER,
    used        INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX tokens_device ON tokens (device);

-- How often each token of [registration] tokens was used is not limited; nothing is stored for them.

-- Profile fields of local users (displayname, avatar_url, custom fields), values as JSON. Bound: 64 KiB a user.
CREATE TABLE profiles (
    user     INTEGER NOT NULL,
    field    TEXT NOT NULL,
    value    TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user, field)
) WITHOUT ROWID;

-- Account data; room 0 is the global one. Bound: 64 KiB a row, 1,000 types a user and room.
CREATE TABLE account_data (
    user     INTEGER NOT NULL,
    room     INTEGER NOT NULL,
    type     TEXT NOT NULL,
    content  TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user, room, type)
) WITHOUT ROWID;
CREATE INDEX account_data_position ON account_data (user, position);

-- Stored /sync filters, one row for equal ones. Bound: 1,000 a user, the oldest goes.
CREATE TABLE filters (
    nid  INTEGER NOT NULL PRIMARY KEY,
    user INTEGER NOT NULL,
    hash BLOB NOT NULL,
    json TEXT NOT NULL,
    UNIQUE (user, hash)
);

-- Event and relation types. Bound: refused above 255 bytes each; as many as senders invent.
CREATE TABLE event_types (
    nid  INTEGER NOT NULL PRIMARY KEY,
    type TEXT NOT NULL UNIQUE
);

-- (type, state key) pairs, but for m.room.member with a user id as state key: the number of that pair is the user's, negative.
-- So members cost no row here, and a room's state without its members is a range of state_key > 0. Bound: the state events
-- stored.
CREATE TABLE state_keys (
    nid       INTEGER NOT NULL PRIMARY KEY,
    type      INTEGER NOT NULL,
    state_key TEXT NOT NULL,
    UNIQUE (type, state_key)
);

-- One row a room. main_line: the line of its current state. partial: state of a join still being fetched. purge_before: older
-- events are gone. lease_epoch fences writers of several processes. listed: in the room directory.
CREATE TABLE rooms (
    nid          INTEGER NOT NULL PRIMARY KEY,
    room_id      TEXT NOT NULL UNIQUE,
    version      TEXT NOT NULL,
    create_event INTEGER,
    main_line    INTEGER NOT NULL,
    predecessor  TEXT,
    successor    TEXT,
    listed       INTEGER NOT NULL DEFAULT 0,
    partial      INTEGER NOT NULL DEFAULT 0,
    blocked      INTEGER NOT NULL DEFAULT 0,
    purge_before INTEGER NOT NULL DEFAULT 0,
    lease_epoch  INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX rooms_listed ON rooms (nid) WHERE listed = 1;

-- What changes with every batch of a room, apart from its wide row. last_position: of its newest event that clients may see.
-- state_position: newest change of its current state. state_hash: of the current state. joined, invited: counts of current
-- members; local_joined: ours among them.
CREATE TABLE room_heads (
    room           INTEGER NOT NULL PRIMARY KEY,
    last_position  INTEGER NOT NULL,
    state_position INTEGER NOT NULL,
    state_hash     BLOB NOT NULL,
    joined         INTEGER NOT NULL,
    invited        INTEGER NOT NULL,
    local_joined   INTEGER NOT NULL
);

-- Events. event_id: the 32 bytes of the reference hash where the id is one in URL-safe base64, else its text (store/event_id.rs).
-- position: NULL for outliers, negative for history. depth orders history (topological order). flags: store/events.rs.
-- (line, before_epoch) and (line, after_epoch) name the state before and after; NULL for outliers. relation_target: the id
-- related to, known here or not. thread: nid of the thread's root, 0 the main timeline. countable, notify, highlight: running
-- numbers of the (room, thread) up to and with this event, from which unread counts are differences. device, txn_id: whose
-- transaction made it. Bound: the rooms' history, until purged.
CREATE TABLE events (
    nid             INTEGER NOT NULL PRIMARY KEY,
    event_id        BLOB NOT NULL UNIQUE,
    room            INTEGER NOT NULL,
    position        INTEGER,
    depth           INTEGER NOT NULL,
    type            INTEGER NOT NULL,
    state_key       INTEGER,
    sender          INTEGER NOT NULL,
    origin_ts       INTEGER NOT NULL,
    received_ts     INTEGER NOT NULL,
    flags           INTEGER NOT NULL,
    before_line     INTEGER,
    before_epoch    INTEGER,
    after_line      INTEGER,
    after_epoch     INTEGER,
    relation_type   INTEGER,
    relation_target BLOB,
    thread          INTEGER NOT NULL DEFAULT 0,
    redacted_by     INTEGER,
    countable       INTEGER NOT NULL DEFAULT 0,
    notify          INTEGER NOT NULL DEFAULT 0,
    highlight       INTEGER NOT NULL DEFAULT 0,
    device          INTEGER,
    txn_id          TEXT
);
CREATE INDEX events_position ON events (room, position) WHERE position IS NOT NULL;
CREATE INDEX events_topological ON events (room, depth, position) WHERE position IS NOT NULL;
CREATE INDEX events_relation ON events (relation_target, relation_type) WHERE relation_target IS NOT NULL;
-- Redacted since they were counted: unread counts leave them out.
CREATE INDEX events_redacted ON events (room, position) WHERE redacted_by IS NOT NULL;
CREATE INDEX events_thread ON events (thread, position) WHERE thread <> 0;
-- A room's threads, those with the newest events first.
CREATE INDEX events_threads ON events (room, position) WHERE thread <> 0;

-- The canonical JSON of an event without `unsigned`; after a redaction its redacted form. Apart, so that scans of events read
-- no bodies. One row an event.
CREATE TABLE event_json (
    event INTEGER NOT NULL PRIMARY KEY,
    json  TEXT NOT NULL
);

-- Why an event was rejected. One row a rejected event.
CREATE TABLE rejections (
    event  INTEGER NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL
);

-- prev_events edges, only where they are not just «the room's preceding event» (flag LINEAR on the event). `prev` may be
-- unknown here and is therefore an id. At most 20 a local event; what peers send is bounded by the event's size.
CREATE TABLE event_edges (
    room  INTEGER NOT NULL,
    prev  BLOB NOT NULL,
    event INTEGER NOT NULL,
    PRIMARY KEY (room, prev, event)
) WITHOUT ROWID;

-- Auth events of each state event, as nids (store/rooms.rs): what the resolver's dense graph is loaded from. One row a
-- state event.
CREATE TABLE auth_edges (
    room  INTEGER NOT NULL,
    event INTEGER NOT NULL,
    auth  BLOB NOT NULL,
    PRIMARY KEY (room, event)
) WITHOUT ROWID;

-- Newest events that nothing refers to yet. Bound: merged when above 10.
CREATE TABLE forward_extremities (
    room  INTEGER NOT NULL,
    event INTEGER NOT NULL,
    PRIMARY KEY (room, event)
) WITHOUT ROWID;

-- Events that ours refer to and we do not have: where backfill begins. Bound: at most 20 an event stored.
CREATE TABLE backward_extremities (
    room    INTEGER NOT NULL,
    missing BLOB NOT NULL,
    event   INTEGER NOT NULL,
    PRIMARY KEY (room, missing, event)
) WITHOUT ROWID;

-- Lines of state (rooms/state). base_line, base_epoch: where a fork starts; NULL for a main line. level: bases down to the
-- main line, at most 8.
CREATE TABLE state_lines (
    line       INTEGER NOT NULL PRIMARY KEY,
    room       INTEGER NOT NULL,
    base_line  INTEGER,
    base_epoch INTEGER,
    level      INTEGER NOT NULL
);
CREATE INDEX state_lines_room ON state_lines (room);

-- Temporal room state: from `from_epoch` on, `key` is `event` on this line (NULL: removed). On the main line and on forks the
-- epoch is the position of the event that caused the change, so the changes between two positions are a range. One row a change.
CREATE TABLE room_state (
    line       INTEGER NOT NULL,
    state_key  INTEGER NOT NULL,
    from_epoch INTEGER NOT NULL,
    event      INTEGER,
    PRIMARY KEY (line, state_key, from_epoch)
) WITHOUT ROWID;
CREATE INDEX room_state_epoch ON room_state (line, from_epoch);

-- The main line's newest value of each key. Bound: one row a key of a room's current state.
CREATE TABLE current_state (
    room      INTEGER NOT NULL,
    state_key INTEGER NOT NULL,
    event     INTEGER NOT NULL,
    PRIMARY KEY (room, state_key)
) WITHOUT ROWID;

-- Hashes of states beside the current one, so that equal ones are stored once. Bound: the states of forks that are stored.
CREATE TABLE state_hashes (
    room  INTEGER NOT NULL,
    hash  BLOB NOT NULL,
    line  INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    PRIMARY KEY (room, hash, line, epoch)
) WITHOUT ROWID;

-- Results of state resolutions by a hash of the sorted input states. A memory: any row may be dropped at any time. Bound: one
-- row an event at most, and that only where forks with different states met.
CREATE TABLE resolutions (
    room   INTEGER NOT NULL,
    inputs BLOB NOT NULL,
    line   INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    PRIMARY KEY (room, inputs)
) WITHOUT ROWID;

-- Everybody's current membership. membership: 1 join, 2 invite, 3 knock, 4 leave, 5 ban. position: of the newest change that
-- the user's clients must hear of. forgotten: the user has asked not to see the room again. since: position of the newest
-- transition into the present membership. One row a (user, room).
CREATE TABLE memberships (
    user       INTEGER NOT NULL,
    room       INTEGER NOT NULL,
    membership INTEGER NOT NULL,
    event      INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    since      INTEGER NOT NULL,
    forgotten  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user, room)
) WITHOUT ROWID;
CREATE INDEX memberships_room ON memberships (room, membership, user);

-- Stripped state that came with an invitation or a knock to a room whose state we may not have, as the JSON array that /sync
-- shows. Bound: one row an open invitation or knock.
CREATE TABLE stripped_state (
    user  INTEGER NOT NULL,
    room  INTEGER NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (user, room)
) WITHOUT ROWID;

-- Which servers are in a room, over which stretch of positions. Bound: one row a stretch; the stretches end and begin with
-- member events.
CREATE TABLE room_servers (
    room          INTEGER NOT NULL,
    server        INTEGER NOT NULL,
    from_position INTEGER NOT NULL,
    to_position   INTEGER,
    PRIMARY KEY (room, server, from_position)
) WITHOUT ROWID;

-- Aliases of this server. Bound: rate-limited creation.
CREATE TABLE aliases (
    alias      TEXT NOT NULL PRIMARY KEY,
    room       INTEGER NOT NULL,
    creator    INTEGER NOT NULL,
    created_ts INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX aliases_room ON aliases (room);

-- Idempotence of PUT with a transaction id: key is a hash of the path. Never updated. A sweeper drops rows older than a week.
CREATE TABLE transactions (
    device     INTEGER NOT NULL,
    key        BLOB NOT NULL,
    event      INTEGER NOT NULL,
    created_ts INTEGER NOT NULL,
    PRIMARY KEY (device, key)
) WITHOUT ROWID;
CREATE INDEX transactions_created ON transactions (created_ts);

-- Redactions whose target is not here yet. Taken when the target arrives. Bound: the redactions stored.
CREATE TABLE pending_redactions (
    room      INTEGER NOT NULL,
    target    BLOB NOT NULL,
    redaction INTEGER NOT NULL,
    PRIMARY KEY (room, target, redaction)
) WITHOUT ROWID;

-- Public receipts, newest per (room, user, thread). thread: '' unthreaded, 'main', or the root's event id. ordering: position
-- of the event read. One row a member that reads, per thread.
CREATE TABLE receipts (
    room     INTEGER NOT NULL,
    user     INTEGER NOT NULL,
    thread   TEXT NOT NULL,
    event    INTEGER NOT NULL,
    ordering INTEGER NOT NULL,
    ts       INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (room, user, thread)
) WITHOUT ROWID;
CREATE INDEX receipts_position ON receipts (room, position);

-- Private receipts: of local users, seen by themselves alone. Bound: as of receipts.
CREATE TABLE private_receipts (
    user     INTEGER NOT NULL,
    room     INTEGER NOT NULL,
    thread   TEXT NOT NULL,
    event    INTEGER NOT NULL,
    ordering INTEGER NOT NULL,
    ts       INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user, room, thread)
) WITHOUT ROWID;

-- Remote receipts whose event is not here yet. Bound: the newest per (room, user, thread).
CREATE TABLE pending_receipts (
    room     INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    user     INTEGER NOT NULL,
    thread   TEXT NOT NULL,
    ts       INTEGER NOT NULL,
    PRIMARY KEY (room, user, thread)
) WITHOUT ROWID;

-- How far a local user has read: moved by receipts and own sends, never backwards. thread: nid of the root, 0 the main
-- timeline, -1 all of the room (unthreaded receipts; also where everything before is read anyhow). One row a (user, room,
-- thread) that is read further than the room as a whole.
CREATE TABLE read_to (
    user     INTEGER NOT NULL,
    room     INTEGER NOT NULL,
    thread   INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user, room, thread)
) WITHOUT ROWID;

-- Notifications that concern one member beyond what the room's running numbers say: mentions, and the differences of members
-- with push rules of their own. notify: what to add to the count (−1, 0, 1). Bound: rows at or below read_to are deleted when it moves.
CREATE TABLE personal_notifications (
    user      INTEGER NOT NULL,
    room      INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    thread    INTEGER NOT NULL,
    notify    INTEGER NOT NULL,
    highlight INTEGER NOT NULL,
    PRIMARY KEY (user, room, position)
) WITHOUT ROWID;
