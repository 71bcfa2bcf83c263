"""Save a compressed model as safetensors, and load it again, quantized ones included.

Dense, pruned and shrunk models are ordinary: `from_pretrained` reads them. So it does most models quantized by
bitsandbytes, but not those whose classes it passes over (Falcon's linear maps, T5's `wo`), nor torchao's: there is no
stable form of its tensors in safetensors, so their codes and scales are written as plain tensors. `load_compressed`
reads all of them, because it replaces modules the way `energyaware.compression.quantize` did.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from energyaware.compression.linear import convert_to_linear, is_torchao, linear_maps
from energyaware.compression.quantize import declare, quantize, replace_by_bitsandbytes
from energyaware.errors import CompressionError

_TORCHAO_KEY = "energyaware_torchao"


def save_compressed(model: Any, folder: Path) -> None:
    """Write the model's config and weights (safetensors) to `folder`.

    A model whose `Conv1D` modules became `nn.Linear` no longer fits its class: save it before, or quantized.

    Raises:
        CompressionError: packed 2:4 tensors, which are made anew from the dense weights instead.
    """
    maps = linear_maps(model)
    for linear_map in maps:
        kind = type(linear_map.module.get_parameter("weight")).__name__
        if kind.startswith("SparseSemiStructured"):
            raise CompressionError(
                f"{linear_map.name} holds a {kind}, which has no form in safetensors",
                "save the model before this step, and pack it again after loading: that is exact and fast",
            )
    if not is_torchao(maps[0].module):
        model.save_pretrained(folder)
        return
    state = {name: tensor for name, tensor in model.state_dict().items() if type(tensor) is torch.Tensor}
    for linear_map in maps:
        for part, tensor in _torchao_parts(linear_map.module).items():
            state[f"{linear_map.name}.weight.{part}"] = tensor
    weight: Any = maps[0].module.weight
    setattr(model.config, _TORCHAO_KEY, "int8wo" if weight.act_quant_kwargs is None else "int8dyn")
    try:
        model.save_pretrained(folder, state_dict=state)
    finally:
        delattr(model.config, _TORCHAO_KEY)


def load_compressed(folder: Path, device: str = "cpu") -> Any:
    """Load a model that `save_compressed` wrote, in evaluation mode.

    Raises:
        CompressionError: the folder holds no such model, or its weights do not fit its config.
    """
    import transformers
    from safetensors.torch import load_file

    if not (folder / "config.json").is_file():
        raise CompressionError(f"{folder} holds no model configuration", "name a folder made by save_compressed")
    config = transformers.AutoConfig.from_pretrained(folder)
    model_class = getattr(transformers, config.architectures[0])
    precision = getattr(config, _TORCHAO_KEY, None)
    quantization = getattr(config, "quantization_config", None)
    if precision is None and quantization is None:
        return model_class.from_pretrained(folder, use_safetensors=True, dtype="auto").to(device).eval()
    index = folder / "model.safetensors.index.json"
    names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.is_file() else []
    state: dict[str, torch.Tensor] = {}
    for name in names or ["model.safetensors"]:
        if Path(name).name != name:
            raise CompressionError(f"{index} names {name!r}, which is no file beside it", "save the model again")
        state |= load_file(folder / name)
    dtype = config.dtype or torch.float32
    if precision is not None:
        delattr(config, _TORCHAO_KEY)
        model = model_class(config)
        quantize(model, precision, compute_dtype=dtype)
    else:
        del config.quantization_config
        quantization = transformers.BitsAndBytesConfig.from_dict(quantization)
        model = model_class(config).to(dtype)
        convert_to_linear(model)
        replace_by_bitsandbytes(model, quantization)
    for linear_map in linear_maps(model):
        _restore(linear_map.name, linear_map.module, state)
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    result = model.load_state_dict(state, strict=False)
    replaced = {f"{linear_map.name}.weight" for linear_map in linear_maps(model)}
    missing = [name for name in result.missing_keys if name not in replaced | tied]
    if missing or result.unexpected_keys:
        raise CompressionError(
            f"the weights in {folder} do not fit its config: {', '.join([*missing, *result.unexpected_keys][:4])}",
            "save the model again with save_compressed",
        )
    model.tie_weights()
    model.to(device)
    if quantization is not None:
        declare(model, quantization)
    return model.eval()


def _restore(name: str, module: Any, state: dict[str, torch.Tensor]) -> None:
    """Give a quantized module the weight that was saved, and take its tensors out of `state`."""
    if is_torchao(module):
        with torch.no_grad():
            for part, tensor in _torchao_parts(module).items():
                tensor.copy_(state.pop(f"{name}.weight.{part}"))
        return
    import bitsandbytes as bnb

    weight = state.pop(f"{name}.weight")
    if isinstance(module, bnb.nn.Linear8bitLt):
        scales = state.pop(f"{name}.SCB")
        state.pop(f"{name}.weight_format", None)
        module.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False, CB=weight, SCB=scales)
        return
    prefix = f"{name}.weight."
    statistics = {key: state.pop(key) for key in list(state) if key.startswith(prefix)}
    module.weight = bnb.nn.Params4bit.from_prequantized(weight, statistics, device="cpu", module=module)


def _torchao_parts(module: Any) -> dict[str, torch.Tensor]:
    return {name: getattr(module.weight, name) for name in module.weight.__tensor_flatten__()[0]}
