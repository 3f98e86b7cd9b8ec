-- Through which server a user of ours knocked at a room that we are not in: their knock is taken back through it. Bound: one
-- row for each user and room knocked at; leaving, joining or a new knock replaces it.
CREATE TABLE knocks (
    user   INTEGER NOT NULL,
    room   INTEGER NOT NULL,
    server INTEGER NOT NULL,
    PRIMARY KEY (user, room)
) WITHOUT ROWID;
