"""Stored runs: read them, choose one as baseline, judge a run against it."""
