-- The public halves of the keys that this server ever signed with. expired_ts: when we stopped using it (milliseconds), NULL
-- while the signing key file has it. Events that were signed with an old key are verified with it for ever. Bound: one row a
-- key that an operator put into the file; the newest 200 old ones are published.
CREATE TABLE own_keys (
    key_id     TEXT NOT NULL PRIMARY KEY,
    public_key BLOB NOT NULL,
    expired_ts INTEGER
) WITHOUT ROWID;

-- Servers whose keys we know. document: the newest key document that has come, signed by its server, what we pass on as a
-- notary; valid_until_ts: as the document says it; received_ts: when it came. used_ts: when a key of the server was last asked
-- for, to the day. Bound: the servers of `servers`, which are those of the rooms' members, and 2,000 others, those used last.
CREATE TABLE key_servers (
    nid            INTEGER NOT NULL PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    document       TEXT NOT NULL,
    valid_until_ts INTEGER NOT NULL,
    received_ts    INTEGER NOT NULL,
    used_ts        INTEGER NOT NULL
);
CREATE INDEX key_servers_used ON key_servers (used_ts);

-- What each key of such a server (key_servers.nid) is good for: until end_ts, and where `expired` is set the server no longer
-- signs with it. Keys that the newest document does not mention stay: old events need them. Bound: 512 a server.
CREATE TABLE known_keys (
    server  INTEGER NOT NULL,
    key_id  TEXT NOT NULL,
    key     BLOB NOT NULL,
    end_ts  INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    PRIMARY KEY (server, key_id)
) WITHOUT ROWID;
