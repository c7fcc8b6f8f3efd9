-- By which reason an advertisement joined its flat, and which other one it was like. Both are NULL for the first of a
-- flat, and for what joined before this was kept.
ALTER TABLE advertisements ADD COLUMN joined_by text, ADD COLUMN joined_like text;

-- What somebody has said is not of one flat, each pair in both directions.
CREATE TABLE apart (
    listing_id text NOT NULL,
    other_id text NOT NULL,
    PRIMARY KEY (listing_id, other_id)
);

-- Every advertisement that was moved to another flat because its own was parted, which has none any more.
CREATE TABLE partings (
    flat_id uuid NOT NULL,
    listing_id text NOT NULL,
    parted_from uuid NOT NULL,
    parted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (flat_id, listing_id)
);
CREATE INDEX partings_of_advertisement ON partings (listing_id);
CREATE INDEX partings_of_flat ON partings (parted_from);

-- When the users of a shard were told of the sides of a flat that was parted, in the order of `versions`.
CREATE TABLE partings_told (
    parted_from uuid NOT NULL,
    shard integer NOT NULL,
    shards integer NOT NULL,
    effect bigint NOT NULL,
    subscriptions_position bigint[] NOT NULL,
    told_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (parted_from, shards, shard)
);
