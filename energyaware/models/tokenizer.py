"""The embedded models' tokenizer: byte-level BPE, so that any text can be written, learned from the training texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from energyaware.errors import ModelError

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
VOCABULARY = 2048
"""Most entries; a small corpus yields fewer."""

_SPLIT = r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"


def train_tokenizer(texts: Iterable[str], words: Sequence[str] = (), vocabulary: int = VOCABULARY) -> Any:
    """Learn a tokenizer.

    Every text begins with `BOS`; bytes never seen in training stay representable; a word is led by its space.

    Args:
        texts: what to learn from.
        words: each becomes a single token when it follows a space.
        vocabulary: most entries, at least 512.

    Returns:
        a `transformers.PreTrainedTokenizerFast`, which `AutoTokenizer` can load once saved.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    tokenizer_id = core.token_to_id(BOS)
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer_id)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=BOS, eos_token=EOS, pad_token=PAD)
    split = [f" {word}" for word in words if len(pieces(tokenizer, f" {word}")) > 1]
    tokenizer.add_tokens(split)
    return tokenizer


def extend_tokenizer(tokenizer: Any, texts: Iterable[str], words: Sequence[str] = (), limit: int = 1024) -> int:
    """Give frequent words of new texts their own token, so that sequences stay short. Changes `tokenizer`.

    Args:
        texts: the new dataset's training texts.
        words: these come first.
        limit: most tokens to add.

    Returns:
        how many were added; the model's embeddings must be resized to `len(tokenizer)`.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(f" {word}" for word in text.split())
    wanted = [f" {word}" for word in words] + [word for word, count in counts.most_common() if count > 1]
    fresh = [word for word in dict.fromkeys(wanted) if len(pieces(tokenizer, word)) > 1]
    return int(tokenizer.add_tokens(fresh[:limit]))


def grow_tokenizer(tokenizer: Any, texts: Iterable[str], known: Iterable[str] = (), limit: int = 1536) -> Any:
    """A tokenizer that also knows the frequent words of new texts, and splits known texts as before.

    Unlike `extend_tokenizer` it learns merges of BPE, so a new word never matches the beginning of a longer one.

    Args:
        tokenizer: made by `train_tokenizer`; left as it is.
        texts: the new datasets' training texts.
        known: texts in which nothing may change, since a model has learnt their pieces.
        limit: most tokens to add.

    Returns:
        the grown tokenizer; the model's embeddings must be resized to its length.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    core = tokenizer.backend_tokenizer
    counts, old = _words(core, texts), _words(core, known)
    grown = json.loads(core.to_str())
    merges = [tuple(merge) for merge in grown["model"]["merges"]]
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    # With words that were added beside the merges among them, identifiers have no holes.
    vocabulary: dict[str, int] = grown["model"]["vocab"] | {
        token["content"]: token["id"] for token in grown["added_tokens"]
    }
    # A merge of two neighbours in a known word would change that word.
    fixed = {pair for word in old for pair in pairwise(_merged(word, ranks))}
    most = len(vocabulary) + limit
    for word, count in counts.most_common():
        if count < 2 or len(vocabulary) >= most:
            break
        parts = _merged(word, ranks)
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair in fixed:
                break
            ranks[pair] = len(ranks)
            vocabulary.setdefault("".join(pair), len(vocabulary))
            parts = _merged(word, ranks)
    grown["model"]["vocab"] = vocabulary
    grown["model"]["merges"] = [list(merge) for merge in ranks]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(grown)), bos_token=BOS, eos_token=EOS, pad_token=PAD
    )


def _words(core: Any, texts: Iterable[str]) -> Counter[str]:
    """The words between which BPE never merges, in its own alphabet, with their counts."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in core.pre_tokenizer.pre_tokenize_str(text))
    return counts


def _merged(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """What BPE makes of a word: the pair that was learnt first is merged first, until no pair is known."""
    parts = list(word)
    while len(parts) > 1:
        place = min(range(len(parts) - 1), key=lambda index: ranks.get((parts[index], parts[index + 1]), len(ranks)))
        if (parts[place], parts[place + 1]) not in ranks:
            break
        parts[place : place + 2] = ["".join(parts[place : place + 2])]
    return parts


def pieces(tokenizer: Any, text: str) -> list[int]:
    """The token ids of `text`, without special tokens."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def require_single_tokens(tokenizer: Any, words: Sequence[str]) -> None:
    """Check that each word is one token after a space, all different.

    Raises:
        ModelError: one is not.
    """
    ids = [pieces(tokenizer, f" {word}") for word in words]
    for word, found in zip(words, ids, strict=True):
        if len(found) != 1:
            raise ModelError(f"the tokenizer splits {word!r} into {len(found)} tokens", "train it with this word")
    if len({found[0] for found in ids}) < len(words):
        raise ModelError("two of the words share a token", "make them differ")
