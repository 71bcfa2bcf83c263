import json
import types

import pytest

from energyaware.errors import MeterError, OptionError
from energyaware.meters import codecarbon, cpu_time, selection, zeus
from energyaware.meters.base import Combined
from energyaware.meters.cpu_time import CorePower, CpuTimeMeter
from energyaware.meters.selection import BUILT_IN, open_meter
from energyaware.records import Domain


@pytest.fixture(autouse=True)
def watts(monkeypatch):
    monkeypatch.setattr(cpu_time, "core_power", lambda core_watts: CorePower(core_watts or 4.0, 2.0, "test", "test"))


def counters(*domains):
    """A Zeus that reads these domains."""
    read = {name: Domain("zeus", "measured", 0.1) for name in domains}
    return lambda: types.SimpleNamespace(name="zeus", domains=read, nests=True)


def test_cpu_time_by_name_with_the_users_watts():
    meter = open_meter("cpu-time", 9.0, {})
    assert isinstance(meter, CpuTimeMeter)
    assert meter.power.core_w == 9.0


def test_auto_without_a_counter_is_cpu_time_and_imports_no_zeus(monkeypatch):
    monkeypatch.setattr(zeus, "counters_in_sight", lambda: False)
    monkeypatch.setattr(zeus, "ZeusMeter", lambda: pytest.fail("Zeus takes seconds to import"))
    assert open_meter("auto", None, {}).name == "cpu-time"


def test_auto_with_unreadable_counters_is_cpu_time(monkeypatch):
    def refuse():
        raise MeterError("no counter", "none")

    monkeypatch.setattr(zeus, "counters_in_sight", lambda: True)
    monkeypatch.setattr(zeus, "ZeusMeter", refuse)
    assert open_meter("auto", None, {}).name == "cpu-time"


@pytest.mark.parametrize("domains", [("gpu0", "cpu", "dram"), ("cpu0", "cpu1"), ("soc",)])
def test_auto_takes_the_counters_alone_where_they_see_the_cpu(monkeypatch, domains):
    monkeypatch.setattr(zeus, "counters_in_sight", lambda: True)
    monkeypatch.setattr(zeus, "ZeusMeter", counters(*domains))
    assert set(open_meter("auto", None, {}).domains) == set(domains)


def test_auto_estimates_the_cpu_beside_a_gpu_counter(monkeypatch):
    monkeypatch.setattr(zeus, "counters_in_sight", lambda: True)
    monkeypatch.setattr(zeus, "ZeusMeter", counters("gpu0"))
    meter = open_meter("auto", None, {})
    assert isinstance(meter, Combined)
    assert {name: domain.source for name, domain in meter.domains.items()} == {
        "gpu0": "measured", "cpu": "estimated", "dram": "estimated",
    }  # fmt: skip


def test_zeus_and_codecarbon_by_name(monkeypatch):
    monkeypatch.setattr(zeus, "ZeusMeter", counters("gpu0"))
    monkeypatch.setattr(codecarbon, "CodeCarbonMeter", lambda: types.SimpleNamespace(name="codecarbon"))
    assert open_meter("zeus", None, {}).name == "zeus"
    assert open_meter("codecarbon", None, {}).name == "codecarbon"


def test_a_recording_by_its_file(tmp_path):
    (tmp_path / "r:1.json").write_text(json.dumps([{"gpu0": 1.0}]))
    assert set(open_meter(f"replay:{tmp_path / 'r:1.json'}", None, {}).domains) == {"gpu0"}
    with pytest.raises(MeterError, match="cannot be read"):
        open_meter("replay:", None, {})


def test_a_meter_of_another_plugin_by_its_name():
    mine = types.SimpleNamespace(name="mine")
    assert open_meter("mine", None, {"mine": lambda: mine}) is mine


@pytest.mark.parametrize(
    ("name", "hint"), [("cputime", "cpu-time"), ("replay", "replay:FILE"), ("wattmetr", "wattmeter")]
)
def test_an_unknown_name_gets_a_hint_and_the_list(name, hint):
    with pytest.raises(OptionError, match=f"no meter is called '{name}'") as caught:
        open_meter(name, None, {"wattmeter": lambda: None})
    assert f"did you mean {hint}?" in caught.value.remedy
    assert all(known in caught.value.remedy for known in (*BUILT_IN, "wattmeter"))


def test_a_name_like_no_other_gets_the_list_alone():
    with pytest.raises(OptionError) as caught:
        open_meter("§", None, {})
    assert "did you mean" not in caught.value.remedy
    assert selection.BUILT_IN[0] in caught.value.remedy
