"""Candles by name, made when first asked for."""

from __future__ import annotations

import difflib

from energyaware.errors import OptionError
from energyaware.measure.candle import INTERPRETER, Candle
from energyaware.measure.rounds import calls_per_window

NAMES = ("interpreter", "matmul", "small-ops")


class Candles:
    """The candles of one run. Each is made and sized once, so that all rows share it.

    Args:
        device: as `--energy-device` says; resolved when a model candle is first lit, since that loads torch.
        window_s: shortest window worth reading.
    """

    def __init__(self, device: str, window_s: float) -> None:
        self._device = device
        self._window_s = window_s
        self._made: dict[str, tuple[Candle, int]] = {}

    def get(self, name: str) -> tuple[Candle, int]:
        """The candle and how many units of it fill a window.

        Raises:
            OptionError: no candle has this name, or it needs torch, which is not installed.
        """
        if name not in self._made:
            candle = self._make(name)
            calls, _ = calls_per_window(candle.run, self._window_s)
            self._made[name] = candle, calls
        return self._made[name]

    def _make(self, name: str) -> Candle:
        if name == "interpreter":
            return INTERPRETER
        if name not in NAMES:
            close = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise OptionError(f"no candle is called {name!r}", f"{hint}Known: {', '.join(NAMES)}")
        try:
            from energyaware.models.device import resolve
            from energyaware.work import candles
        except ImportError as error:
            raise OptionError(
                f"the candle {name} needs torch ({error})", 'pip install "energyaware[models]"'
            ) from error
        if name == "matmul":
            return Candle(name, candles.MATMUL_VERSION, candles.matmul(resolve(self._device)))
        return Candle(name, candles.SMALL_OPS_VERSION, candles.small_ops(resolve(self._device)))
