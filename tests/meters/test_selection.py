import json
import subprocess
import sys
import types

import pytest

from energyaware.errors import MeterError, OptionError
from energyaware.meters import codecarbon, cpu_time, rapl, selection, zeus
from energyaware.meters.cpu_time import CorePower, CpuTimeMeter
from energyaware.meters.selection import BUILT_IN, MeterReport, open_meter, survey
from energyaware.records import Domain


class Counters:
    """A measuring meter of these domains."""

    nests = True

    def __init__(self, name, domains, covers_cpu=False, left_out=None):
        self.name, self.covers_cpu, self.left_out, self.closed = name, covers_cpu, left_out or {}, False
        self.domains = {domain: Domain(name, "measured", 0.1) for domain in domains}

    def start(self):
        return None

    def stop(self, mark):
        return dict.fromkeys(self.domains, 1.0)

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine without counters, whose watts are known; the returned function gives it some, or faults."""
    for name in ("WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cpu_time, "core_power", lambda core_watts: CorePower(core_watts or 4.0, 2.0, "test", "test"))
    monkeypatch.setattr(zeus, "counters_in_sight", lambda: False)
    monkeypatch.setattr(rapl, "in_sight", lambda: False)
    monkeypatch.setattr(zeus, "ZeusMeter", lambda gpus=None: pytest.fail("Zeus takes seconds to import"))
    made = []

    def maker(name, found, covers_cpu=False):
        def make(*arguments, **options):
            if isinstance(found, Exception):
                raise found
            made.append(Counters(name, found, covers_cpu))
            return made[-1]

        return make

    def give(*, gpus=None, packages=None, covers_cpu=False):
        if gpus is not None:
            monkeypatch.setattr(zeus, "counters_in_sight", lambda: True)
            monkeypatch.setattr(zeus, "ZeusMeter", maker("zeus", gpus, covers_cpu))
        if packages is not None:
            monkeypatch.setattr(rapl, "in_sight", lambda: True)
            monkeypatch.setattr(rapl, "RaplMeter", maker("rapl", packages))
        return made

    return give


def read_by(meter):
    return {name: f"{domain.meter} {domain.source}" for name, domain in meter.domains.items()}


def test_cpu_time_by_name_with_the_users_watts():
    meter = open_meter("cpu-time", 9.0, {})
    assert isinstance(meter, CpuTimeMeter)
    assert meter.power.core_w == 9.0


ESTIMATED = {"cpu": "cpu-time estimated", "dram": "cpu-time estimated"}


def test_auto_without_a_counter_is_cpu_time_and_imports_no_zeus():
    assert open_meter("auto", None, {}).name == "cpu-time"


def test_auto_with_unreadable_counters_is_cpu_time(machine):
    machine(gpus=MeterError("no counter", "none"), packages=MeterError("only root", "chmod"))
    assert read_by(open_meter("auto", None, {})) == ESTIMATED


@pytest.mark.parametrize(
    ("gpus", "packages", "read"),
    [
        (["gpu0"], None, {"gpu0": "zeus measured", **ESTIMATED}),
        (["gpu0"], MeterError("only root", "chmod"), {"gpu0": "zeus measured", **ESTIMATED}),
        (None, ["cpu", "dram"], {"cpu": "rapl measured", "dram": "rapl measured"}),
        (None, ["cpu0", "cpu1", "dram0", "dram1"], dict.fromkeys(["cpu0", "cpu1", "dram0", "dram1"], "rapl measured")),
        (None, ["cpu"], {"cpu": "rapl measured", "dram": "cpu-time estimated"}),
        (["gpu0", "gpu1"], ["cpu", "dram"], {
            "gpu0": "zeus measured", "gpu1": "zeus measured", "cpu": "rapl measured", "dram": "rapl measured",
        }),
        (["gpu0"], ["cpu"], {"gpu0": "zeus measured", "cpu": "rapl measured", "dram": "cpu-time estimated"}),
    ],
)  # fmt: skip
def test_auto_takes_a_counter_for_every_domain_that_has_one(machine, gpus, packages, read):
    machine(gpus=gpus, packages=packages)
    meter = open_meter("auto", None, {})
    assert read_by(meter) == read
    assert set(meter.stop(meter.start())) == set(read)


@pytest.mark.parametrize("domain", ["soc", "gpu0"])
def test_a_chip_or_module_that_holds_the_cpu_is_read_alone(machine, domain):
    machine(gpus=[domain], packages=["cpu"], covers_cpu=True)
    assert set(open_meter("auto", None, {}).domains) == {domain}


def test_a_run_on_the_cpu_reads_no_gpu(machine):
    machine(gpus=["gpu0"])
    assert read_by(open_meter("auto", None, {}, gpus=())) == ESTIMATED


def test_a_run_on_gpus_that_nobody_can_read_is_an_error(machine):
    machine(gpus=MeterError("zeus cannot be imported", "pip install"), packages=["cpu", "dram"])
    with pytest.raises(MeterError, match="zeus cannot be imported"):
        open_meter("auto", None, {}, gpus=(0,))
    assert set(open_meter("auto", None, {}).domains) == {"cpu", "dram"}


def test_a_run_reads_the_gpus_it_uses(machine, monkeypatch):
    machine(gpus=["gpu0"])
    asked = []
    monkeypatch.setattr(zeus, "ZeusMeter", lambda gpus=None: asked.append(gpus) or Counters("zeus", ["gpu1"]))
    for name in ("auto", "zeus"):
        open_meter(name, None, {}, gpus=(1,))
    assert asked == [(1,), (1,)]


@pytest.mark.parametrize(
    ("rank", "packages", "read"),
    [
        ("0", ["cpu", "dram"], {"gpu0", "cpu", "dram"}),
        ("1", ["cpu", "dram"], {"gpu0"}),
        ("1", ["cpu"], {"gpu0", "dram"}),
        # What the first rank cannot read either, each estimates for itself.
        ("1", MeterError("only root", "chmod"), {"gpu0", "cpu", "dram"}),
    ],
)
def test_ranks_count_the_package_once(machine, monkeypatch, rank, packages, read):
    made = machine(gpus=["gpu0"], packages=packages)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert set(open_meter("auto", None, {}).domains) == read
    left = [meter for meter in made if meter.name == "rapl" and rank != "0"]
    assert all(meter.closed for meter in left)


def test_a_rank_that_has_nothing_of_its_own_to_read_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(rapl, "in_sight", lambda: True)
    real = rapl.RaplMeter
    monkeypatch.setattr(
        rapl, "RaplMeter", lambda environ=None: real() if environ is None else Counters("rapl", ["cpu", "dram"])
    )
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(MeterError, match="first rank"):
        open_meter("auto", None, {})


def test_counters_and_codecarbon_by_name(machine, monkeypatch):
    machine(gpus=["gpu0"], packages=["cpu"])
    monkeypatch.setattr(codecarbon, "CodeCarbonMeter", lambda: types.SimpleNamespace(name="codecarbon"))
    assert [open_meter(name, None, {}).name for name in ("zeus", "rapl", "codecarbon")] == [
        "zeus",
        "rapl",
        "codecarbon",
    ]


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


# --- survey ----------------------------------------------------------------------------------------------------------


def test_the_survey_tries_every_meter_and_says_what_works(machine, monkeypatch):
    made = machine(gpus=["gpu0"], packages=MeterError("only root may read it", "chmod a+r"))
    monkeypatch.setattr(codecarbon, "CodeCarbonMeter", lambda: Counters("codecarbon", ["cpu", "dram"]))
    reports = survey(7.0, {"plug": lambda: Counters("plug", ["wall"])})
    assert [(report.name, report.works, set(report.domains)) for report in reports] == [
        ("zeus", True, {"gpu0"}),
        ("rapl", False, set()),
        ("cpu-time", True, {"cpu", "dram"}),
        ("codecarbon", True, {"cpu", "dram"}),
        ("plug", True, {"wall"}),
    ]
    assert reports[1] == MeterReport("rapl", False, {}, "only root may read it", "chmod a+r")
    assert reports[2].domains["cpu"].detail.startswith("7 W")
    assert all(meter.closed for meter in made)


def test_the_survey_names_devices_that_are_left_out(machine, monkeypatch):
    found = Counters("zeus", ["gpu1"], left_out={"gpu0": "it is split by MIG"})
    monkeypatch.setattr(zeus, "ZeusMeter", lambda gpus=None: found)
    monkeypatch.setattr(codecarbon, "CodeCarbonMeter", lambda: Counters("codecarbon", ["cpu"]))
    report = survey(None, {})[0]
    assert report.works
    assert report.problem == "gpu0 is not read: it is split by MIG"


class Wrong(Counters):
    """A meter of another plugin that opens and then fails."""

    def __init__(self):
        super().__init__("wrong", ["wall"])

    def stop(self, mark):
        raise ZeroDivisionError("no volts")


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (lambda: 1 / 0, "division by zero"),
        (lambda: None, "AttributeError"),
        (Wrong, "ZeroDivisionError: no volts"),
        (lambda: (_ for _ in ()).throw(MeterError("unplugged", "plug it in")), "unplugged"),
    ],
)
def test_the_survey_never_raises(machine, monkeypatch, factory, problem):
    machine(gpus=RuntimeError("driver mismatch"), packages=OSError("odd"))
    monkeypatch.setattr(codecarbon, "CodeCarbonMeter", lambda: 1 / 0)
    reports = {report.name: report for report in survey(None, {"mine": factory})}
    assert problem in reports["mine"].problem
    assert reports["mine"].remedy
    assert [name for name, report in reports.items() if report.works] == ["cpu-time"]


def test_the_survey_of_this_machine_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from energyaware.meters.selection import survey\n"
        "print(*(f'{report.name} {report.works}' for report in survey(None, {})), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["zeus", "rapl", "cpu-time", "codecarbon"]
    assert lines[2:] == ["cpu-time True", "codecarbon True"]
