"""Deterministic work counters: floating-point operations and stored weight bytes."""
