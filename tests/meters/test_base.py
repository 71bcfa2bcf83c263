import pytest

from energyaware.errors import MeterError
from energyaware.meters.base import Combined, Meter
from energyaware.records import Domain


class Fake:
    """Logs what is asked of it."""

    def __init__(self, name, domains, log, nests=True):
        self.name, self.nests, self.log = name, nests, log
        self.domains = {domain: Domain(name, "measured", 1e-3) for domain in domains}

    def start(self):
        self.log.append(("start", self.name))
        return f"mark of {self.name}"

    def stop(self, mark):
        assert mark == f"mark of {self.name}"
        self.log.append(("stop", self.name))
        return dict.fromkeys(self.domains, 2.0)

    def close(self):
        self.log.append(("close", self.name))


def test_several_meters_read_as_one_and_their_windows_nest():
    log = []
    meter = Combined([Fake("gpu", ["gpu0"], log), Fake("est", ["cpu", "dram"], log)])
    assert isinstance(meter, Meter)
    assert meter.name == "gpu+est"
    assert {name: domain.meter for name, domain in meter.domains.items()} == {
        "gpu0": "gpu",
        "cpu": "est",
        "dram": "est",
    }
    assert meter.stop(meter.start()) == {"gpu0": 2.0, "cpu": 2.0, "dram": 2.0}
    meter.close()
    assert log == [(verb, name) for verb, name in zip(
        ["start", "start", "stop", "stop", "close", "close"], ["gpu", "est", "est", "gpu", "gpu", "est"], strict=True
    )]  # fmt: skip


def test_one_meter_that_cannot_nest_decides_for_all():
    assert Combined([Fake("a", ["cpu"], []), Fake("b", ["gpu0"], [])]).nests
    assert not Combined([Fake("a", ["cpu"], []), Fake("b", ["gpu0"], [], nests=False)]).nests


def test_a_domain_read_twice_is_refused():
    with pytest.raises(MeterError, match="two meters read the domain cpu"):
        Combined([Fake("a", ["cpu", "gpu0"], []), Fake("b", ["dram", "cpu"], [])])
