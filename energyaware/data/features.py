"""Cheap properties of a text that may drive the energy of reading it, as far as characters and words tell them."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WORD = re.compile(r"\S+")
_EDGES = "\"'`.,;:!?()[]{}<>«»„“”‘’…"
_SENTENCE_END = re.compile(r"[.!?…:][\"')\]»”’]*$")


@dataclass(frozen=True, slots=True)
class InputFeatures:
    """Properties of one text; None where a text without words has none.

    Attributes:
        characters: Unicode code points.
        words: runs without white space that hold a letter or digit.
        character_entropy_bits: Shannon entropy of the characters, H = -sum p log2 p, in bits per character.
        word_entropy_bits: Shannon entropy of the words, case folded, in bits per word. At most log2(words).
        type_token_ratio: distinct words per word, case folded, in (0, 1]. It falls with length: compare it between
            texts of about one length, or beside `words`.
        entity_density: share of words, in [0, 1], that look like names or identifiers: with a digit, of at least two
            letters that are all capitals, or capitalised within a sentence. A stand-in for named entities that needs
            no model; German nouns count too.
    """

    characters: int
    words: int
    character_entropy_bits: float | None
    word_entropy_bits: float | None
    type_token_ratio: float | None
    entity_density: float | None


def features_of(text: str) -> InputFeatures:
    """The properties of a text. Linear in its length; nothing is read but the text."""
    words: list[str] = []
    entities = 0
    for line in text.splitlines():
        starts_sentence = True
        for run in _WORD.findall(line):
            word = run.strip(_EDGES)
            if any(character.isalnum() for character in word):
                entities += _looks_like_entity(word, starts_sentence=starts_sentence)
                words.append(word.casefold())
                starts_sentence = False
            if _SENTENCE_END.search(run):
                starts_sentence = True
    return InputFeatures(
        characters=len(text),
        words=len(words),
        character_entropy_bits=_entropy_bits(text),
        word_entropy_bits=_entropy_bits(words),
        type_token_ratio=len(set(words)) / len(words) if words else None,
        entity_density=entities / len(words) if words else None,
    )


def mean_features(texts: Iterable[str]) -> dict[str, float]:
    """Mean over texts of the properties that do not grow with length alone; one that some text lacks is left out."""
    found = [features_of(text) for text in texts]
    means: dict[str, float] = {}
    for name in ("character_entropy_bits", "word_entropy_bits", "type_token_ratio", "entity_density"):
        values = [value for item in found if (value := getattr(item, name)) is not None]
        if values and len(values) == len(found):
            means[name] = sum(values) / len(values)
    return means


def _looks_like_entity(word: str, *, starts_sentence: bool) -> bool:
    letters = [character for character in word if character.isalpha()]
    if any(character.isdigit() for character in word):
        return True
    if len(letters) >= 2 and all(letter.isupper() for letter in letters):
        return True
    # The English "I" is always a capital.
    return not starts_sentence and word[:1].isupper() and len(letters) >= 2


def _entropy_bits(symbols: Sequence[str]) -> float | None:
    return _entropy(Counter(symbols).values(), len(symbols)) if symbols else None


def _entropy(counts: Iterable[int], total: int) -> float:
    # Written as sum p log2 (1/p), which cannot come out as -0.0.
    return sum(count / total * math.log2(total / count) for count in counts)
