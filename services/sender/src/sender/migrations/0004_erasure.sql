-- Since when a user is erased. The id stays, so that what still comes of them is not told, and the ledger balances.
ALTER TABLE contacts ADD COLUMN erased_at timestamptz;
