import subprocess
from pathlib import Path

import pytest

from energyaware.baselines.git import ancestors, commit_of


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    git(root, "init", "-q", "-b", "main")
    for message in ("one", "two", "three"):
        git(root, "commit", "-q", "--allow-empty", "-m", message)
    git(root, "tag", "v1", "HEAD~2")
    git(root, "update-ref", "refs/heads/side", "HEAD~1")
    return root


def test_names_become_commits(repository):
    head = git(repository, "rev-parse", "HEAD")
    assert commit_of(repository, "HEAD") == commit_of(repository, "main") == commit_of(repository, head) == head
    assert commit_of(repository, "v1") == git(repository, "rev-parse", "HEAD~2")


@pytest.mark.parametrize("name", ["nowhere", "", "0000000", "HEAD:README", "a b", "-h", "--all", "--git-dir=/", "x\0y"])
def test_what_names_no_commit_is_none(repository, name):
    assert commit_of(repository, name) is None


@pytest.mark.parametrize("name", ["$(touch owned)", "main; touch owned", "`touch owned`", "main\ntouch owned"])
def test_no_name_reaches_a_shell(repository, name):
    assert commit_of(repository, name) is None
    assert not (repository / "owned").exists()


def test_a_branch_that_looks_like_an_option_does_no_harm(repository):
    # Plumbing makes what `git branch` refuses.
    git(repository, "update-ref", "refs/heads/--output=owned", "HEAD")
    assert commit_of(repository, "--output=owned") is None
    assert ancestors(repository, "--output=owned") in (frozenset(), ancestors(repository, "HEAD"))
    assert not (repository / "owned").exists()


def test_ancestors_are_a_commit_and_what_it_descends_from(repository):
    hashes = git(repository, "rev-list", "main").split()
    assert ancestors(repository, "main") == frozenset(hashes)
    assert ancestors(repository, "side") == frozenset(hashes[1:])
    assert ancestors(repository, "main", limit=1) == frozenset(hashes[:1])
    assert ancestors(repository, "nowhere") == frozenset()


def test_outside_of_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(tmp_path, "HEAD") is None
    assert ancestors(tmp_path, "HEAD") == frozenset()


def test_without_git_there_is_no_commit(repository, monkeypatch):
    monkeypatch.setenv("PATH", str(repository))
    assert commit_of(repository, "HEAD") is None
