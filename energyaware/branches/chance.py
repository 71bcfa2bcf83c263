"""What chance gives a process at its start, made equal on both sides of a launch, so that it cancels in the pair.

A kernel loads every process at other addresses, and Python salts the order of its sets and the layout of its
dictionaries. Both are drawn once per process, so rounds cannot average them out. Here the two sides of a launch share
one draw, and every launch has another: with the kernel's own drawing off, and a heap that begins with blocks of random
size. A change that moves memory still shows as what it is, spread between launches. Measured in docs/compare.md.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SEED = "PYTHONHASHSEED"
MOST_SEED = 2**32 - 1

_MOST_BLOCKS = 200
_SMALL_BYTES, _LARGE_BYTES = 512, 1 << 18

# Where the system refuses (as a container may), the process starts at random addresses as any other.
_FIXED_ADDRESSES = """
import ctypes, os, sys
ADDR_NO_RANDOMIZE, ASK = 0x0040000, 0xFFFFFFFF
personality = ctypes.CDLL(None).personality
personality.argtypes = [ctypes.c_ulong]
now = personality(ASK)
if now != -1:
    personality(now | ADDR_NO_RANDOMIZE)
os.execv(sys.argv[1], sys.argv[1:])
"""


def at_fixed_addresses(python: Path, arguments: Sequence[str]) -> list[str]:
    """A command that runs `python` with `arguments`, without random addresses where the kernel is Linux."""
    command = [str(python), *arguments]
    return [str(python), "-I", "-S", "-c", _FIXED_ADDRESSES, *command] if sys.platform == "linux" else command


def seeded(environment: Mapping[str, str], seed: int) -> dict[str, str]:
    """The environment of a process of the launch with that seed, 0 to `MOST_SEED`."""
    return {**environment, SEED: str(seed)}


def seed_of_process() -> str:
    """The seed that this process was given; empty where it has none."""
    return os.environ.get(SEED, "")


def first_blocks(seed: str) -> list[bytearray]:
    """Blocks that shift all that is allocated after them while they are held; the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - a place in memory, no secret
    sizes = (rng.choice((_SMALL_BYTES, _LARGE_BYTES)) for _ in range(rng.randrange(1, _MOST_BLOCKS)))
    return [bytearray(rng.randrange(1, most)) for most in sizes]
