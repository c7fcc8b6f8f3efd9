"""Does it balance? Every listing that took effect, matched again with the plain rule, against the sender's ledger."""
