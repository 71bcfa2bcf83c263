"""The script of the gate's promise: what its figure of sessions shows, from invented sessions."""

import math

import pytest

from benchmarks.promises.gate import Store, changes_of_sessions, draw_sessions
from energyaware.records import Benchmark, Domain, Reading, Round, Run, Totals


def session(speed: float, work: float = 1.0) -> Run:
    """One on a machine of that speed: the candle beside the work moves with it."""
    entry = Round(1, 0.1, Reading({"cpu": work / speed}, 0.1), Reading({"cpu": 0.5 / speed}, 0.05))
    item = Benchmark(
        fullname="t.py::test[a]", name="test[a]", group="", task="", phase="", candle="matmul/1", layout="",
        domains={"cpu": Domain("cpu-time", "estimated", 1e-6)}, rounds=(entry,) * 4,
    )  # fmt: skip
    return Run((item,), {}, {}, Totals(), "0")


def test_the_candle_takes_out_what_the_machine_does_and_not_what_the_work_costs():
    base = [session(speed) for speed in (0.8, 1.0, 1.25)]
    raw = changes_of_sessions(base, base, 0.0)["test[a]"]
    assert raw == pytest.approx([math.log(1.25), 0.0, -math.log(1.25)])
    assert changes_of_sessions(base, base, 1.0)["test[a]"] == pytest.approx([0.0, 0.0, 0.0])
    more = changes_of_sessions([session(0.9, 1.15)], base, 1.0)["test[a]"]
    assert more == pytest.approx([math.log(1.15)])


def test_without_sessions_there_is_nothing_to_draw(tmp_path):
    with pytest.raises(SystemExit, match="fewer than two sessions"):
        draw_sessions(Store(tmp_path), tmp_path / "sessions.png")
    assert not (tmp_path / "sessions.png").exists()
