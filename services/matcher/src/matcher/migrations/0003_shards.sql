-- Shards of users, where one machine cannot hold every search: each keeps what it knows, since each gets on by itself.
ALTER TABLE known
    ADD COLUMN shard integer NOT NULL DEFAULT 1,
    DROP CONSTRAINT known_pkey,
    ADD PRIMARY KEY (shard, listing_id);

-- A version takes effect in every shard: `shard` of `shards`.
ALTER TABLE versions
    ADD COLUMN shard integer NOT NULL DEFAULT 1,
    ADD COLUMN shards integer NOT NULL DEFAULT 1,
    DROP CONSTRAINT versions_listing_id_version_tombstone_key,
    ADD UNIQUE (shards, shard, listing_id, version, tombstone);

-- How many shards there are: `known` holds what each of them knows.
CREATE TABLE layout (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    shards integer NOT NULL DEFAULT 1 CHECK (shards > 0)
);
INSERT INTO layout DEFAULT VALUES;
