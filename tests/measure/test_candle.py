from energyaware.measure.candle import INTERPRETER, Candle


def test_a_candle_is_known_by_name_and_version():
    assert Candle("matmul", 3, lambda: None).id == "matmul/3"
    assert INTERPRETER.id == "interpreter/1"


def test_the_interpreters_work_is_fixed():
    # Its version stands for exactly this work: a changed result means a new version.
    assert INTERPRETER.run() == INTERPRETER.run() == 780329
