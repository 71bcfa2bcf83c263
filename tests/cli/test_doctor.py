"""`energyaware doctor`."""

import json
import subprocess
import sys

import pytest

from energyaware.cli import doctor, main
from energyaware.cli.doctor import Auto, as_json, as_text, diagnose, meaning
from energyaware.dvfs.knob import Offer
from energyaware.dvfs.state import Prior, load, save, state_file
from energyaware.errors import KnobError, KnobUnavailableError, MeterError
from energyaware.meters.carbon import CarbonIntensity
from energyaware.meters.cpu_time import CorePower
from energyaware.meters.selection import MeterReport
from energyaware.records import Domain

GPU = Domain("zeus", "measured", 0.02, "counter")
CPU = Domain("cpu-time", "estimated", 1e-6, "4 W per core")
RAPL = MeterReport("rapl", False, {}, "only root may read the counter", "chmod a+r /sys/class/powercap/energy_uj")


class FakeMeter:
    name = "zeus+cpu-time"
    nests = True

    def __init__(self):
        self.domains = {"gpu0": GPU, "cpu": CPU}
        self.closed = False

    def close(self):
        self.closed = True


class Knob:
    """A clock that this user may look at."""

    def offer(self):
        return Offer(800.0, 3700.0, 800.0, 100.0)

    def ready(self):
        raise KnobUnavailableError("this user may not write scaling_max_freq", "sudo chmod a+w scaling_max_freq")


class FreeKnob(Knob):
    def ready(self):
        pass


