from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    FalconConfig,
    FalconForCausalLM,
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

from energyaware.errors import ModelError, TaskError
from energyaware.tasks.encoding import position_limit
from energyaware.variants.phases import (
    PhaseWorkload,
    decode,
    phase_workload,
    prefill,
    prompts,
    token_times,
)
from energyaware.work.counters import count, flops
from energyaware.work.traffic import cache_bytes

STEPS = 8
VOCABULARY = 96
# Wide enough for tokens to depend on positions and on what lies in the cache.
RANGE = {"initializer_range": 0.3}


def mistral(window=None):
    return MistralForCausalLM(
        MistralConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            sliding_window=window,
            **RANGE,
        )
    )


def falcon(alibi=False):
    return FalconForCausalLM(
        FalconConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            multi_query=True,
            alibi=alibi,
            max_position_embeddings=64,
            **RANGE,
        )
    )


def t5():
    """With a head of its own: a tied one makes a random model repeat what it reads."""
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCABULARY, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, decoder_start_token_id=0
        )
    )
    model.lm_head.weight = torch.nn.Parameter(torch.randn(VOCABULARY, 64))
    return model


ARCHITECTURES = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY, n_embd=64, n_layer=2, n_head=4, n_positions=64, **RANGE)
    ),
    "gpt-neo": lambda: GPTNeoForCausalLM(
        GPTNeoConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            num_layers=2,
            attention_types=[[["global", "local"], 1]],
            window_size=4,
            num_heads=4,
            intermediate_size=128,
            max_position_embeddings=64,
            **RANGE,
        )
    ),
    "gpt-j": lambda: GPTJForCausalLM(
        GPTJConfig(vocab_size=VOCABULARY, n_embd=64, n_layer=2, n_head=4, rotary_dim=8, n_positions=64, **RANGE)
    ),
    "falcon": falcon,
    "falcon-alibi": lambda: falcon(alibi=True),
    "mistral": mistral,
    "mistral-sliding": lambda: mistral(window=4),
    "t5": t5,
}


def build(name):
    torch.manual_seed(0)
    model = ARCHITECTURES[name]().eval()
    settings = model.generation_config
    settings.eos_token_id = settings.bos_token_id = None
    settings.pad_token_id = 0
    return model


@pytest.fixture(params=ARCHITECTURES)
def model(request):
    return build(request.param)


@pytest.fixture
def padded():
    """Token ids and mask, 3 × 7, the first two rows padded on the left."""
    ids = torch.arange(21).view(3, 7) * 4 + 3
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    mask[1, :1] = 0
    return ids.masked_fill(mask == 0, 0), mask


def library(model, ids, mask, steps=STEPS, **options):
    tokens = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=steps, pad_token_id=0, **options)
    return tokens[:, 1:] if model.config.is_encoder_decoder else tokens[:, ids.shape[1] :]


def test_a_padded_batch_gives_the_tokens_of_generate(model, padded):
    tokens = decode(model, prefill(model, *padded), STEPS)
    assert tokens.tolist() == library(model, *padded).tolist()
    assert tokens.shape == (3, STEPS)


def test_without_padding_a_missing_mask_a_full_mask_and_generate_agree(model, padded):
    ids, mask = padded[0] + 1, torch.ones_like(padded[1])
    expected = library(model, ids, mask).tolist()
    assert decode(model, prefill(model, ids), STEPS).tolist() == expected
    assert decode(model, prefill(model, ids, mask), STEPS).tolist() == expected
    # A model that repeats itself would agree whatever its positions and cache hold.
    assert len({tuple(row) for row in expected}) == 3
    assert len({token for row in expected for token in row}) > STEPS


def test_the_next_tokens_logits_are_those_of_a_plain_forward_pass(model, padded):
    ids = padded[0] + 1
    start = {"decoder_input_ids": torch.zeros(3, 1, dtype=torch.long)} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        expected = model(input_ids=ids, **start).logits[:, -1]
    torch.testing.assert_close(prefill(model, ids).logits, expected)


def test_decoding_leaves_the_prefill_as_it_was(model, padded):
    prefilled = prefill(model, *padded)
    size = cache_bytes(prefilled.cache)
    first = decode(model, prefilled, STEPS)
    assert cache_bytes(prefilled.cache) == size
    assert torch.equal(decode(model, prefilled, STEPS), first)
    assert torch.equal(decode(model, prefilled, 3), first[:, :3])


def test_end_tokens_stop_or_are_never_chosen(model, padded):
    free = library(model, *padded)
    # The first row ends early; the others go on unless they say the same.
    model.generation_config.eos_token_id = [int(free[0, 2]), VOCABULARY + 5]
    stopped = decode(model, prefill(model, *padded), STEPS, stop_at_eos=True)
    assert stopped.tolist() == library(model, *padded).tolist()
    assert stopped[0, 3:].eq(0).all()
    endless = decode(model, prefill(model, *padded), STEPS)
    assert endless.tolist() == library(model, *padded, min_new_tokens=STEPS).tolist()
    assert int(free[0, 2]) not in endless


