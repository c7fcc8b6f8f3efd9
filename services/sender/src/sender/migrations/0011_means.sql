-- Phones to which we wrote first (a template while their window was closed) and when we last began to: so many different
-- ones a day does Meta's tier allow. `before`: the time before, if it still counted. SHA-256 of the number; of who is
-- erased a random one.
CREATE TABLE written_first (
    phone_hash bytea PRIMARY KEY,
    begun_at timestamptz NOT NULL,
    before timestamptz
);
CREATE INDEX written_first_in_order ON written_first (begun_at);

-- Whether an attempt wrote to somebody first.
ALTER TABLE attempts ADD COLUMN writes_first boolean NOT NULL DEFAULT false;

-- Which digests wait for means: who comes new lets them pass.
CREATE INDEX messages_without_means ON messages (detail)
    WHERE stage IN ('waiting', 'retrying') AND detail IN ('budget', 'tier');

-- Until when the messages of a user's phone take it (sender.pace).
ALTER TABLE contacts ADD COLUMN paced_until timestamptz;

-- The share of the rate that is used since we were called too fast; it grows by itself (sender.rate).
ALTER TABLE channel ADD COLUMN throttle_share double precision NOT NULL DEFAULT 1, ADD COLUMN throttled_at timestamptz;

-- How many phones a day the settings allow, for whoever asks; NULL: without limit.
ALTER TABLE budget ADD COLUMN recipients_per_day int;
