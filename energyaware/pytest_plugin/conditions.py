"""Everything that shapes what a run measures, as texts: an interrupted run goes on only where all of it is the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from energyaware import __version__
from energyaware.baselines import git
from energyaware.config import EnergyConfig, shaping
from energyaware.data.source import parse_source, shown
from energyaware.measure.machine import describe
from energyaware.meters.base import Meter

# What `describe` says before torch is loaded; the packages' versions are asked for without loading them.
_MACHINE = ("cpu", "dtype_support", "cores", "system", "python", "virtual")
_PACKAGES = ("pytest-benchmark", "numpy", "torch", "transformers", "bitsandbytes", "peft")
_ENVIRONMENT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_TIMING = ("benchmark_timer", "benchmark_disable_gc")


def conditions(
    config: pytest.Config, settings: EnergyConfig, meter: Meter, written: tuple[Path, ...]
) -> dict[str, str]:
    """Options, tests asked for, meter, machine, versions and code of a run, by name.

    Args:
        written: folders that the run itself writes: they are no part of its code.
    """
    found = {f"--energy-{name.replace('_', '-')}": text for name, text in shaping(settings).items()}
    found |= {f"--{name.replace('_', '-')}": str(config.getoption(name)) for name in _TIMING}
    found["--energy-data"] = shown(settings.data)
    files = [
        ("--energy-data", parse_source(settings.data).path),
        *(("--energy-models", Path(name)) for name in settings.models),
    ]
    for name, path in files:
        stamp = _stamp(path) if path.name else ""
        if stamp:
            found[f"files of {name} {path}"] = stamp
    found["tests"] = " ".join(config.args)
    found["-k"] = config.getoption("keyword") or ""
    found["-m"] = config.getoption("markexpr") or ""
    found |= {f"meter of {name}": f"{item.meter} ({item.detail})" for name, item in meter.domains.items()}
    machine = describe()
    found |= {f"machine {name}": machine[name] for name in _MACHINE if name in machine}
    found |= {name: os.environ.get(name, "") for name in _ENVIRONMENT}
    found |= {name: _version(name) for name in _PACKAGES}
    found["energyaware"] = __version__
    return found | _code(config.rootpath, written)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _code(root: Path, written: tuple[Path, ...]) -> dict[str, str]:
    """The commit, and a hash of what is not committed: changed tracked files and new Python files.

    Empty outside of git, and before the first commit.
    """
    commit = git.commit_of(root, "HEAD")
    if commit is None:
        return {}
    inside = [path.relative_to(root).as_posix() for path in written if path.is_relative_to(root) and path != root]
    excluded = [f":(exclude,literal){name}" for name in inside]
    diff = ("diff", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--relative", "HEAD")
    changed = git.output(root, *diff, "--", ".", *excluded)
    new = git.output(root, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py", *excluded)
    digest = hashlib.sha256((changed or "").encode())
    for name in sorted(filter(None, (new or "").split("\0"))):
        digest.update(name.encode())
        digest.update(_content(root / name))
    return {"commit": commit, "uncommitted changes": digest.hexdigest()[:12] if changed or new else ""}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # removed meanwhile, or a link to nowhere
        return b""


def _stamp(path: Path) -> str:
    """A hash of names, sizes and times of change under a path, without reading gigabytes; empty where nothing is."""
    states = [(file.name, file.stat()) for file in _files(path)]
    text = "".join(f"{name} {state.st_size} {state.st_mtime_ns}\n" for name, state in states)
    return hashlib.sha256(text.encode()).hexdigest()[:12] if states else ""


def _files(path: Path) -> Iterator[Path]:
    try:
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from sorted(item for item in path.iterdir() if item.is_file())
    except OSError:  # longer than any file name: a name of the catalogue is no path
        return
