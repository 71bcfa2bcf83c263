"""How long a large page takes to be there: `python -m benchmarks.promises.page --variants 200 --tasks 5`.

Makes the page of an invented run and opens it in headless Chromium, in turns with an empty page, each time with a new
profile. Printed are the page's size, what its scripts and the whole page took by its own clock until the first charts
were drawn, the browser's time beside that for the empty page, what the console said, and what the page asked of the
network. The promise is 2 s from the opening to the first charts. The test suite looks at the same page without a clock.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from energyaware.ranking.score import Ranking, Row, Winner, detail
from energyaware.records import Benchmark, Ceiling, Domain, Reading, Round, Run, Totals, Variant, Work
from energyaware.reports.html import page
from energyaware.reports.html.material import Material

PROMISE_MS = 2000
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")
EMPTY = '<!doctype html><html lang="en"><title>Nothing</title><p>Nothing</p></html>'
DESKTOP = (1200, 900)
# It is closed by --dump-dom; a browser that hangs is none of the page's doing.
_HANGS_S = 300.0
# A line of Chromium's network log about a request of a page that is a file.
_OF_A_FILE = re.compile(r'"network_isolation_key":"file:[^\n]*?"url":"((?:https?|wss?|ftp)://[^"]+)"')


@dataclass(frozen=True)
class Opened:
    """What came of opening a page.

    Attributes:
        document: after its scripts.
        said: on the console and by the browser itself.
        duration_s: from the browser's start to its end.
        requests: addresses of the network that the page asked for; those that the browser asks for itself are none.
    """

    document: str
    said: str
    duration_s: float
    requests: tuple[str, ...]

    @property
    def root(self) -> dict[str, str]:
        """What the page says about itself, the `data-` attributes of its root."""
        tag = re.search(r"<html[^>]*>", self.document)
        return dict(re.findall(r'data-(\w+)="([^"]*)"', tag[0])) if tag else {}

    @property
    def complaints(self) -> int:
        """Lines on the console. A request that the page's policy forbids is one, and the policy forbids them all."""
        return self.said.count("CONSOLE")


def find_browser() -> str | None:
    """The first Chromium or Chrome on the path."""
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


def open_page(browser: str, path: Path, fragment: str = "", size: tuple[int, int] = DESKTOP) -> Opened:
    """Open a file without a window and wait until its scripts have run.

    Args:
        fragment: of the address, with its `#`.
        size: width and height, pixels. Charts are drawn when they come near, so a high window draws all.

    Raises:
        CalledProcessError: the browser cannot start.
        TimeoutExpired: it hangs.
    """
    with tempfile.TemporaryDirectory(prefix="energyaware-") as name:
        log = Path(name) / "net.json"
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--disable-default-apps", "--disable-sync", "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND",  # nothing leaves the machine, the browser's own wishes neither
            f"--user-data-dir={Path(name) / 'profile'}", f"--log-net-log={log}", "--enable-logging=stderr",
            "--dump-dom", f"--window-size={size[0]},{size[1]}", f"{path.as_uri()}{fragment}",
        ]  # fmt: skip
        begin_s = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, timeout=_HANGS_S, check=True)
        duration_s = time.perf_counter() - begin_s
        asked = _OF_A_FILE.findall(log.read_text(errors="replace"))
    return Opened(done.stdout, done.stderr, duration_s, tuple(dict.fromkeys(asked)))


