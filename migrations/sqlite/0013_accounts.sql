-- Phone numbers and e-mail addresses of local accounts, each proved by a code. medium: 'email' (the address in lower case) or
-- 'msisdn' (E.164 digits, no plus). Bound: 10 an account; deactivation deletes them.
CREATE TABLE third_party_ids (
    medium       TEXT NOT NULL,
    address      TEXT NOT NULL,
    user         INTEGER NOT NULL,
    validated_ts INTEGER NOT NULL,
    added_ts     INTEGER NOT NULL,
    PRIMARY KEY (medium, address)
) WITHOUT ROWID;
CREATE INDEX third_party_ids_user ON third_party_ids (user);

-- The newest verification code of a purpose and address: a keyed hash of it. state: 0 fresh, 1 checked once by
-- /account/code/verify, 2 used. Bound: swept a day after they were made; how many a day are made is limited by address of the
-- client and by address that they go to.
CREATE TABLE verification_codes (
    purpose    INTEGER NOT NULL,
    medium     TEXT NOT NULL,
    address    TEXT NOT NULL,
    hash       BLOB NOT NULL,
    created_ts INTEGER NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    state      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (purpose, medium, address)
) WITHOUT ROWID;
CREATE INDEX verification_codes_created ON verification_codes (created_ts);

-- When codes were sent to an address. Bound: 10 rows an address; swept after a day.
CREATE TABLE verification_sends (
    medium  TEXT NOT NULL,
    address TEXT NOT NULL,
    sent_ts INTEGER NOT NULL,
    PRIMARY KEY (medium, address, sent_ts)
) WITHOUT ROWID;
CREATE INDEX verification_sends_sent ON verification_sends (sent_ts);

-- What Matrix clients asked a token for (`requestToken`), by session id; the code itself is in verification_codes. Bound: as
-- those; swept after a day.
CREATE TABLE verification_sessions (
    sid           TEXT NOT NULL PRIMARY KEY,
    client_secret TEXT NOT NULL,
    purpose       INTEGER NOT NULL,
    medium        TEXT NOT NULL,
    address       TEXT NOT NULL,
    send_attempt  INTEGER NOT NULL,
    created_ts    INTEGER NOT NULL,
    validated_ts  INTEGER,
    UNIQUE (medium, address, client_secret, purpose)
) WITHOUT ROWID;
CREATE INDEX verification_sessions_created ON verification_sessions (created_ts);

-- Invitation codes that `linkim admin invite-code` made: a hash of each. Bound: what the operator makes; swept 30 days after
-- the last use is gone.
CREATE TABLE invitation_codes (
    hash       BLOB NOT NULL PRIMARY KEY,
    uses_left  INTEGER NOT NULL,
    changed_ts INTEGER NOT NULL
) WITHOUT ROWID;

-- Access tokens whose session somebody else ended, so that the device hears why. reason: EndReason of src/accounts/endings.rs.
-- created_ts: the token's. Bound: swept after 30 days, and the oldest beyond 100,000.
CREATE TABLE ended_tokens (
    token      INTEGER NOT NULL PRIMARY KEY,
    created_ts INTEGER NOT NULL,
    reason     INTEGER NOT NULL,
    ended_ts   INTEGER NOT NULL
);
CREATE INDEX ended_tokens_ended ON ended_tokens (ended_ts);
