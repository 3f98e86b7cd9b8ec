-- Through which server a user of ours knocked at a room that we are not in: their knock is taken back through it. Bound: one
-- row for each user and room knocked at; leaving, joining or a new knock replaces it.
CREATE TABLE knocks (
    user   INTEGER NOT NULL,
    room   INTEGER NOT NULL,
    server INTEGER NOT NULL,
    PRIMARY KEY (user, room)
) WITHOUT ROWID;

-- Joins whose answer left out members: what is to be filled in. join_event: our join; via: the server that answered it. As long
-- as a room has a row here, its rooms.partial is 1. Bound: those rooms; it goes when the members are there or we have left.
CREATE TABLE partial_joins (
    room       INTEGER NOT NULL PRIMARY KEY,
    join_event INTEGER NOT NULL,
    via        INTEGER NOT NULL
);
