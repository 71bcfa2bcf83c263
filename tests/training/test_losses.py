"""Against the definitions, computed token by token with the model's own logits."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from energyaware.training.losses import losses, mean_answer_loss
from energyaware.training.settings import EncodedExample

CPU = torch.device("cpu")
LABEL = EncodedExample((1, 9, 8, 7, 20, 3), 4, 1)
TEXT = EncodedExample((1, 12, 21, 22, 23, 24, 3), 2, 5)


@pytest.fixture(scope="module")
def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=32, n_positions=16, n_embd=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=3)
    return GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module")
def t5():
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=32, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, eos_token_id=3, decoder_start_token_id=0
    )
    return T5ForConditionalGeneration(config).eval()


def nats(logits, tokens):
    """[tokens] of one sequence: logits [tokens, vocabulary], each for the token beside it."""
    return -logits.log_softmax(-1)[range(len(tokens)), list(tokens)]


def decoder_nats(model, example):
    return nats(model(torch.tensor([example.token_ids])).logits[0, :-1], example.token_ids[1:])


def written_nats(model, prompt, target):
    decoder = torch.tensor([[0, *target[:-1]]])
    return nats(model(input_ids=torch.tensor([prompt]), decoder_input_ids=decoder).logits[0], target)


def test_a_decoder_pays_for_every_token_and_once_more_for_the_answer(gpt2):
    found = losses(gpt2, [LABEL, TEXT], CPU, early=False)
    of_label, of_text = decoder_nats(gpt2, LABEL), decoder_nats(gpt2, TEXT)
    assert found.token.item() == pytest.approx(torch.cat([of_label, of_text]).mean().item(), rel=1e-5)
    # The label's token stands at 4, so its nats at 3; the text's five at 1 to 5.
    assert found.answer.item() == pytest.approx((of_label[3] + of_text[1:6].mean()).item() / 2, rel=1e-5)
    assert found.early is None


def test_a_decoder_is_asked_for_the_label_after_every_token_of_the_prompt(gpt2):
    found = losses(gpt2, [LABEL, TEXT], CPU, early=True)
    logits = gpt2(torch.tensor([LABEL.token_ids])).logits[0, :4]
    assert found.early.item() == pytest.approx(nats(logits, [20] * 4).mean().item(), rel=1e-5)


@pytest.mark.parametrize("model", ["gpt2", "t5"])
def test_free_text_is_never_asked_for_early(model, request):
    model = request.getfixturevalue(model)
    found = losses(model, [TEXT, TEXT], CPU, early=True)
    assert found.early is None
    assert found.answer.item() == pytest.approx(losses(model, [TEXT], CPU, early=False).answer.item(), rel=1e-5)


def test_an_encoder_decoder_pays_for_what_it_writes_only(t5):
    found = losses(t5, [LABEL, TEXT], CPU, early=False)
    of_label, of_text = written_nats(t5, (1, 9, 8, 7), (20, 3)), written_nats(t5, (1, 12), (21, 22, 23, 24, 3))
    assert found.token.item() == pytest.approx(torch.cat([of_label, of_text]).mean().item(), rel=1e-5)
    assert found.answer.item() == pytest.approx((of_label[0] + of_text.mean()).item() / 2, rel=1e-5)


def test_the_encoder_is_asked_for_label_and_next_token_after_every_token_as_a_decoder_is(t5):
    plain = losses(t5, [LABEL, TEXT], CPU, early=False)
    found = losses(t5, [LABEL, TEXT], CPU, early=True)
    asked, following = [], []
    for example in (LABEL, TEXT):
        prompt = example.token_ids[: example.answer]
        for length in range(1, len(prompt) + 1):
            # Causal: what follows cannot be seen, so the encoder may as well read the beginning only.
            states = t5.encoder(input_ids=torch.tensor([prompt[:length]])).last_hidden_state
            logits = t5.lm_head(states[0, -1])[None]
            if example is LABEL:
                asked.append(nats(logits, [20]))
            if length < len(prompt):
                following.append(nats(logits, [prompt[length]]))
    written = [written_nats(t5, (1, 9, 8, 7), (20, 3)), written_nats(t5, (1, 12), (21, 22, 23, 24, 3))]
    assert found.answer.item() == pytest.approx(plain.answer.item(), rel=1e-5)
    assert found.early.item() == pytest.approx(torch.cat(asked).mean().item(), rel=1e-4)
    assert found.token.item() == pytest.approx(torch.cat([*written, *following]).mean().item(), rel=1e-4)


@pytest.mark.parametrize("model", ["gpt2", "t5"])
def test_the_mean_over_examples_does_not_depend_on_the_batches(model, request):
    model = request.getfixturevalue(model)
    examples = [LABEL, TEXT, TEXT, LABEL, TEXT]
    one, all_at_once = mean_answer_loss(model, examples, 1), mean_answer_loss(model, examples, 5)
    assert one == pytest.approx(all_at_once, rel=1e-5)
    assert one == pytest.approx(mean_answer_loss(model, examples, 2), rel=1e-5)
