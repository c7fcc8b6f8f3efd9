"""Dead letters: looked at, replayed, dropped."""
