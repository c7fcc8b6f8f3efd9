-- A day (UTC, of Twilio's DateSent) of Twilio's list of messages compared with the ledger: by whom, how far, and what was
-- seen. While lease_until is set it is being compared, and once that has passed another goes on at next_page.
CREATE TABLE comparisons (
    day date PRIMARY KEY,
    started_at timestamptz NOT NULL,
    compared_by text NOT NULL,
    lease_until timestamptz,
    finished_at timestamptz,
    next_page text,
    all_listed boolean NOT NULL DEFAULT false,
    listed bigint NOT NULL DEFAULT 0,
    passed_over bigint NOT NULL DEFAULT 0,
    asked bigint NOT NULL DEFAULT 0,
    CHECK ((finished_at IS NULL) = (lease_until IS NOT NULL))
);

-- What the two say differently. Holds no phone and no text.
CREATE TABLE comparison_findings (
    day date NOT NULL REFERENCES comparisons ON DELETE CASCADE,
    kind text NOT NULL,
    sid text NOT NULL,
    message_id uuid,
    attempt int,
    detail text NOT NULL DEFAULT '',
    PRIMARY KEY (day, kind, sid)
);

-- Which messages have been seen, while a day is being compared.
CREATE TABLE comparison_seen (
    day date NOT NULL REFERENCES comparisons ON DELETE CASCADE,
    sid text NOT NULL,
    PRIMARY KEY (day, sid)
);

-- From which day on there is something to compare.
CREATE TABLE compared_since (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    day date NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC')::date
);
INSERT INTO compared_since DEFAULT VALUES;

-- Attempts are added in the order of their time: a summary of each range of pages tells where those of a day are.
CREATE INDEX attempts_by_time ON attempts USING brin (started_at) WITH (autosummarize = on);
