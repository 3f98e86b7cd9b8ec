-- Events that other servers sent us: from before their transaction is answered until the room's appender has taken or refused
-- them (peers/inbox). room_id is text, because the room may be one that is only being joined. event_id: as in `events`; one
-- event sent by two servers is two rows, since one of them may be a liar's. bytes: length of json, which is canonical and
-- without `unsigned`. AUTOINCREMENT: a worker's place in the order is never taken by a later row. Bound: peers/inbox/desk.rs
-- (an origin's, a room's and a total of rows and of bytes); beyond it transactions are refused with 429.
CREATE TABLE inbox_events (
    seq         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    room_id     TEXT NOT NULL,
    origin      TEXT NOT NULL,
    event_id    BLOB NOT NULL,
    received_ts INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    json        TEXT NOT NULL
);
CREATE UNIQUE INDEX inbox_events_id ON inbox_events (room_id, event_id, origin);
CREATE INDEX inbox_events_room ON inbox_events (room_id, seq);

-- Transactions of other servers that were answered, with the answer, so that one that comes again gets the same. body: a hash
-- of what was sent under the id; another body is another transaction. Bound: the 100 newest of an origin, and a sweeper drops
-- rows older than a day.
CREATE TABLE inbox_transactions (
    origin      TEXT NOT NULL,
    txn_id      TEXT NOT NULL,
    body        BLOB NOT NULL,
    answer      TEXT NOT NULL,
    received_ts INTEGER NOT NULL,
    PRIMARY KEY (origin, txn_id)
) WITHOUT ROWID;
CREATE INDEX inbox_transactions_origin ON inbox_transactions (origin, received_ts);
CREATE INDEX inbox_transactions_received ON inbox_transactions (received_ts);

-- Looked for with every event that arrives.
CREATE INDEX pending_receipts_event ON pending_receipts (room, event_id);
