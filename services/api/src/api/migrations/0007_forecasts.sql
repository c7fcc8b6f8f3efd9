-- What the sender forecast last, for operators. Holds no phone.
CREATE TABLE forecasts (
    channel text PRIMARY KEY,
    made_at timestamptz NOT NULL,
    forecast text NOT NULL
);
