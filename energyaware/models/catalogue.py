"""Which models there are: the embedded ones, those of the papers, any Hugging Face id and any local directory."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from energyaware.errors import ModelError
from energyaware.paths import expanded, is_dir


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model is and where it comes from.

    Attributes:
        name: how it is called in ids, tables and file names.
        family: architecture (`gpt2`, `mistral`, `gpt-neo`, …; `unknown` until it is loaded).
        size: `nano`, `tiny`, `mini` or `base` for embedded models, else the parameter count by which it is known.
        hub_id: Hugging Face id, None for embedded and local models.
        revision: git revision on the hub; None stands for the default branch.
        path: local directory, None for embedded and hub models.
        parameters: how many, shared ones once; of embedded models with a vocabulary of 2,048 entries. None if unknown.
        licence: short note on the terms of use; empty if unknown.
        gated: whether the hub asks for consent to the terms before it hands the weights out.
    """

    name: str
    family: str
    size: str
    hub_id: str | None = None
    revision: str | None = None
    path: Path | None = None
    parameters: int | None = None
    licence: str = ""
    gated: bool = False

    @property
    def embedded(self) -> bool:
        """Whether it is trained here on first use."""
        return self.hub_id is None and self.path is None


_OURS = "Apache-2.0 (trained here)"
_LLAMA = "Llama 3.2 Community License"

# Counts follow from the architecture; a test builds every model without storage and compares.
_EMBEDDED = (
    # Two ladders of four sizes, to study what the number of parameters costs; two sizes of every other architecture.
    ModelSpec("nano-gpt2", "gpt2", "nano", parameters=922_752, licence=_OURS),
    ModelSpec("tiny-gpt2", "gpt2", "tiny", parameters=3_814_912, licence=_OURS),
    ModelSpec("mini-gpt2", "gpt2", "mini", parameters=20_226_048, licence=_OURS),
    ModelSpec("base-gpt2", "gpt2", "base", parameters=41_027_840, licence=_OURS),
    ModelSpec("nano-mistral", "mistral", "nano", parameters=852_864, licence=_OURS),
    ModelSpec("tiny-mistral", "mistral", "tiny", parameters=3_672_320, licence=_OURS),
    ModelSpec("mini-mistral", "mistral", "mini", parameters=18_749_952, licence=_OURS),
    ModelSpec("base-mistral", "mistral", "base", parameters=38_677_120, licence=_OURS),
    ModelSpec("tiny-gpt-neo", "gpt-neo", "tiny", parameters=3_811_840, licence=_OURS),
    ModelSpec("mini-gpt-neo", "gpt-neo", "mini", parameters=20_216_832, licence=_OURS),
    ModelSpec("tiny-gpt-j", "gpt-j", "tiny", parameters=3_679_744, licence=_OURS),
    ModelSpec("mini-gpt-j", "gpt-j", "mini", parameters=19_947_520, licence=_OURS),
    ModelSpec("tiny-falcon", "falcon", "tiny", parameters=3_279_360, licence=_OURS),
    ModelSpec("mini-falcon", "falcon", "mini", parameters=17_177_600, licence=_OURS),
    ModelSpec("tiny-t5", "t5", "tiny", parameters=4_197_632, licence=_OURS),
    ModelSpec("mini-t5", "t5", "mini", parameters=23_077_888, licence=_OURS),
    ModelSpec("tiny-llama", "llama", "tiny", parameters=3_541_248, licence=_OURS),
    ModelSpec("mini-llama", "llama", "mini", parameters=17_963_520, licence=_OURS),
)

_HUB = (
    ModelSpec("gpt2", "gpt2", "124M", hub_id="openai-community/gpt2", parameters=124_439_808, licence="MIT"),
    ModelSpec(
        "gpt-neo-2.7b", "gpt-neo", "2.7B", hub_id="EleutherAI/gpt-neo-2.7B", parameters=2_651_307_520, licence="MIT"
    ),
    ModelSpec(
        "gpt-j-6b",
        "gpt-j",
        "6B",
        hub_id="EleutherAI/gpt-j-6b",
        # The default branch of GPT-J holds pickles only.
        revision="refs/pr/40",
        parameters=6_050_882_784,
        licence="Apache-2.0",
    ),
    ModelSpec("falcon-7b", "falcon", "7B", hub_id="tiiuae/falcon-7b", parameters=6_921_720_704, licence="Apache-2.0"),
    ModelSpec(
        "mistral-7b",
        "mistral",
        "7B",
        hub_id="mistralai/Mistral-7B-v0.1",
        parameters=7_241_732_096,
        licence="Apache-2.0",
    ),
    ModelSpec("t5-3b", "t5", "3B", hub_id="google-t5/t5-3b", parameters=2_851_598_336, licence="Apache-2.0"),
    ModelSpec(
        "llama-3.2-1b",
        "llama",
        "1B",
        hub_id="meta-llama/Llama-3.2-1B",
        parameters=1_235_814_400,
        licence=_LLAMA,
        gated=True,
    ),
    ModelSpec(
        "llama-3.2-3b",
        "llama",
        "3B",
        hub_id="meta-llama/Llama-3.2-3B",
        parameters=3_212_749_824,
        licence=_LLAMA,
        gated=True,
    ),
)

CATALOGUE: MappingProxyType[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in (*_EMBEDDED, *_HUB)})

_HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def find(name: str) -> ModelSpec:
    """Find a model by catalogue name, local directory or Hugging Face id (`owner/name[@revision]`), in that order.

    Raises:
        ModelError: nothing of that name; close catalogue names are given.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    directory = expanded(name)
    if name and is_dir(directory):
        if not (directory / "config.json").is_file():
            raise ModelError(
                f"the directory {name} holds no model (no config.json)", "name a directory made by save_pretrained"
            )
        return ModelSpec(_plain(directory.resolve().name), "unknown", "unknown", path=directory.resolve())
    if named := _HUB_ID.fullmatch(name):
        return _of_hub(named["id"], named["revision"])
    close = difflib.get_close_matches(name.lower(), CATALOGUE, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise ModelError(
        f"unknown model {name!r}",
        f"{hint}Known: {', '.join(CATALOGUE)}; or give a Hugging Face id (owner/name, owner/name@revision) or an "
        "existing directory",
    )


def by_name(specs: Iterable[ModelSpec]) -> dict[str, ModelSpec]:
    """The models by their names in ids and tables. One that is asked for twice stands there once.

    Raises:
        ModelError: two different models of one name, of which the rows could not be told apart.
    """
    found: dict[str, ModelSpec] = {}
    for spec in specs:
        other = found.setdefault(spec.name, spec)
        if other != spec:
            raise ModelError(
                f"two models would both be called {spec.name}: {_source(other)} and {_source(spec)}",
                "rename a directory, or measure them in two runs",
            )
    return found


def _source(spec: ModelSpec) -> str:
    return str(spec.path or spec.hub_id or f"the catalogue's {spec.name}")


def _of_hub(hub_id: str, revision: str | None) -> ModelSpec:
    known = next((spec for spec in CATALOGUE.values() if (spec.hub_id or "").lower() == hub_id.lower()), None)
    spec = known or ModelSpec(_plain(hub_id.split("/")[1]), "unknown", "unknown", hub_id=hub_id)
    if revision is None or revision == spec.revision:
        return spec
    # Two revisions of one model are two rows.
    short = revision[:12] if _COMMIT.fullmatch(revision) else revision
    return dataclasses.replace(spec, name=_plain(f"{spec.name}-{short}"), revision=revision)


def _plain(name: str) -> str:
    """A name that file names and pytest's `-k` can hold."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.").lower() or "model"
