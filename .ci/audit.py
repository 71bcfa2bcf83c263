#!/usr/bin/env python3
"""Asks pip-audit for known vulnerabilities of pinned versions: `.ci/audit.py PIP_AUDIT FILE [its options…]`.

A service that does not answer, or that knows nothing, finds nothing, and pip-audit then ends as if all were well. So a
version with a vulnerability that everybody knows goes first, and every package must have been looked at.
Exit status: 0 where nothing is known, 1 where something is, 2 where nobody could tell.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# CVE-2020-28493 and others, in every service that pip-audit can ask.
KNOWN_BAD = "jinja2==2.11.2\n"
FOUND, UNKNOWN = 1, 2


def asked(command: list[str], requirements: str, folder: Path) -> list[dict[str, Any]] | None:
    """What pip-audit said of each package, or None where it failed."""
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    fixed = ["--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json", f"--output={answer}"]
    done = subprocess.run(
        [*command, f"--requirement={requirements}", *fixed], capture_output=True, text=True, check=False
    )
    try:
        found: list[dict[str, Any]] = json.loads(answer.read_text(encoding="utf-8"))["dependencies"]
    except (OSError, ValueError, KeyError, TypeError):
        print(done.stderr.strip()[-2000:], file=sys.stderr)
        return None
    return found


def main(program: str, pins: str, *options: str) -> int:
    """Print what is known; the exit status."""
    command = [program, *options]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bad.txt").write_text(KNOWN_BAD, encoding="utf-8")
        bad = asked(command, str(folder / "bad.txt"), folder)
        if not bad or not any(item.get("vulns") for item in bad):
            print(
                f"NOT AUDITED: the service does not know that {KNOWN_BAD.strip()} is vulnerable, so it has no "
                "vulnerabilities, or did not answer. Ask another one, as with --vulnerability-service=osv, or a mirror "
                "of OSV's with --osv-url=URL",
                file=sys.stderr,
            )
            return UNKNOWN
        answers = asked(command, pins, folder)
    if not answers:
        print("NOT AUDITED: pip-audit failed, see above", file=sys.stderr)
        return UNKNOWN
    vulnerable = [item for item in answers if item.get("vulns")]
    for item in vulnerable:
        for one in item["vulns"]:
            fixed = ", ".join(one["fix_versions"]) or "no version"
            print(f"{item['name']} {item['version']}: {one['id']} (fixed in {fixed})", file=sys.stderr)
    skipped = [item["name"] for item in answers if "skip_reason" in item]
    print(f"{len(answers) - len(skipped)} of {len(answers)} packages audited, {len(vulnerable)} with vulnerabilities")
    if vulnerable:
        return FOUND
    if skipped:
        print(f"NOT AUDITED: the service does not know {', '.join(skipped)}", file=sys.stderr)
        return UNKNOWN
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: .ci/audit.py PIP_AUDIT FILE [options of pip-audit]")
    sys.exit(main(*sys.argv[1:]))
