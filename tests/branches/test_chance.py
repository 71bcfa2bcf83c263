import os
import subprocess
import sys
from pathlib import Path

import pytest

from energyaware.branches.chance import at_fixed_addresses, first_blocks, seeded

ADDRESSES = "import ctypes; print(id(object()), ctypes.addressof(ctypes.c_char.in_dll(ctypes.CDLL(None), 'environ')))"


def said(command, environment):
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def refused():
    """Whether this system lets nobody have fixed addresses, as some containers do."""
    now = "import ctypes; p = ctypes.CDLL(None).personality; print(p(0xFFFFFFFF) & 0x0040000)"
    return said(at_fixed_addresses(Path(sys.executable), ["-c", now]), dict(os.environ)).strip() == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a personality")
def test_processes_of_one_seed_have_the_same_addresses_and_salt(refused):
    if refused:
        pytest.skip("this system does not let a process fix its addresses")
    command = at_fixed_addresses(Path(sys.executable), ["-c", ADDRESSES + "; print(hash('salt'))"])
    same = {said(command, seeded(os.environ, 7)) for _ in range(3)}
    assert len(same) == 1
    assert said(command, seeded(os.environ, 8)) not in same


def test_the_command_runs_that_python_with_those_arguments():
    command = at_fixed_addresses(
        Path(sys.executable), ["-c", "import sys; print(sys.executable, sys.argv)", "a b", "*"]
    )
    assert said(command, dict(os.environ)).strip() == f"{sys.executable} ['-c', 'a b', '*']"


def test_blocks_of_a_seed_are_the_same_and_of_another_seed_others():
    def sizes(seed):
        return list(map(len, first_blocks(seed)))

    assert sizes("3") == sizes("3") != sizes("4")
    assert all(sizes(""))


def test_a_seed_leaves_the_environment_as_it_was():
    before = {"A": "b", "PYTHONHASHSEED": "random"}
    assert seeded(before, 5) == {"A": "b", "PYTHONHASHSEED": "5"}
    assert before["PYTHONHASHSEED"] == "random"
