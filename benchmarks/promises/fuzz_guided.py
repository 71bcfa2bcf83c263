"""Hostile input, found by coverage: `python -m benchmarks.promises.fuzz_guided --seconds 60` (Linux and macOS).

Atheris changes the bytes of valid inputs, and keeps what reaches lines and comparisons of this package that no input
reached before. Targets and what counts as a crash are those of `fuzz`; an input that takes 20 s, or 2 GB of memory, is
one too. Each target runs in a process of its own, which ends with its first crash.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

# Not the targets: what is imported before Atheris watches imports is not instrumented.

LIMITS = ("-timeout=20", "-rss_limit_mb=2048", "-max_len=20000")
_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
_COVERED = re.compile(r"\bcov: (\d+)")
_UNCAUGHT = re.compile(r"=== Uncaught Python exception: ===\n(.*?)(?=^==\d+==|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Outcome:
    """What came of one target.

    Attributes:
        tried: inputs; None where the fuzzer did not say.
        covered: places in the package's code that some input reached; None where the fuzzer did not say.
        crash: the exception, else the end of what the fuzzer printed; empty where nothing crashed.
    """

    tried: int | None
    covered: int | None
    crash: str = ""


def outcome(status: int, printed: str) -> Outcome:
    """Read what libFuzzer printed with `-print_final_stats=1`."""
    executed, covered, uncaught = _EXECUTED.search(printed), _COVERED.findall(printed), _UNCAUGHT.search(printed)
    return Outcome(
        int(executed[1]) if executed else None,
        int(covered[-1]) if covered else None,
        (uncaught[1] if uncaught else printed)[-3000:] if status else "",
    )


def guide(name: str, seconds: int, folder: Path) -> Outcome:
    """Try one target in a process of its own.

    Args:
        folder: for the corpus and inputs that crash; empty.
    """
    command = [sys.executable, "-m", "benchmarks.promises.fuzz_guided", f"--target={name}", f"--seconds={seconds}"]
    done = subprocess.run(
        [*command, f"--folder={folder}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip
    return outcome(done.returncode, done.stdout)


def fuzz(name: str, seconds: int, folder: Path) -> None:
    """Let Atheris try one target; the process ends here."""
    import atheris

    with atheris.instrument_imports(include=["energyaware"]):
        from benchmarks.promises.fuzz_targets import TARGETS, attempt
    target = TARGETS[name]
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)

    def one(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as place:
            attempt(target, target.decode(content), Path(place))

    stops = (f"-max_total_time={seconds}", "-print_final_stats=1", f"-artifact_prefix={folder}/")
    atheris.Setup([name, *LIMITS, *stops, str(corpus)], one)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="per target")
    parser.add_argument("--target", help="one of them, in this process")
    parser.add_argument("--folder", type=Path, help="for the corpus of that one and inputs that crash")
    arguments = parser.parse_args()
    try:
        import atheris  # noqa: F401 - is it there?
    except ImportError as error:
        raise SystemExit(f"Atheris is missing ({error}): pip install -e '.[fuzz]'") from error
    if arguments.target:
        fuzz(arguments.target, arguments.seconds, arguments.folder)
    from tabulate import tabulate

    from benchmarks.promises.fuzz_targets import TARGETS

    found: dict[str, Outcome] = {}
    for name in TARGETS:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        found[name] = guide(name, arguments.seconds, folder)
        if found[name].crash:
            print(f"{name}, input in {folder}: {found[name].crash}", file=sys.stderr)
        else:
            shutil.rmtree(folder)
    rows = [(name, item.tried, item.covered, int(bool(item.crash))) for name, item in found.items()]
    total = ("all", sum(item.tried or 0 for item in found.values()), None, sum(row[3] for row in rows))
    headers = ("input", "tried", "places reached", "crashes")
    print(tabulate([*rows, total], headers=headers, tablefmt="github", missingval="–"))
    raise SystemExit(1 if total[3] else 0)


if __name__ == "__main__":
    main()
