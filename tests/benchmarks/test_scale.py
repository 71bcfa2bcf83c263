"""The script that measures work on many runs: its own storage is one that energyaware reads."""

import pytest

from benchmarks.promises import scale
from energyaware.baselines.store import load_run, stored_files


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("scale") / "repository"
    commits = scale.repository(root, 6)
    assert len(set(commits)) == 6
    scale.fill(root / ".benchmarks", commits, 4, 3)
    return root


def test_the_runs_are_read(root):
    files = stored_files(root / ".benchmarks")
    assert len(files) == 6
    run = load_run(files[0])
    assert len(run.benchmarks) == 4
    assert [load_run(path).branch for path in files] == ["scratch", "main", "scratch", "main", "scratch", "oldest"]


@pytest.mark.parametrize("step", list(scale.STEPS))
def test_every_step_works(root, step):
    scale.STEPS[step][1](root)
