-- What an attempt was made of and what it costs, in millionths of the price table's currency: `price_micros` if Twilio
-- takes it, `charged_micros` as far as is known now. `counts`: it is among the messages that were sent.
ALTER TABLE attempts
    ADD COLUMN content_sid text,
    ADD COLUMN charge text,
    ADD COLUMN currency text,
    ADD COLUMN spent_on date,
    ADD COLUMN price_micros bigint NOT NULL DEFAULT 0,
    ADD COLUMN charged_micros bigint NOT NULL DEFAULT 0,
    ADD COLUMN counts boolean NOT NULL DEFAULT true;

-- The sum of all attempts by day (UTC) and by what Meta charges for, written in the transactions that change them.
CREATE TABLE spending (
    spent_on date NOT NULL,
    currency text NOT NULL,
    charge text NOT NULL,
    messages bigint NOT NULL,
    micros bigint NOT NULL,
    PRIMARY KEY (spent_on, currency, charge)
);

-- The budget that is in force, for whoever asks, and the threshold of which month was warned about last.
CREATE TABLE budget (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    currency text NOT NULL,
    limit_micros bigint,
    reserve_micros bigint NOT NULL,
    warned_month date,
    warned_percent int NOT NULL DEFAULT 0
);

-- How fast Twilio is asked about messages, by all replicas together.
CREATE TABLE polling (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    next_slot timestamptz NOT NULL DEFAULT now()
);
INSERT INTO polling DEFAULT VALUES;
