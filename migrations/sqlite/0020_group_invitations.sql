-- Whom a call is to invite into a group, written with the call's own events and deleted when the invitation was made or refused: what a
-- crash cuts off goes on at the next start. Bound: 1,000 rows a call, each for as long as its invitation takes.
CREATE TABLE group_invitations (
    room    INTEGER NOT NULL,
    user    INTEGER NOT NULL,
    inviter INTEGER NOT NULL,
    PRIMARY KEY (room, user)
) WITHOUT ROWID;