def test_decoding_stops_when_all_have_ended(padded):
    model = build("gpt2")
    ids, mask = padded[0][:1], padded[1][:1]
    token = int(library(model, ids, mask)[0, 0])
    model.generation_config.eos_token_id = token
    assert decode(model, prefill(model, ids, mask), STEPS, stop_at_eos=True).tolist() == [[token]]


def test_every_token_is_reported_once(padded):
    model, seen = build("mistral"), []
    tokens = decode(model, prefill(model, *padded), STEPS, on_token=seen.append)
    assert torch.equal(torch.stack(seen, dim=1), tokens)


def test_prompts_padded_on_the_right_are_refused(padded):
    ids, mask = padded
    with pytest.raises(TaskError, match="right"):
        prefill(build("gpt2"), ids.flip(1), mask.flip(1))


def test_no_step_is_refused(padded):
    model = build("gpt2")
    with pytest.raises(ValueError, match="0 steps"):
        decode(model, prefill(model, *padded), 0)


def test_an_encoder_decoder_must_say_where_its_decoder_starts(padded):
    model = build("t5")
    model.generation_config.decoder_start_token_id = None
    with pytest.raises(ModelError, match="starts"):
        prefill(model, *padded)


def test_logits_are_computed_at_one_position_where_the_architecture_allows(padded):
    """The head's rows tell: batch × 1 and not batch × tokens."""
    model = build("gpt2")
    rows = []
    handle = model.lm_head.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[:-1]))
    prefill(model, *padded)
    handle.remove()
    assert rows == [(3, 1)]


# ---------------------------------------------------------------- work


def workload_of(model, padded, steps=STEPS):
    return PhaseWorkload(model, padded[0] + 1, steps)


def counted_by_torch(call):
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def test_flops_of_both_phases_are_those_of_pytorch_and_repeat_exactly(model, padded):
    model.set_attn_implementation("eager")
    workload = workload_of(model, padded)
    prefilled = workload.prefill()
    for call in (workload.prefill, lambda: workload.decode(prefilled), workload.generate, workload.library_generate):
        assert flops(model, call) == counted_by_torch(call) > 0
        assert count(model, call) == count(model, call)


def test_eager_and_fused_attention_count_the_same(model, padded):
    counts = []
    for implementation in ("eager", "sdpa"):
        model.set_attn_implementation(implementation)
        workload = workload_of(model, padded)
        counts.append(count(model, workload.generate))
    assert counts[0] == counts[1]


def test_the_phases_work_adds_up_to_the_whole(model, padded):
    workload = workload_of(model, padded)
    prefilled = workload.prefill()
    first, rest = count(model, workload.prefill), count(model, lambda: workload.decode(prefilled))
    whole = count(model, workload.generate)
    assert whole.flops == first.flops + rest.flops
    assert whole.read_bytes == first.read_bytes + rest.read_bytes
    assert whole.kv_bytes == rest.kv_bytes >= first.kv_bytes > 0
    if not model.config.is_encoder_decoder:  # whose encoder `generate` calls by itself
        assert count(model, workload.library_generate) == whole


@pytest.mark.parametrize(
    "options",
    [{"load_in_8bit": True}, {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}],
    ids=["int8", "nf4"],
)
@pytest.mark.parametrize("name", ["gpt2", "mistral"])
def test_quantized_models_count_the_same_where_pytorch_counts_less(name, options, padded, tmp_path):
    model = build(name)
    model.save_pretrained(tmp_path)
    quantized = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, quantization_config=BitsAndBytesConfig(**options)
    ).eval()
    plain, packed = (count(item, workload_of(item, padded).generate) for item in (model, quantized))
    assert packed.flops == plain.flops
    assert packed.kv_bytes == plain.kv_bytes
    assert packed.read_bytes < plain.read_bytes
    quantized.set_attn_implementation("eager")
    assert counted_by_torch(workload_of(quantized, padded).generate) < packed.flops


def test_the_cache_by_hand(padded):
    batch, tokens, head, four = 3, 7 + STEPS - 1, 16, 4
    by_hand = {
        "gpt2": 2 * 2 * batch * 4 * tokens * head * four,
        "mistral": 2 * 2 * batch * 2 * tokens * head * four,  # two key heads serve four queries
        "mistral-sliding": 2 * 2 * batch * 2 * 3 * head * four,  # a window of 4 keeps 3 for the next token
        "falcon": 2 * 2 * batch * 1 * tokens * head * four,
        # The answer so far, begun by the start token, and the encoder's 7 tokens.
        "t5": 2 * 2 * batch * 4 * (STEPS + 7) * head * four,
    }
    for name, expected in by_hand.items():
        model = build(name)
        assert count(model, workload_of(model, padded).generate).kv_bytes == expected, name


