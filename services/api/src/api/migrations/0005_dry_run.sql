-- What a search would have found: listings in full, as they were when last offered, and since when they are.
ALTER TABLE recent_listings
    ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY, -- stays, while `arrival` grows with each version
    ADD COLUMN offered_at timestamptz, -- when it was first offered, on Kafka; null: it never was
    ADD COLUMN listing jsonb; -- null where it came before this column: it is not counted until it comes again
UPDATE recent_listings SET offered_at = published_at WHERE active;
