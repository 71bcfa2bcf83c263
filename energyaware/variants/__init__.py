"""Variants: model × precision × pruning, put together into something that runs."""
