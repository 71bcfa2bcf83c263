import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from energyaware.branches.checkout import (
    PREFIX,
    Checkout,
    check_out,
    only_comparison,
    overlay,
    prepare,
    repository_root,
    require_unchanged,
    working_tree,
)
from energyaware.branches.janitor import Janitor
from energyaware.errors import RevisionError


@pytest.fixture(autouse=True)
def variables(environment, monkeypatch):
    """Git inside this process reads nobody's configuration either."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def janitor():
    with Janitor() as running:
        yield running


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / f"{PREFIX}xyz"
    folder.mkdir()
    return folder.resolve()


def test_a_revision_is_checked_out_whole_and_removed(repository, place):
    first = repository.git("rev-parse", "HEAD")
    repository.commit({"mypkg/__init__.py": "new"})
    with Janitor() as janitor:
        found = check_out(repository.root, "main~1", place / f"{PREFIX}base", janitor)
        assert (found.name, found.identity) == ("main~1", first)
        assert (found.root / "mypkg" / "__init__.py").read_text() != "new"
        assert len(repository.worktrees()) == 2
    assert repository.worktrees() == [str(repository.root)]
    assert not (place / f"{PREFIX}base").exists()


@pytest.mark.parametrize(
    "name",
    ["nowhere", "-h", "--orphan=x", "--upload-pack=touch pwned", "$(touch pwned)", "main; touch pwned", "", "a\0b"],
)
def test_hostile_and_unknown_names_are_only_unknown(repository, place, janitor, name):
    with pytest.raises(RevisionError, match="git knows no revision"):
        check_out(repository.root, name, place / f"{PREFIX}base", janitor)
    assert not list(repository.root.parent.rglob("pwned"))


def test_a_branch_whose_name_is_a_command_is_checked_out(repository, place, janitor):
    name = "feature/$(touch${IFS}pwned);'`x`"
    repository.git("branch", name)
    assert check_out(repository.root, name, place / f"{PREFIX}base", janitor).root.is_dir()
    assert not list(repository.root.parent.rglob("pwned"))


def test_a_shallow_clone_says_how_to_deepen(repository, tmp_path, place, janitor):
    first = repository.git("rev-parse", "HEAD")
    repository.commit({"new": ""})
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--depth=1", repository.root.as_uri(), str(clone)], check=True)
    assert check_out(clone, "HEAD", place / f"{PREFIX}head", janitor).root.is_dir()
    with pytest.raises(RevisionError, match="fetch-depth: 0"):
        check_out(clone, first, place / f"{PREFIX}base", janitor)


def test_submodules_are_filled(repository, tmp_path, place, janitor, monkeypatch):
    other = type(repository)(tmp_path / "other", repository.environment)
    other.commit({"inner.py": "X = 1"})
    for name, value in (("COUNT", "1"), ("KEY_0", "protocol.file.allow"), ("VALUE_0", "always")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
        repository.environment[f"GIT_CONFIG_{name}"] = value
    repository.git("submodule", "add", "-q", str(other.root), "sub module")
    repository.commit({})
    found = check_out(repository.root, "main", place / f"{PREFIX}base", janitor)
    assert (found.root / "sub module" / "inner.py").read_text() == "X = 1"
    # What is uncommitted inside it counts as a change of the working tree.
    clean = working_tree(repository.root)
    (repository.root / "sub module" / "inner.py").write_text("X = 2")
    assert working_tree(repository.root).identity != clean.identity
    other.root.rename(tmp_path / "gone")
    with pytest.raises(RevisionError, match="submodules of main cannot be fetched"):
        check_out(repository.root, "main", place / f"{PREFIX}again", janitor)


def test_the_working_tree_is_known_by_its_content(repository):
    clean = working_tree(repository.root)
    assert (clean.name, clean.identity) == ("working tree", repository.git("rev-parse", "HEAD"))
    seen = {clean.identity}

    def differs():
        now = working_tree(repository.root)
        assert now.name == "working tree with changes"
        assert now.identity not in seen
        seen.add(now.identity)

    repository.write(**{"mypkg/__init__.py": "JOULES = 2\n"})
    differs()
    repository.git("add", "-A")
    assert working_tree(repository.root).identity in seen  # staged or not is the same content
    repository.write(**{"mypkg/__init__.py": "JOULES = 3\n"})
    differs()
    repository.write(**{"new file.py": "1"})
    differs()
    repository.write(**{"new file.py": "2"})
    differs()
    (repository.root / "link").symlink_to("nowhere")
    differs()
    (repository.root / "conftest.py").unlink()
    differs()


def test_what_python_leaves_behind_is_no_change(repository):
    repository.write(**{"mypkg/__pycache__/x.pyc": "1", ".benchmarks/a.json": "1", ".pytest_cache/v": "1"})
    assert working_tree(repository.root).name == "working tree"
    repository.commit({".gitignore": "ignored\n"})
    repository.write(ignored="1")
    assert working_tree(repository.root).name == "working tree"


def test_an_edit_meanwhile_is_noticed_and_named(repository):
    repository.write(**{"a.py": "1"})
    tree = working_tree(repository.root)
    require_unchanged(tree)
    repository.write(**{"mypkg/__init__.py": "JOULES = 2\n"})
    with pytest.raises(RevisionError, match=r"changed while it was measured: mypkg/__init__\.py\."):
        require_unchanged(tree)
    repository.commit({})
    with pytest.raises(RevisionError, match=r"changed while it was measured: a\.py"):
        require_unchanged(tree)


def test_without_a_repository(tmp_path, empty):
    with pytest.raises(RevisionError, match="finds no repository around"):
        repository_root(tmp_path)
    with pytest.raises(RevisionError, match="no commit yet"):
        working_tree(empty.root)


def test_the_root_of_a_folder_inside(repository):
    assert repository_root(repository.root / "mypkg") == repository.root.resolve()


def test_one_comparison_at_a_time_also_from_a_linked_worktree(repository, tmp_path):
    linked = tmp_path / "linked"
    repository.git("worktree", "add", "-q", str(linked), "-b", "other")
    with only_comparison(repository.root):
        for folder in (repository.root, linked):
            with pytest.raises(RevisionError, match="another comparison of this repository is running"):
                only_comparison(folder).__enter__()
    with only_comparison(linked):
        pass


def test_what_a_killed_comparison_left_is_removed_at_the_next_start(repository, tmp_path):
    left = tmp_path / "temp" / f"{PREFIX}abc"
    left.mkdir()
    mine, unmounted = tmp_path / "temp" / "mine", tmp_path / "temp" / "unmounted"
    for path in (left / f"{PREFIX}abc-base", mine, unmounted):
        repository.git("worktree", "add", "-q", "--detach", str(path))
    repository.git("worktree", "lock", str(left / f"{PREFIX}abc-base"))  # as git does while it makes one
    (left / "base.log").write_text("")
    unmounted.rename(tmp_path / "elsewhere")
    with only_comparison(repository.root):
        assert not left.exists()
        assert repository.worktrees() == [str(repository.root), str(mine), str(unmounted)]


def test_a_worktree_that_git_could_not_write_is_forgotten(repository, tmp_path):
    broken = repository.root / ".git" / "worktrees" / f"{PREFIX}abc-base"
    broken.mkdir(parents=True)
    for name in ("gitdir", "HEAD", "commondir"):
        (broken / name).write_text("")
    with only_comparison(repository.root):
        assert not broken.exists()


@pytest.fixture
def trees(tmp_path):
    found = {side: Checkout(side, (tmp_path / side).resolve(), side) for side in ("head", "base")}
    for item in found.values():
        item.root.mkdir()
    return found["head"], found["base"]


def fill(tree, **files):
    for name, text in files.items():
        path = tree.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_overlay_replaces_benchmarks_and_what_configures_them(trees):
    head, base = trees
    fill(head, **{"a/benchmarks/new.py": "new", "a/conftest.py": "new", "pytest.ini": "new", "src/x.py": "new"})
    fill(head, **{"a/benchmarks/__pycache__/x.pyc": "", "a/benchmarks/.benchmarks/1.json": ""})
    fill(base, **{"a/benchmarks/old.py": "old", "a/conftest.py": "old", "conftest.py": "kept", "src/x.py": "old"})
    overlay(head, base, [Path("a/benchmarks")])
    files = {str(path.relative_to(base.root)): path.read_text() for path in base.root.rglob("*") if path.is_file()}
    assert files == {
        "a/benchmarks/new.py": "new", "a/conftest.py": "new", "pytest.ini": "new", "conftest.py": "kept",
        "src/x.py": "old",
    }  # fmt: skip


def test_overlay_of_one_file_and_of_one_that_the_head_lacks(trees):
    head, base = trees
    fill(head, **{"benchmarks/a.py": "new", "benchmarks/b.py": "new"})
    fill(base, **{"benchmarks/a.py": "old", "benchmarks/b.py": "old", "benchmarks/c.py": "old"})
    overlay(head, base, [Path("benchmarks/a.py"), Path("benchmarks/c.py")])
    assert {path.name: path.read_text() for path in (base.root / "benchmarks").iterdir()} == {
        "a.py": "new", "b.py": "old", "c.py": "old",
    }  # fmt: skip


def test_overlay_keeps_links_and_follows_none_out_of_the_tree(trees, tmp_path):
    head, base = trees
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("")
    fill(head, **{"benchmarks/a.py": "new", "data/x": ""})
    (head.root / "benchmarks" / "dangling").symlink_to("nowhere")
    (base.root / "benchmarks").symlink_to(outside)
    overlay(head, base, [Path("benchmarks")])
    assert (base.root / "benchmarks" / "dangling").is_symlink()
    assert [path.name for path in outside.iterdir()] == ["precious"]
    fill(head, **{"deep/benchmarks/a.py": "new"})
    (base.root / "deep").symlink_to(outside)
    with pytest.raises(RevisionError, match="leads out of its tree"):
        overlay(head, base, [Path("deep/benchmarks")])
    assert [path.name for path in outside.iterdir()] == ["precious"]


def test_an_environment_imports_its_own_then_the_tree_then_ours(trees, tmp_path, janitor):
    head, _ = trees
    fill(head, **{"intree.py": "", "both.py": "X = 'tree'"})
    command = (
        "echo X = \"'installed'\" > $(python -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))')/both.py"
    )
    python = prepare(head, command, tmp_path / "env", janitor)
    code = "import both, intree, sys, pytest, energyaware; print(both.X, intree.__file__, sys.prefix)"
    done = subprocess.run([python, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["installed", str(head.root / "intree.py"), str(tmp_path / "env")]


def test_a_command_that_fails_is_shown_with_what_it_printed(trees, tmp_path, janitor):
    with pytest.raises(RevisionError, match=r"--prepare failed for head with exit status 3\b") as caught:
        prepare(trees[0], "echo no such package; exit 3", tmp_path / "env", janitor)
    assert str(caught.value).endswith("printed last:\n    no such package")


def test_an_environment_that_cannot_be_made(trees, tmp_path, janitor):
    (tmp_path / "file").write_text("")
    with pytest.raises(RevisionError, match="no environment can be made for head"):
        prepare(trees[0], "true", tmp_path / "file" / "env", janitor)


def test_a_killed_coordinator_leaves_no_command_behind(trees, tmp_path):
    """`--prepare` and git run in a group that the janitor kills."""
    code = """
import sys
from pathlib import Path
from energyaware.branches.checkout import _run
from energyaware.branches.janitor import Janitor
with Janitor() as janitor:
    _run(["/bin/sh", "-c", "sleep 1000 & echo $! > pid.part; mv pid.part pid; wait"], Path.cwd(), janitor)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) as coordinator:
        deadline = time.monotonic() + 100
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        child = int((tmp_path / "pid").read_text())
        assert not gone(child)
        coordinator.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 100
    while not gone(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(child)


def gone(pid: int) -> bool:
    """Whoever starts us may be slow to collect the dead."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_checkout_is_a_value():
    tree = Checkout("main", Path("/x"), "abc")
    assert dataclasses.replace(tree) == tree
