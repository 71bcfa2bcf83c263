"""Numbers about numbers: robust means, intervals, resampling. Knows no meter and no model."""
