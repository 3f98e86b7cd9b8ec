-- joined: joined members of the server in the open stretch, 0 in one that is closed; so a join or leave changes one row in a
-- room of any size. to_position is the position of the event by which the last of them left: that event is still owed.
ALTER TABLE room_servers ADD COLUMN joined INTEGER NOT NULL DEFAULT 0;
CREATE INDEX room_servers_server ON room_servers (server, to_position);

-- Rooms from before: since when each server is in them is known only as far as its present members go.
INSERT INTO room_servers (room, server, from_position, to_position, joined)
    SELECT m.room, u.server, MIN(m.since), NULL, COUNT(*) FROM memberships m JOIN users u ON u.nid = m.user
    WHERE m.membership = 1 GROUP BY m.room, u.server;

-- Whether the sender of a waiting redaction has the power to redact what users of other servers sent.
ALTER TABLE pending_redactions ADD COLUMN redacts_others INTEGER NOT NULL DEFAULT 0;

-- Events whose number is not their place: they were known as outliers before they came. Bound: those events. Who looks for what
-- is new by the numbers looks here too.
CREATE INDEX events_placed_later ON events (position) WHERE nid <> position AND position > 0;

-- From here on rejections has the reasons of soft-failed events too, and an outlier whose auth events are not here has no row in
-- auth_edges: it is known by what it says alone (an invitation to a room that we are not in), until it comes with them.
