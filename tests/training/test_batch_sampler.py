import itertools

import pytest

from motivnet_training.batch_sampler import (
    AS_IT_IS,
    FixedOrder,
    Shard,
    TrainingOrder,
    steps_per_epoch,
)


def order(**values: object) -> TrainingOrder:
    return TrainingOrder(**{"count": 23, "batch_size": 4, "seed": 1, "epoch": 0, **values})  # type: ignore[arg-type]


def indices(batches: object) -> list[int]:
    return [index for batch in batches for _, index in batch]  # type: ignore[attr-defined]


def test_every_image_is_seen_once_an_epoch_in_an_order_of_seed_and_epoch() -> None:
    assert sorted(indices(order())) == list(range(23))
    assert len(list(order())) == len(order()) == 6
    assert indices(order()) == indices(order())
    assert indices(order()) != indices(order(epoch=1))
    assert indices(order()) != indices(order(seed=2))
    assert {epoch for batch in order(epoch=3) for epoch, _ in batch} == {3}


@pytest.mark.parametrize("start", [0, 1, 5, 6])
def test_an_epoch_goes_on_where_it_was(start: int) -> None:
    assert list(order(start=start)) == list(order())[start:]
    assert len(order(start=start)) == 6 - start


@pytest.mark.parametrize("world", [2, 3, 4])
def test_processes_share_the_batches_of_the_one_order(world: int) -> None:
    alone = list(order())
    parts = [list(order(shard=Shard(rank=rank, world=world))) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    together = list(itertools.chain.from_iterable(zip(*parts, strict=True)))
    assert together[: len(alone)] == alone
    assert together[len(alone) :] == alone[: len(together) - len(alone)]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_the_fixed_order_and_see_every_image(world: int) -> None:
    parts = [
        list(FixedOrder(count=23, batch_size=4, shard=Shard(rank=rank, world=world)))
        for rank in range(world)
    ]
    assert len({len(part) for part in parts}) == 1
    assert {index for part in parts for index in indices(part)} == set(range(23))
    assert {epoch for part in parts for batch in part for epoch, _ in batch} == {AS_IT_IS}


def test_more_processes_than_batches_all_get_one() -> None:
    parts = [
        list(FixedOrder(count=3, batch_size=4, shard=Shard(rank=rank, world=3)))
        for rank in range(3)
    ]
    assert parts == [[[(AS_IT_IS, 0), (AS_IT_IS, 1), (AS_IT_IS, 2)]]] * 3


def test_the_papers_epoch_has_this_many_steps() -> None:
    assert steps_per_epoch(27_000, 2, 8) == 1688  # 13,500 batches: the last step stands on four
    assert steps_per_epoch(27_000, 2, 4, world=2) == 1688
