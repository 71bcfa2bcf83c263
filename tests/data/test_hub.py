import importlib
import time
from importlib.util import find_spec

import pytest

from energyaware.data import hub
from energyaware.data.hub import HubId, hub_tables, parse_hub_id
from energyaware.data.source import load_dataset
from energyaware.errors import DataError


@pytest.fixture(scope="module")
def datasets():
    return pytest.importorskip("datasets")


def rows_of(datasets, first, count):
    features = datasets.Features(
        {"body": datasets.Value("string"), "kind": datasets.ClassLabel(names=["power", "cable"])}
    )
    numbers = range(first, first + count)
    return datasets.Dataset.from_dict(
        {"body": [f"text {i}" for i in numbers], "kind": [i % 2 for i in numbers]}, features=features
    )


@pytest.fixture
def three_splits(datasets):
    return datasets.DatasetDict(
        train=rows_of(datasets, 0, 30), validation=rows_of(datasets, 30, 6), test=rows_of(datasets, 36, 4)
    )


@pytest.fixture
def online(datasets, monkeypatch):
    """A hub that answers what it is told to; returns the function that tells it, and the calls that it got."""
    import huggingface_hub

    calls = []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    def answer(*, info=None, loaded=None):
        def dataset_info(self, name, *, revision=None, timeout=None):
            calls.append(("info", name, revision, timeout))
            if isinstance(info, Exception):
                raise info
            return type("Info", (), {"sha": "0123456789abcdef"})

        def load(name, subset=None, **options):
            calls.append(("load", name, subset, options))
            if isinstance(loaded, Exception):
                raise loaded
            return loaded

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
        monkeypatch.setattr(datasets, "load_dataset", load)
        return calls

    return answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("squad", HubId("squad")),
        ("owner/na-me.v1", HubId("owner/na-me.v1")),
        ("owner/name@refs/pr/1", HubId("owner/name", "refs/pr/1")),
        ("a/b/c", None),
        ("a b/c", None),
        ("owner/name@", None),
        ("", None),
    ],
)
def test_ids(text, expected):
    assert parse_hub_id(text) == expected


def test_a_saved_dataset_is_read_with_the_names_of_its_classes(tmp_path, three_splits):
    three_splits.save_to_disk(tmp_path / "saved one")
    dataset = load_dataset(f"{tmp_path / 'saved one'}:text=body,label=kind")
    assert dataset.labels == ("cable", "power")
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [30, 6, 4]
    assert {e.text for e in dataset.test} == {f"text {i}" for i in range(36, 40)}


def test_a_saved_single_split_is_drawn_from(tmp_path, datasets):
    rows_of(datasets, 0, 40).save_to_disk(tmp_path / "one")
    dataset = load_dataset(f"{tmp_path / 'one'}:text=body,label=kind")
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [28, 4, 8]


def test_a_damaged_saved_dataset_is_refused(tmp_path, three_splits):
    three_splits.save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "test" / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as a dataset that datasets saved"):
        load_dataset(f"{tmp_path / 'saved'}:text=body,label=kind")


@pytest.mark.parametrize("source", ["hf:owner/name@v1:text=body,label=kind", "owner/name@v1:text=body,label=kind"])
def test_a_dataset_of_the_hub_is_loaded_at_the_commit_that_was_asked_for(online, three_splits, source):
    calls = online(loaded=three_splits)
    dataset = load_dataset(source)
    assert calls == [
        ("info", "owner/name", "v1", hub.HUB_TIMEOUT_S),
        ("load", "owner/name", None, {"revision": "0123456789abcdef"}),
    ]
    assert dataset.notes == ("commit 0123456789ab of the hub",)
    assert len(dataset.test) == 4


def test_a_subset_is_passed_on(online, three_splits):
    calls = online(loaded=three_splits)
    load_dataset("hf:owner/name:subset=all,text=body,label=kind")
    assert calls[1][2] == "all"


