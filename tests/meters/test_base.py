import pytest

from energyaware.errors import MeterError
from energyaware.meters.base import Combined, Meter, TickingMeter, start_on_tick
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


class Ticking(Fake):
    """Waits for its counter where it is asked to."""

    def start_on_tick(self):
        self.log.append(("wait", self.name))
        return self.start()

    def know_idle(self, idle_w):
        self.log.append(("idle", dict(idle_w)))


def test_only_meters_with_coarse_steps_wait():
    log = []
    assert start_on_tick(Fake("est", ["cpu"], log)) == "mark of est"
    assert log == [("start", "est")]
    assert start_on_tick(Ticking("gpu", ["gpu0"], log)) == "mark of gpu"
    assert log[1:] == [("wait", "gpu"), ("start", "gpu")]


def test_the_waiting_lies_outside_the_windows_of_the_others():
    log = []
    meter = Combined([Fake("est", ["cpu"], log), Ticking("gpu", ["gpu0"], log)])
    assert isinstance(meter, TickingMeter)
    assert meter.stop(start_on_tick(meter)) == {"cpu": 2.0, "gpu0": 2.0}
    assert log == [("wait", "gpu"), ("start", "gpu"), ("start", "est"), ("stop", "est"), ("stop", "gpu")]
    log.clear()
    meter.start()
    assert ("wait", "gpu") not in log
    log.clear()
    meter.know_idle({"gpu0": 70.0})
    assert log == [("idle", {"gpu0": 70.0})]


class Lost(Fake):
    """A device that is gone."""

    def start(self):
        raise MeterError(f"{self.name} is lost", "plug it in")

    def stop(self, mark):
        super().stop(mark)
        raise MeterError(f"{self.name} is lost", "plug it in")

    def close(self):
        super().close()
        raise MeterError(f"{self.name} is lost", "plug it in")


def test_a_device_that_is_lost_leaves_no_other_window_open():
    log = []
    meter = Combined([Fake("a", ["cpu"], log), Lost("b", ["gpu0"], log), Fake("c", ["dram"], log)])
    with pytest.raises(MeterError, match="b is lost"):
        meter.start()
    assert log == [("start", "a"), ("stop", "a")]
    log.clear()
    with pytest.raises(MeterError, match="b is lost"):
        meter.stop(("mark of a", "mark of b", "mark of c"))
    assert log == [("stop", "c"), ("stop", "b"), ("stop", "a")]
    log.clear()
    with pytest.raises(MeterError, match="b is lost"):
        meter.close()
    assert sorted(log) == [("close", "a"), ("close", "b"), ("close", "c")]
