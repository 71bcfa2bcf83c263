"""Which devices this process answers for, so that ranks side by side do not count one counter twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from energyaware.errors import MeterError

# What CUDA takes for "no device".
_HIDDEN = ("", "-1", "NoDevFiles")


def local_rank(environ: Mapping[str, str]) -> int | None:
    """Rank of this process on its machine, as torchrun says it; None where it runs alone.

    Raises:
        MeterError: WORLD_SIZE or LOCAL_RANK is no number.
    """
    try:
        if int(environ.get("WORLD_SIZE") or 1) < 2 or "LOCAL_RANK" not in environ:
            return None
        return int(environ["LOCAL_RANK"])
    except ValueError as error:
        raise MeterError(
            f"WORLD_SIZE={environ.get('WORLD_SIZE')!r} and LOCAL_RANK={environ.get('LOCAL_RANK')!r} are no numbers",
            "start the ranks with torchrun, or unset both",
        ) from error


def reads_machine(environ: Mapping[str, str]) -> bool:
    """Whether this process reads the counters that all ranks of the machine share (CPU, DRAM): only the first does."""
    return not local_rank(environ)


def visible_gpus(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """What CUDA_VISIBLE_DEVICES (HIP_VISIBLE_DEVICES on AMD) names, in order; None: every device."""
    value = environ.get("HIP_VISIBLE_DEVICES", environ.get("CUDA_VISIBLE_DEVICES"))
    if value is None:
        return None
    return () if value.strip() in _HIDDEN else tuple(part.strip() for part in value.split(","))


def own_gpus(count: int, environ: Mapping[str, str], wanted: Sequence[int] | None = None) -> tuple[int, ...]:
    """Indices, among the `count` visible devices, of those that this process reads.

    A rank reads one device: the only visible one, else that of its local rank.

    Args:
        wanted: devices that the run uses, None for all.

    Raises:
        MeterError: a wanted device does not exist, or there are more ranks than devices.
    """
    rank = local_rank(environ)
    if wanted is None:
        if rank is None or count == 0:
            return tuple(range(count))
        wanted = (0,) if count == 1 else (rank,)
    missing = [index for index in wanted if not 0 <= index < count]
    if missing:
        raise MeterError(
            f"GPU {', '.join(map(str, missing))} is not visible: this process sees {count}",
            "see CUDA_VISIBLE_DEVICES, --energy-device and the number of ranks",
        )
    return tuple(dict.fromkeys(wanted))
