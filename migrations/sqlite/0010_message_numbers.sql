-- Numbers of withdrawn messages that a restored one took (`org.linkim.restores`): number is the withdrawn event's nid. Every
-- other message has its event's nid as its number. Bound: one row a message that was withdrawn and restored.
CREATE TABLE message_numbers (
    number INTEGER NOT NULL PRIMARY KEY,
    event  INTEGER NOT NULL UNIQUE
);
