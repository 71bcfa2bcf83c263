"""What the gate asks git. Names never reach a shell, nor an option's place."""

from __future__ import annotations

import subprocess
from pathlib import Path


def output(root: Path, *arguments: str) -> str | None:
    """Standard output of a git command, or None where it failed or git is absent."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=20, check=False, errors="replace"
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):  # ValueError: a null byte in a name
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def commit_of(root: Path, name: str) -> str | None:
    """The commit that a branch, tag or hash names, or None."""
    if name.startswith("-"):
        return None
    return output(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")


def ancestors(root: Path, commit: str, limit: int = 5000) -> frozenset[str]:
    """`commit` and what it descends from: the newest `limit` hashes, in one call however many runs are stored."""
    listed = output(root, "rev-list", f"--max-count={limit}", "--end-of-options", commit)
    return frozenset((listed or "").split())
