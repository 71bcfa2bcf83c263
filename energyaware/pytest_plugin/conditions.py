"""Everything that shapes what a run measures, as texts: an interrupted run goes on only where all of it is the same."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from energyaware import __version__
from energyaware.baselines import git
from energyaware.baselines.journal import hidden
from energyaware.config import EnergyConfig, shaping
from energyaware.data.source import parse_source, shown
from energyaware.measure.machine import describe
from energyaware.meters.base import Meter
from energyaware.paths import is_dir, is_file

# What `describe` says before torch is loaded; the packages' versions are asked for without loading them.
_MACHINE = ("cpu", "dtype_support", "cores", "system", "python", "virtual")
_PACKAGES = ("pytest-benchmark", "numpy", "torch", "transformers", "bitsandbytes", "torchao", "peft", "datasets")
_ENVIRONMENT = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
)  # fmt: skip
_TIMING = ("benchmark_timer", "benchmark_disable_gc")
# What pytest itself can be told that may change what tests do: plugins, the ini file.
_PYTESTS = {"-p": "plugins", "-c": "inifilename"}
_OURS = "energy"
# Groups of options that are known here, or change only which tests run and what is shown of them.
_KNOWN_GROUPS = frozenset(
    {
        "general", "terminal reporting", "collect", "debugconfig", "logging", "pytest-warnings", "benchmark", _OURS,
        "xdist",
    }
)  # fmt: skip


def conditions(
    config: pytest.Config, settings: EnergyConfig, meter: Meter, written: tuple[Path, ...]
) -> dict[str, str]:
    """Options, tests asked for, meter, machine, versions and code of a run, by name.

    Args:
        written: folders that the run itself writes: they are no part of its code.
    """
    found = {f"--energy-{name.replace('_', '-')}": text for name, text in shaping(settings).items()}
    found |= {f"--{name.replace('_', '-')}": str(config.getoption(name)) for name in _TIMING}
    found |= _others(config)
    found["--energy-data"] = shown(settings.data)
    files = [
        ("--energy-data", parse_source(settings.data).path),
        *(("--energy-models", Path(name)) for name in settings.models),
    ]
    for name, path in files:
        stamp = _stamp(path, written) if path.name else ""
        if stamp:
            found[f"files of {name} {path}"] = stamp
    found["tests"] = " ".join(config.args)
    found["-k"] = config.getoption("keyword") or ""
    found["-m"] = config.getoption("markexpr") or ""
    found |= {f"meter of {name}": f"{item.meter} ({item.detail})" for name, item in meter.domains.items()}
    machine = describe()
    found |= {f"machine {name}": machine[name] for name in _MACHINE if name in machine}
    if hasattr(os, "sched_getaffinity"):  # as taskset and containers narrow it; not on macOS
        found["processors that may be used"] = str(len(os.sched_getaffinity(0)))
    found |= {name: os.environ.get(name, "") for name in _ENVIRONMENT}
    found |= {name: _version(name) for name in _PACKAGES}
    found["energyaware"] = __version__
    return found | _code(config.rootpath, written)


def _others(config: pytest.Config) -> dict[str, str]:
    """Options of conftest files and of other plugins that were set: what they change nobody here can know.

    Their values may be secrets, and a journal is a file.
    """
    parser = config._parser
    groups = {id(group): group for group in (parser._anonymous, *parser._groups)}.values()
    found = {}
    for option in (option for group in groups if group.name not in _KNOWN_GROUPS for option in group.options):
        value = config.getoption(option.dest, None)
        if value != parser.optparser.get_default(option.dest):
            found[f"--{option.dest.replace('_', '-')}"] = value
    ours = {option.dest for group in groups if group.name == _OURS for option in group.options}
    for override in config.getoption("override_ini", None) or ():
        name, _, value = override.partition("=")
        if name not in ours:  # these are read by now, as options
            found[f"-o {name}"] = value
    hashes = {name: hidden(_text(value)) for name, value in found.items() if not _is_empty(value)}
    told = {name: config.getoption(dest, None) for name, dest in _PYTESTS.items()}
    return hashes | {name: _text(value) for name, value in told.items() if not _is_empty(value)}


def _is_empty(value: object) -> bool:
    return value in (None, [], ())


def _text(value: object) -> str:
    """An option's value, the same in each process: no order of a set, no address of an object."""
    if isinstance(value, set | frozenset):
        value = sorted(map(str, value))
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(value))


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
    if changed is None or new is None:  # as unlike what it was as what it will be
        return {"commit": commit, "uncommitted changes": f"unknown to git ({secrets.token_hex(4)})"}
    digest = hashlib.sha256(changed.encode())
    for name in sorted(filter(None, new.split("\0"))):
        digest.update(name.encode())
        digest.update(_content(root / name))
    return {"commit": commit, "uncommitted changes": digest.hexdigest()[:12] if changed or new else ""}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:  # removed meanwhile, or a link to nowhere
        return b""


def _stamp(path: Path, written: tuple[Path, ...]) -> str:
    """A hash of names, sizes and times of change under a path, without reading gigabytes; empty where nothing is."""
    digest, empty = hashlib.sha256(), True
    for file in _files(path, written):
        with contextlib.suppress(OSError):  # removed meanwhile
            state = file.stat()
            name = file.relative_to(path).as_posix()
            digest.update(f"{name} {state.st_size} {state.st_mtime_ns}\n".encode(errors="surrogateescape"))
            empty = False
    return "" if empty else digest.hexdigest()[:12]


def _files(path: Path, written: tuple[Path, ...]) -> Iterator[Path]:
    """The file, or all files in the folder and below it, without hidden folders and what the run writes itself."""
    if is_file(path):
        yield path
    if not is_dir(path):
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and Path(folder, name).resolve() not in written
        )
        yield from (Path(folder, name) for name in sorted(names) if is_file(Path(folder, name)))
