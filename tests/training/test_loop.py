from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from energyaware.errors import ModelError
from energyaware.training.checkpoint import FILE
from energyaware.training.loop import make_optimizers, native_bf16, rate_factor, train, unscaled_queries
from energyaware.training.settings import EncodedExample, TrainSettings

# The answer (5 + last word) follows from the prompt; 3 ends the text.
EXAMPLES = [
    EncodedExample((1, *([10 + n % 7] * (1 + n % 3)), 20 + n % 4, 5 + n % 4, 3), 2 + (1 + n % 3)) for n in range(40)
]
SETTINGS = TrainSettings(epochs=2, batch_size=8, checkpoint_s=0.0)


def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=32, n_positions=16, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    return GPT2LMHeadModel(config)


def mistral():
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    return MistralForCausalLM(config)


def t5():
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=32,
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_heads=2,
        dropout_rate=0,
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=0,
    )
    return T5ForConditionalGeneration(config)


def gpt_neo():
    config = GPTNeoConfig(
        vocab_size=32, max_position_embeddings=16, hidden_size=32, num_layers=2, num_heads=2,
        attention_types=[[["global", "local"], 1]],
    )  # fmt: skip
    return GPTNeoForCausalLM(config)


def untied_gpt_j():
    config = GPTJConfig(vocab_size=32, n_positions=16, n_embd=32, n_layer=1, n_head=2, rotary_dim=4)
    return GPTJForCausalLM(config)


class KilledError(Exception):
    pass


def kill_at(step):
    def progress(label, done, total, detail=""):
        if done == step:
            raise KilledError

    return progress


@pytest.mark.parametrize("make", [gpt2, mistral, t5])
def test_it_learns(make, tmp_path):
    model = make()
    report = train(model, EXAMPLES, dataclasses.replace(SETTINGS, epochs=20, checkpoint_s=1e9), tmp_path)
    assert report.answer_loss < 0.3
    assert report.steps == 100
    assert report.resumed_from == 0
    assert not model.training


@pytest.mark.parametrize("make", [gpt2, mistral, t5])
@pytest.mark.parametrize("step", [2, 5, 9])
def test_a_killed_run_ends_in_the_same_weights(make, step, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = make()
    train(whole, EXAMPLES, SETTINGS, tmp_path / "a")
    with pytest.raises(KilledError):
        train(make(), EXAMPLES, SETTINGS, tmp_path / "b", kill_at(step))
    resumed = make()
    report = train(resumed, EXAMPLES, SETTINGS, tmp_path / "b")
    assert report.resumed_from == step - 1
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_of_other_settings_is_not_resumed(tmp_path):
    with pytest.raises(KilledError):
        train(gpt2(), EXAMPLES, SETTINGS, tmp_path, kill_at(5))
    report = train(gpt2(), EXAMPLES, dataclasses.replace(SETTINGS, matrix_lr=0.001), tmp_path)
    assert report.resumed_from == 0


def test_how_often_checkpoints_are_written_does_not_stop_a_resume(tmp_path):
    with pytest.raises(KilledError):
        train(gpt2(), EXAMPLES, SETTINGS, tmp_path, kill_at(5))
    report = train(gpt2(), EXAMPLES, dataclasses.replace(SETTINGS, checkpoint_s=60.0), tmp_path)
    assert report.resumed_from == 4


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_not_resumed(damage, tmp_path):
    with pytest.raises(KilledError):
        train(gpt2(), EXAMPLES, SETTINGS, tmp_path, kill_at(5))
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:-100] if damage is None else damage)
    assert train(gpt2(), EXAMPLES, SETTINGS, tmp_path).resumed_from == 0


