from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motivnet_engines.serving.batcher import Batcher, ClosedError, LateError
from motivnet_engines.serving.pending import Answered

FAR = 60.0

BatcherMaker = Callable[..., Batcher[int, int]]


class PoisonError(Exception):
    """Of an item that cannot be run."""


class Recorder:
    """Squares items, remembers each call, and can be held back."""

    def __init__(self, *, poison: frozenset[int] = frozenset()) -> None:
        self.calls: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self._poison = poison

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.calls.append(list(items))
        self.entered.release()
        self.gate.wait()
        if self._poison.intersection(items):
            raise PoisonError(items)
        return [item * item for item in items]


@pytest.fixture
def make() -> Iterator[BatcherMaker]:
    made: list[Batcher[int, int]] = []

    def maker(
        run: Callable[[Sequence[int]], Sequence[int]], *, max_size: int = 4, **options: float
    ) -> Batcher[int, int]:
        made.append(Batcher(run, max_size=max_size, max_delay=options.get("max_delay", 0.0)))
        return made[-1]

    yield maker
    for batcher in made:
        assert batcher.close(timeout=5)


def submit(
    batcher: Batcher[int, int], item: int, *, patience: float = FAR
) -> Future[Answered[int]]:
    return batcher.submit(item, deadline=time.monotonic() + patience)


def held(run: Recorder, batcher: Batcher[int, int]) -> Future[Answered[int]]:
    """A first item whose call is under way, so that whatever comes next waits."""
    run.gate.clear()
    first = submit(batcher, 100)
    run.entered.acquire()
    return first


def check_end(
    future: Future[Answered[int]], item: int, *, poison: frozenset[int], run: Recorder
) -> None:
    """An item was cancelled before it was run, failed by itself, or has its own answer."""
    assert future.done()
    if future.cancelled():
        assert not any(item in call for call in run.calls)
    elif item in poison:
        assert isinstance(future.exception(), PoisonError)
    else:
        assert future.result().answer == item * item


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.integers(0, 10**9), min_size=1, max_size=40, unique=True),
    poisoned=st.sets(st.integers(0, 39)),
    cancelled=st.sets(st.integers(0, 39)),
    threads=st.integers(1, 4),
    max_size=st.integers(1, 6),
)
def test_every_item_gets_its_own_answer_whatever_its_batch_holds(
    items: list[int], poisoned: set[int], cancelled: set[int], threads: int, max_size: int
) -> None:
    poison = frozenset(items[index] for index in poisoned if index < len(items))
    run = Recorder(poison=poison)
    batcher = Batcher(run, max_size=max_size, max_delay=0.0005)
    futures: dict[int, Future[Answered[int]]] = {}

    def client(own: list[int]) -> None:
        for item in own:
            futures[item] = submit(batcher, item)
            if items.index(item) in cancelled:
                futures[item].cancel()

    clients = [
        threading.Thread(target=client, args=(items[start::threads],)) for start in range(threads)
    ]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert batcher.close(timeout=10)
    assert set(futures) == set(items)
    for item, future in futures.items():
        check_end(future, item, poison=poison, run=run)
    assert all(len(call) <= max_size for call in run.calls)
    succeeded = [item for call in run.calls if not poison.intersection(call) for item in call]
    assert len(succeeded) == len(set(succeeded))


def test_items_that_wait_together_are_run_together(make: BatcherMaker) -> None:
    run = Recorder()
    batcher = make(run)
    first = held(run, batcher)
    others = [submit(batcher, item) for item in range(4)]
    run.gate.set()
    assert [future.result(5).answer for future in (first, *others)] == [10_000, 0, 1, 4, 9]
    assert run.calls == [[100], [0, 1, 2, 3]]


def test_the_first_item_waits_for_others_no_longer_than_the_delay(make: BatcherMaker) -> None:
    run = Recorder()
    batcher = make(run, max_delay=0.2)
    first = submit(batcher, 1)
    second = submit(batcher, 2)
    answers = first.result(5), second.result(5)
    assert run.calls == [[1, 2]]
    assert answers[0].waited_ms >= 190


def test_only_the_poisoned_item_of_a_batch_fails(make: BatcherMaker) -> None:
    run = Recorder(poison=frozenset((2,)))
    batcher = make(run)
    held(run, batcher)
    futures = [submit(batcher, item) for item in range(4)]
    run.gate.set()
    assert isinstance(futures[2].exception(5), PoisonError)
    assert [futures[index].result(5).answer for index in (0, 1, 3)] == [0, 1, 9]
    assert run.calls == [[100], [0, 1, 2, 3], [0], [1], [2], [3]]


def test_a_cancelled_item_is_not_run(make: BatcherMaker) -> None:
    run = Recorder()
    batcher = make(run)
    held(run, batcher)
    futures = [submit(batcher, item) for item in range(3)]
    assert futures[1].cancel()
    run.gate.set()
    assert futures[2].result(5).answer == 4
    assert run.calls == [[100], [0, 2]]


def test_an_item_whose_deadline_has_passed_is_not_run(make: BatcherMaker) -> None:
    run = Recorder()
    batcher = make(run)
    held(run, batcher)
    late, patient = submit(batcher, 1, patience=0.01), submit(batcher, 2)
    time.sleep(0.05)
    run.gate.set()
    assert patient.result(5).answer == 4
    assert isinstance(late.exception(5), LateError)
    assert run.calls == [[100], [2]]


def test_a_call_that_gives_too_few_answers_gives_them_to_nobody(make: BatcherMaker) -> None:
    run = Recorder()
    batcher = make(lambda items: run(items)[:1])
    held(run, batcher)
    futures = [submit(batcher, item) for item in (1, 2)]
    run.gate.set()
    assert [future.result(5).answer for future in futures] == [1, 4]


def test_closing_runs_what_waits_and_takes_nothing_new(make: BatcherMaker) -> None:
    run = Recorder()
    batcher = make(run)
    held(run, batcher)
    waiting = submit(batcher, 3)
    assert not batcher.close(timeout=0)
    with pytest.raises(ClosedError):
        submit(batcher, 4)
    run.gate.set()
    assert waiting.result(5).answer == 9
