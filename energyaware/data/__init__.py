"""Datasets: the embedded network-fault corpus and readers of real files."""
