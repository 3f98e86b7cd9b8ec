-- What users brought to the operator's notice: a room, an event of a room, or a user; each also stands in the log. room, event
-- and user are nids, NULL where the report is not about one. Bound: the newest 10,000, a reason of 4 KiB each.
CREATE TABLE reports (
    nid        INTEGER NOT NULL PRIMARY KEY,
    reporter   INTEGER NOT NULL,
    room       INTEGER,
    event      INTEGER,
    user       INTEGER,
    reason     TEXT NOT NULL,
    created_ts INTEGER NOT NULL
);

-- From here on tokens.kind is also 3: proves to a third party who its holder is (OpenID), and nothing to us. Bound: 10 a device.
