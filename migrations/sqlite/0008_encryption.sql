-- Keys of end-to-end encryption, messages to devices, and who must hear of changed keys.

-- Identity keys of devices, as canonical JSON. Of accounts here: one row a device that uploaded some (its name stands in
-- `devices`). Of other servers' users: what their server said, with the device's name, while we share a room with them, 1,000
-- devices a user. Bound: 32 KiB a row.
CREATE TABLE device_keys (
    user         INTEGER NOT NULL,
    device_id    TEXT NOT NULL,
    keys         TEXT NOT NULL,
    display_name TEXT,
    PRIMARY KEY (user, device_id)
) WITHOUT ROWID;

-- Cross-signing keys, as canonical JSON; of accounts here and, as device_keys, of others. usage: 1 master, 2 self_signing,
-- 3 user_signing (of accounts here alone). Bound: three rows a user, 32 KiB each.
CREATE TABLE cross_signing_keys (
    user       INTEGER NOT NULL,
    usage      INTEGER NOT NULL,
    public_key TEXT NOT NULL,
    keys       TEXT NOT NULL,
    PRIMARY KEY (user, usage)
) WITHOUT ROWID;

-- Signatures that users of this server made of keys, beside those within the keys' own JSON. key: a device id or the public
-- half of a cross-signing key of `user`. Bound: one row a signing key and signed key; they go with either.
CREATE TABLE key_signatures (
    user      INTEGER NOT NULL,
    key       TEXT NOT NULL,
    signer    INTEGER NOT NULL,
    key_id    TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (user, key, signer, key_id)
) WITHOUT ROWID;
CREATE INDEX key_signatures_signer ON key_signatures (signer, key_id);

-- One-time keys of devices, in the order of their upload. claimed: handed out; kept so that the same key, uploaded again by a
-- client that lost the answer, is not handed out again. Bound: the newest 1,000 of a device that are to be claimed, the newest
-- 1,000 that were.
CREATE TABLE one_time_keys (
    nid       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    device    INTEGER NOT NULL,
    algorithm TEXT NOT NULL,
    key_id    TEXT NOT NULL,
    key       TEXT NOT NULL,
    claimed   INTEGER NOT NULL DEFAULT 0,
    UNIQUE (device, algorithm, key_id)
);
CREATE INDEX one_time_keys_claimed ON one_time_keys (device, claimed, algorithm, nid);

-- The key that is handed out when a device has no one-time key left. used: handed out since it was uploaded. Bound: 20
-- algorithms a device.
CREATE TABLE fallback_keys (
    device    INTEGER NOT NULL,
    algorithm TEXT NOT NULL,
    key_id    TEXT NOT NULL,
    key       TEXT NOT NULL,
    used      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (device, algorithm)
) WITHOUT ROWID;

-- Messages to devices of this server that wait for their delivery; deleted once the device comes with a token from behind
-- them. Bound: about the newest 10,000 of a device, 64 KiB each.
CREATE TABLE to_device (
    device   INTEGER NOT NULL,
    position INTEGER NOT NULL,
    sender   TEXT NOT NULL,
    type     TEXT NOT NULL,
    content  TEXT NOT NULL,
    PRIMARY KEY (device, position)
) WITHOUT ROWID;

-- PUT /sendToDevice that were done: key is a hash of type and transaction id. A sweeper drops rows older than a week.
CREATE TABLE to_device_transactions (
    device     INTEGER NOT NULL,
    key        BLOB NOT NULL,
    created_ts INTEGER NOT NULL,
    PRIMARY KEY (device, key)
) WITHOUT ROWID;
CREATE INDEX to_device_transactions_created ON to_device_transactions (created_ts);

-- m.direct_to_device that were taken: key is a hash of origin and message id. A sweeper drops rows older than 30 days.
CREATE TABLE to_device_received (
    key         BLOB NOT NULL PRIMARY KEY,
    received_ts INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX to_device_received_ts ON to_device_received (received_ts);

-- Whose keys changed, where in the server-wide order. device_id: which device of an account here; empty for cross-signing
-- keys, and for whatever changed of another server's user. previous: the position of the change of a device of this user
-- before this one (the stream ids that other servers are told). Bound: a user's newest 100 of devices, the newest of the
-- others.
CREATE TABLE device_list_changes (
    user      INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    device_id TEXT NOT NULL,
    previous  INTEGER,
    PRIMARY KEY (user, position)
) WITHOUT ROWID;
CREATE INDEX device_list_changes_position ON device_list_changes (position, user);

-- Whose keys look different to one user alone: signed by them, or their own user-signing key. One row a pair.
CREATE TABLE own_key_changes (
    viewer   INTEGER NOT NULL,
    user     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (viewer, user)
) WITHOUT ROWID;
CREATE INDEX own_key_changes_position ON own_key_changes (viewer, position);

-- A local user with keys joined a room in which there are other servers, which must hear of their devices. One row a user and
-- such a room, the newest join.
CREATE TABLE device_list_joins (
    user     INTEGER NOT NULL,
    room     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user, room)
) WITHOUT ROWID;
CREATE INDEX device_list_joins_position ON device_list_joins (position);

-- Device lists of other servers' users that device_keys and cross_signing_keys hold. stream_id: as their server counts.
-- stale: an update was missed. position: since when (as far as ours goes) every update came here; a list older than the
-- beginning of the sharing of rooms counts as stale. Bound: users that we share a room with; a sweeper drops others'.
CREATE TABLE remote_device_lists (
    user      INTEGER NOT NULL PRIMARY KEY,
    stream_id INTEGER NOT NULL,
    stale     INTEGER NOT NULL,
    position  INTEGER NOT NULL
);
CREATE INDEX remote_device_lists_stale ON remote_device_lists (user) WHERE stale = 1;

-- Versions of the backup of room keys. version, etag: places in the server-wide order; etag: of the newest change of its keys.
-- count: its keys. deleted: a version is never
-- given out twice, so its row stays. Bound: 64 KiB a row; the newest 100 of a user have keys.
CREATE TABLE key_backups (
    user      INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    algorithm TEXT NOT NULL,
    auth_data TEXT NOT NULL,
    etag      INTEGER NOT NULL,
    count     INTEGER NOT NULL DEFAULT 0,
    deleted   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user, version)
) WITHOUT ROWID;

-- Room keys in a backup, encrypted by the client. Bound: 1,000,000 a backup, 64 KiB each.
CREATE TABLE key_backup_keys (
    user                INTEGER NOT NULL,
    version             INTEGER NOT NULL,
    room_id             TEXT NOT NULL,
    session_id          TEXT NOT NULL,
    first_message_index INTEGER NOT NULL,
    forwarded_count     INTEGER NOT NULL,
    is_verified         INTEGER NOT NULL,
    session_data        TEXT NOT NULL,
    PRIMARY KEY (user, version, room_id, session_id)
) WITHOUT ROWID;
