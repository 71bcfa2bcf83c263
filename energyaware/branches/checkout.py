"""The two trees that are compared: a git worktree for a revision, the repository itself for uncommitted work."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from energyaware.baselines import git
from energyaware.branches.janitor import Janitor
from energyaware.errors import EnergyAwareError

CONFIG_FILES = ("conftest.py", "pytest.ini")
"""What belongs to the benchmarks beside their own files, in a repository's top folder."""


class RevisionError(EnergyAwareError):
    """A revision that is unknown, cannot be checked out, or whose code would not be the code that runs."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """One side.

    Attributes:
        name: as the user typed it, or `working tree`.
        root: top folder of the tree.
        identity: the commit, and for a working tree with uncommitted changes a hash of them.
    """

    name: str
    root: Path
    identity: str


def repository_root(folder: Path) -> Path:
    """Top folder of the repository around `folder`.

    Raises:
        RevisionError: there is none.
    """
    top = git.output(folder, "rev-parse", "--show-toplevel")
    if top is None:
        raise RevisionError(
            f"{folder} lies in no git repository (or git is not installed)",
            "run energyaware compare inside the repository whose branches it shall compare",
        )
    return Path(top)


def working_tree(repository: Path) -> Checkout:
    """The repository as it lies there, with what is not committed yet."""
    commit = git.commit_of(repository, "HEAD") or "no commit"
    changes = git.output(repository, "diff", "--binary", "HEAD") or ""
    new = git.output(repository, "ls-files", "--others", "--exclude-standard", "-z") or ""
    if not changes and not new:
        return Checkout("working tree", repository, commit)
    digest = hashlib.sha256(changes.encode(errors="replace"))
    for name in sorted(filter(None, new.split("\0"))):
        digest.update(name.encode(errors="surrogateescape") + b"\0")
        path = repository / name
        if path.is_file():
            digest.update(path.read_bytes())
    return Checkout("working tree with changes", repository, f"{commit}+{digest.hexdigest()[:16]}")


def check_out(repository: Path, revision: str, folder: Path, janitor: Janitor) -> Checkout:
    """Check `revision` out into `folder`; the janitor removes it at the end.

    Raises:
        RevisionError: no such revision, or git cannot check it out.
    """
    commit = git.commit_of(repository, revision)
    if commit is None:
        shallow = git.output(repository, "rev-parse", "--is-shallow-repository") == "true"
        remedy = (
            "this clone is shallow: fetch the whole history (git fetch --unshallow; in CI fetch-depth: 0)"
            if shallow
            else "name a branch, tag or commit that `git log` knows; fetch it first if it is remote"
        )
        raise RevisionError(f"git knows no revision {revision!r} here", remedy)
    janitor.remove_worktree_at_end(repository, folder)
    done = subprocess.run(
        ["git", "worktree", "add", "--detach", "--force", str(folder), commit],
        cwd=repository, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RevisionError(
            f"git cannot check {revision} out: {_last_line(done.stderr)}", "free disk space, or see `git worktree list`"
        )
    if (folder / ".gitmodules").is_file():
        _fill_submodules(folder, revision)
    return Checkout(revision, folder, commit)


def _fill_submodules(folder: Path, revision: str) -> None:
    done = subprocess.run(
        ["git", "submodule", "update", "--init", "--recursive"],
        cwd=folder, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RevisionError(
            f"the submodules of {revision} cannot be fetched: {_last_line(done.stderr)}",
            "make them reachable (git submodule update --init --recursive must work in a fresh clone)",
        )


def overlay(source: Path, target: Path, paths: list[Path]) -> None:
    """Put the benchmark files of `source` into `target`, in place of its own.

    Args:
        paths: files and folders, relative to the tops of both trees.
    """
    for path in (*paths, *map(Path, CONFIG_FILES)):
        theirs, ours = target / path, source / path
        if not ours.exists() or path == Path():
            continue
        if theirs.is_dir() and not theirs.is_symlink():
            shutil.rmtree(theirs)
        theirs.parent.mkdir(parents=True, exist_ok=True)
        if ours.is_dir():
            shutil.copytree(ours, theirs, ignore=shutil.ignore_patterns("__pycache__", ".benchmarks"))
        else:
            shutil.copy2(ours, theirs)


def prepare(checkout: Checkout, command: str, folder: Path) -> Path:
    """Run the user's `command` in the tree, inside a virtual environment of its own that falls back on ours.

    Args:
        command: for `/bin/sh`, as the user typed it.
        folder: where the environment goes.

    Returns:
        The environment's Python.

    Raises:
        RevisionError: the environment cannot be made, or the command failed.
    """
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # What the command does not install comes from the environment that runs us: pytest, torch, energyaware.
    (site / "energyaware-fallback.pth").write_text("".join(f"{path}\n" for path in sorted(ours)), encoding="utf-8")
    path = f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = os.environ | {"PATH": path, "VIRTUAL_ENV": str(folder)}
    environment.pop("PYTHONHOME", None)
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=checkout.root, env=environment, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RevisionError(
            f"--prepare failed for {checkout.name} (exit status {done.returncode}): {_last_line(done.stderr)}",
            f"run it by hand: {command}",
        )
    return python


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"
