import math
import subprocess
import sys

import pytest

from energyaware.records import Ceiling, Work
from energyaware.work.utilisation import mbu, mfu

WORK = Work(flops=100, read_bytes=30)
CEILING = Ceiling(flops_per_s=1000.0, bytes_per_s=60.0)


def test_shares_by_hand():
    assert mfu(WORK, 0.5, CEILING) == pytest.approx(0.2)
    assert mbu(WORK, 0.5, CEILING) == pytest.approx(1.0)


def test_a_share_above_one_is_shown_as_it_is():
    assert mbu(WORK, 0.25, CEILING) == pytest.approx(2.0)


@pytest.mark.parametrize("duration_s", [None, 0.0, -1.0, math.nan, math.inf])
def test_without_a_duration_there_is_no_share(duration_s):
    assert mfu(WORK, duration_s, CEILING) is None
    assert mbu(WORK, duration_s, CEILING) is None


@pytest.mark.parametrize("per_s", [None, 0.0, -1.0, math.nan, math.inf])
def test_without_a_ceiling_there_is_no_share(per_s):
    assert mfu(WORK, 1.0, Ceiling(flops_per_s=per_s)) is None
    assert mbu(WORK, 1.0, Ceiling(bytes_per_s=per_s)) is None


def test_work_that_nobody_counted_has_no_share():
    assert mfu(Work(), 1.0, CEILING) is None
    assert mbu(Work(), 1.0, CEILING) is None


def test_reports_may_use_it_without_torch():
    code = "import sys, energyaware.work.utilisation; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
