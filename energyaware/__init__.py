"""The pytest-benchmark of energy for language models."""

__version__ = "0.1.0"
