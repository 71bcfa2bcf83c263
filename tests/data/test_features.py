import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energyaware.data.features import features_of, mean_features


def test_entropies_follow_the_formula():
    features = features_of("ab ab")
    assert features.character_entropy_bits == pytest.approx(-2 * 0.4 * math.log2(0.4) - 0.2 * math.log2(0.2))
    assert features.word_entropy_bits == 0.0
    assert features_of("a b c d").word_entropy_bits == pytest.approx(2.0)


def test_words_are_counted_without_case_and_marks():
    features = features_of("The link, the LINK -- the (end).")
    assert features.words == 6
    assert features.type_token_ratio == pytest.approx(3 / 6)


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("The link failed. Power was off.", 0),
        ("The link to Oslo failed.", 1),
        ("Site R12 lost its MW link", 2),
        ("I think I was late", 0),
        ('He said: "Stop." Then nothing', 0),
        ("one\nTwo three", 0),
        ("port 7 on alarm_17", 2),
        ("A. B. C.", 0),
    ],
)
def test_what_looks_like_a_name_or_an_identifier(text, entities):
    features = features_of(text)
    assert features.entity_density == pytest.approx(entities / features.words)


def test_nothing_is_not_zero():
    for text in ("", " \n", "-- !"):
        features = features_of(text)
        assert features.words == 0
        assert features.word_entropy_bits is features.type_token_ratio is features.entity_density is None
    assert features_of("").character_entropy_bits is None


@given(st.text(max_size=300))
def test_bounds(text):
    features = features_of(text)
    assert features.characters == len(text)
    if features.words:
        assert 0 <= features.word_entropy_bits <= math.log2(features.words) + 1e-9
        assert 0 < features.type_token_ratio <= 1
        assert 0 <= features.entity_density <= 1


@given(st.lists(st.sampled_from(["alpha", "beta", "gamma"]), min_size=1), st.randoms(use_true_random=False))
def test_order_does_not_change_what_is_counted(words, rng):
    turned = rng.sample(words, len(words))
    one, other = features_of(" ".join(words)), features_of(" ".join(turned))
    assert one.word_entropy_bits == pytest.approx(other.word_entropy_bits)
    assert one.type_token_ratio == other.type_token_ratio


def test_long_texts_take_linear_time():
    features = features_of("word Name7 " * 100_000)
    assert features.words == 200_000
    assert features.entity_density == pytest.approx(0.5)


def test_means_are_over_texts_and_leave_out_what_one_of_them_lacks():
    texts = ["Alarm at Site A7", "los los los"]
    means = mean_features(texts)
    for name in ("character_entropy_bits", "word_entropy_bits", "type_token_ratio", "entity_density"):
        assert means[name] == pytest.approx(sum(getattr(features_of(text), name) for text in texts) / 2)
    assert set(mean_features([*texts, "..."])) == {"character_entropy_bits"}
    assert mean_features([]) == {}
