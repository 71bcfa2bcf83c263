import subprocess
import sys
import time
import types

import psutil
import pytest

from energyaware.meters import cpu_time
from energyaware.meters.base import Meter
from energyaware.meters.cpu_time import CorePower, CpuTimeMeter, core_power, is_virtual_machine

POWER = CorePower(4.0, 2.0, "a table", "a model")


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def clocks() -> dict[str, float]:
    """What each domain goes by: CPU seconds of this process, and seconds."""
    return {"cpu": time.process_time(), "dram": time.perf_counter()}


def since(begin: dict[str, float]) -> dict[str, float]:
    now = clocks()
    return {name: now[name] - begin[name] for name in begin}


# Of sums of microseconds.
ROUNDING = 1e-5


def test_energy_is_seconds_times_watts():
    meter = CpuTimeMeter(POWER)
    assert isinstance(meter, Meter)
    begin = clocks()
    mark = meter.start()
    inner = clocks()
    burn(0.03)
    inner = since(inner)
    energy_j = meter.stop(mark)
    outer = since(begin)
    for domain, watts in (("cpu", 4.0), ("dram", 2.0)):
        assert watts * inner[domain] - ROUNDING <= energy_j[domain] <= watts * outer[domain] + ROUNDING
    meter.close()


def test_it_reads_exactly_what_the_clocks_say(monkeypatch):
    monkeypatch.setattr(cpu_time, "time", types.SimpleNamespace(perf_counter=lambda: wall_s))
    cpu_s, wall_s = 1.0, 5.0
    meter = CpuTimeMeter(POWER, tree=types.SimpleNamespace(cpu_s=lambda: cpu_s))
    mark = meter.start()
    cpu_s, wall_s = 1.5, 8.0
    assert meter.stop(mark) == {"cpu": 2.0, "dram": 6.0}


@pytest.mark.parametrize("domain", ["cpu", "dram"])
def test_it_leaves_a_domain_that_a_counter_reads_alone(domain):
    meter = CpuTimeMeter(POWER, [domain])
    assert set(meter.domains) == {domain}
    assert set(meter.stop(meter.start())) == {domain}


def test_windows_nest_and_never_run_backwards():
    meter = CpuTimeMeter(POWER)
    outer = meter.start()
    marks = [meter.start() for _ in range(200)]
    inner = [meter.stop(mark) for mark in reversed(marks)]
    whole = meter.stop(outer)
    assert all(reading[domain] >= 0 for reading in inner for domain in ("cpu", "dram"))
    for domain in ("cpu", "dram"):
        values = [reading[domain] for reading in inner]
        assert values == sorted(values)
        assert whole[domain] >= values[-1]


def test_children_that_have_ended_are_counted():
    meter = CpuTimeMeter(CorePower(1.0, 1.0, "", ""))
    code = "import time\nwhile time.process_time() < 0.15: pass"
    resource = pytest.importorskip("resource", reason="Windows keeps no account of ended children")

    def waited_s():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before_s, outer = waited_s(), time.process_time()
    mark = meter.start()
    inner = time.process_time()
    subprocess.run([sys.executable, "-c", code], check=True)
    inner = time.process_time() - inner
    cpu_s = meter.stop(mark)["cpu"]
    outer = time.process_time() - outer
    ended_s = waited_s() - before_s
    assert ended_s > 0.14
    assert ended_s + inner - ROUNDING <= cpu_s <= ended_s + outer + ROUNDING


def test_its_domains_name_the_watts_and_their_origin():
    domains = CpuTimeMeter(POWER).domains
    assert domains["cpu"].detail == "4 W per core: a table"
    assert domains["dram"].detail == "2 W: a model"
    assert {domain.source for domain in domains.values()} == {"estimated"}


@pytest.mark.parametrize(
    ("text", "virtual"),
    [("flags : fpu vme hypervisor lahf_lm", True), ("flags : fpu vme", False), ("model name : thehypervisor", False)],
)
def test_a_virtual_machine_shows_in_the_flags(tmp_path, text, virtual):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{text}\n")
    assert is_virtual_machine(tmp_path / "cpuinfo") is virtual
    assert is_virtual_machine(tmp_path / "absent") is False
    (tmp_path / "cpuinfo").write_bytes(b"\xff\xfe hypervisor")
    assert is_virtual_machine(tmp_path / "cpuinfo") is True


@pytest.fixture
def machine(monkeypatch):
    """CodeCarbon's look at the hardware, replaced; the returned function says what it finds."""
    cpu = pytest.importorskip("codecarbon.core.cpu")
    from codecarbon.external import ram

    def set_up(*, virtual=False, model="Some CPU", tdp=None, threads=8, cores=4):
        monkeypatch.setattr(cpu_time, "is_virtual_machine", lambda: virtual)
        monkeypatch.setattr(cpu, "TDP", lambda: types.SimpleNamespace(model=model, tdp=tdp))
        monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: threads if logical else cores)
        power = types.SimpleNamespace(total_power=lambda: types.SimpleNamespace(W=3.0))
        monkeypatch.setattr(ram, "RAM", lambda tracking_mode: power)
        return float(cpu.DEFAULT_POWER_PER_CORE)

    return set_up


def test_the_users_watts_win(machine):
    machine(tdp=100.0)
    assert core_power(7.5)[:3] == (7.5, 3.0, "--energy-core-watts")


def test_the_table_gives_the_socket_shared_by_its_cores(machine):
    machine(tdp=100.0)
    power = core_power(None)
    assert power.core_w == 25.0
    assert "Some CPU at 100 W / 4 cores" in power.core_origin


def test_a_virtual_machine_is_not_blamed_for_the_socket(machine):
    default_w = machine(virtual=True, tdp=400.0)
    power = core_power(None)
    assert power.core_w == default_w
    assert "virtual machine" in power.core_origin


@pytest.mark.parametrize("guess", ["none", "codecarbon's"])
def test_a_cpu_that_the_table_lacks_gets_the_default(machine, guess):
    default_w = machine()
    # CodeCarbon's own fallback is its default times the threads: no table value.
    machine(tdp=None if guess == "none" else 8 * default_w)
    power = core_power(None)
    assert power.core_w == default_w
    assert "lacks Some CPU" in power.core_origin


def test_where_cores_cannot_be_counted_threads_are(machine):
    machine(tdp=80.0, cores=None)
    assert core_power(None).core_w == 10.0


def test_every_watt_has_an_origin_on_this_machine():
    power = core_power(None)
    assert power.core_w > 0
    assert power.dram_w > 0
    assert power.core_origin
    assert power.dram_origin
