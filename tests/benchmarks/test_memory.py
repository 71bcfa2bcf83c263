"""The script that measures what many variants leave in memory, and that none of them leaves more than its record."""

import json

import pytest

from benchmarks.promises import memory

COUNTING = """
import gc
import json
import pathlib

OURS = ("EnergyFixture", "RoundRecorder", "Facts", "HeapShift", "Stub")


@pytest.fixture(scope="session", autouse=True)
def counted():
    gc.disable()
    yield
    found = dict.fromkeys(OURS, 0)
    for item in gc.get_objects():
        name = type(item).__name__
        if name in found:
            found[name] += 1
    gc.enable()
    pathlib.Path("counts.json").write_text(json.dumps(found))
"""


def test_models_and_what_measured_them_die_with_their_benchmark(tmp_path, monkeypatch):
    """Without a collection of cycles: what is left is memory that grows by the record alone."""
    monkeypatch.setattr(memory, "SUITE", memory.SUITE + COUNTING)
    usage = memory.measure(tmp_path, 50, 8 << 20, 2)
    assert len(usage.resident) == 50
    assert usage.models == 0
    # A model that stayed would be 8 MB each time. So few variants do not show what a record takes.
    assert usage.growth < 1e6
    assert usage.peak >= usage.after(1.0)
    assert 0 < usage.end_s < usage.duration_s
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert counts
    assert {name: count for name, count in counts.items() if count > 1} == {}


def test_a_run_that_keeps_its_models_does_not_pass(tmp_path, monkeypatch):
    leaking = memory.SUITE.replace("alive.add(self)", "alive.add(self); kept.append(self)")
    monkeypatch.setattr(memory, "SUITE", leaking.replace("alive = ", "kept = []\nalive = "))
    usage = memory.measure(tmp_path, 10, 2 << 20, 2)
    assert usage.models == 10
    assert usage.growth > 1.5e6
    assert not memory.kept(usage)


def test_growth_is_per_variant_after_the_first_tenth():
    flat = memory.Usage((100, *[200] * 99), 0, 300, 2.0, 1.0)
    assert flat.growth == pytest.approx(0)
    assert memory.kept(flat)
    rising = memory.Usage(tuple(range(0, 100 * 90, 90)), 0, 9000, 2.0, 1.0)
    assert rising.growth == pytest.approx(90)
    assert not memory.kept(memory.Usage((1,) * 10, 2, 1, 1.0, 0.0))
    assert "| size of each model" in memory.render(rising, 1 << 20)
