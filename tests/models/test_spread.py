"""No GPU is needed: accelerate plans with sizes alone, and where tensors lie is asked of fakes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from energyaware.errors import ModelError
from energyaware.models import spread as spreading
from energyaware.models.spread import occupied_gpus, plan, spread


def part_bytes(model, device_map):
    """Bytes of the parameters that each GPU gets, tied ones once."""
    found = dict.fromkeys(device_map.values(), 0)
    for name, parameter in model.named_parameters():
        (place,) = {index for part, index in device_map.items() if not part or f"{name}.".startswith(f"{part}.")}
        found[place] += parameter.nbytes
    return found


def test_a_model_larger_than_one_gpu_is_balanced_over_two_in_whole_blocks(make_model):
    model = make_model(8)
    whole = sum(parameter.nbytes for parameter in model.parameters())
    room = {2: int(0.8 * whole), 5: int(0.8 * whole)}
    device_map = plan(model, room)
    shares = part_bytes(model, device_map)
    assert set(shares) == {2, 5}
    assert sum(shares.values()) == whole
    assert all(shares[index] <= room[index] for index in room)
    assert max(shares.values()) < 0.8 * whole
    blocks = {name for name, module in model.named_modules() if type(module).__name__ in model._no_split_modules}
    assert not [part for part in device_map if any(part.startswith(f"{block}.") for block in blocks)]


def test_what_does_not_fit_is_refused_and_nothing_goes_to_the_host(make_model):
    model = make_model(8)
    whole = sum(parameter.nbytes for parameter in model.parameters())
    with pytest.raises(ModelError, match="does not fit into GPU 0, 1: no room for") as caught:
        plan(model, {0: whole // 4, 1: whole // 4})
    assert "--energy-device=cuda:0,1" in caught.value.remedy


def test_the_free_memory_of_the_named_gpus_decides(make_model, monkeypatch):
    model = make_model(4)
    whole = sum(parameter.nbytes for parameter in model.parameters())
    sent = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (whole * (1 + index), 10 * whole))
    monkeypatch.setattr("accelerate.dispatch_model", lambda *given, **named: sent.append((*given, named)))
    spread(model, (1, 3))
    assert spreading.free_bytes((1, 3)) == {1: int(0.9 * whole * 2), 3: int(0.9 * whole * 4)}
    (moved, device_map, named) = sent[0]
    assert moved is model
    assert set(device_map.values()) == {1, 3}
    assert named == {"main_device": 1}


def at(*devices, **more):
    tensors = [SimpleNamespace(device=torch.device(device)) for device in devices]
    return SimpleNamespace(parameters=lambda: tensors[:-1], buffers=lambda: tensors[-1:], **more)


@pytest.mark.parametrize(
    ("model", "gpus"),
    [
        (at("cpu", "cpu"), ()),
        (at("cuda:1", "cuda:1"), (1,)),
        (at("cuda", "cpu"), (0,)),
        (at("cuda:3", "cuda:0", "cuda:3"), (0, 3)),
        (at("cpu", "cuda:2"), (2,)),
        (at("cuda:0", "cuda:0", hf_device_map={"": 0}), (0,)),
        (at("cuda:0", "meta", "cpu", hf_device_map={"a": 0, "b": "cuda:2", "c": "cpu", "d": "disk"}), (0, 2)),
        (at("cpu", "cpu", hf_device_map={"": torch.device("cuda", 1)}), (1,)),
        (at("cpu", "cpu", hf_device_map=None), ()),
    ],
)
def test_the_gpus_that_hold_or_compute_a_part(model, gpus):
    assert occupied_gpus(model) == gpus


def test_a_model_on_the_cpu_occupies_none(make_model):
    assert occupied_gpus(make_model()) == ()
