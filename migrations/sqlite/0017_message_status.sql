-- Events of ours that another server, in its answer to the transaction, said it does not take: they were not delivered there.
-- Bound: 50 rows a transaction, and a sweeper drops rows older than 30 days.
CREATE TABLE refused_events (
    event  INTEGER NOT NULL,
    server INTEGER NOT NULL,
    ts     INTEGER NOT NULL,
    PRIMARY KEY (event, server)
) WITHOUT ROWID;
CREATE INDEX refused_events_ts ON refused_events (ts);
