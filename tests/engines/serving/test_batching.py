from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.reference import read_reference
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest
from motivnet_engines.runtimes.signature import input_from_pixels
from motivnet_engines.serving.batching import (
    Answered,
    Batcher,
    Batching,
    LateError,
    batching_for,
    exact_size,
    image_seconds,
)


class RoundingRuntime(FakeRuntime):
    """A runtime whose last bits differ in batches of ``first`` images or more."""

    first = 2

    def run(self, inputs: Any) -> dict[str, np.ndarray]:
        outputs = super().run(inputs)
        size = len(next(iter(inputs.values())))
        scale = np.float32(1 + 2**-20) if size >= self.first else np.float32(1)
        return {name: array * scale for name, array in outputs.items()}


def inputs_of(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    height, width = fake_manifest().input.preprocessing.size
    return [generator.standard_normal((3, height, width)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize(("first", "exact"), [(2, 1), (5, 4), (9, 8)])
def test_batches_are_as_large_as_every_smaller_one_is_exact(first: int, exact: int) -> None:
    runtime = RoundingRuntime(fake_manifest())
    runtime.first = first
    assert exact_size(EmotionClassifier(runtime, fake_manifest()), inputs_of(3), largest=8) == exact


def test_one_row_of_a_batch_that_differs_is_enough() -> None:
    class LastRow(FakeRuntime):
        def run(self, inputs: Any) -> dict[str, np.ndarray]:
            outputs = super().run(inputs)
            if len(outputs["logits"]) > 2:
                outputs["logits"][-1] *= np.float32(1 + 2**-20)
            return outputs

    classifier = EmotionClassifier(LastRow(fake_manifest()), fake_manifest())
    assert exact_size(classifier, inputs_of(3), largest=8) == 2


def test_a_difference_in_the_embedding_alone_counts() -> None:
    class Embedding(RoundingRuntime):
        def run(self, inputs: Any) -> dict[str, np.ndarray]:
            return {**FakeRuntime.run(self, inputs), "embedding": super().run(inputs)["embedding"]}

    classifier = EmotionClassifier(Embedding(fake_manifest()), fake_manifest())
    assert exact_size(classifier, inputs_of(3), largest=8) == 1


def test_what_is_not_verified_in_time_is_not_used() -> None:
    classifier = EmotionClassifier(FakeRuntime(fake_manifest()), fake_manifest())
    clock = itertools.count(step=6.0)  # the time at the start, after size 2 and after size 3
    assert exact_size(classifier, inputs_of(3), largest=8, clock=lambda: next(clock)) == 3


def test_the_time_per_image_is_that_of_the_best_of_three_batches() -> None:
    classifier = EmotionClassifier(FakeRuntime(fake_manifest()), fake_manifest())
    times = iter([0.0, 0.4, 1.0, 1.2, 2.0, 2.3])
    seconds = image_seconds(classifier, inputs_of(3), size=4, clock=lambda: next(times))
    assert seconds == pytest.approx(0.05)


def test_a_large_model_is_measured_once() -> None:
    classifier = EmotionClassifier(FakeRuntime(fake_manifest()), fake_manifest())
    times = iter([0.0, 8.0])
    assert image_seconds(classifier, inputs_of(1), size=2, clock=lambda: next(times)) == 4.0


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_real_runtime_is_batched_only_as_far_as_no_bit_changes(
    request: pytest.FixtureRequest, precision: str, runtime: str
) -> None:
    folder: Path = request.getfixturevalue(f"{precision}_artifact")
    artifact = open_artifact(folder)
    pixels = read_reference(artifact).pixels
    inputs = list(input_from_pixels(artifact.manifest.input, pixels))
    with EmotionClassifier.open(folder, runtime=runtime, threads=1) as classifier:
        batching = batching_for(classifier, artifact)
        assert batching.bit_exact
        alone = [classifier.classify([array])[0] for array in inputs]
        for size in range(1, batching.max_size + 1):
            chosen = [place % len(inputs) for place in range(size)]
            batch = classifier.classify([inputs[index] for index in chosen])
            assert [face.to_dict() for face in batch] == [
                alone[index].to_dict() for index in chosen
            ]


def test_a_gpu_batches_anyway_and_says_so(
    fp32_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = open_artifact(fp32_artifact)
    runtime = RoundingRuntime(artifact.manifest)
    classifier = EmotionClassifier(runtime, artifact.manifest)
    assert batching_for(classifier, artifact) == Batching(max_size=1, bit_exact=True)
    runtime.name = "tensorrt"
    monkeypatch.setattr("motivnet_engines.serving.batching.profile_of", lambda *_: None)
    assert batching_for(classifier, artifact, max_batch=4) == Batching(max_size=4, bit_exact=False)


def test_smaller_batches_than_asked_for_are_warned_of_with_the_reason(
    fp32_artifact: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = open_artifact(fp32_artifact)
    largest = artifact.manifest.max_batch
    classifier = EmotionClassifier(RoundingRuntime(artifact.manifest), artifact.manifest)
    assert batching_for(classifier, artifact, max_batch=64) == Batching(max_size=1)
    assert [
        record.getMessage() for record in caplog.records if record.levelno == logging.WARNING
    ] == [
        f"batches of 64 are asked for, but the artifact takes at most {largest}",
        "fake is bit-identical only up to a batch of 1 here; larger batches are not used",
    ]


def test_without_reference_inputs_nothing_is_batched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = Artifact(folder=tmp_path, manifest=fake_manifest())
    classifier = EmotionClassifier(FakeRuntime(artifact.manifest), artifact.manifest)
    with caplog.at_level(logging.WARNING):
        batching = batching_for(classifier, artifact)
    assert batching == Batching(max_size=1)
    assert batching.image_seconds > 0
    assert "no reference inputs" in caplog.text


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


class Now:
    """A clock that stands still until it is set."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def make(now: Now) -> Iterator[BatcherMaker]:
    made: list[Batcher[int, int]] = []

    def maker(
        run: Callable[[Sequence[int]], Sequence[int]], *, max_size: int = 4, **options: float
    ) -> Batcher[int, int]:
        batcher = Batcher(
            run, max_size=max_size, max_delay=options.get("max_delay", 0.0), clock=now
        )
        made.append(batcher)
        return batcher

    yield maker
    for batcher in made:
        assert batcher.close(timeout=5)


def submit(
    batcher: Batcher[int, int], item: int, *, deadline: float = FAR
) -> Future[Answered[int]]:
    return batcher.submit(item, deadline=deadline)


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
    far = time.monotonic() + FAR
    futures: dict[int, Future[Answered[int]]] = {}

    def client(own: list[int]) -> None:
        for item in own:
            futures[item] = submit(batcher, item, deadline=far)
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


def test_an_item_whose_deadline_has_passed_is_not_run(make: BatcherMaker, now: Now) -> None:
    run = Recorder()
    batcher = make(run)
    held(run, batcher)
    late, patient = submit(batcher, 1, deadline=1.0), submit(batcher, 2)
    now.seconds = 2.0
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
    with pytest.raises(RuntimeError, match="closed"):
        submit(batcher, 4)
    run.gate.set()
    assert waiting.result(5).answer == 9
