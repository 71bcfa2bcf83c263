"""The plugin stays light: a repository that only uses the fixture pays nothing for our models."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "codecarbon", "pandas", "matplotlib", "numpy", "scipy", "zeus")


def test_importing_the_plugin_loads_nothing_heavy():
    code = f"import sys, energyaware.pytest_plugin; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unmeasured_run_loads_nothing_heavy(suite):
    suite.makepyfile(
        test_suite=f"""
        import sys

        def test_mine(energy):
            energy(sum, range(10))
            assert not [name for name in {HEAVY!r} if name in sys.modules]
        """
    )
    suite.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_measured_run_loads_no_model_library_and_of_others_only_parts(suite, measure):
    """From its start to the verdict; only a test of its own may load them."""
    names = ("torch", "transformers", "matplotlib", "zeus", "pandas", "requests", "scipy.stats", "sklearn")
    suite.path.joinpath("conftest.py").open("a").write(
        f"""
def pytest_unconfigure(config):
    import pathlib, sys

    pathlib.Path("loaded.txt").write_text(" ".join(name for name in {names!r} if name in sys.modules))
"""
    )
    measure(alone=True).assert_outcomes(passed=1)
    measure("--energy-compare", "--energy-report=out", alone=True).assert_outcomes(passed=1)
    assert suite.path.joinpath("out", "energy.md").exists()
    assert suite.path.joinpath("loaded.txt").read_text() == ""
