import random

from energyaware.measure.layout import HeapShift


def test_each_call_holds_other_blocks_and_lets_the_old_ones_go():
    shift = HeapShift(random.Random(0))
    sizes = []
    for _ in range(20):
        shift()
        sizes.append([len(block) for block in shift._held])
    assert all(sizes)
    assert len({tuple(item) for item in sizes}) == len(sizes)
    # Blocks of Python's own arenas and of malloc's heap alike.
    assert any(size < 512 for item in sizes for size in item)
    assert any(size > 4096 for item in sizes for size in item)
    assert len(shift._held) == len(sizes[-1])


def test_the_same_seed_gives_the_same_shifts():
    one, other = HeapShift(random.Random(3)), HeapShift(random.Random(3))
    for shift in (one, other):
        shift()
        shift()
    assert list(map(len, one._held)) == list(map(len, other._held))
