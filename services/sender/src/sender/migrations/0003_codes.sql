-- Phones that want nothing from us, as Twilio says, whoever's they are: no code is sent there. SHA-256 of the number.
CREATE TABLE refusing_phones (
    phone_hash bytea PRIMARY KEY,
    refused_at timestamptz NOT NULL
);

-- Whose phone it is that is to be sent a code.
CREATE INDEX recipients_by_phone ON recipients ((recipient::jsonb ->> 'phone'));