def large_material(variants: int = 200, tasks: int = 5, rounds: int = 60) -> Material:
    """An invented run; ranks are made up too, as working them out takes long and changes no size."""
    rng = random.Random(7)
    benchmarks: list[Benchmark] = []
    rows = []
    domains = {name: Domain("cpu-time", "estimated", 1e-6, "4 W per core") for name in ("cpu", "dram")}
    for number in range(variants):
        precision = ("fp32", "bf16", "nf4", "int8")[number % 4]
        variant = Variant(f"some-model-{number // 8}", precision, ("dense", "magnitude-50")[number // 4 % 2])
        mine = []
        for task in range(tasks):
            entries = tuple(
                Round(1, rng.uniform(0.1, 0.2), Reading({"cpu": rng.uniform(1, 2), "dram": rng.uniform(0.1, 0.2)}, 0.1))
                for _ in range(rounds)
            )
            mine.append(
                Benchmark(
                    fullname=f"t.py::test[{variant.id}-{task}]", name=f"test[{variant.id}-{task}]", group="inference",
                    task=f"task-{task}", phase="inference", candle="", layout="", domains=domains, rounds=entries,
                    variant=variant, quality={"accuracy": rng.random()}, ceiling=Ceiling(1e11, 1e10),
                    work=Work(flops=10**9, requests=1, tokens_in=9),
                )
            )  # fmt: skip
        phi, rho = rng.random(), rng.random()
        rows.append(
            Row(
                "inference", variant.id, tuple(map(detail, mine)), number + 1, phi, rho, (phi + rho) / 2, 0.1, 0.9,
                rng.random(), number % 20 == 0,
            )
        )  # fmt: skip
        benchmarks += mine
    winners = (Winner(0.0, 0.5, rows[0].name), Winner(0.5, 1.0, rows[1].name))
    ranking = Ranking("inference", tuple(rows), 0.5, winners, False, "estimated")
    run = Run(tuple(benchmarks), {"cpu": "Test CPU"}, {}, Totals(), "0.1")
    return Material(run, (ranking,), lambda energy_j: energy_j * 1e-4, (run,))


def measure(browser: str, text: str, loads: int, size: tuple[int, int]) -> tuple[list[Opened], list[Opened]]:
    """Openings of the page and of the empty page, in turns and in random order within each."""
    order = random.Random(0)
    found: dict[str, list[Opened]] = {text: [], EMPTY: []}
    with tempfile.TemporaryDirectory(prefix="energyaware-") as name:
        path = Path(name) / "energy.html"
        for _ in range(loads):
            for content in order.sample((text, EMPTY), 2):
                path.write_text(content, encoding="utf-8")
                found[content].append(open_page(browser, path, size=size))
    return found[text], found[EMPTY]


def _told(opened: Sequence[Opened], name: str) -> list[float]:
    """Milliseconds that the page noted at its end."""
    try:
        return [float(item.root[name]) for item in opened]
    except KeyError:
        problem = next(item.root.get("error", "its scripts did not end") for item in opened if name not in item.root)
        raise SystemExit(f"the page was not drawn: {problem}") from None


def _spread(values: Sequence[float], unit: str, digits: int = 0) -> str:
    return f"{statistics.median(values):.{digits}f} {unit} ({min(values):.{digits}f} … {max(values):.{digits}f})"


def main() -> int:
    """Print the table; 1 where the page complained, asked the network, or did not draw its charts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--loads", type=int, default=7, help="openings of each page (7)")
    parser.add_argument("--all", action="store_true", help="a window so high that every chart is drawn at once")
    arguments = parser.parse_args()
    browser = find_browser()
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is installed")
    text = page.render(large_material(arguments.variants, arguments.tasks))
    size = (DESKTOP[0], 20_000) if arguments.all else DESKTOP
    opened, empty = measure(browser, text, arguments.loads, size)
    drawn = [int(item.root.get("charts", 0)) for item in opened]
    asked = sorted({address for item in opened for address in item.requests})
    complaints = sum(item.complaints for item in opened)
    rows = [
        ("page", f"{len(text.encode()) / 1e6:.2f} MB"),
        ("charts drawn", f"{min(drawn)} of {text.count('<figure ')}"),
        ("its scripts", _spread(_told(opened, "rendered"), "ms")),
        (f"from opening to these charts (≤ {PROMISE_MS} ms)", _spread(_told(opened, "ready"), "ms")),
        ("browser, start to end", _spread([item.duration_s for item in opened], "s", 2)),
        ("the same, empty page", _spread([item.duration_s for item in empty], "s", 2)),
        ("ratio", _spread([one.duration_s / two.duration_s for one, two in zip(opened, empty, strict=True)], "×", 2)),
        ("lines on the console", str(complaints)),
        ("requests to the network", ", ".join(asked) or "0"),
    ]
    headers = (f"{arguments.variants} variants × {arguments.tasks} tasks, {arguments.loads} openings", "median (range)")
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))
    return int(complaints > 0 or bool(asked) or min(drawn) == 0)


if __name__ == "__main__":
    raise SystemExit(main())
