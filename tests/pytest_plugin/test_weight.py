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


def test_a_measured_run_loads_no_model_library(suite, measure):
    suite.makepyfile(
        test_suite="""
        import sys

        def test_mine(energy):
            energy(sum, range(10))
            assert not [name for name in ("torch", "transformers", "matplotlib", "zeus") if name in sys.modules]
        """
    )
    measure(alone=True).assert_outcomes(passed=1)
