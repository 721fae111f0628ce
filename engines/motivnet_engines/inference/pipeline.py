"""Many images through a classifier, where the images to come are prepared while the runtime works.

Three things run side by side: threads that decode, find faces and resize; one thread that calls the
runtime; and the caller, who looks at results. However many images there are, a few groups of them
are in memory at any moment. A group is a batch, or less where a model takes images of any size: it
then holds whole pictures, and ends at 256 MB of them.
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
from motivnet_engines.inference.preparation import PreparedImage
from motivnet_engines.inference.results import ImageResult

Outcome: TypeAlias = ImageResult | MotivNetError
"""What became of an image: its result, or why it could not be read."""

_Prepared: TypeAlias = PreparedImage | MotivNetError
_Item = TypeVar("_Item")
_Made = TypeVar("_Made")
_Other = TypeVar("_Other")

_MAX_WORKERS = 8
_BYTES_OF_A_GROUP = 1 << 28
_IMAGES_TO_A_FACE = 4
"""A group of images without faces ends too, so that its results come and its memory is bounded."""


class Classifier(Protocol):
    """What the pipeline needs of an ``EmotionClassifier``."""

    @property
    def batch_size(self) -> int:
        """Faces of one call of the runtime."""

    @property
    def takes_any_size(self) -> bool:
        """Whether an input is a whole picture and not one of the model's size."""

    def classify(self, inputs: list[NDArray[Any]]) -> list[Prediction]:
        """One prediction an input, in order."""

    def result(
        self, prepared: PreparedImage, predictions: list[Prediction], *, classify_ms: float
    ) -> ImageResult:
        """The result of an image whose faces were classified."""


def outcomes(
    classifier: Classifier, items: Iterable[_Item], prepare: Callable[[_Item], PreparedImage]
) -> Generator[Outcome, None, None]:
    """One outcome per item, in order; an item that cannot be prepared does not stop the others.

    Args:
        prepare: Called from several threads at once; what it raises of ``MotivNetError`` is the
        item's outcome.

    Raises:
        ArtifactError, RuntimeUnavailableError: What the runtime raises ends it all.
    """
    workers = min(_MAX_WORKERS, len(os.sched_getaffinity(0)))
    spare = 0 if classifier.takes_any_size else 2 * classifier.batch_size
    with _executor(workers) as preparing, _executor(1) as running:
        made = _ahead(preparing, items, _caught(prepare), ahead=workers + spare)
        groups = _groups(made, faces=classifier.batch_size)
        for finished in _ahead(
            running, groups, lambda group: classified_group(classifier, group), ahead=2
        ):
            yield from finished


@contextmanager
def _executor(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that start nothing new once the block is left, for whatever reason.

    They are not waited for: an abandoned generator may be closed by the garbage collector in one of
    these very threads.
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
    """The results in order, with at most ``ahead`` items begun that were not asked for yet."""
    begun: deque[Future[_Made]] = deque()
    for item in items:
        begun.append(executor.submit(work, item))
        if len(begun) >= ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def _caught(prepare: Callable[[_Item], PreparedImage]) -> Callable[[_Item], _Prepared]:
    def prepared(item: _Item) -> _Prepared:
        try:
            return prepare(item)
        except MotivNetError as error:
            return error

    return prepared


def _groups(made: Iterable[_Prepared], *, faces: int) -> Iterator[list[_Prepared]]:
    """Groups with the faces of one batch: a few more where an image has several, fewer where images are large."""
    group: list[_Prepared] = []
    waiting = held = 0
    for prepared in made:
        inputs = prepared.inputs if isinstance(prepared, PreparedImage) else ()
        group.append(prepared)
        waiting += len(inputs)
        held += sum(array.nbytes for array in inputs)
        if waiting >= faces or held >= _BYTES_OF_A_GROUP or len(group) >= _IMAGES_TO_A_FACE * faces:
            yield group
            group, waiting, held = [], 0, 0
    if group:
        yield group


def classified_group(
    classifier: Classifier, group: list[PreparedImage | _Other]
) -> list[ImageResult | _Other]:
    """The results of prepared images, whose faces are classified together; anything else stays where it is."""
    inputs = [
        array
        for prepared in group
        if isinstance(prepared, PreparedImage)
        for array in prepared.inputs
    ]
    start = time.perf_counter()
    predictions = iter(classifier.classify(inputs))
    elapsed = (time.perf_counter() - start) * 1e3
    return [
        classifier.result(
            prepared, [next(predictions) for _ in prepared.inputs], classify_ms=elapsed
        )
        if isinstance(prepared, PreparedImage)
        else prepared
        for prepared in group
    ]
