-- What of presence outlives a restart.

-- Status messages that users of this server set. Bound: one row an account, 255 characters; goes when it is cleared, and with
-- the account.
CREATE TABLE presence_status (
    user       INTEGER NOT NULL PRIMARY KEY,
    status_msg TEXT NOT NULL
);
