from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from energyaware.compression.masks import check_amount, magnitude_mask, n_m_mask, row_mask
from energyaware.errors import CompressionError

# Few distinct values, so that ties are common.
values = st.sampled_from([0.0, -0.5, 0.5, 1.0, -1.0, 2.0, 1e-30, -3e30])


@st.composite
def matrices(draw, multiple=1):
    rows = draw(st.integers(1, 6))
    columns = multiple * draw(st.integers(1, 6)) + draw(st.integers(0, multiple - 1))
    entries = draw(st.lists(values, min_size=rows * columns, max_size=rows * columns))
    return torch.tensor(entries).view(rows, columns)


@st.composite
def patterned(draw):
    m = draw(st.integers(2, 9))
    return draw(matrices(multiple=m)), draw(st.integers(1, m - 1)), m


@given(weight=matrices(), sparsity=st.floats(0.01, 0.99))
def test_magnitude_mask_equals_a_stable_sort(weight, sparsity):
    flat = weight.abs().flatten().tolist()
    dropped = sorted(range(len(flat)), key=lambda index: (flat[index], index))[: math.floor(sparsity * len(flat))]
    expected = torch.ones(len(flat), dtype=torch.bool)
    expected[dropped] = False
    assert torch.equal(magnitude_mask(weight, sparsity), expected.view(weight.shape))


@given(case=patterned())
@settings(max_examples=50)
def test_n_m_mask_equals_a_stable_sort_of_each_group(case):
    weight, n, m = case
    mask = n_m_mask(weight, n, m)
    for row, kept in zip(weight.abs().tolist(), mask.tolist(), strict=True):
        for start in range(0, len(row), m):
            group = range(start, min(start + m, len(row)))
            order = sorted(group, key=lambda index: (-row[index], index))
            share = math.ceil(n * len(group) / m)
            assert [index for index in group if kept[index]] == sorted(order[:share])


@given(case=patterned())
@settings(max_examples=50)
def test_n_m_mask_of_a_transposed_view_is_that_of_its_copy(case):
    weight, n, m = case
    assert torch.equal(n_m_mask(weight.T.contiguous().T, n, m), n_m_mask(weight, n, m))


@given(weight=matrices(), sparsity=st.floats(0.01, 0.99))
def test_row_mask_equals_a_stable_sort_of_each_row(weight, sparsity):
    dropped = math.floor(sparsity * weight.shape[1])
    for row, kept in zip(weight.tolist(), row_mask(weight, sparsity).tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda index: (row[index], index))
        assert [index for index in range(len(row)) if not kept[index]] == sorted(order[:dropped])


@given(case=patterned())
@settings(max_examples=50)
def test_a_shorter_last_group_never_keeps_a_smaller_share(case):
    weight, n, m = case
    rest = weight.shape[1] % m
    if rest:
        kept = n_m_mask(weight, n, m)[:, -rest:].sum(dim=1)
        assert bool((kept * m >= n * rest).all())
        assert bool(((kept - 1) * m < n * rest).all())


def test_patterns_need_a_matrix():
    with pytest.raises(CompressionError, match="needs a matrix"):
        n_m_mask(torch.ones(8), 2, 4)


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 4), (5, 4), (-1, 4)])
def test_pattern_must_keep_some_and_drop_some(n, m):
    with pytest.raises(CompressionError, match="not a pattern"):
        n_m_mask(torch.ones(2, 4), n, m)


@pytest.mark.parametrize("amount", [0.0, 1.0, (4, 4), (0, 4)])
def test_bad_amounts_are_refused(amount):
    with pytest.raises(CompressionError, match=r"not inside|not a pattern"):
        check_amount(amount)
