-- Accounts, searches, proven phones, what is shown of the other services' work, and the outbox.

CREATE TABLE users (
    user_id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE, -- in lower case
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A family is one sign-in. Used tokens stay until they expire, so that a stolen one is noticed when it is used again.
CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY,
    family uuid NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX refresh_tokens_of_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);

-- Hits of a limit in its present window. A crash may forget them, so they need no write-ahead log.
CREATE UNLOGGED TABLE rate_counters (
    key bytea PRIMARY KEY,
    hits integer NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE recipients (
    user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    revision integer NOT NULL,
    phone text UNIQUE, -- proven, E.164: one phone belongs to one account
    language text NOT NULL,
    time_zone text NOT NULL,
    quiet_from time,
    quiet_until time,
    interval_seconds integer,
    stopped boolean NOT NULL DEFAULT false,
    window_opened_at timestamptz,
    CHECK ((quiet_from IS NULL) = (quiet_until IS NULL))
);

-- A phone that somebody says is theirs, until a message with the code comes from it. The code is kept readable: it is
-- shown again until it expires, and it proves nothing without the phone.
CREATE TABLE phone_claims (
    user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    phone text NOT NULL,
    code text NOT NULL,
    expires_at timestamptz NOT NULL,
    tries_left integer NOT NULL
);
CREATE INDEX phone_claims_of_phone ON phone_claims (phone);

CREATE TABLE subscriptions (
    subscription_id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    revision integer NOT NULL,
    name text NOT NULL,
    status text NOT NULL,
    alerts text[] NOT NULL,
    search jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX subscriptions_of_user ON subscriptions (user_id, created_at, subscription_id);

-- Inbound messages that took effect.
CREATE TABLE inbox (
    event_id uuid PRIMARY KEY,
    handled_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX inbox_by_age ON inbox (handled_at);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    key text NOT NULL,
    value bytea,
    headers jsonb NOT NULL
);

-- What is shown of the other services' work. Each table is fed by one consumer, in any order and any number of times.

CREATE TABLE recent_listings (
    listing_id text PRIMARY KEY,
    version bigint NOT NULL,
    active boolean NOT NULL,
    card jsonb NOT NULL,
    published_at timestamptz NOT NULL, -- on Kafka
    arrival bigint GENERATED ALWAYS AS IDENTITY
);
CREATE INDEX recent_listings_by_arrival ON recent_listings (arrival);

CREATE TABLE notifications (
    notification_id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    reason text NOT NULL,
    card jsonb NOT NULL,
    searches jsonb NOT NULL,
    previous_rent_cents bigint,
    requested_at timestamptz NOT NULL,
    arrival bigint GENERATED ALWAYS AS IDENTITY
);
CREATE INDEX notifications_of_user ON notifications (user_id, requested_at DESC, notification_id DESC);
CREATE INDEX notifications_by_arrival ON notifications (arrival);

CREATE TABLE direct_messages (
    notification_id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    purpose text NOT NULL,
    requested_at timestamptz NOT NULL
);

CREATE TABLE settled_notifications (
    notification_id uuid PRIMARY KEY,
    disposition text NOT NULL,
    detail text NOT NULL,
    settled_at timestamptz NOT NULL
);

CREATE TABLE message_statuses (
    event_id uuid PRIMARY KEY,
    message_id uuid NOT NULL,
    attempt integer NOT NULL,
    status text NOT NULL,
    rank smallint NOT NULL, -- of the status: a message only advances
    reported_by text NOT NULL,
    reported_at timestamptz NOT NULL,
    message_sid text,
    error_code integer,
    user_id uuid
);
CREATE INDEX statuses_of_message ON message_statuses (message_id, attempt DESC, rank DESC);

-- The furthest status of each message, which follows from message_statuses.
CREATE TABLE messages (
    message_id uuid PRIMARY KEY,
    user_id uuid,
    attempt integer NOT NULL,
    status text NOT NULL,
    error_code integer,
    message_sid text,
    first_reported_at timestamptz NOT NULL,
    reported_at timestamptz NOT NULL,
    arrival bigint GENERATED ALWAYS AS IDENTITY
);
CREATE INDEX messages_of_user ON messages (user_id, first_reported_at DESC, message_id DESC);
CREATE INDEX messages_by_arrival ON messages (arrival);
CREATE INDEX messages_by_status ON messages (status);

CREATE TABLE told_in_messages (
    message_id uuid NOT NULL,
    notification_id uuid NOT NULL,
    shown boolean NOT NULL, -- in the text; else it is behind the message's link
    PRIMARY KEY (message_id, notification_id)
);
CREATE INDEX messages_of_notification ON told_in_messages (notification_id);
