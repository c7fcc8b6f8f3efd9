-- When the last forecast was published: of all replicas one makes each.
CREATE TABLE forecasts (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    made_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO forecasts DEFAULT VALUES;

-- Whose window is open: as the api writes moments, in UTC, they are in order as texts.
CREATE INDEX recipients_by_window ON recipients ((recipient::jsonb ->> 'window_opened_at'));
