"""The phases add up: joules of prefill and of decode, metered apart, against joules of the whole generation.

    python -m benchmarks.promises.phases --rounds 60

Every round lays the weights out anew and meters, in random order, prefill, decode, both in one call with a named window
around each, and the model's own `generate`. The promise rests on the paired difference of each round,

    (prefill + decode - whole) / whole,

and holds where its 95 % interval (Student's t on a 20 % trimmed mean) includes 0 or lies within ± 1 %, provided that
the interval is no wider than ± 5 %: a wide interval would include anything. The same must hold for the sum of the two
windows. `generate` of transformers is shown beside it: it prepares and checks more around the same forward passes, and
what that costs belongs to neither phase. Joules are the `cpu-time` estimate. The exit status is 1 where a promise does
not hold.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from energyaware.data.simulator import network_corpus
from energyaware.errors import EnergyAwareError
from energyaware.measure.rounds import calls_per_window, min_window_s
from energyaware.meters.base import Meter
from energyaware.meters.selection import cpu_time
from energyaware.models.catalogue import find
from energyaware.paths import cache_dir
from energyaware.stats.location import Estimate, trimmed_mean
from energyaware.units import si
from energyaware.variants.grid import make_variant
from energyaware.variants.load import load_variant
from energyaware.variants.phases import PhaseWorkload, Prefilled, phase_workload
from energyaware.variants.prepare import prepare
from energyaware.variants.row import LayoutPlan, plan_layout

CLOSE = 0.01
WIDEST = 0.05
LEAST_ROUNDS = 5

METERED = ("prefill", "decode", "whole", "window prefill", "window decode", "library generate")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two ways of metering the same work differ, as a share of the whole."""

    title: str
    estimate: Estimate
    promised: bool = True

    @property
    def holds(self) -> bool:
        """Whether the two agree; see the module's docstring."""
        half = self.estimate.half_width
        if half is None or half > WIDEST:
            return False
        centre = self.estimate.centre
        return abs(centre) <= half or abs(centre) + half <= CLOSE


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; the exit status is 1 where a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini-gpt2", help="catalogue name, Hugging Face id or folder (mini-gpt2)")
    parser.add_argument("--precision", default="fp32", help="of the weights (fp32)")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--batch", type=int, default=1, help="requests per call (1)")
    parser.add_argument("--input", type=int, default=64, help="tokens per prompt (64)")
    parser.add_argument("--output", type=int, default=32, help="new tokens per request (32)")
    parser.add_argument("--core-watts", type=float, help="of the cpu-time meter; agreement does not depend on it")
    options = parser.parse_args(arguments)
    if options.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds={options.rounds}: an interval needs at least {LEAST_ROUNDS}")
    try:
        spec = find(options.model)
        dataset = network_corpus()
        source = prepare(spec, dataset, cache_dir(), _show).source
        loaded = load_variant(source, make_variant(spec.name, options.precision))
        workload = phase_workload(
            loaded.model,
            loaded.tokenizer,
            [example.text for example in dataset.test],
            batch_size=options.batch,
            input_tokens=options.input,
            new_tokens=options.output,
        )
        rows = measure(workload, plan_layout(loaded.model, "phases"), cpu_time(options.core_watts), options.rounds)
    except EnergyAwareError as error:
        print(error, file=sys.stderr)
        return 2
    found = agreements(rows)
    lengths = f"batch {options.batch}, {options.input} tokens in, {options.output} out"
    print(f"## {loaded.variant.id}: {lengths}, {len(rows)} rounds, cpu-time estimate\n")
    print(render(rows, found))
    return 0 if all(item.holds for item in found if item.promised) else 1


def measure(workload: PhaseWorkload, layout: LayoutPlan, meter: Meter, rounds: int) -> list[Mapping[str, float]]:
    """Joules per call of each kind, one mapping per round."""
    prefilled: Prefilled = workload.prefill()
    windows: dict[str, float] = {}

    def whole() -> object:
        mark = meter.start()
        filled = workload.prefill()
        windows["window prefill"] += sum(meter.stop(mark).values())
        mark = meter.start()
        tokens = workload.decode(filled)
        windows["window decode"] += sum(meter.stop(mark).values())
        return tokens

    kinds: dict[str, Callable[[], object]] = {
        "prefill": workload.prefill,
        "decode": lambda: workload.decode(prefilled),
        "whole": whole,
        "library generate": workload.library_generate,
    }
    window_s = min_window_s(meter)
    windows.update({"window prefill": 0.0, "window decode": 0.0})
    calls = {name: calls_per_window(call, window_s)[0] for name, call in kinds.items()}
    draw = random.Random(0)
    found: list[Mapping[str, float]] = []
    for number in range(rounds):
        if layout.before_round is not None:
            layout.before_round()
            prefilled = workload.prefill()
        order = list(kinds)
        draw.shuffle(order)
        joules: dict[str, float] = {}
        for name in order:
            kinds[name]()  # what runs before must not decide what lies in the caches
            windows.update({"window prefill": 0.0, "window decode": 0.0})
            mark = meter.start()
            for _ in range(calls[name]):
                kinds[name]()
            joules[name] = sum(meter.stop(mark).values()) / calls[name]
            if name == "whole":
                joules |= {window: value / calls[name] for window, value in windows.items()}
        found.append(joules)
        _show("rounds", number + 1, rounds)
    return found


def agreements(rows: Sequence[Mapping[str, float]]) -> tuple[Agreement, ...]:
    """Paired differences over the rounds."""

    def differ(parts: Sequence[str]) -> Estimate:
        return trimmed_mean([(sum(row[part] for part in parts) - row["whole"]) / row["whole"] for row in rows])

    return (
        Agreement("prefill + decode, metered apart", differ(("prefill", "decode"))),
        Agreement("both windows inside the whole", differ(("window prefill", "window decode"))),
        Agreement("transformers' generate", differ(("library generate",)), promised=False),
    )


def render(rows: Sequence[Mapping[str, float]], found: Sequence[Agreement]) -> str:
    """Two Markdown tables: joules, and differences from the whole."""
    joules = [
        (name, si(statistics.median(row[name] for row in rows), "J"), f"{statistics.stdev(values) / mean:.1%}")
        for name in METERED
        for values in [[row[name] for row in rows]]
        for mean in [statistics.mean(values)]
    ]
    differences = [
        (
            item.title,
            f"{100 * item.estimate.centre:+.2f} %",
            "-" if item.estimate.half_width is None else f"± {100 * item.estimate.half_width:.2f}",
            ("holds" if item.holds else "DOES NOT HOLD") if item.promised else "shown only",
        )
        for item in found
    ]
    return "\n\n".join(
        (
            tabulate(joules, ("metered", "J per call, median", "spread of rounds"), tablefmt="github"),
            tabulate(differences, ("against the whole", "difference", "95 % interval", ""), tablefmt="github"),
        )
    )


def _show(label: str, done: int, total: int, detail: str = "") -> None:
    print(f"\r{label} {done}/{total} {detail}", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