def test_nothing_half_written_is_left(tmp_path):
    train(gpt2(), EXAMPLES, SETTINGS, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_progress_counts_every_step(tmp_path):
    seen = []
    train(gpt2(), EXAMPLES, SETTINGS, tmp_path, lambda *args: seen.append(args), "learning")
    assert [(label, done, total) for label, done, total, _ in seen] == [("learning", n + 1, 10) for n in range(10)]
    assert all(detail.startswith("loss ") for *_, detail in seen)


def test_no_examples(tmp_path):
    with pytest.raises(ModelError, match="no examples"):
        train(gpt2(), [], SETTINGS, tmp_path)


def test_a_loss_that_is_not_finite_is_an_error(tmp_path):
    model = gpt2()
    with torch.no_grad():
        model.transformer.ln_f.weight[0] = float("nan")
    with pytest.raises(ModelError, match="loss is nan at step 0"):
        train(model, EXAMPLES, SETTINGS, tmp_path)


@pytest.mark.parametrize("make", [gpt2, mistral, t5, untied_gpt_j, gpt_neo])
def test_every_parameter_has_one_optimizer_and_embeddings_are_adams(make):
    model = make()
    muon, adam = make_optimizers(model, SETTINGS)
    in_muon = {id(p) for group in muon.param_groups for p in group["params"]}
    in_adam = {id(p) for group in adam.param_groups for p in group["params"]}
    assert not in_muon & in_adam
    assert in_muon | in_adam == {id(p) for p in model.parameters()}
    assert id(model.get_input_embeddings().weight) in in_adam
    assert id(model.get_output_embeddings().weight) in in_adam
    assert all(p.ndim == 2 for group in muon.param_groups for p in group["params"])


@pytest.mark.parametrize(
    ("make", "queries", "factor"),
    [(gpt2, 0, 1), (mistral, 0, 1), (untied_gpt_j, 0, 1), (gpt_neo, 2, 16**-0.5), (t5, 3, 16**-0.5)],
)
def test_queries_of_attention_that_does_not_scale_learn_slowly(make, queries, factor):
    model = make()
    found, rate = unscaled_queries(model)
    assert (len(found), rate) == (queries, pytest.approx(factor))
    muon, _ = make_optimizers(model, SETTINGS)
    rates = {id(p): group["lr"] for group in muon.param_groups for p in group["params"]}
    assert {key for key, lr in rates.items() if lr != SETTINGS.matrix_lr} == found
    assert {rates[key] for key in found} <= {rate * SETTINGS.matrix_lr}


def test_products_of_queries_and_keys_are_taken_as_they_are_where_queries_learn_slowly():
    """As transformers computes them: with queries twice as large, attention is that of products twice as large."""
    from transformers.models.gpt_neo.modeling_gpt_neo import GPTNeoSelfAttention

    attention = GPTNeoSelfAttention(gpt_neo().config, "global", 0).eval()
    query, key, value = torch.randn(3, 1, 2, 5, 16).unbind(0)
    _, weights = attention._attn(query, key, value)
    products = (query @ key.transpose(-1, -2)).masked_fill(~torch.tril(torch.ones(5, 5, dtype=torch.bool)), -torch.inf)
    assert torch.allclose(weights, products.softmax(-1), atol=1e-6)


def test_rates_rise_stay_and_fall():
    settings = TrainSettings(warmup=0.1, decay=0.5)
    factors = [rate_factor(step, 100, settings) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[20] == 1
    assert 0 < factors[-1] < 0.05
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))


def test_steps_count_incomplete_batches():
    assert TrainSettings(epochs=3, batch_size=8).steps(17) == 9


def test_bf16_only_where_the_processor_has_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True})
    assert not native_bf16(torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert native_bf16(torch.device("cpu"))
    assert not native_bf16(torch.device("meta"))


def test_bf16_training_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr("energyaware.training.loop.native_bf16", lambda device: True)
    model = gpt2()
    assert train(model, EXAMPLES, SETTINGS, tmp_path).dtype == "bf16"
    assert model.dtype == torch.float32


# Two prompts, each with an answer of three tokens and the end of the text.
LONG = [EncodedExample((1, 10 + n % 2, 20, 5 + n % 2, 6, 7 + n % 2, 3), 3, 4) for n in range(16)]


@pytest.mark.parametrize("make", [gpt2, mistral, t5])
def test_an_answer_of_several_tokens_is_learnt_to_its_end(make, tmp_path):
    model = make()
    train(model, LONG, TrainSettings(epochs=40, batch_size=8, early_until=0.0), tmp_path)
    for example in LONG[:2]:
        prompt = torch.tensor([example.token_ids[:3]])
        written = model.generate(prompt, max_new_tokens=8, do_sample=False, pad_token_id=0, eos_token_id=3)
        skipped = 1 if model.config.is_encoder_decoder else 3
        assert tuple(written[0, skipped:].tolist()) == example.token_ids[3:]
