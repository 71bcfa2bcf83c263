"""Make text out of files and libraries fit for one line of a terminal."""

from __future__ import annotations


def one_line(text: object, limit: int = 300) -> str:
    """`str(text)` on one line of at most `limit` characters; what is not printable becomes U+FFFD."""
    line = " ".join(str(text).split())
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
