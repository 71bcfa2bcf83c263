"""A run file as bytes: how it is written, and how many of them are read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Parsed, a run takes about four times its size in memory; JSON can take twenty times. Runs of a few thousand benchmarks
# stay below.
MOST_BYTES = 256 << 20
_AT_ONCE = 1 << 20
_COMPACT = (",", ":")


def encode(run: Mapping[str, Any], dumps: Callable[..., str] = json.dumps) -> bytes:
    """A run as JSON without spaces, a line for each member and each benchmark: small, and two runs can be diffed.

    Args:
        dumps: as `json.dumps`, where values may be of other types than JSON's.
    """
    members = []
    for name, value in run.items():
        if name == "benchmarks" and isinstance(value, list):
            rows = ",\n".join(dumps(entry, separators=_COMPACT) for entry in value)
            members.append(f'"benchmarks":[\n{rows}\n]')
        else:
            members.append(f"{dumps(name)}:{dumps(value, separators=_COMPACT)}")
    return ("{\n" + ",\n".join(members) + "\n}\n").encode()


def too_large(path: Path, size: int) -> str:
    """Why a run file that was just written will not be read, and what to do; empty where it will be.

    Args:
        size: of the file, in bytes.
    """
    if size <= MOST_BYTES:
        return ""
    return (
        f"the run file {path} has {megabytes(size)}, more than the {megabytes(MOST_BYTES)} that energyaware reads "
        "again. It is complete, and pytest-benchmark reads it; to compare, rank and report it, measure the suite in "
        "parts that are stored one by one (--energy-shard=1/2 and 2/2, or one folder of benchmarks after the other)"
    )


def read(path: Path, most: int | None = None) -> bytes | None:
    """The content of a file; None where it is longer than `most`, by default than a run file may be.

    What a file says of its size does not count: a link may lead to a device that never ends.

    Raises:
        OSError: it cannot be read.
    """
    most = MOST_BYTES if most is None else most
    parts, left = [], most + 1
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > most:
            return None
        while left and (part := file.read(min(left, _AT_ONCE))):
            parts.append(part)
            left -= len(part)
    return b"".join(parts) if left else None


def megabytes(size: int) -> str:
    """As `268 MB`."""
    return f"{size / 1e6:.0f} MB"