def test_bytes_read_while_decoding_by_hand(padded):
    """GPT-2: all weights but the position table each pass, of which one row per request, and the cache before it."""
    model = build("gpt2")
    workload = workload_of(model, padded)
    prefilled = workload.prefill()
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    positions = model.transformer.wpe.weight.nbytes
    one_token = 2 * 2 * 3 * 64 * 4  # keys and values, layers, requests, hidden size, bytes
    by_hand = sum(weights - positions + 3 * 64 * 4 + one_token * length for length in range(7, 7 + STEPS - 1))
    assert count(model, lambda: workload.decode(prefilled)).read_bytes == by_hand


def test_an_untied_embedding_is_read_by_rows_and_what_does_not_run_not_at_all(padded):
    model = build("t5")
    workload = workload_of(model, padded, steps=2)
    prefilled = workload.prefill()
    cache = cache_bytes(prefilled.cache)
    read = count(model, lambda: workload.decode(prefilled)).read_bytes
    skipped = sum(parameter.nbytes for parameter in model.encoder.block.parameters())
    skipped += sum(parameter.nbytes for parameter in model.encoder.final_layer_norm.parameters())
    for block in model.decoder.block:  # their keys and values are in the cache
        attention = block.layer[1].EncDecAttention
        skipped += attention.k.weight.nbytes + attention.v.weight.nbytes
    table = model.decoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    skipped += table.nbytes - 2 * table.shape[1] * 4  # looked up for the two tokens that the answer then has
    skipped += model.shared.weight.nbytes - 3 * 64 * 4
    assert read == 4 * sum(parameter.numel() for parameter in model.parameters()) - skipped + cache


# ---------------------------------------------------------------- workload


def test_a_workload_knows_its_tokens_and_does_the_same_as_the_library(model, padded):
    workload = PhaseWorkload(model, padded[0], STEPS, padded[1])
    assert (workload.requests, workload.tokens_in) == (3, 17)
    assert (workload.tokens_out, workload.tokens_decoded) == (3 * STEPS, 3 * (STEPS - 1))
    assert torch.equal(workload.generate(), workload.library_generate())


def test_one_time_for_the_first_token_and_one_for_each_further_one(padded):
    times = workload_of(build("gpt2"), padded).token_times()
    assert times.ttft_s > 0
    assert len(times.tpot_s) == STEPS - 1
    assert min(times.tpot_s) > 0


def test_token_times_are_taken_least_often_when_the_budget_is_spent(padded):
    drawn = []
    found = token_times(workload_of(build("gpt2"), padded), lambda: drawn.append(1), budget_s=0.0, least=3)
    assert len(found) == len(drawn) == 3


class Words:
    """A tokenizer: one token per word, its length; prompts begin with token 1."""

    bos_token_id = 1

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [1] * add_special_tokens + [len(word) + 1 for word in text.split()]}


@given(
    texts=st.lists(st.text(alphabet="ab ", max_size=12), min_size=1, max_size=5),
    batch=st.integers(1, 6),
    length=st.integers(1, 40),
)
def test_prompts_have_the_length_asked_for(texts, batch, length):
    texts = [*texts, "word"]
    ids = prompts(Words(), texts, batch, length)
    assert ids.shape == (batch, length)
    assert ids[:, 0].eq(1).all()
    assert length == 1 or ids[:, 1:].gt(1).all()


def test_each_prompt_begins_with_another_text_and_goes_on_with_the_next():
    assert prompts(Words(), ["a bb", "", "ccc"], 3, 5).tolist() == [[1, 2, 3, 4, 2], [1, 4, 2, 3, 4], [1, 2, 3, 4, 2]]


@pytest.mark.parametrize(("texts", "batch", "length"), [(["", " "], 1, 4), (["a"], 0, 4), (["a"], 1, 0)])
def test_prompts_of_nothing_are_refused(texts, batch, length):
    with pytest.raises(TaskError):
        prompts(Words(), texts, batch, length)


def test_more_tokens_than_positions_are_refused_before_anything_runs():
    model = build("gpt2")
    sizes = {"batch_size": 1, "input_tokens": 40}
    assert position_limit(model) == 64
    assert phase_workload(model, Words(), ["a b"], **sizes, new_tokens=24).tokens_in == 40
    with pytest.raises(TaskError, match="64 positions"):
        phase_workload(model, Words(), ["a b"], **sizes, new_tokens=25)
    with pytest.raises(TaskError, match="at least one"):
        phase_workload(model, Words(), ["a b"], **sizes, new_tokens=0)


def test_relative_positions_have_no_limit():
    assert position_limit(build("t5")) is None
