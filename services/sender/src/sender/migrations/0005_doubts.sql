-- Parked: whether Twilio has it cannot be found out by asking, so a person decides. While parked, due_at is when Twilio
-- is asked once more.
ALTER TABLE messages DROP CONSTRAINT messages_stage_check;
ALTER TABLE messages ADD CONSTRAINT messages_stage_check
    CHECK (stage IN ('waiting', 'retrying', 'sending', 'in_doubt', 'parked', 'taken', 'ended'));
DROP INDEX messages_to_check;
CREATE INDEX messages_to_check ON messages (due_at) WHERE stage IN ('in_doubt', 'parked', 'taken');

-- Why an attempt is in its state, in a word; what is certain of it is told by `state`, `sid` and `error_code`.
ALTER TABLE attempts ADD COLUMN detail text NOT NULL DEFAULT '';
ALTER TABLE attempts ADD CONSTRAINT attempts_state_check
    CHECK (state IN ('sending', 'in_doubt', 'accepted', 'refused', 'lost'));

-- What happened to a message between its attempts, and to the channel (message_id NULL), in order: waits, doubts, what
-- looking them up found, retries, pauses. A message that goes out at once leaves no row. Holds no phone and no text.
CREATE TABLE journal (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid REFERENCES messages,
    at timestamptz NOT NULL,
    attempt int,
    what text NOT NULL,
    detail text NOT NULL DEFAULT '',
    error_code int,
    until timestamptz
);
CREATE INDEX journal_of_message ON journal (message_id, position) WHERE message_id IS NOT NULL;
CREATE INDEX journal_of_channel ON journal (at) WHERE message_id IS NULL;

-- How many calls in a row have ended in doubt, on all replicas.
ALTER TABLE channel ADD COLUMN doubts int NOT NULL DEFAULT 0;
