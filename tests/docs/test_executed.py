"""Every command line and Python block of README and docs is executed, or listed here with the reason why not.

The blocks of `PAGES_WITH_TESTS` are executed by the test of that page. All others run here in a scratch project: its
benchmarks are stand-ins that spend counted joules, its stored runs are invented, and a comparison of revisions answers
at once. Bash reads each line; the words that it finds are run in this process, which saves a start each.
"""

import importlib
import json
import os
import re
import subprocess
import tomllib
from itertools import product
from pathlib import Path

import pytest

from energyaware.baselines.codec import to_json
from energyaware.baselines.gate import Judgement
from energyaware.branches.comparison import Comparison
from energyaware.branches.launches import Question
from energyaware.branches.verdicts import Standing
from energyaware.cli import compare, main
from energyaware.measure import rounds
from energyaware.pytest_plugin import candles
from energyaware.records import SCHEMA_VERSION, Benchmark, Domain, Reading, Round, Totals, Variant, Work

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# Page to the test that executes its blocks.
PAGES_WITH_TESTS = {
    "tutorial": "test_tutorial.py",
    "ci": "test_ci.py",
    "own_meter": "test_own_meter.py",
    "own_task": "test_own_task.py",
    "own_compression": "test_own_compression.py",
}

# How a line begins that is not executed here, and why.
NOT_HERE = {
    "python3 -m venv": "makes an environment, trains models and runs a whole suite; needs a package index",
    "pip install": "needs a package index; the extras it names are checked below",
    "pip uninstall": "changes the environment",
    "pip freeze": "part of making a new environment",
    "fresh/bin/p": "needs a package index, trains models and runs the whole suite",
    ".ci/": "needs a package index; tests/project knows what is in them",
    "ray start": "needs a cluster; tests/pytest_plugin/engines starts one of its own",
    "pytest benchmarks --energy --energy-engine=ray": "needs that cluster",
    "python -m venv": "needs a package index",
    "python -m benchmarks.promises.": "measures or tries for minutes; tests/docs/test_commands.py knows its options, "
    "tests/benchmarks and tests/faults run parts of most",
    "python docs/reference.py": "rewrites a page; tests/docs/test_reference.py runs what it calls",
    "pytest benchmarks --energy --energy-data hf:": "needs the network",
    "pytest benchmarks --energy --energy-data=hf:": "needs the network",
    "pytest benchmarks/test_dvfs.py": "changes the machine's clocks; tests/benchmarks/test_dvfs.py has false ones",
    "energyaware doctor --json |": "ends with 1 where nothing is counted; tests/cli/test_doctor.py reads its JSON",
}

# What stands in a block of Python that is not executed here, and why.
PYTHON_NOT_HERE = {"energy.record(gpus=": "needs GPUs; tests/pytest_plugin/test_gpus.py has false ones"}

# What sentences name or outline without its arguments.
OUTLINES = {
    "energyaware analyze", "energyaware compare", "energyaware merge", "energyaware merge RUN… -o FILE",
    "energyaware rank", "energyaware report", "pytest --energy --energy-meter=NAME",
}  # fmt: skip

# What blocks of Python use that the reader has.
STAND_INS = {
    "my_function": "def my_function(*_, **__):\n    return 1",
    "WallPlug": "from energyaware.meters.selection import cpu_time\n\ndef WallPlug():\n    return cpu_time(None)",
    "tokenizer": "class tokenizer:\n    encode = staticmethod(str.split)",
    "variant": "import pytest\nfrom energyaware.records import Variant\n\n"
    "@pytest.fixture(params=[Variant('m')])\ndef variant(request):\n    return request.param",
}

CONFTEST = """
import random

import pytest

from energyaware.data.source import load_dataset
from energyaware.pytest_plugin import config_of
from energyaware.records import Domain

DRAW = random.Random(1)


class Counted:
    name = "counted"
    nests = True
    domains = {"cpu": Domain("counted", "estimated", 1e-6, "what the benchmarks say")}
    joules = 0.0

    def start(self):
        return Counted.joules

    def stop(self, mark):
        return {"cpu": Counted.joules - mark + 1e-3 * DRAW.uniform(0.999, 1.001)}

    def close(self):
        pass


def pytest_energy_meters(config):
    return {"counted": Counted}


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config):
    return {}  # pytest-benchmark's own takes a second


def pytest_sessionstart(session):
    data = config_of(session.config).data
    if data != "network":
        load_dataset(data)


@pytest.fixture
def spend():
    def make(joules):
        def work():
            Counted.joules += joules * DRAW.uniform(0.999, 1.001)

        return work

    return make
"""

