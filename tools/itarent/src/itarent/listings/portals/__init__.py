"""Payloads of portals as they come from their web pages and apps: one module per portal, all of one shape.

`FIELDS` are the names at the payload's top by which it is known; `draft_of(payload)` says what it holds, or raises
RefusedError naming the payload's own field.
"""
