import itertools

import pytest

from motivnet_training.batch_sampler import (
    NOT_AUGMENTED,
    BatchSampler,
    batches_per_epoch,
    steps_per_epoch,
)


def sampler(**values: int) -> BatchSampler:
    return BatchSampler(**{"count": 23, "batch_size": 4, "seed": 1, "epoch": 0} | values)


def indices(batches: object) -> list[int]:
    return [index for batch in batches for _, index in batch]  # type: ignore[attr-defined]


def test_every_image_is_seen_once_per_epoch_in_an_order_of_seed_and_epoch() -> None:
    assert sorted(indices(sampler())) == list(range(23))
    assert len(list(sampler())) == len(sampler()) == 6
    assert indices(sampler()) == indices(sampler())
    assert indices(sampler()) != indices(sampler(epoch=1))
    assert indices(sampler()) != indices(sampler(seed=2))
    assert {epoch for batch in sampler(epoch=3) for epoch, _ in batch} == {3}


@pytest.mark.parametrize("start", [0, 1, 5, 6])
def test_an_epoch_continues_where_it_was(start: int) -> None:
    assert list(sampler(start=start)) == list(sampler())[start:]
    assert len(sampler(start=start)) == 6 - start


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_processes_share_the_batches_of_the_same_order(processes: int) -> None:
    alone = list(sampler())
    parts = [list(sampler(rank=rank, processes=processes)) for rank in range(processes)]
    assert len({len(part) for part in parts}) == 1
    together = list(itertools.chain.from_iterable(zip(*parts, strict=True)))
    assert together[: len(alone)] == alone
    assert together[len(alone) :] == alone[: len(together) - len(alone)]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_the_validation_images_and_see_every_one(processes: int) -> None:
    parts = [
        list(BatchSampler(count=23, batch_size=4, rank=rank, processes=processes))
        for rank in range(processes)
    ]
    assert len({len(part) for part in parts}) == 1
    assert {index for part in parts for index in indices(part)} == set(range(23))
    assert {epoch for part in parts for batch in part for epoch, _ in batch} == {NOT_AUGMENTED}
    if processes == 1:
        assert indices(parts[0]) == list(range(23))


def test_more_processes_than_batches_all_get_one() -> None:
    parts = [list(BatchSampler(count=3, batch_size=4, rank=rank, processes=3)) for rank in range(3)]
    assert parts == [[[(NOT_AUGMENTED, index) for index in range(3)]]] * 3


def test_the_papers_epoch_has_this_many_steps() -> None:
    assert steps_per_epoch(27_000, 2, 8) == 1688  # 13,500 batches: the last step stands on four
    assert steps_per_epoch(27_000, 2, 4, processes=2) == 1688
    assert (batches_per_epoch(9, 2), batches_per_epoch(9, 2, processes=2)) == (5, 3)
