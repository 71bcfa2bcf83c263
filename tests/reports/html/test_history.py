import dataclasses

from energyaware.reports.html.history import history


def runs(bench, material_of, levels):
    found = []
    for number, level in enumerate(levels, 1):
        run = material_of(bench("a", level)).run
        found.append(
            dataclasses.replace(
                run, path=f"{number:04}_run.json", commit=f"{number:040x}", datetime=f"2026-01-{number:02}T00:00:00"
            )
        )
    return found


def test_a_step_is_marked_where_the_new_level_begins(bench, material_of, table):
    content = history(material_of(bench("a"), runs=runs(bench, material_of, [1.0] * 8 + [1.2] * 8)))
    (chart,) = content["charts"]
    rows = table(chart)
    assert [row["number"] for row in rows if row["changed"]] == [9]
    assert abs(rows[-1]["energy_ratio"] - 1.2) < 1e-3
    assert content["text"] == ["t.py::a: +20.0 % from 0009_run on"]


def test_few_runs_are_drawn_and_said_to_be_few(bench, material_of):
    content = history(material_of(bench("a"), runs=runs(bench, material_of, [1.0, 1.1])))
    assert content["text"][0].startswith("Too few runs")
    assert len(content["charts"][0]["rows"]) == 2


def test_one_run_is_no_history(bench, material_of):
    assert history(material_of(bench("a"))) is None
