"""Progress is seen although pytest captures output."""


def test_a_bar_is_drawn_under_capture(suite):
    suite.makepyfile(
        test_suite="""
        def test_training(energy_progress):
            for step in range(1, 4):
                energy_progress("training mini", step, 3, f"loss {step}")
        """
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    result.stderr.fnmatch_lines(["*training mini: 100%*3/3*loss 3*"])


def test_quiet_draws_none(suite):
    suite.makepyfile(
        test_suite="""
        def test_training(energy_progress):
            energy_progress("training mini", 1, 1)
        """
    )
    result = suite.runpytest_subprocess("-q")
    result.assert_outcomes(passed=1)
    assert "training mini" not in result.stderr.str() + result.stdout.str()
