-- Files that users of this server uploaded, and copies of other servers' files. origin: number of the server in the mxc: URI.
-- uploader: the local user; NULL for a copy. hash: SHA-256 of the content, which names its file below data_dir/media; NULL:
-- the id was given out and waits for its content until expires_ts. last_access_ts is exact to a day. quarantined: kept, not
-- served. Bound: uploads by each user's quota; copies by a sweeper that drops those not read for a month; unused ids go when
-- they expire, 50 a user at most.
CREATE TABLE media (
    origin         INTEGER NOT NULL,
    media_id       TEXT NOT NULL,
    uploader       INTEGER,
    hash           BLOB,
    size           INTEGER NOT NULL DEFAULT 0,
    content_type   TEXT,
    filename       TEXT,
    created_ts     INTEGER NOT NULL,
    expires_ts     INTEGER,
    last_access_ts INTEGER NOT NULL,
    quarantined    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (origin, media_id)
) WITHOUT ROWID;
CREATE INDEX media_hash ON media (hash) WHERE hash IS NOT NULL;
CREATE INDEX media_uploader ON media (uploader, created_ts) WHERE uploader IS NOT NULL;
CREATE INDEX media_copies ON media (last_access_ts) WHERE uploader IS NULL;
