"""Datasets of the Hugging Face hub, and folders that `datasets` saved, through the `datasets` library.

No code from the hub is ever run: `datasets` 4 and later has no loading scripts, and older versions are refused.
"""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from energyaware.data.cells import SPLIT_NAMES
from energyaware.data.display import one_line
from energyaware.data.table import Table
from energyaware.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

HUB_TIMEOUT_S = 5.0
_BATCH_ROWS = 1024
_OLDEST_MAJOR = 4
_ID = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True, slots=True)
class HubId:
    """A dataset of the hub.

    Attributes:
        name: `owner/name`; a few old ones have no owner.
        revision: branch, tag or commit; None stands for the default branch.
    """

    name: str
    revision: str | None = None


def parse_hub_id(text: str) -> HubId | None:
    """Take `owner/name[@revision]` apart; None where `text` is none."""
    match = _ID.fullmatch(text)
    return HubId(match["name"], match["revision"]) if match else None


def hub_tables(hub_id: HubId, subset: str | None = None) -> list[Table]:
    """The splits of a dataset of the hub: downloaded, or from the cache of `datasets`.

    The hub is asked first, with `HUB_TIMEOUT_S` for each attempt, whether the dataset is there and open to this user,
    and the commit that it names is the one that is loaded. With `HF_HUB_OFFLINE=1` the cache alone is asked.

    Args:
        hub_id: which dataset.
        subset: its configuration, where it has several.

    Raises:
        DataError: `datasets` is missing or too old; the dataset is unknown, gated, unreachable, a script, or lacks the
            subset; or no split of it is train, validation or test.
    """
    datasets = _datasets(hub_id.name)
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    commit = None if offline else _commit(hub_id)
    try:
        loaded = datasets.load_dataset(hub_id.name, subset, revision=commit or hub_id.revision)
    except Exception as error:  # datasets, the hub and their file systems raise dozens of types
        raise _explained(hub_id, error) from error
    note = f"commit {commit[:12]} of the hub" if commit else "from the cache, offline: its revision was not checked"
    return _tables(hub_id.name, loaded, note)


def is_saved(folder: Path) -> bool:
    """Whether `datasets` saved a dataset into this folder (`save_to_disk`)."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    )


def saved_tables(folder: Path) -> list[Table]:
    """The splits of a dataset that `save_to_disk` wrote.

    Raises:
        DataError: `datasets` is missing or too old, or the folder is damaged.
    """
    datasets = _datasets(str(folder))
    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # pyarrow, json and datasets raise dozens of types
        raise DataError(
            f"{folder} cannot be read as a dataset that datasets saved ({one_line(error)})", "save it anew"
        ) from error
    return _tables(str(folder), loaded, "")


def _tables(name: str, loaded: Any, note: str) -> list[Table]:
    """A table per split; where there are several, only those whose name says train, validation or test."""
    if not hasattr(loaded, "keys"):
        return [_table(name, loaded, None, (note,) if note else ())]
    known = [split for split in loaded if split in SPLIT_NAMES]
    ignored = [split for split in loaded if split not in SPLIT_NAMES]
    if not known and len(ignored) == 1:
        known, ignored = ignored, []
    if not known:
        raise DataError(
            f"{name} has the splits {', '.join(ignored) or 'none'}, none of which is train, validation or test",
            "save the split you want as a file (Dataset.to_json) and give that",
        )
    notes = [note] if note else []
    if ignored:
        notes.append(f"splits that were not read: {', '.join(ignored)}")
    alone = len({SPLIT_NAMES.get(split) for split in known}) == 1
    return [
        _table(f"{name} {split}", loaded[split], None if alone else SPLIT_NAMES[split], tuple(notes)) for split in known
    ]


def _table(name: str, part: Any, split: str | None, notes: tuple[str, ...]) -> Table:
    # Classes are stored as numbers; their names are what a reader should see.
    classes = {
        column: feature.names for column, feature in part.features.items() if type(feature).__name__ == "ClassLabel"
    }

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, list[object]]]:
        number = 0
        for batch in part.select_columns(list(dict.fromkeys(wanted))).iter(_BATCH_ROWS):
            for values in zip(*(batch[column] for column in wanted), strict=True):
                number += 1
                yield (
                    number,
                    [
                        _class_name(classes[column], value) if column in classes else value
                        for column, value in zip(wanted, values, strict=True)
                    ],
                )

    return Table(name, tuple(part.column_names), rows, row_word="row", split=split, notes=notes)


def _class_name(names: Sequence[str], value: Any) -> str | None:
    """-1 is what public test splits hold in place of the answer."""
    return names[value] if value is not None and 0 <= value < len(names) else None


def _commit(hub_id: HubId) -> str:
    api = importlib.import_module("huggingface_hub").HfApi()
    try:
        return str(api.dataset_info(hub_id.name, revision=hub_id.revision, timeout=HUB_TIMEOUT_S).sha)
    except Exception as error:  # see above
        raise _explained(hub_id, error) from error


def _explained(hub_id: HubId, error: Exception) -> DataError:
    """Translate what the hub and `datasets` raise into a cause and a remedy."""
    kinds: set[str] = set()
    text = one_line(error)
    cause: BaseException | None = error
    while cause is not None:
        kinds |= {kind.__name__ for kind in type(cause).__mro__}
        cause = cause.__cause__ or cause.__context__
    name = hub_id.name
    if "GatedRepoError" in kinds or "gated dataset" in text:
        return DataError(f"the dataset {name} is gated", "accept its terms on huggingface.co and run `hf auth login`")
    if "RevisionNotFoundError" in kinds:
        return DataError(f"the dataset {name} has no revision {hub_id.revision!r}", "check its branches and commits")
    if "RepositoryNotFoundError" in kinds or "HFValidationError" in kinds:
        return DataError(
            f"neither a file nor a dataset of the hub is called {name} (or it is private)",
            "check the path or the id; private datasets need `hf auth login`",
        )
    offline = {"OfflineModeIsEnabled", "ConnectionError", "ConnectError", "TimeoutException", "LocalEntryNotFoundError"}
    if kinds & offline:
        return DataError(
            f"the hub cannot be reached for the dataset {name}",
            "give a local file, or go online; with HF_HUB_OFFLINE=1 a dataset that was loaded before comes from the "
            "cache",
        )
    if "scripts are no longer supported" in text:
        return DataError(
            f"the dataset {name} is a program, and no code from the hub is run", "give a copy of it in Parquet or JSON"
        )
    if "onfig" in text and "vailable" in text:
        return DataError(f"the dataset {name} needs a subset ({text})", f"name it: hf:{name}:subset=NAME")
    return DataError(f"the dataset {name} cannot be loaded ({text})", "check its id, or give a local file")


def _datasets(name: str) -> Any:
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise DataError(f"{name} needs the package datasets", "run `pip install datasets`") from error
    if int(datasets.__version__.partition(".")[0]) < _OLDEST_MAJOR:
        raise DataError(
            f"datasets {datasets.__version__} could run code from the hub", "run `pip install --upgrade datasets`"
        )
    return datasets
