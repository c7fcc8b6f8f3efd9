-- What people write to us beside STOP: pauses, numbers of flats, choices.
ALTER TABLE recipients
    ADD COLUMN "grouping" text NOT NULL DEFAULT 'user', -- what shares a message: all that is for the user, or a search's
    ADD COLUMN paused_until timestamptz,
    ADD COLUMN stopped_at timestamptz,
    ADD COLUMN helped_at timestamptz; -- when something that we did not understand was answered last

ALTER TABLE notifications ADD COLUMN flat_id uuid; -- null where it came before this column
ALTER TABLE told_in_messages ADD COLUMN number int; -- the flat's place in the message, by which people answer
ALTER TABLE direct_messages ADD COLUMN about uuid; -- the notification of the flat that an answer is about

-- Flats that a renter keeps, or wants to hear of never again.
CREATE TABLE flat_choices (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    listing_id text NOT NULL,
    choice text NOT NULL CHECK (choice IN ('saved', 'declined')),
    card jsonb NOT NULL,
    chosen_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, listing_id)
);
CREATE INDEX choices_of_user ON flat_choices (user_id, chosen_at DESC, listing_id);
