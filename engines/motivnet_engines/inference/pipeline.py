"""Many images through a classifier: later images are prepared while the runtime works.

Three parties run side by side: threads that decode, find faces and resize; one thread that calls
the runtime; and the caller, who reads results. Only a few groups of images are in memory at any
time, however many there are. A group is a batch, or less for a model that takes images of any size:
it then holds whole pictures and ends at 256 MB of them.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias, TypeVar

from numpy.typing import NDArray

from motivnet.errors import MotivNetError
from motivnet.prediction import Prediction
from motivnet_engines.inference.preprocessing import PreparedImage
from motivnet_engines.inference.results import ImageResult

Outcome: TypeAlias = ImageResult | MotivNetError
"""The result of an image, or why it could not be read."""

_Prepared: TypeAlias = PreparedImage | MotivNetError
_Item = TypeVar("_Item")
_Made = TypeVar("_Made")
_Other = TypeVar("_Other")

_MAX_WORKERS = 8
_BYTES_PER_GROUP = 1 << 28
_IMAGES_PER_FACE = 4
"""A group of images without faces ends too, so that results come and memory is bounded."""


class Classifier(Protocol):
    """What the pipeline needs of an ``EmotionClassifier``."""

    @property
    def batch_size(self) -> int:
        """Faces per call of the runtime."""

    @property
    def takes_any_size(self) -> bool:
        """Whether an input is a whole picture instead of one of the model's size."""

    def classify(self, inputs: list[NDArray[Any]]) -> list[Prediction]:
        """Return one prediction per input, in order."""

    def result(
        self, prepared: PreparedImage, predictions: list[Prediction], *, classify_ms: float
    ) -> ImageResult:
        """Return the result of an image from the predictions of its faces."""


def run_pipeline(
    classifier: Classifier, items: Iterable[_Item], prepare: Callable[[_Item], PreparedImage]
) -> Generator[Outcome, None, None]:
    """Yield one outcome per item, in order; an item that cannot be read does not stop the others.

    Args:
        prepare: Called from several threads at once. A ``MotivNetError`` that it raises is the
            item's outcome.

    Raises:
        ArtifactError, RuntimeUnavailableError: An error of the runtime ends the run.
    """

    def caught(item: _Item) -> _Prepared:
        try:
            return prepare(item)
        except MotivNetError as error:
            return error

    workers = min(_MAX_WORKERS, len(os.sched_getaffinity(0)))
    spare = 0 if classifier.takes_any_size else 2 * classifier.batch_size
    with _executor(workers) as preparing, _executor(1) as running:
        prepared = _ahead(preparing, items, caught, ahead=workers + spare)
        groups = _groups(prepared, faces=classifier.batch_size)
        for finished in _ahead(
            running, groups, lambda group: classify_group(classifier, group), ahead=2
        ):
            yield from finished


@contextmanager
def _executor(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Start no more work once the block is left, for whatever reason.

    The threads are not waited for: the garbage collector may close an abandoned generator in one
    of these very threads.
    """
    executor = ThreadPoolExecutor(threads, thread_name_prefix="motivnet")
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _ahead(
    executor: ThreadPoolExecutor,
    items: Iterable[_Item],
    work: Callable[[_Item], _Made],
    *,
    ahead: int,
) -> Iterator[_Made]:
    """Yield results in order, with at most ``ahead`` items started beyond the ones asked for."""
    started: deque[Future[_Made]] = deque()
    for item in items:
        started.append(executor.submit(work, item))
        if len(started) >= ahead:
            yield started.popleft().result()
    while started:
        yield started.popleft().result()


def _groups(prepared: Iterable[_Prepared], *, faces: int) -> Iterator[list[_Prepared]]:
    """Yield groups with about the faces of one batch, and fewer if images are large."""
    group: list[_Prepared] = []
    waiting = held = 0
    for one in prepared:
        inputs = one.inputs if isinstance(one, PreparedImage) else ()
        group.append(one)
        waiting += len(inputs)
        held += sum(array.nbytes for array in inputs)
        if waiting >= faces or held >= _BYTES_PER_GROUP or len(group) >= _IMAGES_PER_FACE * faces:
            yield group
            group, waiting, held = [], 0, 0
    if group:
        yield group


def classify_group(
    classifier: Classifier, group: list[PreparedImage | _Other]
) -> list[ImageResult | _Other]:
    """Classify the faces of prepared images together; anything else in the group stays as it is."""
    images = [one for one in group if isinstance(one, PreparedImage)]
    start = time.perf_counter()
    predictions = iter(classifier.classify([array for one in images for array in one.inputs]))
    elapsed = (time.perf_counter() - start) * 1e3
    return [
        classifier.result(one, [next(predictions) for _ in one.inputs], classify_ms=elapsed)
        if isinstance(one, PreparedImage)
        else one
        for one in group
    ]
