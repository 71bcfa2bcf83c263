import dataclasses

import pytest

from benchmarks.promises import microwave
from benchmarks.promises.microwave import (
    SplitResult,
    main,
    promise_holds,
    render,
    tabular_accuracies,
    without_validation,
)
from energyaware.data.alarm_table import alarm_values
from energyaware.data.source import load_dataset

RESULT = SplitResult(0, 80, 20, forest=0.95, logistic=0.9, language_model=0.94, finetune_s=12.3)


@pytest.fixture
def table(tmp_path):
    """Seven alarms in all patterns; the first alarm names the cause."""
    path = tmp_path / "alarms.csv"
    rows = [",".join(str(300 * (i >> bit & 1)) for bit in range(7)) + f",{i & 1}" for i in range(128)]
    path.write_text("\n".join([",".join(f"alarm_{bit}" for bit in range(7)) + ",label", *rows]), encoding="utf-8")
    return path


def test_tabular_models_learn_an_obvious_cause(table):
    forest, logistic = tabular_accuracies(load_dataset(str(table)), alarm_values(table), seed=0)
    assert logistic == 1.0
    assert forest > 0.9


def test_tabular_models_learn_from_train_and_are_scored_on_test(table):
    dataset = load_dataset(str(table))
    flipped = tuple(dataclasses.replace(e, label="01"[e.label == "0"]) for e in dataset.train)
    _, logistic = tabular_accuracies(dataclasses.replace(dataset, train=flipped), alarm_values(table), seed=0)
    assert logistic == 0.0


def test_validation_rows_join_train_and_the_fingerprint_says_so(table):
    dataset = load_dataset(str(table))
    joined = without_validation(dataset)
    assert set(joined.train) == {*dataset.train, *dataset.validation}
    assert (joined.validation, joined.test) == ((), dataset.test)
    assert joined.fingerprint != dataset.fingerprint


def test_the_promise_is_about_means_and_two_points():
    lower = dataclasses.replace(RESULT, language_model=0.91)
    assert promise_holds([RESULT])
    assert not promise_holds([lower])
    assert promise_holds([dataclasses.replace(RESULT, language_model=0.93)])
    assert promise_holds([lower, dataclasses.replace(RESULT, language_model=0.96)])


def test_the_table_shows_every_split_the_means_and_the_verdict():
    text = render([RESULT, dataclasses.replace(RESULT, seed=1, forest=0.97, finetune_s=None)], "tiny-gpt2")
    lines = text.splitlines()
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "0",
        "80",
        "20",
        "0.950",
        "0.900",
        "0.940",
        "12 s",
    ]
    assert "cached" in lines[3]
    assert [cell.strip() for cell in lines[4].strip("|").split("|")][:6] == ["mean", "", "", "0.960", "0.900", "0.940"]
    assert lines[-1] == "tiny-gpt2 lies 2.0 points below the forest; the promise (at most 2 points below) holds."


@pytest.mark.parametrize(("accuracy", "status"), [(0.94, 0), (0.5, 1)])
def test_exit_status_tells_whether_the_promise_holds(monkeypatch, capsys, accuracy, status):
    result = dataclasses.replace(RESULT, language_model=accuracy)
    monkeypatch.setattr(microwave, "run", lambda *arguments: [result])
    assert main(["table.csv"]) == status
    assert ("is broken" in capsys.readouterr().out) == bool(status)


def test_a_missing_table_is_one_line_on_standard_error(tmp_path, capsys):
    assert main([str(tmp_path / "none.csv")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "none.csv" in captured.err
    assert captured.err.count("\n") == 1
