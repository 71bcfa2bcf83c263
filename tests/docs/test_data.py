"""What docs/data.md says about keys, names and limits is what the code does."""

import re
from pathlib import Path

import pytest

from energyaware.data.columns import KEYS
from energyaware.data.hub import HUB_TIMEOUT_S
from energyaware.data.packed import MAX_UNPACKED_BYTES, PASSWORD_VARIABLE, STREAMS
from energyaware.data.rows import MAX_TEXT_CHARACTERS
from energyaware.data.splits import TEST_FRACTION, VALIDATION_FRACTION
from energyaware.data.tabular import EXTENSIONS
from energyaware.data.task_columns import TASK_COLUMNS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_every_key_and_extension_is_told():
    for key in KEYS:
        assert re.search(rf"`{key}[`=]|{key}=", DOCUMENT), key
    for extension in (*EXTENSIONS, *STREAMS):
        assert f"`{extension}`" in DOCUMENT


@pytest.mark.parametrize("task", TASK_COLUMNS)
def test_the_usual_names_of_every_task_are_told(task):
    (row,) = re.findall(rf"^\| `{task}` \|.*$", DOCUMENT, re.MULTILINE)
    shape = TASK_COLUMNS[task]
    told = row.replace(r"\|", "|") + "`context``text``passage``article``question`" * ("as `qa`" in row)
    for name in (*shape.text, *shape.question, *shape.answer, *shape.options):
        assert f"`{name.replace('option_*', 'option *')}`" in told


def test_the_limits_are_told():
    assert f"{MAX_TEXT_CHARACTERS:,} characters" in DOCUMENT
    assert f"{MAX_UNPACKED_BYTES >> 20} MiB" in DOCUMENT
    assert f"{TEST_FRACTION:.0%}".replace("%", " %") + " are drawn for test" in DOCUMENT
    assert f"{VALIDATION_FRACTION:.0%}".replace("%", " %") + " of the rest" in DOCUMENT
    assert f"with {HUB_TIMEOUT_S:.0f} seconds for each attempt" in DOCUMENT
    assert PASSWORD_VARIABLE in DOCUMENT
