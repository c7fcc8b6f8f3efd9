-- What was found out about a version of a listing before a shard matched it, each for the searches of its own users: an
-- audit goes by it.
CREATE TABLE appraisals (
    shards integer NOT NULL,
    shard integer NOT NULL,
    listing_id text NOT NULL,
    version bigint NOT NULL,
    appraisal jsonb NOT NULL, -- common.listing.Appraisal
    PRIMARY KEY (shards, shard, listing_id, version)
);

-- How long ways take, as a routing engine has told: remembered for a month.
CREATE TABLE ways (
    start text NOT NULL, -- cells of the map: see common.listing.Cell
    destination text NOT NULL,
    mode text NOT NULL,
    seconds integer, -- NULL: there is no way
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (start, destination, mode)
);

CREATE INDEX ways_by_age ON ways (asked_at);
