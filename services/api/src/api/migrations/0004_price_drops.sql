-- By how much a rent must fall to be news to a search; so far it was one percent for all of them.
ALTER TABLE subscriptions ADD COLUMN price_drop jsonb NOT NULL DEFAULT '{"percent": 1, "cents": 0}';
