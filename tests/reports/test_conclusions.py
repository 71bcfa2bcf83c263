from energyaware.ranking.conclusions import Conclusion
from energyaware.reports.conclusions import conclusion_lines


def test_a_line_tells_verdict_claim_rows_and_reason():
    found = [
        Conclusion("decode dominates", "confirmed", ("m-fp32", "m-bf16"), "80 %"),
        Conclusion("x", "refuted", (), "y"),
    ]
    assert conclusion_lines(found) == [
        "confirmed: decode dominates (m-fp32, m-bf16): 80 %",
        "refuted: x: y",
    ]


def test_control_characters_of_names_do_not_reach_the_terminal():
    (line,) = conclusion_lines([Conclusion("x", "undecided", ("a\x1b[31m",), "b\x1b[0m")])
    assert "\x1b" not in line
