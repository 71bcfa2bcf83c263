"""The sweep of the suite, end to end, on a tree of files and a meter that follows its clock."""

import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from benchmarks import test_dvfs as suite
from energyaware.dvfs import catalogue
from energyaware.dvfs.state import Prior, load, save, state_file
from energyaware.dvfs.sysfs import Sysfs
from energyaware.models.catalogue import ModelSpec
from energyaware.pytest_plugin import CONFIG

ROOT = Path(__file__).parents[2]

# A plugin: knobs look at the tree, and a window of the meter has the square of the clock for joules.
PLUGIN = """
import os
from pathlib import Path
from energyaware.dvfs import catalogue
from energyaware.dvfs.sysfs import Sysfs
from energyaware.measure import idle
from energyaware.records import Domain

idle.idle_power_w.__defaults__ = (0.05, idle.time.sleep)  # nothing here is a machine's
TREE = Path(os.environ["TREE"])
catalogue.Sysfs = lambda root: Sysfs(TREE)
CLOCK = TREE / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
LOG = TREE / "clocks"


class Meter:
    name, nests = "mine", True
    domains = {"cpu": Domain("mine", os.environ.get("SOURCE", "measured"), 1e-6, "a counter")}

    def start(self):
        return None

    def stop(self, mark):
        clock_ghz = int(CLOCK.read_text()) / 1e6
        with LOG.open("a") as log:
            print(clock_ghz, file=log)
        return {"cpu": clock_ghz**2}

    def close(self):
        pass


def pytest_energy_meters(config):
    return {"mine": Meter}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A GPT-2 with random weights, saved as anybody's model would be."""
    # Here: half of these tests need no torch, whose import takes seconds.
    from transformers import GPT2Config, GPT2LMHeadModel

    from energyaware.models.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("models") / "small"
    labels = ("fiber", "power")
    tokenizer = train_tokenizer(["link down at site alder cause: fiber", "no mains at site birch cause: power"], labels)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=128, n_embd=32, n_layer=1, n_head=2)
    config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def tree(tmp_path):
    """The folder of a policy of 1 to 3 GHz that stands at 1.2 to 2.8 GHz."""
    folder = tmp_path / "sys/devices/system/cpu/cpufreq/policy0"
    folder.mkdir(parents=True)
    numbers = {"cpuinfo_min": 1_000_000, "cpuinfo_max": 3_000_000, "scaling_min": 1_200_000, "scaling_max": 2_800_000}
    for name, value in {**numbers, "scaling_cur": 1_900_000}.items():
        (folder / f"{name}_freq").write_text(f"{value}\n")
    return folder


@pytest.fixture
def sweep(tree, tmp_path, run_suite, data):
    """Run the sweep on the tree."""

    def run(*arguments, plugins=None, **variables):
        return run_suite(
            "benchmarks/test_dvfs.py", data, *arguments,
            plugins={"fakes": PLUGIN, **(plugins or {})}, TREE=tmp_path, ENERGYAWARE_STATE=tmp_path / "state",
            **variables,
        )  # fmt: skip

    def clock():
        return tuple(int((tree / f"scaling_{end}_freq").read_text()) for end in ("min", "max"))

    run.clock = clock
    return run


MEASURE = ("--energy", "--energy-meter=mine", "--energy-rounds=3", "--energy-dvfs=cpu:1GHz,2GHz")


def test_prefill_and_decode_are_metered_at_every_setting_and_all_is_put_back(sweep, tmp_path, model):
    done = sweep(*MEASURE, f"--energy-models={model}")
    assert done.returncode == 0, done.stdout + done.stderr
    (stored,) = (tmp_path / "runs").glob("*/*.json")
    rows = {bench["name"]: bench["energy"] for bench in json.loads(stored.read_text())["benchmarks"]}
    names = [f"test_{phase}[small-fp32-cpu-{mhz}MHz]" for phase in ("prefill", "decode") for mhz in (1000, 2000)]
    assert sorted(rows) == sorted(names)
    for name, row in rows.items():
        ghz = 2 if "2000" in name else 1
        assert row["traits"]["dvfs"] == f"cpu:{ghz}000MHz"
        assert row["samples"]["clock_mhz"] == [1900.0] * 5
        assert row["phase"] in name
        assert any(f"in force {ghz}000 MHz" in note for note in row["notes"])
        assert [metered["reading"]["energy_j"]["cpu"] for metered in row["rounds"]] == [ghz**2] * 3
    assert sweep.clock() == (1_200_000, 2_800_000)
    assert not list((tmp_path / "state").glob("*.json"))


def test_an_estimate_is_refused_with_the_reason_and_nothing_is_changed(sweep, tmp_path):
    done = sweep(*MEASURE, "-k", "prefill", SOURCE="estimated")
    assert done.returncode == 1
    assert "would call the highest setting best" in done.stdout
    assert "Traceback" not in done.stdout
    assert set((tmp_path / "clocks").read_text().split()) <= {"2.8"}


