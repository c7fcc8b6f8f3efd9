-- A code may also be sent to the phone: then the claim says so in the recipient's events, and the code is not shown.
ALTER TABLE phone_claims
    ADD COLUMN claim_id uuid NOT NULL DEFAULT gen_random_uuid(), -- the notification that asks for the code
    ADD COLUMN proof text NOT NULL DEFAULT 'from_phone' CHECK (proof IN ('from_phone', 'to_phone')),
    ADD COLUMN claimed_at timestamptz NOT NULL DEFAULT now();

-- Since when an account has its phone, or when somebody else proved that phone.
CREATE TABLE phone_links (
    user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    linked_at timestamptz,
    lost_at timestamptz
);
INSERT INTO phone_links (user_id, linked_at) SELECT user_id, now() FROM recipients WHERE phone IS NOT NULL;

-- What phones have told us, whoever's they are. The hash is keyed: it is compared, never read.
CREATE TABLE phones_heard (
    phone_hash bytea PRIMARY KEY,
    wrote_at timestamptz NOT NULL,
    joined_at timestamptz, -- the sandbox, if Twilio hands that message on
    stopped_at timestamptz -- STOP: no code is sent there either, until START or a proof comes from it
);

-- Codes that were to be sent to a phone, by whichever account: nobody can have a stranger flooded.
CREATE TABLE codes_requested (
    claim_id uuid PRIMARY KEY,
    phone_hash bytea NOT NULL,
    requested_at timestamptz NOT NULL
);
CREATE INDEX codes_of_phone ON codes_requested (phone_hash, requested_at);
