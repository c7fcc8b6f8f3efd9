-- What operators ordered, by whom and why, and how things stood then. Only added to; what was written of a user who is
-- erased is emptied.
CREATE TABLE orders (
    order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ordered_at timestamptz NOT NULL,
    ordered_by text NOT NULL CHECK (ordered_by <> ''),
    why text NOT NULL CHECK (why <> ''),
    action text NOT NULL CHECK (action IN ('retry', 'sent', 'not_sent', 'cancel', 'pause', 'resume')),
    message_id uuid REFERENCES messages,
    user_id uuid,
    channel text,
    found text NOT NULL
);
CREATE INDEX orders_of_message ON orders (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX orders_of_user ON orders (user_id) WHERE user_id IS NOT NULL;

CREATE FUNCTION keep_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        OLD.why = 'erased';
        IF OLD IS NOT DISTINCT FROM NEW THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'orders are only added to' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER orders_stay BEFORE UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION keep_orders();
CREATE TRIGGER orders_stay_all BEFORE TRUNCATE ON orders EXECUTE FUNCTION keep_orders();

-- Which channels an operator has paused; `all` is every one. In the row that is the lock under which sending is begun.
ALTER TABLE channel ADD COLUMN held text[] NOT NULL DEFAULT '{}';

-- Since when an operator lets nothing go out to the user. In the row under which the user's messages are begun.
ALTER TABLE contacts ADD COLUMN held_at timestamptz;
CREATE INDEX contacts_held ON contacts (held_at) WHERE held_at IS NOT NULL;

-- Where a notification was that its message's failure ended: an operator may have the message sent again.
ALTER TABLE notifications ADD COLUMN placed text;