# A plugin that runs a deed after the first setting is set. No model computes anything before, so none is loaded.
DYING = """
import os, signal
from types import SimpleNamespace
import pytest
from energyaware.dvfs.cpu_frequency import CpuFrequency

in_force = CpuFrequency.in_force

def dies(self):
    assert in_force(self) == 1000.0
    {deed}

CpuFrequency.in_force = dies
ROW = SimpleNamespace(
    workload=SimpleNamespace(prefill=int, tokens_in=1), layout=SimpleNamespace(before_round=None, description=""),
    facts={{"traits": {{}}, "notes": ()}},
)
LIGHT = {{"device": "cpu", "prepared": "none", "load_phase_row": lambda variant, batch_size: ROW}}

@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef, request):
    value = LIGHT.get(fixturedef.argname)
    if value is not None:
        fixturedef.cached_result = (value, fixturedef.cache_key(request), None)
    return value
"""


def test_ctrl_c_puts_all_back(sweep, tmp_path):
    done = sweep(*MEASURE, "-k", "prefill", plugins={"dying": DYING.format(deed="raise KeyboardInterrupt")})
    assert done.returncode == 2, done.stdout + done.stderr
    assert sweep.clock() == (1_200_000, 2_800_000)
    assert not list((tmp_path / "state").glob("*.json"))


def test_after_kill_9_the_doctor_puts_back(sweep, tmp_path):
    deed = "os.kill(os.getpid(), signal.SIGKILL)"
    done = sweep(*MEASURE, "-k", "prefill", plugins={"dying": DYING.format(deed=deed)})
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert sweep.clock() == (1_000_000, 1_000_000)
    code = "import fakes, sys; from energyaware.cli import main; sys.exit(main(['doctor', '--restore']))"
    own = {"ENERGYAWARE_STATE": tmp_path / "state", "TREE": tmp_path, "PYTHONPATH": tmp_path / "plugins"}
    environment = {**os.environ, **{name: str(value) for name, value in own.items()}}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert "cpu is put back" in said.stdout
    assert sweep.clock() == (1_200_000, 2_800_000)


# --- what is collected -----------------------------------------------------------------------------------------------


class Metafunc:
    """As pytest's, the members that are used."""

    fixturenames = ("energy", "sweep", "setting")

    def __init__(self, dvfs, offered, **options):
        chosen = {"suite": "quick", "models": ("tiny-gpt2",), **options}
        settings = types.SimpleNamespace(dvfs=dvfs, device="cpu", **chosen)
        hook = types.SimpleNamespace(pytest_energy_models=lambda config: [offered])
        self.config = types.SimpleNamespace(stash={CONFIG: settings}, getoption=lambda name: False, hook=hook)
        self.values, self.ids = {}, {}

    def parametrize(self, name, values, ids=()):
        self.values[name], self.ids[name] = list(values), list(ids)

    @property
    def skipped_because(self):
        ((nothing,),) = self.values.values()
        return nothing.marks[0].kwargs["reason"]


@pytest.fixture
def collect(tree, tmp_path, monkeypatch):
    """Collect with a SPEC on the tree, and with models that a plugin offers."""
    monkeypatch.setattr(catalogue, "Sysfs", lambda root: Sysfs(tmp_path))
    monkeypatch.setenv("ENERGYAWARE_STATE", str(tmp_path / "state"))

    def run(dvfs, offered=None, **options):
        metafunc = Metafunc(dvfs, offered or {}, **options)
        suite.pytest_generate_tests(metafunc)
        return metafunc

    return run


def test_a_count_is_spread_over_what_the_machine_offers(collect):
    found = collect("cpu:3")
    assert found.values["setting"] == [1000.0, 2000.0, 3000.0]
    assert found.ids["setting"] == ["cpu-1000MHz", "cpu-2000MHz", "cpu-3000MHz"]
    assert found.ids["dvfs_variant"] == ["tiny-gpt2-fp32"]


def test_models_of_plugins_are_swept_too(collect):
    offered = {"mine": ModelSpec("mine", "gpt2", "small", path=Path("somewhere"))}
    assert collect("cpu:3", offered, models=("mine", "tiny-gpt2")).ids["dvfs_variant"] == ["mine-fp32"]
    whole = collect("cpu:3", offered, models=("mine", "tiny-gpt2"), suite="full").values["dvfs_variant"]
    assert {variant.model for variant in whole} == {"mine", "tiny-gpt2"}
    assert {variant.pruning for variant in whole} == {"dense"}


def test_nothing_is_swept_unless_asked_for(collect):
    assert collect(None).skipped_because.startswith("nothing is changed without --energy-dvfs=SPEC")


def test_a_machine_without_the_knob_skips_with_the_reason(collect):
    assert "no power cap of a CPU package" in collect("package:50W,80W").skipped_because


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("cpu:1GHz,9GHz", "this machine offers 1000 to 3000 MHz"), ("gpu-clock:3", "add --energy-device=cuda")],
)
def test_what_cannot_be_swept_stops_the_collection_with_the_reason(collect, spec, expected):
    with pytest.raises(pytest.Collector.CollectError, match=expected):
        collect(spec)


def test_what_a_killed_run_left_is_put_back_before_the_machine_is_asked(collect, tree, tmp_path):
    former = {"policy0/scaling_min_freq": 1_200_000, "policy0/scaling_max_freq": 2_800_000}
    (tree / "scaling_max_freq").write_text("1200000\n")
    save(Prior("cpu", former, "", 42), state_file(tmp_path / "state"))
    collect("cpu:3")
    assert int((tree / "scaling_max_freq").read_text()) == 2_800_000
    assert load(state_file(tmp_path / "state")) is None