def test_splits_of_other_names_are_not_read(online, datasets, three_splits):
    extra = datasets.DatasetDict(three_splits | {"unsupervised": three_splits["test"]})
    online(loaded=extra)
    dataset = load_dataset("hf:owner/name:text=body,label=kind")
    assert "splits that were not read: unsupervised" in dataset.notes
    online(loaded=datasets.DatasetDict(all=rows_of(datasets, 0, 40)))
    assert len(load_dataset("hf:owner/name:text=body,label=kind").test) == 8
    online(loaded=datasets.DatasetDict(a=three_splits["test"], b=three_splits["test"]))
    with pytest.raises(DataError, match="has the splits a, b, none of which is train, validation or test"):
        load_dataset("hf:owner/name:text=body,label=kind")


def test_hidden_answers_can_be_left_out(online, datasets, three_splits):
    hidden = datasets.Dataset.from_dict({"body": ["a", "b"], "kind": [-1, -1]}, features=three_splits["test"].features)
    online(loaded=datasets.DatasetDict(three_splits | {"test": hidden}))
    with pytest.raises(DataError, match=r"owner/name test row 1 has no label.*missing=drop"):
        load_dataset("hf:owner/name:text=body,label=kind")
    dataset = load_dataset("hf:owner/name:text=body,label=kind,missing=drop")
    assert {e.text for e in dataset.test} == {f"text {i}" for i in range(30, 36)}


def test_what_the_hub_refuses_is_explained(online):
    httpx = pytest.importorskip("httpx2" if find_spec("httpx2") else "httpx")
    from huggingface_hub import errors

    response = httpx.Response(401, request=httpx.Request("GET", "https://localhost"))
    for error, message in (
        (errors.GatedRepoError("no", response=response), "is gated. accept its terms on huggingface.co"),
        (errors.RepositoryNotFoundError("no", response=response), "neither a file nor a dataset of the hub is called"),
        (errors.RevisionNotFoundError("no", response=response), "has no revision 'v1'"),
        (httpx.ConnectError("no route"), "the hub cannot be reached for the dataset owner/name. give a local file"),
        (httpx.ReadTimeout("slow"), "the hub cannot be reached"),
        (errors.OfflineModeIsEnabled("off"), "the hub cannot be reached"),
    ):
        calls = online(info=error)
        calls.clear()
        with pytest.raises(DataError, match=message):
            hub_tables(HubId("owner/name", "v1"))
        assert [call[0] for call in calls] == ["info"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("Config name is missing.\nPlease pick one among the available configs: ['a']"), "needs a subset"),
        (ValueError("BuilderConfig 'x' not found. Available: ['a']"), "needs a subset"),
        (RuntimeError("Dataset scripts are no longer supported, but found x.py"), "no code from the hub is run"),
        (OSError("disk full"), r"cannot be loaded \(disk full\)"),
    ],
)
def test_what_datasets_refuses_is_explained(online, error, message):
    online(loaded=error)
    with pytest.raises(DataError, match=message) as raised:
        hub_tables(HubId("owner/name"))
    assert "\n" not in str(raised.value)


def test_offline_and_not_cached_says_so_within_seconds(datasets, monkeypatch, tmp_path):
    # The true library, which is offline because its tests are.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    start_s = time.monotonic()
    with pytest.raises(DataError, match="the hub cannot be reached for the dataset owner/never-there"):
        hub_tables(HubId("owner/never-there"))
    assert time.monotonic() - start_s < 60


def test_what_is_missing_or_too_old_is_said(datasets, monkeypatch):
    monkeypatch.setattr(datasets, "__version__", "3.6.0")
    with pytest.raises(DataError, match=r"datasets 3\.6\.0 could run code from the hub"):
        hub_tables(HubId("owner/name"))

    def no_datasets(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", no_datasets)
    with pytest.raises(DataError, match=r"needs the package datasets. run `pip install datasets`"):
        hub_tables(HubId("owner/name"))
