from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from energyaware.errors import ModelError
from energyaware.models.tokenizer import (
    extend_tokenizer,
    grow_tokenizer,
    pieces,
    require_single_tokens,
    train_tokenizer,
)

TEXTS = ["noc: alder los, birch ais after storm cause: fiber", "alarm: birch temp hot day cause: fan"] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, ["fiber", "fan", "battery"])


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_no_text_is_lost(tokenizer, text):
    for special in ("<bos>", "<eos>", "<pad>"):
        text = text.replace(special, "")
    assert tokenizer.decode(pieces(tokenizer, text), clean_up_tokenization_spaces=False) == text


def test_a_text_begins_with_bos(tokenizer):
    assert tokenizer(TEXTS[0])["input_ids"][0] == tokenizer.bos_token_id
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}) == 3


def test_words_of_the_corpus_and_labels_are_single_tokens(tokenizer):
    require_single_tokens(tokenizer, ["fiber", "fan", "battery", "alder", "birch", "storm"])


def test_a_word_in_pieces_is_reported(tokenizer):
    with pytest.raises(ModelError, match="splits 'zeppelin'"):
        require_single_tokens(tokenizer, ["fan", "zeppelin"])


def test_two_equal_words_are_reported(tokenizer):
    with pytest.raises(ModelError, match="share a token"):
        require_single_tokens(tokenizer, ["fan", "fan"])


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in (*TEXTS[:2], "Zürich 漢 a17\n battery"):
        assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_extension_shortens_new_texts_and_keeps_old_ones():
    tokenizer = train_tokenizer(TEXTS, ["fiber", "fan"])
    old = tokenizer(TEXTS[0])["input_ids"]
    text = "observed alarm_17 900 alarm_3 12"
    before = len(pieces(tokenizer, text))
    added = extend_tokenizer(tokenizer, [text, text], ["outdoor"])
    assert added > 0
    assert len(pieces(tokenizer, text)) < before
    assert len(pieces(tokenizer, " outdoor")) == 1
    assert tokenizer(TEXTS[0])["input_ids"] == old
    assert tokenizer.decode(pieces(tokenizer, text)) == text


def test_extension_is_bounded():
    tokenizer = train_tokenizer(TEXTS, ["fiber", "fan"])
    size = len(tokenizer)
    assert extend_tokenizer(tokenizer, [f"unseen{n} unseen{n}" for n in range(50)], limit=7) == 7
    assert len(tokenizer) == size + 7


NEW = [
    "red crew sent to birchwood, alderman at storms, batteries swapped",
    "the banana bandana ababab cause: fiberglass",
] * 3


def test_growth_makes_words_of_new_texts_single_tokens():
    tokenizer = train_tokenizer(TEXTS, ["fiber", "fan"])
    grown = grow_tokenizer(tokenizer, NEW, known=TEXTS)
    for word in ("crew", "birchwood", "alderman", "storms", "banana", "bandana", "ababab", "fiberglass"):
        assert len(pieces(grown, f" {word}")) == 1, word
    assert grown.decode(pieces(grown, NEW[0])) == NEW[0]


@given(texts=st.lists(st.text("abcd :1", min_size=1, max_size=12), min_size=1, max_size=6))
def test_growth_leaves_known_texts_as_they_are_and_loses_nothing(tokenizer, texts):
    known = [*TEXTS[:2], " abcabd da cab 11", *texts[:1]]
    grown = grow_tokenizer(tokenizer, texts * 2, known)
    for text in known:
        assert grown(text)["input_ids"] == tokenizer(text)["input_ids"]
    for text in texts:
        assert grown.decode(pieces(grown, text), clean_up_tokenization_spaces=False) == text


def test_growth_keeps_identifiers_special_tokens_and_words_added_before():
    tokenizer = train_tokenizer(TEXTS, ["unheard"])
    grown = grow_tokenizer(tokenizer, NEW, TEXTS)
    assert grown.get_vocab().items() >= tokenizer.get_vocab().items()
    assert sorted(grown.get_vocab().values()) == list(range(len(grown)))
    assert pieces(grown, " unheard") == pieces(tokenizer, " unheard")
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(grown, name) == getattr(tokenizer, name)


def test_growth_is_bounded_and_survives_saving(tmp_path):
    tokenizer = train_tokenizer(TEXTS, ["fiber", "fan"])
    words = [f"{one}{other}{one}" for one in "qwxyz" for other in "qwxyz"]
    assert len(grow_tokenizer(tokenizer, words * 2, limit=6)) <= len(tokenizer) + 6 + 2  # a word is finished
    grown = grow_tokenizer(tokenizer, words * 2)
    grown.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for word in words:
        assert loaded(word)["input_ids"] == grown(word)["input_ids"]
        assert len(pieces(loaded, word)) == 1
