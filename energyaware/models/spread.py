"""Models on several GPUs: accelerate's `device_map="auto"`, and which GPUs a model occupies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from energyaware.errors import ModelError

# What inputs, activations and the key-value cache may take; `device_map="auto"` leaves as much.
_FOR_WEIGHTS = 0.9


def free_bytes(gpus: Sequence[int]) -> dict[int, int]:
    """What weights may take on each GPU."""
    return {index: int(_FOR_WEIGHTS * torch.cuda.mem_get_info(index)[0]) for index in gpus}


def plan(model: Any, room: Mapping[int, int]) -> dict[str, int]:
    """Which part of a model goes to which GPU, balanced as `from_pretrained(device_map="auto")` does it.

    Args:
        model: transformers model in the dtype that it will have.
        room: bytes for weights on each GPU.

    Returns:
        name of a module to index of its GPU. Blocks stay whole and tied weights together.

    Raises:
        ModelError: it does not fit; nothing is moved to the memory of the host, since copying it back in every call
            would be what is measured.
    """
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    whole = list(model._no_split_modules or ())
    balanced = get_balanced_memory(model, max_memory=dict(room), no_split_module_classes=whole)
    # A memory of the host of no bytes: what does not fit must not go there unseen.
    found = infer_auto_device_map(model, max_memory={**balanced, "cpu": 0}, no_split_module_classes=whole)
    outside = [name for name, place in found.items() if not isinstance(place, int)]
    if outside:
        raise ModelError(
            f"{type(model).__name__} does not fit into GPU {', '.join(map(str, room))}: no room for {outside[0]}",
            "name more GPUs with --energy-device=cuda:0,1,…, or choose a lower precision",
        )
    return dict(found)


def spread(model: Any, gpus: Sequence[int]) -> None:
    """Put a model on several GPUs, in place; its parts then hand their results on from one to the next.

    Raises:
        ModelError: it does not fit.
    """
    from accelerate import dispatch_model

    device_map = plan(model, free_bytes(gpus))
    dispatch_model(model, device_map, main_device=gpus[0])


def occupied_gpus(model: Any) -> tuple[int, ...]:
    """The GPUs that hold a part of the model or compute one, in order; empty on the CPU.

    They are where its weights and buffers lie, and what accelerate's `hf_device_map` names: a part whose weights wait
    in the memory of the host lies on no device of its own.
    """
    tensors = [*model.parameters(), *model.buffers()]
    places: Iterable[Any] = (getattr(model, "hf_device_map", None) or {}).values()
    found = {_index(tensor.device) for tensor in tensors} | {_index(_device(place)) for place in places}
    return tuple(sorted(index for index in found if index is not None))


def _device(place: Any) -> torch.device | None:
    """A place of a device map: an index, a name, or `disk`, which is no device."""
    if isinstance(place, int):
        return torch.device("cuda", place)
    return None if place == "disk" else torch.device(place)


def _index(device: torch.device | None) -> int | None:
    return (device.index or 0) if device is not None and device.type == "cuda" else None
