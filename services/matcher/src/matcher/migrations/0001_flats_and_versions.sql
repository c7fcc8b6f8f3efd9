-- Which flat an advertisement is of: decided once, before anybody is told of it.
CREATE TABLE advertisements (
    listing_id text PRIMARY KEY,
    flat_id uuid NOT NULL,
    version bigint NOT NULL,
    traits jsonb NOT NULL, -- matcher.flats.Advertisement, at this version
    block text GENERATED ALWAYS AS (traits ->> 'block') STORED,
    reference text GENERATED ALWAYS AS (traits ->> 'reference') STORED,
    latitude float8 GENERATED ALWAYS AS ((traits #>> '{position,latitude}')::float8) STORED,
    longitude float8 GENERATED ALWAYS AS ((traits #>> '{position,longitude}')::float8) STORED
);

CREATE INDEX advertisements_by_flat ON advertisements (flat_id);
CREATE INDEX advertisements_by_reference ON advertisements (block, reference) WHERE reference IS NOT NULL;
CREATE INDEX advertisements_by_place ON advertisements (block, latitude) WHERE latitude IS NOT NULL;

-- Every advertisement at its latest version that took effect: what the next version is compared with.
CREATE TABLE known (
    listing_id text PRIMARY KEY,
    flat_id uuid NOT NULL,
    version bigint NOT NULL,
    active boolean NOT NULL,
    content json, -- the listing as it was when last active; json and not jsonb, which refuses \u0000
    lowest_rent_cents bigint,
    partition integer NOT NULL, -- where in the listings' topic the version came from
    "offset" bigint NOT NULL
);

CREATE INDEX known_by_flat ON known (flat_id);

-- Every version that took effect, in that order, and the searches in force: an audit replays it.
CREATE TABLE versions (
    effect bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    listing_id text NOT NULL,
    version bigint NOT NULL,
    tombstone boolean NOT NULL, -- a deleted advertisement: withdrawn at the version known
    flat_id uuid NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    subscriptions_position bigint[] NOT NULL, -- per partition of the subscriptions' topic: the next offset
    effective_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (listing_id, version, tombstone)
);
