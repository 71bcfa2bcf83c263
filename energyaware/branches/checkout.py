"""The two trees that are compared: a git worktree for a revision, the repository itself for uncommitted work."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from energyaware.baselines import git
from energyaware.branches.janitor import Janitor
from energyaware.errors import RevisionError

PREFIX = "energyaware-compare-"
"""Of the temporary folder that holds a comparison's worktrees, and of their names."""

CONFIG_FILES = ("conftest.py", "pytest.ini", "pytest.toml")
"""What belongs to the benchmarks beside their own files, in the folders above them."""

# What running and installing leave behind changes no measurement.
_LEFT_BY_RUNNING = ("__pycache__", ".benchmarks", ".pytest_cache")
_LEFT_BY_INSTALLING = ("build", "*.egg-info")
_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Checkout:
    """One side.

    Attributes:
        name: as the user typed it, or `working tree`.
        root: top folder of the tree.
        identity: the commit, and for a working tree with uncommitted changes a hash of them.
        changes: uncommitted files, by name, to a hash of their content (empty: deleted).
    """

    name: str
    root: Path
    identity: str
    changes: Mapping[str, str] = field(default_factory=dict)


def repository_root(folder: Path) -> Path:
    """Top folder of the repository around `folder`.

    Raises:
        RevisionError: there is none, or git does not trust it.
    """
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--show-toplevel"], cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise RevisionError(f"git cannot be run ({error.strerror})", "install git") from error
    if done.returncode != 0:
        raise RevisionError(
            f"git finds no repository around {folder} ({last_line(done.stderr)})",
            "run energyaware compare inside the repository whose branches it shall compare",
        )
    return Path(done.stdout.removesuffix("\n"))


@contextlib.contextmanager
def only_comparison(repository: Path) -> Iterator[None]:
    """Let no other comparison of this repository run meanwhile, and remove what killed ones left.

    Raises:
        RevisionError: one is running.
    """
    common = _common_dir(repository)
    path = common / "energyaware-compare.lock"
    try:
        lock = path.open("a")
    except OSError as error:
        raise RevisionError(f"{path} cannot be written ({error.strerror})", "make it writable") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RevisionError(
                "another comparison of this repository is running", "wait for it: two at once disturb each other"
            ) from error
        for known in (common / "worktrees").glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                place = Path((known / "gitdir").read_text(encoding="utf-8").strip()).parent.parent
                if place.name.startswith(PREFIX):
                    shutil.rmtree(place, ignore_errors=True)
            shutil.rmtree(known, ignore_errors=True)
        yield


def working_tree(repository: Path) -> Checkout:
    """The repository as it lies there, with what is not committed yet.

    Raises:
        RevisionError: git cannot tell what that is.
    """
    commit = git.commit_of(repository, "HEAD")
    if commit is None:
        raise RevisionError("the working tree has no commit yet", "commit something first")
    changes = _changes(repository)
    if not changes:
        return Checkout("working tree", repository, commit)
    digest = hashlib.sha256(repr(sorted(changes.items())).encode()).hexdigest()[:16]
    return Checkout("working tree with changes", repository, f"{commit}+{digest}", changes)


def require_unchanged(tree: Checkout) -> None:
    """Prove that nobody edited the working tree since `tree` was taken.

    Raises:
        RevisionError: somebody did.
    """
    now = working_tree(tree.root)
    if now.identity == tree.identity:
        return
    names = {*tree.changes, *now.changes}
    changed = sorted(name for name in names if tree.changes.get(name) != now.changes.get(name))
    raise RevisionError(
        f"the working tree changed while it was measured: {', '.join(changed[:3]) or 'another commit'}",
        "this launch is not kept. Undo it and add --resume; or commit and name the branch as HEAD, then you can edit "
        "meanwhile. Files that the benchmarks write belong in .gitignore",
    )


def _changes(tree: Path) -> dict[str, str]:
    tracked = git.output(tree, "diff", "--name-only", "--no-renames", "-z", "HEAD")
    excluded = [f"--exclude={name}" for name in (*_LEFT_BY_RUNNING, *_LEFT_BY_INSTALLING)]
    new = git.output(tree, "ls-files", "--others", "--exclude-standard", *excluded, "-z")
    if tracked is None or new is None:
        raise RevisionError(f"git cannot tell what changed in {tree}", "see whether `git status` works there")
    return {name: _content(tree / name) for name in f"{tracked}\0{new}".split("\0") if name}


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"to {path.readlink()}"
    if path.is_dir():  # a submodule, or a repository inside this one
        nested = working_tree(path) if (path / ".git").exists() else None
        return nested.identity if nested else ""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _common_dir(repository: Path) -> Path:
    return repository / (git.output(repository, "rev-parse", "--git-common-dir") or ".git")


