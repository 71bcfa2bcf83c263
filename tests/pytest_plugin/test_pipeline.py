"""`--energy-top`: unpruned variants first, then only what comes from the best of them."""

import pytest

VARIANTS = """
import time
import pytest
from energyaware.records import Variant

# The pruned ones come first, as a suite may have them.
GRID = [Variant("m", precision, pruning) for pruning in ("2of4", "dense") for precision in ("fp32", "bf16", "nf4")]
QUALITY = {"fp32": 0.9, "bf16": 0.6, "nf4": 0.3}


@pytest.mark.parametrize("variant", GRID, ids=[item.id for item in GRID])
@pytest.mark.energy(group="inference")
def test_answers(energy, variant):
    energy(sum, range(1000))
    energy.record(variant=variant, task="rca", phase="inference", quality={"accuracy": QUALITY[variant.precision]})


@pytest.mark.parametrize("variant", GRID, ids=[item.id for item in GRID])
@pytest.mark.energy(group="prefill")
def test_prefill(energy, variant):
    energy(sum, range(1000))
    energy.record(variant=variant, task="generation", phase="prefill")
"""


@pytest.fixture
def grid(suite):
    suite.makepyfile(test_suite="", test_variants=VARIANTS)


@pytest.mark.usefixtures("grid")
def test_only_the_best_are_pruned_in_every_group(measure):
    result = measure("--energy-top=1", "-rs", "-v", "--energy-weight=0.1")
    # Three unpruned and one pruned variant in each of two groups.
    result.assert_outcomes(passed=8, skipped=4)
    output = result.stdout.str()
    order = [line.split("::")[1].split(" ")[0] for line in output.splitlines() if line.startswith("test_variants.py::")]
    first_pruned = min(index for index, name in enumerate(order) if "2of4" in name)
    assert all("2of4" in name for name in order[first_pruned:])
    assert "m-bf16 has rank 2 of 3 in 'inference': not among the 1 best by R" in output
    assert "the 1 best by R go on: m-fp32; skipped: m-bf16 (rank 2), m-nf4 (rank 3)" in " ".join(output.split())


@pytest.mark.usefixtures("grid")
def test_without_it_everything_is_pruned_in_the_order_of_the_suite(measure):
    result = measure("-v")
    result.assert_outcomes(passed=12)
    assert "test_answers[m-fp32-2of4]" in next(
        line for line in result.stdout.lines if line.startswith("test_variants.py::")
    )


def test_a_suite_without_variants_is_left_alone(measure):
    measure("--energy-top=3").assert_outcomes(passed=1)


def test_a_fixture_tells_who_made_the_cut(suite, measure):
    suite.makepyfile(
        test_suite="""
        import pytest
        from energyaware.records import Variant

        GRID = [Variant("m", precision) for precision in ("fp32", "nf4")]

        @pytest.mark.parametrize("variant", GRID, ids=[item.id for item in GRID])
        @pytest.mark.energy(group="finetune")
        def test_first(energy, variant):
            energy(sum, range(1000))
            energy.record(variant=variant, quality={"accuracy": 0.9 if variant.precision == "nf4" else 0.1})

        def test_second(energy_cut):
            assert energy_cut("finetune", "m-nf4") == ""
            assert "rank 2 of 2" in energy_cut("finetune", "m-fp32")
        """
    )
    measure("--energy-top=1", "--energy-weight=0.1").assert_outcomes(passed=3)


def test_without_energy_the_fixture_keeps_everybody(suite):
    suite.makepyfile(test_suite="def test_mine(energy_cut): assert energy_cut('finetune', 'm') == ''")
    suite.runpytest_inprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize("option", ["--energy-top", "--energy-requests"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_other_numbers_are_usage_errors(measure, option, value):
    result = measure(f"{option}={value}")
    result.stderr.fnmatch_lines([f"ERROR: *{option}={value} is no whole number from 1*"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize("option", ["--energy-top=3", "--energy-requests=9"])
def test_without_energy_there_is_nothing_to_rank(suite, option):
    result = suite.runpytest_subprocess(option)
    result.stderr.fnmatch_lines(["ERROR: *nothing to rank without --energy*"])


LIFETIME = """
import pytest
from energyaware.records import Variant

GRID = [Variant("m-full"), Variant("m-lora")]


@pytest.mark.parametrize("variant", GRID, ids=[item.id for item in GRID])
@pytest.mark.energy(group="finetune")
def test_finetuning(energy, variant):
    energy.pedantic(sum, (range(1000),), setup=lambda: None, rounds=3)
    losses = [3.0, 2.0, 1.0] if variant.model == "m-full" else [3.0, 2.5, 2.0]
    energy.record(
        variant=variant, phase="finetune", traits={"base model": "m"}, features={"epochs": 3},
        samples={"training_loss": losses, "validation_loss": losses},
    )


@pytest.mark.parametrize("variant", GRID, ids=[item.id for item in GRID])
@pytest.mark.energy(group="finetuned inference")
def test_inference(energy, variant):
    energy(sum, range(1000))
    energy.record(variant=variant, phase="inference", quality={"accuracy": 0.9}, requests=4)
"""


def test_both_phases_are_added_up_in_the_terminal_and_in_markdown(suite, measure):
    suite.makepyfile(test_suite=LIFETIME)
    result = measure("--energy-requests=1000", "--energy-report=out")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*fine-tuning and 1,000 requests*"])
    text = (suite.path / "out" / "energy.md").read_text()
    assert "## Fine-tuning and 1,000 requests" in text
    assert "3.000 → 2.500 → 2.000" in text
    assert "conclusions" not in text  # the quick suite lacks what they need


def test_a_run_without_fine_tuning_says_so(measure):
    result = measure("--energy-requests=1000")
    assert "No variant was both fine-tuned and measured in inference here" in " ".join(result.stdout.str().split())


def test_the_full_suite_ends_with_the_papers_conclusions(measure):
    result = measure("--energy-suite=full")
    result.stdout.fnmatch_lines(["*Do the papers' conclusions hold here?*", "not testable: *"])
