"""The promise about pruning: its plain implementation is the paper's, and what it prints follows what it found."""

import pytest
import torch

from benchmarks.promises import pruning
from benchmarks.promises.pruning import AMOUNTS, Timing, layer_errors, plain_sparsegpt, timing
from energyaware.compression.sparsegpt import sparsegpt


@pytest.mark.parametrize("name", AMOUNTS)
def test_the_plain_implementation_finds_what_ours_finds(name):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(600, 192, generator=generator) * torch.exp(torch.randn(192, generator=generator))
    weight = torch.randn(40, 192, generator=generator)
    plain, ours = (prune(weight, x.T @ x, AMOUNTS[name]) for prune in (plain_sparsegpt, sparsegpt))
    torch.testing.assert_close(plain, ours, rtol=1e-3, atol=1e-3)
    assert torch.equal(plain == 0, ours == 0)


def test_dead_inputs_do_not_stop_the_plain_one():
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(2))
    x[:, 5] = 0
    pruned = plain_sparsegpt(torch.ones(4, 16), x.T @ x, 0.25)
    assert bool((pruned[:, 5] == 0).all())
    assert bool(torch.isfinite(pruned).all())


@pytest.mark.parametrize("name", AMOUNTS)
def test_errors_are_in_order(name):
    row = layer_errors(name, AMOUNTS[name], draws=5, inputs=64)
    assert row[:2] == (name, 5)
    assert row[4] < row[3] < row[2]
    assert row[-1] == "yes"


def test_both_are_timed_as_often_and_do_the_same():
    timed = timing(0.5, 64, pairs=2)
    assert len(timed.ours_s) == len(timed.plain_s) == len(timed.ratios) == 2
    assert min(*timed.ours_s, *timed.plain_s) > 0
    assert timed.ours_error == pytest.approx(timed.plain_error, rel=0.01)


@pytest.mark.parametrize(
    ("timed", "kept"),
    [
        (Timing((1.0, 2.0), (2.0, 2.0), 0.1, 0.1), True),
        (Timing((2.0, 2.0), (2.0, 1.0), 0.1, 0.1), False),
        (Timing((1.0,), (2.0,), 0.2, 0.1), False),
    ],
)
def test_the_promise_is_kept_where_it_is_no_slower_and_no_worse(timed, kept):
    assert timed.kept is kept


def test_the_exit_status_says_whether_promises_hold(monkeypatch, capsys):
    small = ["--draws=2", "--inputs=32", "--pairs=1"]
    assert pruning.main([*small, "--size=0"]) == 0
    assert "All promises hold." in capsys.readouterr().out
    monkeypatch.setattr(pruning, "timing", lambda *arguments: Timing((2.0,), (1.0,), 0.1, 0.1))
    assert pruning.main([*small, "--size=8"]) == 1
    out = capsys.readouterr().out
    assert "ours 2.00 s, plain 1.00 s, ratio 2.00" in out
    assert "A promise DOES NOT HOLD." in out
