import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest

from energyaware import errors
from energyaware.errors import EnergyAwareError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EnergyAwareError)]


@pytest.mark.parametrize("kind", KINDS)
def test_cause_and_remedy_survive_another_process(kind):
    error = kind("the file x is damaged", "measure it again")
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert type(same) is kind
        assert (same.cause, same.remedy, str(same)) == (error.cause, error.remedy, str(error))


def test_the_text_is_one_sentence_each():
    assert str(EnergyAwareError("no meter.", "install one")) == "no meter. install one"
    assert str(EnergyAwareError("no meter", "install one")) == "no meter. install one"


def test_every_error_is_caught_by_its_base():
    with pytest.raises(EnergyAwareError):
        raise errors.MeterError("cause", "remedy")


def test_all_errors_stand_in_one_place():
    names = "|".join(kind.__name__ for kind in KINDS)
    defined = re.compile(rf"^class \w+\(.*\b({names})\b.*\):", re.MULTILINE)
    package = Path(errors.__file__).parent
    places = {path.name for path in package.rglob("*.py") if defined.search(path.read_text(encoding="utf-8"))}
    assert places == {"errors.py"}
