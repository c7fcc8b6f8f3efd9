-- How, when and whether users may be reached, as the api last said. Holds phone numbers.
CREATE TABLE recipients (
    user_id uuid PRIMARY KEY,
    revision bigint NOT NULL,
    recipient text NOT NULL
);

-- What the sender itself knows of a user. Its row is the lock under which the user's digests are begun.
CREATE TABLE contacts (
    user_id uuid PRIMARY KEY,
    last_digest_at timestamptz,
    last_digest_id uuid,
    opted_out_at timestamptz,
    opted_out_phone text
);

-- A digest or a direct message. Stages: waiting (open), retrying (worded, to be sent again), sending (a call to Twilio
-- runs under a lease), in_doubt (Twilio may have it), taken (Twilio has it), ended. While in_doubt or taken, due_at is
-- when Twilio is asked about it.
CREATE TABLE messages (
    message_id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('digest', 'direct')),
    purpose text,
    stage text NOT NULL DEFAULT 'waiting'
        CHECK (stage IN ('waiting', 'retrying', 'sending', 'in_doubt', 'taken', 'ended')),
    status text NOT NULL DEFAULT 'waiting',
    detail text NOT NULL DEFAULT '',
    opened_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    latest_at timestamptz NOT NULL,
    attempt int NOT NULL DEFAULT 0,
    retries int NOT NULL DEFAULT 0,
    looks int NOT NULL DEFAULT 0,
    as_template boolean NOT NULL DEFAULT false,
    sid text,
    error_code int,
    lease_until timestamptz,
    leased_by text,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((stage = 'sending') = (lease_until IS NOT NULL))
);

-- A user has one open digest: whoever opens a second one joins the first.
CREATE UNIQUE INDEX one_open_digest ON messages (user_id) WHERE stage = 'waiting' AND kind = 'digest';
CREATE INDEX messages_due ON messages (kind, due_at) WHERE stage IN ('waiting', 'retrying');
CREATE INDEX messages_to_check ON messages (due_at) WHERE stage IN ('in_doubt', 'taken');
CREATE INDEX messages_leased ON messages (lease_until) WHERE stage = 'sending';
CREATE INDEX messages_of_user ON messages (user_id);

-- One call to Twilio each, committed before it is made. Holds phone numbers and texts; marker is a part of the text
-- that no other message has.
CREATE TABLE attempts (
    message_id uuid NOT NULL REFERENCES messages,
    attempt int NOT NULL,
    state text NOT NULL DEFAULT 'sending',
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    recipient text,
    body text,
    variables jsonb,
    marker text,
    sid text,
    error_code int,
    PRIMARY KEY (message_id, attempt)
);

-- The ledger: one row per notification, whatever is redelivered, and where it ended. The event is kept while it waits.
CREATE TABLE notifications (
    notification_id uuid PRIMARY KEY,
    position bigint GENERATED ALWAYS AS IDENTITY,
    user_id uuid NOT NULL,
    flat_id uuid,
    reason text NOT NULL,
    listing_id text,
    version bigint,
    asked_for boolean NOT NULL,
    disposition text NOT NULL DEFAULT 'waiting'
        CHECK (disposition IN ('waiting', 'in_message', 'grouped', 'suppressed', 'expired', 'failed')),
    detail text NOT NULL DEFAULT '',
    message_id uuid REFERENCES messages,
    event text,
    received_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz
);

CREATE INDEX notifications_of_message ON notifications (message_id);
CREATE INDEX notifications_of_flat ON notifications (user_id, flat_id);

-- The one WhatsApp sender that all replicas share: its next free slot, and whether it is paused. strikes > 0: it has
-- refused lately, so that after the pause one message is tried, until probing_until at the longest.
CREATE TABLE channel (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    next_slot timestamptz NOT NULL DEFAULT now(),
    paused_at timestamptz,
    paused_until timestamptz,
    probing_until timestamptz,
    reason text NOT NULL DEFAULT '',
    strikes int NOT NULL DEFAULT 0
);
INSERT INTO channel DEFAULT VALUES;

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    key text NOT NULL,
    value bytea,
    headers jsonb NOT NULL
);
