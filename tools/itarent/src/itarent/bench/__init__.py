"""Benchmarks: each one command, seeded, its results as JSON and as a table."""
