-- A notification's flat has a place in its message, best first from 1: by it people answer.
ALTER TABLE notifications ADD COLUMN number int;

-- A digest may be of one search; `behind`: how far behind its due time it stands in the queue, so that who is first
-- rotates (sender.rotation).
ALTER TABLE messages ADD COLUMN subscription_id uuid, ADD COLUMN behind interval NOT NULL DEFAULT '0';
DROP INDEX one_open_digest;
CREATE UNIQUE INDEX one_open_digest ON messages (user_id, subscription_id) NULLS NOT DISTINCT
    WHERE stage = 'waiting' AND kind = 'digest';
DROP INDEX messages_due;
CREATE INDEX messages_due ON messages (kind, ((due_at AT TIME ZONE 'UTC') + behind))
    WHERE stage IN ('waiting', 'retrying');
ALTER TABLE contacts ADD COLUMN turns int NOT NULL DEFAULT 0; -- how many digests a user was begun to be sent

-- Flats of which users never want to hear again, and the advertisements by which they knew them.
CREATE TABLE declined_flats (
    user_id uuid NOT NULL,
    flat_id uuid NOT NULL,
    listing_id text NOT NULL,
    declined_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, flat_id)
);

-- When each reader of a flat was told that it is new, until everybody was and the head starts are reckoned. A crash of
-- the server may forget them: they only measure.
CREATE UNLOGGED TABLE first_looks (
    flat_id uuid NOT NULL,
    user_id uuid NOT NULL,
    told_at timestamptz NOT NULL,
    PRIMARY KEY (flat_id, user_id)
);

-- By how many seconds a user was told earlier (or later: below zero) than a flat's readers on the average, summed up
-- over all flats that several users were told of.
CREATE TABLE head_starts (
    user_id uuid PRIMARY KEY,
    flats int NOT NULL,
    seconds double precision NOT NULL
);
