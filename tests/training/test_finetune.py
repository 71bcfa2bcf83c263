from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

from energyaware.errors import ModelError
from energyaware.training.finetune import (
    FinetuneSettings,
    Finetuning,
    LoraSettings,
    add_lora,
    facts_of_curve,
    keep_unpacked,
    lora_deltas,
    save_adapter,
    trainable_parameters,
)
from energyaware.training.settings import EncodedExample

# The answer (5 + last word) follows from the prompt; 3 ends the text.
EXAMPLES = [
    EncodedExample((1, *([10 + n % 7] * (1 + n % 3)), 20 + n % 4, 5 + n % 4, 3), 2 + (1 + n % 3)) for n in range(40)
]
TRAIN, VALIDATION = EXAMPLES[:32], EXAMPLES[32:]
SETTINGS = FinetuneSettings(lr=1e-2, epochs=3, batch_size=8)


def gpt2(dropout: float = 0.0):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=32, n_positions=16, n_embd=32, n_layer=2, n_head=2,
        resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def mistral():
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    return MistralForCausalLM(config)


def targets_of(model) -> list[str]:
    return [
        name
        for name, module in model.named_modules()
        if (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D") and name != "lm_head"
    ]


@pytest.fixture(params=[gpt2, mistral])
def model(request):
    return request.param()


def test_full_fine_tuning_learns_and_tells_each_epoch(model):
    tuning = Finetuning(model, TRAIN, VALIDATION, SETTINGS)
    before = tuning.validation_loss()
    curve = list(tuning.epochs())
    assert [item.epoch for item in curve] == [1, 2, 3]
    assert curve == tuning.curve
    assert curve[-1].validation < before
    assert curve[-1].training < curve[0].training
    assert facts_of_curve(curve)["validation_loss"] == [item.validation for item in curve]


def test_epochs_are_the_same_in_one_go_or_called_one_by_one(model):
    other = type(model)(model.config)
    other.load_state_dict(model.state_dict())
    one, two = (Finetuning(item, TRAIN, VALIDATION, SETTINGS) for item in (model, other))
    together = list(one.epochs())
    two.warm_up()
    apart = []
    for _ in range(3):
        two.train_epoch()
        two.validation_loss()  # one more look changes nothing
        apart.append(two.validate())
    assert [item.validation for item in apart] == pytest.approx([item.validation for item in together], rel=1e-4)


def test_dropout_leaves_the_random_numbers_of_the_process_alone():
    tuning = Finetuning(gpt2(0.1), TRAIN, VALIDATION, SETTINGS)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    tuning.train_epoch()
    assert torch.equal(torch.rand(3), expected)


def test_warming_up_changes_no_weight(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tuning = Finetuning(model, TRAIN, VALIDATION, SETTINGS)
    tuning.warm_up()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert tuning.epochs_done == 0


def test_lora_trains_adapters_alone_and_starts_at_the_base(model):
    ids = torch.arange(10).view(2, 5)
    expected = model.eval()(ids).logits.detach()
    frozen = {name: value.clone() for name, value in model.named_parameters()}
    targets = targets_of(model)
    sizes = {name: tuple(model.get_submodule(name).weight.shape) for name in targets}
    add_lora(model, targets, LoraSettings(rank=4))
    torch.testing.assert_close(model.eval()(ids).logits.detach(), expected)
    assert trainable_parameters(model) == sum(4 * sum(shape) for shape in sizes.values())
    tuning = Finetuning(model, TRAIN, VALIDATION, SETTINGS)
    before = tuning.validation_loss()
    assert list(tuning.epochs())[-1].validation < before
    after = {name.replace(".base_layer", ""): value for name, value in model.named_parameters()}
    assert all(torch.equal(after[name], value) for name, value in frozen.items())


def test_deltas_are_what_adapters_add(model):
    targets = targets_of(model)
    dense = type(model)(model.config)
    dense.load_state_dict(model.state_dict())
    add_lora(model, targets, LoraSettings(rank=4))
    list(Finetuning(model, TRAIN, VALIDATION, SETTINGS).epochs())
    with torch.no_grad():
        for name, delta in lora_deltas(model, targets).items():
            weight = dense.get_submodule(name).weight
            weight.add_(delta.T if type(dense.get_submodule(name)).__name__ == "Conv1D" else delta)
    ids = torch.arange(10).view(2, 5)
    torch.testing.assert_close(dense.eval()(ids).logits, model.eval()(ids).logits, rtol=1e-4, atol=1e-4)


def test_the_adapter_is_saved_as_safetensors(tmp_path):
    model = mistral()
    save_adapter(add_lora(model, targets_of(model), LoraSettings(rank=4)), tmp_path)
    assert {"adapter_model.safetensors", "adapter_config.json"} <= {file.name for file in tmp_path.iterdir()}


def test_seeds_decide_the_adapters():
    first, same, other = (mistral() for _ in range(3))
    for model, seed in ((first, 0), (same, 0), (other, 1)):
        add_lora(model, targets_of(model), LoraSettings(rank=4), seed)
    states = [
        {name: value for name, value in model.state_dict().items() if "lora_A" in name}
        for model in (first, same, other)
    ]
    assert states[0]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())


def test_mixed_precision_keeps_fp32_weights():
    model = mistral()
    tuning = Finetuning(model, TRAIN, VALIDATION, SETTINGS, autocast=True)
    assert math.isfinite(tuning.train_epoch())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_after_step_is_called_after_every_step():
    calls = []
    tuning = Finetuning(mistral(), TRAIN, VALIDATION, SETTINGS, after_step=lambda: calls.append(1))
    tuning.train_epoch()
    assert len(calls) == tuning.steps_per_epoch == 4


def test_a_loss_that_is_no_number_is_an_error():
    model = mistral()
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(math.nan)
    tuning = Finetuning(model, TRAIN, VALIDATION, SETTINGS)
    with pytest.raises(ModelError, match="fine-tuning loss is nan at step 0"):
        tuning.train_epoch()
    with pytest.raises(ModelError, match="validation loss is nan"):
        tuning.validation_loss()


@pytest.mark.parametrize(("train", "validation"), [([], VALIDATION), (TRAIN, [])])
def test_empty_splits_are_refused(train, validation):
    with pytest.raises(ModelError, match="give larger splits"):
        Finetuning(mistral(), train, validation, SETTINGS)


def test_a_frozen_model_is_refused():
    model = mistral().requires_grad_(False)
    with pytest.raises(ModelError, match="requires a gradient"):
        Finetuning(model, TRAIN, VALIDATION, SETTINGS)


def test_validating_before_training_is_refused():
    with pytest.raises(ModelError, match="no epoch was trained"):
        Finetuning(mistral(), TRAIN, VALIDATION, SETTINGS).validate()


def test_a_map_that_peft_cannot_adapt_is_named():
    model = mistral()
    with pytest.raises(ModelError):
        add_lora(model, ["model.norm"], LoraSettings())


class Packing(nn.Module):
    """As far as packing goes, bitsandbytes' `Linear4bit`."""

    def __init__(self, packed: bool = False) -> None:
        super().__init__()
        self.support_avx512bf16_for_cpu = True
        self.weight = nn.Parameter(torch.zeros(1))
        self.weight.quant_state = type("State", (), {"packing_format_for_cpu": packed})()


def test_packing_is_switched_off_and_named():
    model = nn.Sequential(Packing(), nn.Linear(2, 2))
    assert keep_unpacked(model) == ("0",)
    assert keep_unpacked(model) == ()


def test_what_is_packed_already_is_refused():
    with pytest.raises(ModelError, match="0 is packed"):
        keep_unpacked(nn.Sequential(Packing(packed=True)))


def test_training_with_packing_on_is_refused():
    model = mistral()
    model.extra = Packing()
    with pytest.raises(ModelError, match="keep_unpacked"):
        Finetuning(model, TRAIN, VALIDATION, SETTINGS)
