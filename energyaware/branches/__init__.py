"""Two revisions measured side by side: checkouts, one worker process each, turns round by round, verdicts on pairs."""
