"""Which models there are: the embedded ones, those of the papers, any Hugging Face id and any local directory."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from energyaware.errors import ModelError


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model is and where it comes from.

    Attributes:
        name: how it is called in ids, tables and file names.
        family: architecture (`gpt2`, `mistral`, `gpt-neo`, …; `unknown` until it is loaded).
        size: `tiny` or `mini` for embedded models, else the parameter count by which it is known.
        hub_id: Hugging Face id, None for embedded and local models.
        revision: git revision on the hub; None stands for the default branch.
        path: local directory, None for embedded and hub models.
    """

    name: str
    family: str
    size: str
    hub_id: str | None = None
    revision: str | None = None
    path: Path | None = None

    @property
    def embedded(self) -> bool:
        """Whether it is trained here on first use."""
        return self.hub_id is None and self.path is None


# T5 and embedded siblings of the other architectures belong here once they can be trained and scored.
CATALOGUE: MappingProxyType[str, ModelSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            ModelSpec("tiny-gpt2", "gpt2", "tiny"),
            ModelSpec("mini-gpt2", "gpt2", "mini"),
            ModelSpec("tiny-mistral", "mistral", "tiny"),
            ModelSpec("mini-mistral", "mistral", "mini"),
            ModelSpec("gpt2", "gpt2", "124M", hub_id="openai-community/gpt2"),
            ModelSpec("gpt-neo-2.7b", "gpt-neo", "2.7B", hub_id="EleutherAI/gpt-neo-2.7B"),
            # The default branch of GPT-J holds pickles only.
            ModelSpec("gpt-j-6b", "gpt-j", "6B", hub_id="EleutherAI/gpt-j-6b", revision="refs/pr/40"),
            ModelSpec("falcon-7b", "falcon", "7B", hub_id="tiiuae/falcon-7b"),
            ModelSpec("mistral-7b", "mistral", "7B", hub_id="mistralai/Mistral-7B-v0.1"),
        )
    }
)

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def find(name: str) -> ModelSpec:
    """Find a model by catalogue name, local directory or Hugging Face id, tried in that order.

    Raises:
        ModelError: nothing of that name; close catalogue names are given.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    directory = Path(name).expanduser()
    if name and directory.is_dir():
        if not (directory / "config.json").is_file():
            raise ModelError(
                f"the directory {name} holds no model (no config.json)", "name a directory made by save_pretrained"
            )
        return ModelSpec(_plain(directory.resolve().name), "unknown", "unknown", path=directory.resolve())
    for spec in CATALOGUE.values():
        if spec.hub_id is not None and spec.hub_id.lower() == name.lower():
            return spec
    if _HUB_ID.fullmatch(name):
        return ModelSpec(_plain(name.split("/")[1]), "unknown", "unknown", hub_id=name)
    close = difflib.get_close_matches(name.lower(), CATALOGUE, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise ModelError(
        f"unknown model {name!r}",
        f"{hint}Known: {', '.join(CATALOGUE)}; or give a Hugging Face id (owner/name) or an existing directory",
    )


def _plain(name: str) -> str:
    """A name that file names and pytest's `-k` can hold."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.").lower() or "model"
