"""Pruning, quantization and the proof that a compression changed something."""
