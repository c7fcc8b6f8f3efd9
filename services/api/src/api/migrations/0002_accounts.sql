-- Sign-ins, accounts of an external issuer, the trail of consents, and what an erasure leaves to do.

-- A sign-in: its refresh tokens follow one another, and its access tokens are good only while it lasts. A row of its
-- own is the lock under which it ends: a successor that is being issued at that moment ends with it.
CREATE TABLE sign_ins (
    sign_in_id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    began_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sign_ins_of_user ON sign_ins (user_id);

INSERT INTO sign_ins (sign_in_id, user_id) SELECT DISTINCT family, user_id FROM refresh_tokens;
ALTER TABLE refresh_tokens DROP COLUMN user_id;
ALTER TABLE refresh_tokens RENAME COLUMN family TO sign_in_id;
ALTER TABLE refresh_tokens ADD FOREIGN KEY (sign_in_id) REFERENCES sign_ins ON DELETE CASCADE;
ALTER INDEX refresh_tokens_of_family RENAME TO refresh_tokens_of_sign_in;

-- An account is opened by a password, or by an identity that an external issuer vouches for; never by both, so that
-- neither can take over the other.
ALTER TABLE users ALTER COLUMN email DROP NOT NULL;
ALTER TABLE users ALTER COLUMN password_hash DROP NOT NULL;
ALTER TABLE users ADD COLUMN issuer text;
ALTER TABLE users ADD COLUMN subject text;
ALTER TABLE users ADD UNIQUE (issuer, subject);
ALTER TABLE users ADD CHECK ((issuer IS NULL) = (subject IS NULL));
ALTER TABLE users ADD CHECK ((password_hash IS NULL) <> (subject IS NULL));
ALTER TABLE users ADD CHECK (password_hash IS NULL OR email IS NOT NULL);

-- Who agreed to what, how and when. A phone is kept as a keyed hash. The rows stay when the account is erased; what
-- could identify somebody is emptied then, and nothing else can ever be changed.
CREATE TABLE consents (
    consent_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL, -- no reference: the trail outlives the account
    what text NOT NULL,
    how text NOT NULL,
    at timestamptz NOT NULL,
    phone_hash bytea,
    message_sid text,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX consents_of_user ON consents (user_id, at, consent_id);

CREATE FUNCTION keep_consents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.consent_id, NEW.user_id, NEW.what, NEW.how, NEW.at, NEW.recorded_at)
                IS NOT DISTINCT FROM (OLD.consent_id, OLD.user_id, OLD.what, OLD.how, OLD.at, OLD.recorded_at)
            AND NEW.phone_hash IS NULL AND NEW.message_sid IS NULL
            AND NOT EXISTS (SELECT FROM users WHERE users.user_id = OLD.user_id)
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'consents are only added to; what identifies is emptied when the account has gone'
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER consents_stay BEFORE UPDATE OR DELETE ON consents FOR EACH ROW EXECUTE FUNCTION keep_consents();
CREATE TRIGGER consents_stay_all BEFORE TRUNCATE ON consents EXECUTE FUNCTION keep_consents();

-- Ids of erased accounts, while events of theirs may still come from Kafka: they are not recorded again.
CREATE TABLE erased_users (
    user_id uuid PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT now()
);

-- External identities whose account was erased, as keyed hashes: a token that is older than the erasure must not open
-- a new account.
CREATE TABLE erased_identities (
    identity_hash bytea PRIMARY KEY,
    erased_at timestamptz NOT NULL
);

-- Tombstones that are published a second time: Kafka does not compact the segment that it appends to, and a partition
-- without traffic begins no other.
CREATE TABLE repeated_tombstones (
    topic text NOT NULL,
    key text NOT NULL,
    due_at timestamptz NOT NULL,
    PRIMARY KEY (topic, key)
);
CREATE INDEX repeated_tombstones_due ON repeated_tombstones (due_at);
