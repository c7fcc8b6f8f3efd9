"""Real listings into the system: from CSV through a mapping, from JSON Lines, and from three portals' payloads."""
