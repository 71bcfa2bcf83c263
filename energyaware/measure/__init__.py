"""Rounds: the candle beside the workload, valid windows, raw readings. Takes callables and knows no torch."""
