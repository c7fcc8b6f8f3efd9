-- Messages that were asked about for the last time under the earlier schedule: they are asked about on, once a day.
UPDATE messages SET due_at = clock_timestamp() WHERE stage = 'taken' AND due_at > clock_timestamp() + interval '1 year';
