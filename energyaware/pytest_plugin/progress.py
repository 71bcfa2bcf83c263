"""Progress bars that are seen although pytest captures output."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import pytest

# A log file gets a line now and then instead of a moving bar.
_LOG_INTERVAL_S = 10.0


class TerminalProgress:
    """A `Progress` that draws one tqdm bar at a time on the real standard error."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")
        self._bar: Any = None
        self._label = ""

    def __call__(self, label: str, done: int, total: int, detail: str = "") -> None:
        """Move the bar of `label` to `done`; it closes when done."""
        from tqdm import tqdm

        with self._uncaptured():
            if self._bar is not None and (label != self._label or self._bar.total != total):
                self.close()
            if self._bar is None:
                tty = sys.stderr.isatty()
                self._label = label
                self._bar = tqdm(
                    total=total,
                    desc=label,
                    file=sys.stderr,
                    initial=0,
                    leave=True,
                    mininterval=0.2 if tty else _LOG_INTERVAL_S,
                    ascii=not tty,
                    dynamic_ncols=tty,
                    ncols=None if tty else 78,
                )
            if detail:
                self._bar.set_postfix_str(detail, refresh=False)
            self._bar.update(done - self._bar.n)
            if done >= total:
                self.close()

    def close(self) -> None:
        """End the bar under way, if any."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _uncaptured(self) -> contextlib.AbstractContextManager[object]:
        if self._capture is None:
            return contextlib.nullcontext()
        context: contextlib.AbstractContextManager[object] = self._capture.global_and_fixture_disabled()
        return context
