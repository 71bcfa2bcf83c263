import pytest

from energyaware.errors import MeterError
from energyaware.meters.ranks import local_rank, own_gpus, reads_machine, visible_gpus


@pytest.mark.parametrize(
    ("environ", "rank"),
    [
        ({}, None),
        ({"LOCAL_RANK": "3"}, None),
        ({"WORLD_SIZE": "1", "LOCAL_RANK": "0"}, None),
        ({"WORLD_SIZE": "4"}, None),
        ({"WORLD_SIZE": "", "LOCAL_RANK": "1"}, None),
        ({"WORLD_SIZE": "4", "LOCAL_RANK": "0"}, 0),
        ({"WORLD_SIZE": "16", "LOCAL_RANK": "3"}, 3),
    ],
)
def test_only_ranks_side_by_side_have_a_rank(environ, rank):
    assert local_rank(environ) == rank
    assert reads_machine(environ) is (rank in (None, 0))


@pytest.mark.parametrize("environ", [{"WORLD_SIZE": "many"}, {"WORLD_SIZE": "2", "LOCAL_RANK": "first"}])
def test_a_rank_that_is_no_number_is_an_error(environ):
    with pytest.raises(MeterError, match="no numbers"):
        local_rank(environ)


@pytest.mark.parametrize(
    ("environ", "visible"),
    [
        ({}, None),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "2, 0"}, ("2", "0")),
        ({"CUDA_VISIBLE_DEVICES": "GPU-1a"}, ("GPU-1a",)),
        ({"CUDA_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "3"}, ("3",)),
    ],
)
def test_visible_devices(environ, visible):
    assert visible_gpus(environ) == visible


RANK_2 = {"WORLD_SIZE": "4", "LOCAL_RANK": "2"}


@pytest.mark.parametrize(
    ("count", "environ", "wanted", "own"),
    [
        (0, {}, None, ()),
        (3, {}, None, (0, 1, 2)),
        (3, {}, (2,), (2,)),
        (3, {}, (1, 1, 0), (1, 0)),
        (3, {}, (), ()),
        (4, RANK_2, None, (2,)),
        (1, RANK_2, None, (0,)),
        (0, RANK_2, None, ()),
        (4, RANK_2, (0, 1), (0, 1)),
    ],
)
def test_a_process_reads_its_own_devices(count, environ, wanted, own):
    assert own_gpus(count, environ, wanted) == own


@pytest.mark.parametrize(
    ("count", "environ", "wanted"), [(2, RANK_2, None), (2, {}, (2,)), (0, {}, (0,)), (2, {}, (-1,))]
)
def test_a_device_that_is_not_visible_is_an_error(count, environ, wanted):
    with pytest.raises(MeterError, match=f"this process sees {count}"):
        own_gpus(count, environ, wanted)


def test_no_device_is_read_by_two_ranks():
    ranks = [{"WORLD_SIZE": "4", "LOCAL_RANK": str(rank)} for rank in range(4)]
    assert [own_gpus(4, environ) for environ in ranks] == [(0,), (1,), (2,), (3,)]
    assert [reads_machine(environ) for environ in ranks] == [True, False, False, False]
