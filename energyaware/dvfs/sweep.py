"""Changes a knob and puts back what was set before, on every way out.

| way out | who puts back |
| --- | --- |
| end, error, skip, Ctrl-C | the `with` block |
| SIGTERM, SIGHUP | a handler, which then hands the signal on |
| `kill -9`, a crash | the next sweep or `energyaware doctor --restore`, from the state file |
| power loss, restart | the machine itself: none of these settings outlives a restart |
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from energyaware.dvfs.catalogue import knob_of
from energyaware.dvfs.knob import Knob, State
from energyaware.dvfs.state import STATE_VARIABLE, Prior, boot_id, load, lock_file, remove, save, state_file
from energyaware.errors import KnobError

_ENDING = ("SIGTERM", "SIGHUP")
_DISTURBING = ("SIGINT", *_ENDING)


class Sweep:
    """Holds one knob for a run. As a context manager it has put all back when the block is left.

    Args:
        knob: what to change.
        folder: of the state file and the lock.
        opener: opens the knob that a left state file names.
        boot: names the running kernel's start.
        sleep: waits for the hardware to follow.

    Attributes:
        recovered: what entering put back after a run that was killed; empty where nothing was left.
    """

    def __init__(
        self,
        knob: Knob,
        folder: Path,
        opener: Callable[[Prior], Knob] = knob_of,
        boot: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.knob = knob
        self.recovered = ""
        self._folder, self._opener, self._sleep = folder, opener, sleep
        self._boot = boot_id() if boot is None else boot
        self._prior: State = {}
        self._changed = False
        self._put_back_by_signal = False
        self._pid = os.getpid()
        self._handlers: dict[int, Any] = {}
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Take the lock, put back what a killed run left, and note what is set now. Changes nothing else.

        Raises:
            KnobUnavailableError: not supported or not permitted.
            KnobError: another sweep runs, others use the device, or a left state cannot be put back.
        """
        with contextlib.ExitStack() as exits:
            exits.enter_context(locked(self._folder))
            self.recovered = _recover(self._folder, self._opener, self._boot)
            self.knob.ready()
            self._prior = self.knob.state()
            save(Prior(self.knob.name, self._prior, self._boot, self._pid), state_file(self._folder))
            exits.callback(self._let_signals_go)
            self._catch_signals()
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put all back.

        Raises:
            KnobError: that failed; the state file stays.
        """
        with self._exits:
            self._put_back()
            remove(state_file(self._folder))

    @contextlib.contextmanager
    def at(self, setting: float) -> Iterator[float | None]:
        """Inside the block the knob stands at `setting`; the value is what the driver says is in force, None if it says
        nothing. What was set before is put back at its end.

        Raises:
            KnobUnavailableError: not permitted.
            KnobError: the driver refused the setting, or could not put the former one back.
        """
        try:
            # Before the change, so that no signal falls between it and the note.
            self._changed = True
            try:
                self.knob.set(setting)
            except KnobError:
                # Where nothing was changed, nothing is put back: what forbids one forbids the other.
                self._changed = self.knob.state() != self._prior
                raise
            self._sleep(self.knob.settle_s)
            yield self.knob.in_force()
        finally:
            self._put_back()
        if self._put_back_by_signal:
            raise KnobError("a signal ended the setting in the middle of this benchmark", "run it again")

    def _put_back(self) -> None:
        if self._changed and os.getpid() == self._pid:
            with undisturbed():
                self.knob.restore(self._prior)
                self._changed = False

    def _catch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # Python lets no other thread do so; the state file remains
        for number in _numbers(_ENDING):
            former = signal.getsignal(number)
            if former is not signal.SIG_IGN:  # under nohup, SIGHUP ends nobody
                self._handlers[number] = former
                signal.signal(number, self._on_signal)

    def _let_signals_go(self) -> None:
        for number, former in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)
        self._handlers.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        former = self._handlers.get(number)
        if os.getpid() == self._pid:  # a forked child has these handlers too
            self._put_back_by_signal = self._changed
            try:
                self._put_back()
                if not callable(former):  # else the process may live on, and the block removes it
                    remove(state_file(self._folder))
            except KnobError as error:
                print(f"energyaware: {error}", file=sys.stderr)
        if callable(former):
            former(number, frame)
            return
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _numbers(names: tuple[str, ...]) -> list[int]:
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold Ctrl-C, SIGTERM and SIGHUP back until the block is left, then let them happen."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []
    former = {number: signal.getsignal(number) for number in _numbers(_DISTURBING)}
    try:
        for number, handler in former.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, lambda number, frame: noted.append(number))  # noqa: ARG005 - Python's signature
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for number in dict.fromkeys(noted):
            signal.raise_signal(number)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold this machine's lock of sweeps. The kernel gives it back when the process ends, however it ends.

    Raises:
        KnobError: another process holds it, or there is no place for it.
    """
    import fcntl  # here: there is none on Windows, where no knob exists either

    path = lock_file(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise KnobError(
            f"the lock {path} cannot be opened ({error.strerror or error})",
            f"make the folder writable, or choose another with the environment variable {STATE_VARIABLE}",
        ) from error
    try:
        try:
            # Of the process, not of the open file: a forked child does not keep it after kill -9.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(file, 20, 0).decode(errors="replace").strip()
            raise KnobError(
                "another run changes clocks or power caps on this machine right now"
                + (f" (process {holder})" if holder.isdigit() else ""),
                "wait for its end: two sweeps at once would measure each other",
            ) from error
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(file)


def leftover(folder: Path) -> Prior | None:
    """What a sweep noted that still runs or was killed; None where there is nothing.

    Raises:
        KnobError: the state file cannot be trusted.
    """
    return load(state_file(folder))


def recover(folder: Path, opener: Callable[[Prior], Knob] = knob_of, boot: str | None = None) -> str:
    """Put back what a killed run left, and say so; empty where there is nothing. Makes no folder where there is none.

    Raises:
        KnobError: a sweep still runs, the state file cannot be trusted, or something could not be put back.
    """
    if not os.path.lexists(state_file(folder)):
        return ""
    with locked(folder):
        return _recover(folder, opener, boot_id() if boot is None else boot)


def _recover(folder: Path, opener: Callable[[Prior], Knob], boot: str) -> str:
    path = state_file(folder)
    prior = load(path)
    if prior is None:
        return ""
    if prior.boot_id and boot and prior.boot_id != boot:
        remove(path)
        return f"the {prior.knob} settings that process {prior.pid} left are gone: the machine was restarted since"
    try:
        knob = opener(prior)
        with undisturbed():
            knob.restore(prior.values)
    except KnobError as error:
        raise KnobError(
            f"what process {prior.pid} changed and left ({prior.knob}) is not put back: {error.cause}",
            f"{error.remedy}; then delete {path}",
        ) from error
    remove(path)
    return f"{prior.knob} is put back to what was set before process {prior.pid} changed it and was killed"
