"""Prefill and decode at each setting of a clock or power cap: only with `--energy-dvfs=SPEC`, see docs/dvfs.md."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from energyaware.config import EnergyConfig
from energyaware.dvfs.catalogue import open_knob
from energyaware.dvfs.spec import Spec, choose, parse_spec, refuse_estimated_domain, setting_text
from energyaware.dvfs.state import state_dir
from energyaware.dvfs.sweep import Sweep, recover
from energyaware.errors import EnergyAwareError, KnobUnavailableError, OptionError
from energyaware.pytest_plugin import config_of
from energyaware.pytest_plugin.fixture import ENERGY_SESSION
from energyaware.records import Variant

if TYPE_CHECKING:
    from benchmarks.conftest import PhaseRow
    from energyaware.variants.phases import Prefilled

CLOCK_SAMPLES = 5

OFF = "nothing is changed without --energy-dvfs=SPEC (cpu, package, gpu-clock or gpu-power; see docs/dvfs.md)"


def dvfs_variants_of(config: pytest.Config) -> tuple[Variant, ...]:
    """The variants swept: every unpruned one in the full suite, else the first model in fp32."""
    from benchmarks.conftest import models_of
    from energyaware.variants.grid import full_grid, make_variant

    models = tuple(models_of(config))
    if config_of(config).suite == "full":
        return tuple(item for item in full_grid(models) if item.pruning == "dense")
    return (make_variant(models[0]),)


def gpu_of_run(config: EnergyConfig, knob: str) -> int | None:
    """Index of the GPU that the models run on; None on the CPU. Torch is asked for GPU knobs alone.

    Raises:
        OptionError: models are spread over several.
    """
    if not knob.startswith("gpu"):
        return None
    from energyaware.models.device import resolve, spread_gpus

    if spread_gpus(config.device):
        raise OptionError(
            f"--energy-dvfs sets the clock of one GPU, and --energy-device={config.device} spreads models over several",
            "name one GPU",
        )
    kind, _, index = resolve(config.device).partition(":")
    return int(index or 0) if kind == "cuda" else None


def settings_of(config: EnergyConfig, spec: Spec, collect_only: bool) -> tuple[float, ...]:
    """The settings of the sweep, in MHz or W.

    Raises:
        OptionError: a setting that this machine does not offer.
        KnobError: this machine or user cannot set it.
    """
    if not collect_only:
        recover(state_dir())  # a cap that a killed run left would pass for the machine's own
    return choose(spec, open_knob(spec.knob, gpu_of_run(config, spec.knob)).offer())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every benchmark here its variants and settings; where nothing can be swept, one skipped test says why."""
    if "setting" not in metafunc.fixturenames:
        return
    config = config_of(metafunc.config)
    if config.dvfs is None:
        _skip(metafunc, OFF)
        return
    spec = parse_spec(config.dvfs)
    try:
        settings = settings_of(config, spec, metafunc.config.getoption("collectonly"))
        variants = dvfs_variants_of(metafunc.config)
    except KnobUnavailableError as error:
        _skip(metafunc, str(error))
        return
    except EnergyAwareError as error:
        raise pytest.Collector.CollectError(str(error)) from None  # shown without a traceback
    metafunc.parametrize("dvfs_variant", variants, ids=[variant.id for variant in variants])
    # Ids hold no `:`, which parts file and test.
    metafunc.parametrize(
        "setting", settings, ids=[setting_text(spec.knob, item).replace(":", "-") for item in settings]
    )


def _skip(metafunc: pytest.Metafunc, reason: str) -> None:
    nothing = pytest.param(None, None, id="none", marks=pytest.mark.skip(reason=reason))
    metafunc.parametrize(("dvfs_variant", "setting"), [nothing])


@pytest.fixture(scope="session")
def sweep(request: pytest.FixtureRequest, energy_config: EnergyConfig) -> Iterator[Sweep]:
    """The knob, held for the whole run; at its end all is as it was before."""
    knob_name = parse_spec(energy_config.dvfs or "").knob
    meter = request.config.pluginmanager.getplugin(ENERGY_SESSION).meter
    try:
        knob = open_knob(knob_name, gpu_of_run(energy_config, knob_name))
        refuse_estimated_domain(knob_name, knob.domain, {name: item.source for name, item in meter.domains.items()})
        with contextlib.ExitStack() as stack:
            held = stack.enter_context(Sweep(knob, state_dir()))
            exits = stack.pop_all()
    except KnobUnavailableError as error:
        pytest.skip(str(error))
    with exits:
        yield held


@pytest.fixture
def dvfs_row(
    sweep: Sweep,  # noqa: ARG001 - refuses before the model is loaded
    dvfs_variant: Variant,
    load_phase_row: Callable[[Variant, int], PhaseRow],
) -> PhaseRow:
    """The variant, loaded at the clock that the machine has, with one prompt."""
    return load_phase_row(dvfs_variant, 1)


def _meter_at(
    energy: Any,
    sweep: Sweep,
    setting: float,
    row: PhaseRow,
    call: Callable[[], object],
    before_round: Callable[[], None] | None,
    **facts: Any,
) -> None:
    """Meter `call` with the knob at `setting`, and record what the driver and the hardware made of it."""
    knob = sweep.knob
    text = setting_text(knob.name, setting)
    traits = row.facts["traits"] | {"dvfs": text}
    energy.record(**row.facts | {"traits": traits, "task": f"generation at {text}"}, **facts)
    try:
        with sweep.at(setting) as in_force:
            energy.pedantic(call, before_round=before_round, layout=row.layout.description)
            clocks_mhz = []
            for _ in range(CLOCK_SAMPLES):
                call()  # unmetered: the clock is read while the cores are still busy
                clocks_mhz.append(knob.running_mhz())
    except KnobUnavailableError as error:
        pytest.skip(str(error))
    known = [clock for clock in clocks_mhz if clock is not None]
    told = "the driver does not tell" if in_force is None else f"{in_force:g} {knob.unit}"
    ran = f"{min(known):g} to {max(known):g} MHz" if known else "not told"
    notes = (*row.facts["notes"], f"{text}: in force {told}, clock after a call {ran}")
    energy.record(notes=notes, samples={"clock_mhz": known} if known else {})


@pytest.mark.energy(group="dvfs prefill", candle="matmul")
def test_prefill(energy: Any, sweep: Sweep, setting: float, dvfs_row: PhaseRow) -> None:
    """One call reads the prompt and fills the cache."""
    workload = dvfs_row.workload
    _meter_at(
        energy, sweep, setting, dvfs_row, workload.prefill, dvfs_row.layout.before_round,
        phase="prefill", tokens_in=workload.tokens_in,
    )  # fmt: skip


@pytest.mark.energy(group="dvfs decode", candle="small-ops")
def test_decode(energy: Any, sweep: Sweep, setting: float, dvfs_row: PhaseRow) -> None:
    """One call goes on from a filled cache, which it leaves as it was."""
    workload, layout = dvfs_row.workload, dvfs_row.layout
    prefilled: Prefilled = workload.prefill()

    def decode() -> object:
        return workload.decode(prefilled)

    def redraw() -> None:
        nonlocal prefilled
        if layout.before_round is not None:
            layout.before_round()
        prefilled = workload.prefill()  # the cache gets a new place too

    _meter_at(
        energy, sweep, setting, dvfs_row, decode, redraw if layout.before_round is not None else None,
        phase="decode", tokens_out=workload.tokens_decoded,
    )  # fmt: skip
