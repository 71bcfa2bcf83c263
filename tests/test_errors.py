import copy
import inspect
import pickle

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
    assert len(KINDS) == 9
    with pytest.raises(EnergyAwareError):
        raise errors.MeterError("cause", "remedy")
