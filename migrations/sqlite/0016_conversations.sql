-- message_position: the place of the room's newest event that counts as unread, redacted or not: what lists of conversations are
-- sorted by. It is written with the rest of the row, so it costs no write of its own.
ALTER TABLE room_heads ADD COLUMN message_position INTEGER NOT NULL DEFAULT 0;
-- 7: flag HIDDEN, 128: flag COUNTABLE.
UPDATE room_heads SET message_position = COALESCE((SELECT MAX(e.position) FROM events e
    WHERE e.room = room_heads.room AND e.position > 0 AND e.flags & 135 = 128), 0);

-- In which rooms somebody wants to receive nothing: few, and asked for at each start and with each message into one of them.
CREATE INDEX account_data_recv_opt ON account_data (room) WHERE type = 'org.linkim.recv_opt';
