"""Many images through a classifier: later images are prepared while the runtime works.

Only a few groups of images are in memory at any time. A group is a batch, or for a
model that takes images of any size, which are whole pictures, at most 256 MB of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

from motivnet.errors import MotivNetError
from motivnet.processors import count_usable_cores
from motivnet_engines.inference.preprocessing import PreparedImage
from motivnet_engines.inference.results import ImageResult

Outcome: TypeAlias = ImageResult | MotivNetError
"""The result of an image, or why it could not be read."""

_Prepared: TypeAlias = PreparedImage | MotivNetError
_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

_BYTES_PER_GROUP = 1 << 28
_IMAGES_PER_FACE = 4
"""A group of images without faces ends too, so that results come and memory is bounded."""


def run_pipeline(
    items: Iterable[_Item],
    prepare: Callable[[_Item], PreparedImage],
    classify_group: Callable[[list[_Prepared]], list[_Made]],
    *,
    faces: int,
    spare: int,
) -> Generator[_Made, None, None]:
    """Yield one outcome per item, in order; an item that cannot be read does not stop the others.

    Args:
        prepare: Called from several threads at once. A ``MotivNetError`` that it raises is the
            item's outcome.
        faces: In one batch of the runtime.
        spare: Images that are prepared beyond one per thread.

    Raises:
        ArtifactError, RuntimeUnavailableError: An error of the runtime ends the run.
    """

    def caught(item: _Item) -> _Prepared:
        try:
            return prepare(item)
        except MotivNetError as error:
            return error

    workers = min(8, count_usable_cores())
    with _executor(workers) as preparing, _executor(1) as running:
        prepared = _ahead(preparing, items, caught, ahead=workers + spare)
        groups = _groups(prepared, faces=faces)
        for finished in _ahead(running, groups, classify_group, ahead=2):
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