SUITE = """
import pytest

from energyaware.records import Variant

VARIANTS = [Variant("small", precision) for precision in ("fp32", "bf16", "nf4")]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda item: item.id)
@pytest.mark.energy(group="{group}")
def test_{name}(energy, spend, variant):
    energy.record(
        variant=variant, task="rca", phase="inference", requests=10, tokens_in=140, quality={{"accuracy": 0.9}}
    )
    energy.pedantic(spend(float(len(variant.precision))), setup=lambda: None)
"""
GROUPS = {
    "inference": "rca",
    "phases": "decode",
    "finetuning": "finetune",
    "sequence_length": "prefill",
    "tasks": "task",
}
LIBRARIES = (
    "codecarbon", "numpy", "pandas", "scipy.stats", "statsmodels.api", "energyaware.pytest_plugin.session",
    "energyaware.pytest_plugin.terminal",
)  # fmt: skip

# Bash says what it would have started: the number of words, the words, the variables, and an empty text.
TELL = r"""
tell() { printf '%s\0' "$#" "$@"; env -0; printf '\0'; }
pytest() { tell pytest "$@"; }
energyaware() { tell energyaware "$@"; }
"""


# --- what the pages say --------------------------------------------------------------------------------------------


def fenced(page):
    """Language, label and text of every block."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```(\w*) ?([^\n]*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def inline(page):
    """The commands inside sentences."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [code.replace("\n", " ") for code in re.findall(r"`((?:energyaware|pytest|python3?|pip) [^`]+)`", text)]


def lines(block):
    """The command lines of a block."""
    joined = block.replace("\\\n", " ").splitlines()
    return [line.strip() for line in joined if line.strip() and not line.lstrip().startswith("#")]


def here(line):
    return not line.startswith(tuple(NOT_HERE)) and line not in OUTLINES


def own_pages():
    return [page for page in PAGES if page.stem not in PAGES_WITH_TESTS]


def shell_blocks():
    for page in own_pages():
        blocks = [text for language, _, text in fenced(page) if language == "sh"]
        for number, text in enumerate(blocks):
            if any(map(here, lines(text))):
                yield pytest.param([line for line in lines(text) if here(line)], id=f"{page.stem}-{number}")


def sentences():
    found = dict.fromkeys(code for page in PAGES for code in inline(page) if here(code))
    return [pytest.param([code], id=code) for code in found]


def python_blocks():
    for page in own_pages():
        blocks = [text for language, _, text in fenced(page) if language == "python"]
        for number, text in enumerate(blocks):
            if not any(key in text for key in PYTHON_NOT_HERE):
                yield pytest.param(text, id=f"{page.stem}-{number}")


def everything():
    """Every command line that is written anywhere."""
    blocks = [line for page in PAGES for language, _, text in fenced(page) if language == "sh" for line in lines(text)]
    return blocks + [code for page in PAGES for code in inline(page)]


# --- where they run ------------------------------------------------------------------------------------------------


def stored_run(path, number):
    """A run file of twelve rows."""
    items = []
    for model, precision, pruning in product(("small", "large"), ("fp32", "bf16", "nf4"), ("dense", "2of4")):
        variant = Variant(model, precision, pruning)
        energy_j = (2.0 if model == "large" else 1.0) * len(precision) * (0.8 if pruning == "2of4" else 1.0)
        shares = [0.99, 1.01, 1.0, 1.0 + 0.001 * number]
        items.append(
            Benchmark(
                fullname=f"benchmarks/test_inference.py::test_rca[{variant.id}]", name=f"test_rca[{variant.id}]",
                group="inference", task="rca", phase="inference", candle="", layout="", variant=variant,
                domains={"cpu": Domain("cpu-time", "estimated", 1e-6, "4 W per core")},
                rounds=tuple(Round(1, 0.1, Reading({"cpu": energy_j * share}, 0.1)) for share in shares),
                quality={"accuracy": 0.9}, work=Work(requests=10, tokens_in=140),
            )
        )  # fmt: skip
    own = {"schema_version": SCHEMA_VERSION, "version": "0", "machine": {}, "options": {"weight": 0.5}}
    data = {
        "benchmarks": [{"fullname": item.fullname, "energy": to_json(item)} for item in items],
        "datetime": f"2026-01-0{number}T00:00:00", "commit_info": {"branch": "main", "dirty": False, "id": "0" * 40},
        "energyaware": {**own, "totals": to_json(Totals())},
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def write_data(folder):
    """The files that --energy-data is shown with."""
    body = ["link down at site alder", "no mains at site birch"]
    rows = [(f"{body[index % 2]}, ticket {index}", ("fiber", "power")[index % 2]) for index in range(60)]
    table = "text,label,body,cause\n" + "".join(f'"{text}",{label},"{text}",{label}\n' for text, label in rows)
    (folder / "tickets.csv").write_text(table)
    other = folder / "my data" / "2024 Q1" / "tickets.csv"
    other.parent.mkdir(parents=True)
    german = "Störungstext;Ursache\n" + "".join(f"{text.replace(',', '')};{label}\n" for text, label in rows)
    other.write_text(german, encoding="cp1252")
    # Which of six alarms were active: most rows differ.
    alarms = ",".join(f"alarm_{place}" for place in range(6)) + ",label\n"
    for index, (_, label) in enumerate(rows, 1):
        alarms += ",".join(str(100 * (index >> place & 1)) for place in range(6)) + f",{label}\n"
    (folder / "alarms.csv").write_text(alarms)
    boards = (
        {"q": f"which board failed, ticket {index}?", "a": "line", "b": "fan", "c": "power", "right": "fan"}
        for index in range(60)
    )
    (folder / "boards.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in boards))
    pyzipper = pytest.importorskip("pyzipper")
    questions = {
        f"question {index}": {
            "question": text,
            "option 1": "yes",
            "option 2": "no",
            "answer": "option 1: yes",
            "category": label,
        }
        for index, (text, label) in enumerate(rows)
    }
    with pyzipper.AESZipFile(folder / "TeleQnA.zip", "w", encryption=pyzipper.WZ_AES) as file:
        file.setpassword("…".encode())  # as the page has it
        file.writestr("TeleQnA.txt", json.dumps(questions))


@pytest.fixture(scope="module")
def libraries():
    """Load what runs load, so that those inside this process do not load it again each time."""
    for name in LIBRARIES:
        importlib.import_module(name)


def compared(*_):
    """In place of a comparison of two revisions, which tests/docs/test_ci.py runs as it is."""
    item = Judgement("benchmarks/test_a.py::test_a", "test_a", "energy", "energy:5%", "pass", 0.0, -0.01, 0.01)
    return Comparison(Question("b", "h", ()), (), Standing((item,), ()), False, 1.0, 2.0)


@pytest.fixture
def project(libraries, pytester, monkeypatch):
    """The scratch project; the process stands in it."""
    for name in ("CI", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("ENERGYAWARE_CACHE", str(pytester.path / "cache"))
    monkeypatch.setattr(rounds, "MIN_WINDOW_S", 0.004)  # the meter reads the same, however short a window is
    monkeypatch.setattr(candles, "calls_per_window", lambda call, window_s: (1, window_s))  # and however long
    monkeypatch.setattr(compare, "compare", compared)
    monkeypatch.setattr(compare, "best_available", lambda watts: None)
    pytester.makeini("[pytest]\nenergy_meter = counted\nenergy_rounds = 2\n")
    pytester.makeconftest(CONFTEST)
    folder = pytester.mkdir("benchmarks")
    for name, test in GROUPS.items():
        (folder / f"test_{name}.py").write_text(SUITE.format(group=name, name=test))
    write_data(pytester.path)
    for number, name in enumerate(("OLD", "NEWER", "NEWEST"), 1):
        stored_run(pytester.path / name, number)
        stored_run(pytester.path / ".benchmarks" / "other" / f"{number:04}_run.json", number)
    stored_run(pytester.path / "RUN", 4)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    for command in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "empty"]):
        subprocess.run([*git, *command], cwd=pytester.path, check=True)
    return pytester


def told(output):
    """Words and variables of each command that bash found."""
    rest = output.split("\0")[:-1]
    while rest:
        count = int(rest[0])
        end = rest.index("", count + 1)
        yield rest[1 : count + 1], dict(item.partition("=")[::2] for item in rest[count + 1 : end])
        rest = rest[end + 1 :]


@pytest.fixture
def execute(project, monkeypatch, capsys):
    """Run one line as bash would; all of its commands succeed."""

    def run(line):
        done = subprocess.run(
            ["bash", "-e", "-c", TELL + line], cwd=project.path, capture_output=True, encoding="utf-8", check=True
        )
        commands = list(told(done.stdout))
        assert commands, line
        for words, variables in commands:
            for name in [name for name in variables if name.startswith("ENERGYAWARE_")]:
                monkeypatch.setenv(name, variables[name])
            program, *arguments = words
            if program == "pytest":
                status = project.runpytest_inprocess("-p", "no:cacheprovider", *arguments).ret
            else:
                status = main(arguments)
            assert status == 0, f"{line}: exit status {status}\n{''.join(capsys.readouterr())}"

    return run


# --- the tests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commands", list(shell_blocks()))
def test_the_lines_of_a_block_work_one_after_the_other(commands, execute, monkeypatch):
    if any("--energy-isolate" in line for line in commands):  # a process for each benchmark: one is enough
        monkeypatch.setenv("PYTEST_ADDOPTS", f"{os.environ['PYTEST_ADDOPTS']} -k 'test_rca and fp32'")
    for line in commands:
        execute(line)


@pytest.mark.parametrize("commands", sentences())
def test_commands_inside_sentences_work(commands, execute):
    for line in commands:
        execute(line)


@pytest.mark.parametrize("text", list(python_blocks()))
def test_python_blocks_work(text, project, monkeypatch, capsys):
    used = [code for name, code in STAND_INS.items() if re.search(rf"\b{name}\b", text)]
    whole = "\n\n".join([*used, text])
    if "def test_" in text:
        project.makepyfile(test_block=whole)
        project.runpytest_inprocess("--energy", "test_block.py").assert_outcomes(passed=1)
    elif "def pytest_energy_meters" in text:
        (meter,) = re.findall(r'\{"([\w-]+)":', text)
        project.makeconftest(f"{CONFTEST}\n\n{whole}")
        result = project.runpytest_inprocess("--energy", f"--energy-meter={meter}", "-k", "test_rca and fp32")
        result.assert_outcomes(passed=1, deselected=14)
    else:
        exec(compile(whole, "block", "exec"), {"__name__": "block"})  # noqa: S102 - our own page
        assert capsys.readouterr().out


def test_no_reason_is_left_of_a_line_that_is_gone():
    written = everything()
    assert [key for key in NOT_HERE if not any(line.startswith(key) for line in written)] == []
    assert OUTLINES - set(written) == set()
    code = [text for page in PAGES for language, _, text in fenced(page) if language == "python"]
    assert [key for key in PYTHON_NOT_HERE if not any(key in text for text in code)] == []
    assert [name for name in STAND_INS if not any(re.search(rf"\b{name}\b", text) for text in code)] == []


def test_pages_with_a_test_of_their_own_are_read_by_it():
    for page, test in PAGES_WITH_TESTS.items():
        assert f'"{page}.md"' in (ROOT / "tests" / "docs" / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_stand_in_blocks_that_are_executed(page):
    text = page.read_text(encoding="utf-8")
    command = r"(?:[A-Z_]+=\S+ )?(?:pytest|energyaware|python3?|pip) "
    assert {language for language, _, _ in fenced(page)} <= {"", "text", "sh", "python", "yaml"}
    plain = [block for language, _, block in fenced(page) if language == ""]
    assert [block for block in plain if re.search(rf"^{command}", block, flags=re.MULTILINE)] == []
    assert re.findall(rf"^ {{4}}{command}.*", text, flags=re.MULTILINE) == []


def test_extras_that_are_installed_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for page in PAGES:
        for names in re.findall(r"(?:energyaware|-e \"\.)\[([\w,]+)\]", page.read_text(encoding="utf-8")):
            assert set(names.split(",")) <= set(extras), page.name