def check_out(repository: Path, revision: str, folder: Path, janitor: Janitor) -> Checkout:
    """Check `revision` out into `folder`; the janitor removes it at the end.

    Args:
        folder: its name begins with `PREFIX` and is used only once: git keeps what it knows of a worktree under it.

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
    janitor.remove_at_end(folder)
    # By hand: git cannot remove what it was killed in the middle of, or could not write.
    janitor.remove_at_end(_common_dir(repository) / "worktrees" / folder.name)
    done = _run(["git", "worktree", "add", "--detach", "--force", str(folder), commit], repository, janitor)
    if done.returncode != 0:
        raise RevisionError(
            f"git cannot check {revision} out: {last_line(done.stdout)}", "free disk space, or see `git worktree list`"
        )
    if (folder / ".gitmodules").is_file():
        done = _run(["git", "submodule", "update", "--init", "--recursive"], folder, janitor)
        if done.returncode != 0:
            raise RevisionError(
                f"the submodules of {revision} cannot be fetched: {last_line(done.stdout)}",
                "make them reachable (git submodule update --init --recursive must work in a fresh clone)",
            )
    return Checkout(revision, folder, commit)


def overlay(source: Checkout, target: Checkout, paths: Sequence[Path]) -> None:
    """Put the benchmark files of `source` into `target`, in place of its own.

    Args:
        paths: files and folders, relative to the tops of both trees.

    Raises:
        RevisionError: a path leads out of the tree through a link.
    """
    above = sorted({parent for path in paths for parent in path.parents})
    for path in (*paths, *(folder / name for folder in above for name in CONFIG_FILES)):
        theirs, ours = target.root / path, source.root / path
        if not ours.exists():
            continue
        if not theirs.parent.resolve().is_relative_to(target.root):
            raise RevisionError(
                f"{path} of {target.name} leads out of its tree through a link", "use --benchmarks-from=own"
            )
        if theirs.is_dir() and not theirs.is_symlink():
            shutil.rmtree(theirs)
        else:
            theirs.unlink(missing_ok=True)
        theirs.parent.mkdir(parents=True, exist_ok=True)
        if ours.is_dir():
            shutil.copytree(ours, theirs, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_BY_RUNNING, ".git"))
        else:
            shutil.copy2(ours, theirs)


def prepare(checkout: Checkout, command: str, folder: Path, janitor: Janitor) -> Path:
    """Run the user's `command` in the tree, inside a virtual environment of its own.

    What the command does not install is imported from the tree, and last from the environment that runs us: pytest,
    torch, energyaware.

    Args:
        command: for `/bin/sh`, as the user typed it.
        folder: where the environment goes.

    Returns:
        The environment's Python.

    Raises:
        RevisionError: the environment cannot be made, or the command failed.
    """
    # A pip of its own would take seconds to install.
    shared_pip = importlib.util.find_spec("pip") is not None
    without_pip = ["--without-pip"] if shared_pip else []
    done = _run([sys.executable, "-I", "-m", "venv", *without_pip, str(folder)], checkout.root, janitor)
    if done.returncode != 0:
        raise RevisionError(
            f"no environment can be made for {checkout.name}: {last_line(done.stdout)}",
            "see whether `python -m venv` works here; Debian has it in the package python3-venv",
        )
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    ours = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    lines = [*map(str, import_roots(checkout.root)), *(f"import site; site.addsitedir({path!r})" for path in ours)]
    (site / "energyaware-fallback.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    python = folder / "bin" / "python"
    if shared_pip:
        pip = folder / "bin" / "pip"
        pip.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} -m pip "$@"\n', encoding="utf-8")
        pip.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        "VIRTUAL_ENV": str(folder),
    }
    environment.pop("PYTHONHOME", None)
    done = _run(["/bin/sh", "-c", command], checkout.root, janitor, environment)
    if done.returncode != 0:
        raise RevisionError(
            f"--prepare failed for {checkout.name} with exit status {done.returncode}",
            f"{command!r} printed last:\n{tail(done.stdout)}",
        )
    return python


def import_roots(tree: Path) -> list[Path]:
    """Where a tree's code is imported from."""
    return [path for path in (tree, tree / "src") if path.is_dir()]


def last_line(text: str) -> str:
    """What a failed command said at the end."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"


def tail(text: str) -> str:
    """The last lines of what a process printed, indented."""
    return "\n".join(f"    {line[:300]}" for line in text.strip().splitlines()[-_TAIL_LINES:])


def _run(
    command: Sequence[str], folder: Path, janitor: Janitor, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end in a process group of its own, which the janitor kills with all it started if we die first."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        janitor.kill_at_end(process.pid)
        output, _ = process.communicate()
    janitor.ended(process.pid)
    return subprocess.CompletedProcess(list(command), process.returncode, output)
