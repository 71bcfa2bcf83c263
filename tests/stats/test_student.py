import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from energyaware.stats.student import quantile, tail

degrees_of_freedom = st.one_of(st.integers(1, 400).map(float), st.floats(0.5, 1e4), st.just(math.inf))


@given(st.floats(1e-12, 1 - 1e-12), degrees_of_freedom)
def test_quantiles_are_scipys(level, degrees):
    reference = stats.norm.isf(level) if math.isinf(degrees) else stats.t.isf(level, degrees)
    assert quantile(level, degrees) == pytest.approx(reference, rel=1e-12, abs=1e-12)


@given(st.one_of(st.floats(-60, 60), st.sampled_from([-math.inf, math.inf])), degrees_of_freedom)
def test_tails_are_scipys(value, degrees):
    reference = stats.norm.sf(value) if math.isinf(degrees) else stats.t.sf(value, degrees)
    assert tail(value, degrees) == pytest.approx(reference, rel=1e-12, abs=1e-300)


def test_by_a_printed_table():
    assert quantile(0.025, 10) == pytest.approx(2.2281, abs=1e-4)
    assert quantile(0.025, math.inf) == pytest.approx(1.9600, abs=1e-4)
    assert tail(2.2281, 10) == pytest.approx(0.025, abs=1e-5)


def test_all_of_scipy_stats_stays_unloaded():
    code = (
        "import sys\n"
        "from energyaware.stats.student import quantile, tail\n"
        "quantile(0.1, 3), tail(1.0, 3)\n"
        "print('scipy.stats' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
