"""What weights a model has, as one hash: part of comparability."""

from __future__ import annotations

import hashlib
from pathlib import Path


def weights_fingerprint(directory: Path) -> str | None:
    """SHA-256 over the safetensors files of a local model directory, in the order of their names; None without any."""
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
