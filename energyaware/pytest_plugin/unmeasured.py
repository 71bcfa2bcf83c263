"""The `energy` fixture of a run that does not measure: every benchmark stays a plain test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Call = Callable[..., Any]


class Unmeasured:
    """Runs the callable once. `benchmark` is pytest-benchmark's fixture, which then counts as used, or None."""

    measuring = False

    def __init__(self, benchmark: Any = None) -> None:
        self._benchmark = benchmark

    def __call__(self, function: Call, *args: Any, **kwargs: Any) -> Any:
        """Call `function` once and return its result."""
        return self.pedantic(function, args, kwargs)

    def pedantic(
        self,
        target: Call,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        setup: Call | None = None,
        teardown: Call | None = None,
        **_: Any,
    ) -> Any:
        """Call `setup`, `target` and `teardown` once each and return the target's result."""
        if self._benchmark is not None and hasattr(self._benchmark, "disabled"):
            self._benchmark.disabled = True
            return self._once(self._benchmark, target, args, kwargs, setup, teardown)
        return self._once(None, target, args, kwargs, setup, teardown)

    @staticmethod
    def _once(
        benchmark: Any,
        target: Call,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        setup: Call | None,
        teardown: Call | None,
    ) -> Any:
        prepared = setup() if setup is not None else None
        args, kwargs = prepared or (args, kwargs or {})
        try:
            return target(*args, **kwargs) if benchmark is None else benchmark(target, *args, **kwargs)
        finally:
            if teardown is not None:
                teardown(*args, **kwargs)

    def record(self, **facts: Any) -> None:
        """Take facts and forget them: there is no row to put them in."""

    @contextlib.contextmanager
    def window(self, name: str) -> Iterator[None]:  # noqa: ARG002 - the fixture's
        """Do nothing."""
        yield
