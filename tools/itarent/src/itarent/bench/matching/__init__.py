"""Matching, ours and its peers': the same searches and listings for all of them, and their answers compared."""
