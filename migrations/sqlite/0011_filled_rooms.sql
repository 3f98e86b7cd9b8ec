-- rooms.filled: the position at which the members that the answer to our join had left out were filled in last; 0 where none ever
-- were. At it stands in room_state what clients had not been told of, all at once.
ALTER TABLE rooms ADD COLUMN filled INTEGER NOT NULL DEFAULT 0;
