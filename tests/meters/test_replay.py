import json

import pytest

from energyaware.errors import MeterError
from energyaware.meters.base import Meter
from energyaware.meters.replay import ReplayMeter, load


def test_readings_come_in_order_and_over_again():
    meter = ReplayMeter([{"cpu": 1.0}, {"cpu": 2.0, "dram": 0.5}])
    assert isinstance(meter, Meter)
    assert set(meter.domains) == {"cpu", "dram"}
    assert {domain.source for domain in meter.domains.values()} == {"estimated"}
    read = [meter.stop(meter.start()) for _ in range(3)]
    assert read == [{"cpu": 1.0}, {"cpu": 2.0, "dram": 0.5}, {"cpu": 1.0}]
    meter.close()


@pytest.mark.parametrize("readings", [[], [{}]])
def test_an_empty_recording_is_refused(readings):
    with pytest.raises(MeterError, match="no reading"):
        ReplayMeter(readings)


def test_a_recording_is_loaded(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps([{"cpu": 1}, {"cpu": 2.5}]))
    meter = load(tmp_path / "r.json")
    assert [meter.stop(None) for _ in range(2)] == [{"cpu": 1.0}, {"cpu": 2.5}]


@pytest.mark.parametrize(
    "content", [None, "", "[", "{", "3", "null", "[3]", "[null]", '[{"cpu": "much"}]', '[{"cpu": null}]', "[]", "{}"]
)
def test_a_file_that_is_no_recording_is_named_with_a_remedy(tmp_path, content):
    path = tmp_path / "r.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(MeterError, match="record") as caught:
        load(path)
    assert '[{"cpu": 1.5' in caught.value.remedy
