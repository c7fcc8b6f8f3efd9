"""The fault suite: something is broken while listings flow, and a history checker judges what came of it."""