def open_knob(name, gpu):
    if name == "package":
        raise KnobUnavailableError("no power cap is shown", "run on a bare machine")
    return Knob() if name == "cpu" else FreeKnob()


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with one GPU counter, an unreadable RAPL, and an idle power of 55 W."""
    meter = FakeMeter()
    zeus = MeterReport("zeus", True, {"gpu0": GPU}, "gpu1 is not read: it is split by MIG")
    monkeypatch.setattr(doctor, "survey", lambda watts, registered: (zeus, RAPL))
    monkeypatch.setattr(doctor, "best_available", lambda watts: meter)
    monkeypatch.setattr(doctor, "idle_power_w", lambda meter: {"gpu0": 55.0})
    monkeypatch.setattr(doctor, "core_power", lambda watts: CorePower(watts or 4.0, 10.0, "a table", "a model"))
    monkeypatch.setattr(doctor, "intensity", lambda place: CarbonIntensity(381.4, f"a table, {place}", 2023))
    monkeypatch.setattr(doctor, "describe", lambda: {"cpu": "A\x1b[31m processor", "virtual": "no"})
    monkeypatch.setattr(doctor, "open_knob", open_knob)
    monkeypatch.setattr(doctor, "counters_in_sight", lambda: True)
    monkeypatch.setenv("ENERGYAWARE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ENERGYAWARE_STATE", str(tmp_path / "state"))
    return meter


def test_it_says_what_works_why_not_and_what_to_do(machine, capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    table = text.split("\nMeters\n")[1].split("\n\n")[0]
    assert [line.split()[:2] for line in table.splitlines()[3:]] == [["zeus", "yes"], ["rapl", "NO"]]
    assert "zeus in part: gpu1 is not read: it is split by MIG" in text
    assert "rapl does not work: only root may read the counter" in text
    assert "What to do: chmod a+r" in text
    assert machine.closed


def test_auto_shows_domains_with_idle_power_of_measured_ones_alone(machine, capsys):
    main(["doctor"])
    text = capsys.readouterr().out.split("\nMeters\n")[0]
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "55.0 W" in lines["gpu0"]
    assert lines["cpu"].rstrip().endswith("–")


@pytest.mark.parametrize(
    ("domains", "expected"),
    [
        ({"gpu0": GPU}, ["gpu0 measured"]),
        ({"cpu": CPU}, ["cpu estimated", "blind"]),
        ({"gpu0": GPU, "cpu": CPU}, ["gpu0 measured", "cpu estimated", "mixed"]),
    ],
)
def test_the_sentence_tells_measured_from_estimated(domains, expected):
    sentence = meaning(Auto("m", domains))
    assert all(part in sentence for part in expected)
    assert ("measured" in sentence) == ("gpu0" in domains)
    assert ("estimated" in sentence) == ("cpu" in domains)


def test_json_holds_everything_and_null_for_what_is_missing(machine, capsys):
    assert main(["doctor", "--json", "--core-watts=7", "--country=DEU"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["watts"]["core_w"] == 7.0
    assert data["carbon"] == {"g_per_kwh": 381.4, "origin": "a table, DEU", "year": 2023}
    assert data["auto"]["idle_w"] == {"gpu0": 55.0}
    assert [meter["works"] for meter in data["meters"]] == [True, False]
    assert data["folders"][0]["size_bytes"] is None
    assert data["problems"] == {}


def test_no_meter_at_all_is_exit_status_1(machine, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "survey", lambda watts, registered: (RAPL,))

    def nothing(watts):
        raise MeterError("nothing can be read", "give up")

    monkeypatch.setattr(doctor, "best_available", nothing)
    assert main(["doctor"]) == 1
    assert "No meter can be opened: nothing can be read" in " ".join(capsys.readouterr().out.split())


def test_what_breaks_is_said_and_the_rest_goes_on(machine, monkeypatch):
    def broken(*arguments):
        raise ImportError("half an installation")

    for name in ("core_power", "intensity", "idle_power_w"):
        monkeypatch.setattr(doctor, name, broken)
    found = diagnose()
    assert found.problems == dict.fromkeys(("watts", "carbon"), "ImportError: half an installation")
    text = as_text(found, 80)
    assert text.count("half an installation") == 3
    assert "gpu0" in text
    assert json.loads(as_json(found))["watts"] is None
    assert machine.closed


@pytest.mark.parametrize(
    "arguments", [["--core-watts=0"], ["--core-watts=nan"], ["--core-watts=-1"], ["--core-watts=inf"]]
)
def test_watts_that_no_core_draws_are_one_line_and_status_2(machine, capsys, arguments):
    assert main(["doctor", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_an_unknown_country_is_one_line_and_status_2(capsys):
    assert main(["doctor", "--country=XYZ"]) == 2
    assert capsys.readouterr().err.startswith("energyaware: ")


def test_the_cache_is_sized_and_nothing_is_made(machine, tmp_path, capsys):
    main(["doctor"])
    assert "not there yet" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "cache").exists()
    (tmp_path / "cache" / "models" / "one").mkdir(parents=True)
    (tmp_path / "cache" / "models" / "one" / "weights").write_bytes(b"x" * 1500)
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["models", "1.50", "kB"] for line in lines)
    assert sorted(path.name for path in (tmp_path / "cache").rglob("*")) == ["models", "one", "weights"]


def test_a_cache_that_is_no_folder_is_said(machine, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ENERGYAWARE_CACHE", str(tmp_path / "file"))
    assert main(["doctor"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "cannot be written" in text
    assert "ENERGYAWARE_CACHE" in text


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_and_no_control_character_gets_through(machine, monkeypatch, width):
    monkeypatch.setenv("ENERGYAWARE_CACHE", "/c")
    text = as_text(diagnose(), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\\x1b" in text
    assert "\x1b" not in text


def test_gpus_are_named_by_nvml(machine, monkeypatch):
    class Nvml:
        class NVMLError(Exception):
            pass

        nvmlInit = nvmlShutdown = staticmethod(lambda: None)  # noqa: N815 - NVML's names
        nvmlSystemGetDriverVersion = staticmethod(lambda: b"550.1")  # noqa: N815
        nvmlDeviceGetCount = staticmethod(lambda: 2)  # noqa: N815
        nvmlDeviceGetHandleByIndex = staticmethod(lambda index: index)  # noqa: N815
        nvmlDeviceGetName = staticmethod(lambda handle: f"GPU {handle}")  # noqa: N815

    monkeypatch.setitem(sys.modules, "pynvml", Nvml)
    assert diagnose().gpus == ("GPU 0, driver 550.1", "GPU 1, driver 550.1")
    monkeypatch.setattr(Nvml, "nvmlInit", staticmethod(lambda: (_ for _ in ()).throw(Nvml.NVMLError("no driver"))))
    monkeypatch.setattr(doctor, "counters_in_sight", lambda: True)
    found = diagnose()
    assert found.gpus == ()
    assert "no driver" in found.gpu_problem


@pytest.mark.parametrize(
    ("missing", "status"),
    [("torch,transformers,bitsandbytes,zeus,pynvml", 0), ("torch,codecarbon", 1)],
)
def test_it_works_in_a_poor_installation_and_loads_no_torch(tmp_path, missing, status):
    code = (
        "import sys\n"
        f"for name in {missing!r}.split(','): sys.modules[name] = None\n"
        "from energyaware.cli import main\n"
        "status = main(['doctor'])\n"
        "assert sys.modules.get('torch') is None\n"
        "sys.exit(status)"
    )
    environment = {"PATH": "/usr/bin:/bin", "ENERGYAWARE_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (status, "")
    assert "cpu-time" in done.stdout


# --- clocks and power caps -------------------------------------------------------------------------------------------


def test_knobs_say_what_they_take_and_why_they_cannot_be_swept(machine, capsys):
    main(["doctor"])
    text = capsys.readouterr().out.split("\nClocks and power caps (--energy-dvfs)\n")[1].split("\nWatts of")[0]
    rows = [line.split()[:2] for line in text.splitlines()[3:7]]
    assert rows == [["cpu", "NO"], ["package", "NO"], ["gpu-clock", "yes"], ["gpu-power", "yes"]]
    assert "800 to 3700 MHz" in text
    assert "cpu cannot be swept: this user may not write scaling_max_freq" in text
    assert "What to do: sudo chmod a+w scaling_max_freq" in text
    assert "LEFT CHANGED" not in text


def test_without_a_gpu_its_knobs_are_not_asked(machine, monkeypatch):
    monkeypatch.setattr(doctor, "counters_in_sight", lambda: False)
    assert [knob.name for knob in diagnose().knobs] == ["cpu", "package"]


def test_knobs_are_in_the_json_too(machine, capsys):
    main(["doctor", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert [knob["works"] for knob in data["knobs"]] == [False, False, True, True]
    assert data["knobs"][0]["offer"]["highest"] == 3700.0
    assert data["knobs"][1]["offer"] is None
    assert data["left"] == ""


@pytest.fixture
def left(tmp_path):
    """A state file that a killed sweep left."""
    path = state_file(tmp_path / "state")
    save(Prior("cpu", {"policy0/scaling_max_freq": 3_100_000}, "", 42), path)
    return path


def test_what_a_killed_sweep_left_is_said_and_not_touched(machine, left, capsys):
    main(["doctor"])
    text = " ".join(capsys.readouterr().out.split())
    assert "LEFT CHANGED: process 42 changed cpu" in text
    assert "energyaware doctor --restore" in text
    assert load(left) is not None


def test_a_state_file_that_cannot_be_trusted_is_said(machine, left, capsys):
    left.write_text("{")
    assert main(["doctor"]) == 0
    assert "cannot be trusted" in " ".join(capsys.readouterr().out.split())


def test_restore_puts_back_without_a_diagnosis(left, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ENERGYAWARE_STATE", str(left.parent))
    monkeypatch.setattr(doctor, "diagnose", lambda *_: pytest.fail("no diagnosis"))
    monkeypatch.setattr(doctor, "recover", lambda folder: f"put back from {folder.name}")
    assert main(["doctor", "--restore"]) == 0
    assert capsys.readouterr().out == "put back from state\n"


def test_restore_has_nothing_to_do(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("ENERGYAWARE_STATE", str(tmp_path / "none"))
    assert main(["doctor", "--restore"]) == 0
    assert "nothing to put back" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_restored_is_one_line_and_status_2(left, monkeypatch, capsys):
    def fail(folder):
        raise KnobError("the CPU clock could not be put back", "write it yourself")

    monkeypatch.setattr(doctor, "recover", fail)
    assert main(["doctor", "--restore"]) == 2
    assert capsys.readouterr().err == "energyaware: the CPU clock could not be put back. write it yourself\n"
