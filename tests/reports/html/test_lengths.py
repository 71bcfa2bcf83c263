from energyaware.records import Variant, Work
from energyaware.reports.html.lengths import lengths


def test_prefill_runs_over_input_and_decode_over_output(bench, material_of, table):
    prefills = [
        bench(
            f"p{n}", n / 10, None, variant=Variant("m"), group="prefill by length", phase="prefill", task=f"in {n}",
            work=Work(requests=1, tokens_in=n),
        )
        for n in (64, 16)
    ]  # fmt: skip
    decode = bench(
        "d", 5.0, None, variant=Variant("m"), group="decode by length", phase="decode", task="out 8",
        work=Work(requests=1, tokens_out=8), traits={"input tokens": "32"},
    )  # fmt: skip
    charts = {chart["name"]: table(chart) for chart in lengths(material_of(*prefills, decode))["charts"]}
    found = [(row["curve"], row["tokens"]) for row in charts["lengths-energy"]]
    assert sorted(found) == [
        ("decode by length, batch 1, 32 tokens in, over output tokens", 8),
        ("prefill by length, batch 1, over input tokens", 16),
        ("prefill by length, batch 1, over input tokens", 64),
    ]
    assert "lengths-quality" not in charts


def test_other_groups_are_no_sweep(bench, material_of):
    assert lengths(material_of(bench("a", work=Work(tokens_in=3)))) is None
