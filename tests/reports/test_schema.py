"""What is stored is published, described field by field, and old files stay readable."""

import json
import re
from pathlib import Path

import pytest

from energyaware.baselines.codec import to_json
from energyaware.baselines.store import load_run
from energyaware.records import SCHEMA_VERSION, Totals
from energyaware.reports.schema import schema_text, stored_schema

DOCS = Path(__file__).parents[2] / "docs"
DEFINITIONS = stored_schema()["$defs"]

# As the first version with this schema stored it: none of the members that came later.
OLDEST = {
    "fullname": "t.py::test_a", "name": "test_a", "group": "", "task": "rca", "phase": "inference",
    "candle": "matmul/1", "layout": "",
    "domains": {"cpu": {"meter": "cpu-time", "source": "estimated", "resolution_s": 1e-6}},
    "rounds": [{"calls": 1, "duration_s": 0.1, "reading": {"energy_j": {"cpu": 1.0}, "duration_s": 0.1}}],
}  # fmt: skip


def test_the_published_schema_is_that_of_the_records():
    assert (DOCS / "schema.json").read_text(encoding="utf-8") == schema_text()


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_every_field_is_described(name):
    text = (DOCS / "json.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `?(\w+)`?[^\n]*\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    assert name in sections
    described = set(re.findall(r"^\| `(\w+)` \|", sections[name], flags=re.MULTILINE))
    assert described == set(DEFINITIONS[name]["properties"])


def test_required_members_are_those_of_the_oldest_files():
    assert set(DEFINITIONS["Benchmark"]["required"]) <= set(OLDEST)


@pytest.mark.parametrize("more", [{}, {"member_of_a_later_version": 1}])
def test_old_and_newer_files_of_this_schema_are_read(tmp_path, more):
    path = tmp_path / "0001_old.json"
    own = {"schema_version": SCHEMA_VERSION, "version": "0", "machine": {}, "options": {}, "totals": {}, **more}
    path.write_text(json.dumps({"benchmarks": [{"energy": OLDEST | more}], "energyaware": own}))
    run = load_run(path)
    assert run.benchmarks[0].rounds[0].reading.total_j == 1.0
    assert run.benchmarks[0].features == {}
    assert run.totals == Totals()


def test_totals_have_exactly_the_members_of_the_schema(bench):
    written = json.loads(json.dumps(to_json(Totals(1.0, "estimated"))))
    assert set(written) == set(DEFINITIONS["Totals"]["properties"])


def test_what_is_written_has_exactly_the_members_of_the_schema(bench):
    written = json.loads(json.dumps(to_json(bench("a"))))
    assert set(written) == set(DEFINITIONS["Benchmark"]["properties"])
    assert set(written["rounds"][0]) == set(DEFINITIONS["Round"]["properties"])
