"""`itarent ledger`: what happened to a message, and what an operator makes of it."""
